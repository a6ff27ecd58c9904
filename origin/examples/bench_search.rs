//! What does a search cost among a million articles? Fills a private PostgreSQL in a temporary folder with generated articles and
//! prints, for questions of every kind, how many match, median and 99th percentile of a whole page (found, ranked, read, marked)
//! and, with `--plans`, what PostgreSQL says of finding the page's window. With `--data FOLDER`, what was generated is kept there,
//! and found again the next time; with `--unanalysed`, PostgreSQL knows nothing of them yet, as after an import.
//!
//! Words are drawn by Zipf's law (bent at the top, as in news), with the stop words of English between them, so that the most
//! common word stands in every fourth article; sources, categories and languages are skewed; the rate grows over three years; one
//! article in ten duplicates an earlier one.

#[path = "../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "stopping and freezing it is for tests")]
mod postgres;

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use larder_origin::article::Category;
use larder_origin::articles::Filters;
use larder_origin::database::{Database, DatabaseUrl};
use larder_origin::search::{Found, Order, Place, Question, Search, Terms};
use larder_origin::sentiment::Label;
use postgres::Postgres;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const VOCABULARY: usize = 150_000;
const RUNS: usize = 100;
const WARM_UPS: usize = 5;
const LIMIT: u16 = 20;
const CHUNK: usize = 20_000;
const SOURCES: usize = 24;
const STOP_WORDS: &[&str] = &[
    "the", "of", "and", "to", "in", "a", "is", "for", "on", "that", "by", "with", "at", "from",
];
const COLUMNS: &str = "source, outlet, title, description, content, url, url_canonical, url_hash, published_at, fetched_at, \
    updated_at, language, headline, duplicate_of, filters";

/// What was counted of the tables, as though they had just been filled.
const FORGET: &str = "DELETE FROM pg_statistic WHERE starelid IN (SELECT oid FROM pg_class WHERE relname LIKE 'article%'); \
    UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname LIKE 'article%'";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut articles, mut plans, mut unanalysed, mut data) = (1_000_000, false, false, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--articles" => {
                articles = arguments.next().context("how many?")?.parse()?;
            }
            "--plans" => plans = true,
            "--unanalysed" => unanalysed = true,
            "--data" => data = Some(PathBuf::from(arguments.next().context("in which folder?")?)),
            other => bail!("cannot use {other}"),
        }
    }
    let (_server, url) = match data {
        Some(folder) => kept(&folder, articles).await?,
        None => {
            let server = Postgres::start();
            let url = server.database().await;
            (server, url)
        }
    };
    let database = Database::open(&url.parse::<DatabaseUrl>()?, 4)?;
    let begun = Instant::now();
    database.migrate().await?;
    eprintln!("migrated in {:.1} s", begun.elapsed().as_secs_f64());
    let mut connection = PgConnection::connect(&url).await?;
    let words = Words::new();
    let begun = Instant::now();
    let is_kept: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM articles)")
        .fetch_one(&mut connection)
        .await?;
    if !is_kept {
        fill(&mut connection, &words, articles).await?;
    }
    connection
        .execute(if unanalysed { FORGET } else { "ANALYZE" })
        .await?;
    let (version, size): (String, String) = sqlx::query_as(
        "SELECT current_setting('server_version'), pg_size_pretty(pg_total_relation_size('articles'))",
    )
    .fetch_one(&mut connection)
    .await?;
    println!(
        "{articles} articles, {size} with all indexes, ready in {} s; PostgreSQL {version}, settings as they come (fsync off)\n",
        begun.elapsed().as_secs()
    );
    let search = Search::new(&database);
    println!("| question | matches | median ms | p99 ms |");
    println!("| --- | ---: | ---: | ---: |");
    for (name, question) in questions(&words) {
        let question = Question {
            place: deep(&search, &question, name).await?,
            ..question
        };
        let (found, mut times) = (ask(&search, &question).await?, Vec::new());
        for run in 0..WARM_UPS + RUNS {
            let begun = Instant::now();
            ask(&search, &question).await?;
            if run >= WARM_UPS {
                times.push(begun.elapsed());
            }
        }
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let matches = matches(&mut connection, &question).await?;
        let corrected = if found.1 {
            " (by another spelling)"
        } else {
            ""
        };
        println!(
            "| {name}{corrected} | {matches} | {:.1} | {:.1} |",
            ms(times[RUNS / 2]),
            ms(times[RUNS * 99 / 100])
        );
        if plans {
            println!("\n```\n{}\n```\n", search.plan(&question).await?.join("\n"));
        }
    }
    database.close().await;
    Ok(())
}

/// The server over a folder that is kept, and its database of so many articles.
async fn kept(folder: &Path, articles: usize) -> anyhow::Result<(Postgres, String)> {
    std::fs::create_dir_all(folder)?;
    let server = Postgres::run(folder.canonicalize()?, true);
    let name = format!("of_{articles}");
    let url = server.url(&name);
    server.execute("SELECT 1").await;
    if PgConnection::connect(&url).await.is_err() {
        server.execute(&format!("CREATE DATABASE {name}")).await;
    }
    Ok((server, url))
}

/// As `/search` does: with another spelling when nothing is found.
async fn ask(search: &Search, question: &Question) -> anyhow::Result<(Found, bool)> {
    let found = search.find(question).await?;
    if !found.hits.is_empty() || found.next.is_some() {
        return Ok((found, false));
    }
    match search.corrected(&question.terms).await? {
        Some(terms) => {
            let question = Question {
                terms,
                ..question.clone()
            };
            Ok((search.find(&question).await?, true))
        }
        None => Ok((found, false)),
    }
}

/// All that match, duplicates too, whatever the window.
async fn matches(connection: &mut PgConnection, question: &Question) -> anyhow::Result<i64> {
    let text = question.terms.to_string();
    let filters = &question.filters;
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM articles a WHERE search @@ websearch_to_tsquery('english', $1) \
         AND source = ANY($2) AND ($3::text IS NULL OR language = $3) AND ($4::timestamptz IS NULL OR published_at >= $4) \
         AND ($5::timestamptz IS NULL OR published_at < $5) \
         AND ($6::text IS NULL OR EXISTS (SELECT 1 FROM article_categories c WHERE c.article_id = a.id AND c.category = $6)) \
         AND ($7::text IS NULL OR EXISTS (SELECT 1 FROM article_sentiments s WHERE s.article_id = a.id AND s.label = $7))",
    );
    Ok(count
        .bind(text)
        .bind(&filters.sources)
        .bind(filters.language.as_deref())
        .bind(filters.since)
        .bind(filters.until)
        .bind(filters.category.map(Category::as_str))
        .bind(filters.sentiment.map(Label::as_str))
        .fetch_one(connection)
        .await?)
}

/// Where the 200th page of a question called deep begins.
async fn deep(search: &Search, question: &Question, name: &str) -> anyhow::Result<Option<Place>> {
    let mut place = None;
    if name.starts_with("page 200") {
        for _ in 1..200 {
            let question = Question {
                place,
                ..question.clone()
            };
            place = search.find(&question).await?.next;
        }
    }
    Ok(place)
}

fn questions(words: &Words) -> Vec<(&'static str, Question)> {
    let word = |rank: usize| words.all[rank].as_str();
    let all = Filters {
        sources: (0..SOURCES).map(source).collect(),
        category: None,
        language: None,
        sentiment: None,
        since: None,
        until: None,
        duplicates: false,
    };
    let question = |text: &str, filters: Filters| Question {
        terms: Terms::parse(text),
        filters,
        order: Order::Relevance,
        place: None,
        is_corrected: false,
        limit: LIMIT,
    };
    let plain = |text: String| question(&text, all.clone());
    let common = word(0).to_owned();
    let filtered = |change: &dyn Fn(&mut Filters)| {
        let mut filters = all.clone();
        change(&mut filters);
        question(&common, filters)
    };
    let slip = {
        let mut chars: Vec<char> = words.long.chars().collect();
        chars.swap(2, 3);
        chars.into_iter().collect::<String>()
    };
    vec![
        ("a rare word", plain(word(100_000).to_owned())),
        ("an uncommon word", plain(word(5_000).to_owned())),
        ("a medium word", plain(word(300).to_owned())),
        ("a common word", plain(word(30).to_owned())),
        ("the most common word", plain(common.clone())),
        (
            "the two most common words",
            plain(format!("{common} {}", word(1))),
        ),
        (
            "a common and a rare word",
            plain(format!("{common} {}", word(20_000))),
        ),
        (
            "one common word or another",
            plain(format!("{common} or {}", word(1))),
        ),
        (
            "a common word without another",
            plain(format!("{common} -{}", word(1))),
        ),
        (
            "a phrase that is one",
            plain(format!("\"{} {}\"", word(200), word(201))),
        ),
        (
            "a phrase of the two most common words",
            plain(format!("\"{common} {}\"", word(1))),
        ),
        (
            "a phrase that nearly nobody wrote",
            plain(format!("\"{common} {}\"", word(30))),
        ),
        (
            "the most common word, newest first",
            Question {
                order: Order::Newest,
                ..plain(common.clone())
            },
        ),
        (
            "the most common word, the smallest source",
            filtered(&|f| f.sources = vec![source(SOURCES - 1)]),
        ),
        (
            "the most common word, a rare category",
            filtered(&|f| f.category = Some(Category::World)),
        ),
        (
            "the most common word, a rare language",
            filtered(&|f| f.language = Some("pt".to_owned())),
        ),
        (
            "the most common word, positive",
            filtered(&|f| f.sentiment = Some(Label::Positive)),
        ),
        (
            "the most common word, a week two years ago",
            filtered(&|f| {
                f.since = Some(newest() - TimeDelta::days(730));
                f.until = Some(newest() - TimeDelta::days(723));
            }),
        ),
        (
            "the most common word, all four filters",
            filtered(&|f| {
                f.sources = vec![source(3)];
                f.category = Some(Category::Health);
                f.language = Some("de".to_owned());
                f.sentiment = Some(Label::Negative);
            }),
        ),
        ("page 200 of the most common word", plain(common.clone())),
        (
            "page 200 of the most common word, newest first",
            Question {
                order: Order::Newest,
                ..plain(common.clone())
            },
        ),
        ("a slip", plain(slip)),
        ("no match", plain("xqzzvwpk".to_owned())),
        ("small words only", plain("the of and".to_owned())),
    ]
}

/// A generator that gives the same numbers each time (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }

    /// The first much more often than the last.
    fn skewed(&mut self, end: usize) -> usize {
        ((end as f64 + 1.0).powf(self.share()) - 1.0) as usize
    }
}

/// A vocabulary in the order of how common its words are.
struct Words {
    all: Vec<String>,
    cumulated: Vec<f64>,
    /// A long one of some hundred articles, to be mistyped.
    long: String,
}

impl Words {
    fn new() -> Self {
        let mut chance = Chance(7);
        let heads = [
            "b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "br",
            "ch", "dr", "gr", "pl", "sh", "st", "tr",
        ];
        let ends = ["", "n", "r", "l", "m", "t"];
        let mut seen = std::collections::BTreeSet::new();
        let mut all = Vec::with_capacity(VOCABULARY);
        while all.len() < VOCABULARY {
            let syllables = 2 + chance.below(3);
            let word: String = (0..syllables)
                .map(|_| {
                    let vowel = ["a", "e", "i", "o", "u"][chance.below(5)];
                    format!(
                        "{}{vowel}{}",
                        heads[chance.below(heads.len())],
                        ends[chance.below(ends.len())]
                    )
                })
                .collect();
            if seen.insert(word.clone()) {
                all.push(word);
            }
        }
        let mut sum = 0.0;
        let cumulated = (0..VOCABULARY)
            .map(|rank| {
                sum += 1.0 / (rank as f64 + 25.0).powf(1.05);
                sum
            })
            .collect();
        let long = all[4_000..].iter().find(|word| word.len() >= 9).cloned();
        Self {
            cumulated,
            long: long.unwrap_or_default(),
            all,
        }
    }

    fn draw(&self, chance: &mut Chance) -> &str {
        let last = self.cumulated.last().copied().unwrap_or(1.0);
        let at = chance.share() * last;
        let rank = self.cumulated.partition_point(|sum| *sum < at);
        &self.all[rank.min(VOCABULARY - 1)]
    }

    /// So many words, two in five of them small ones.
    fn text(&self, chance: &mut Chance, words: usize) -> String {
        let mut text = String::new();
        for n in 0..words {
            let word = match chance.below(5) {
                0 | 1 => STOP_WORDS[chance.skewed(STOP_WORDS.len())],
                _ => self.draw(chance),
            };
            text.push_str(if n == 0 { "" } else { " " });
            text.push_str(word);
            // A name of two words, which one article in fifty has.
            if chance.below(4_000) == 0 {
                let _ = write!(text, " {} {}", self.all[200], self.all[201]);
            }
        }
        text
    }
}

fn newest() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap_or_default()
}

fn source(n: usize) -> String {
    format!("source-{n:02}")
}

/// Indexes are made after the rows: that is faster, and what comes of it is the same.
async fn fill(connection: &mut PgConnection, words: &Words, articles: usize) -> anyhow::Result<()> {
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey' \
         AND tablename IN ('articles', 'article_categories', 'search_words')",
    )
    .fetch_all(&mut *connection)
    .await?;
    // What triggers would do is written as it is.
    for faster in [
        "SET maintenance_work_mem = '1GB'",
        "SET session_replication_role = replica",
    ] {
        connection.execute(faster).await?;
    }
    for (name, _) in &indexes {
        let drop = format!("DROP INDEX {name}");
        connection.execute(AssertSqlSafe(drop)).await?;
    }
    let mut chance = Chance(42);
    let mut made = 0;
    let mut titles: Vec<String> = Vec::new();
    while made < articles {
        let end = (made + CHUNK).min(articles);
        let mut rows = [String::new(), String::new(), String::new()];
        for n in made..end {
            row(&mut rows, &mut titles, words, &mut chance, (n, articles))?;
        }
        let targets = [
            format!("articles ({COLUMNS})"),
            "article_categories (article_id, category, source, published_at)".to_owned(),
            "article_sentiments (article_id, model, version, score, label, scored_at)".to_owned(),
        ];
        for (rows, target) in rows.iter().zip(targets) {
            let mut copy = connection
                .copy_in_raw(&format!("COPY {target} FROM STDIN"))
                .await?;
            copy.send(rows.as_bytes()).await?;
            copy.finish().await?;
        }
        made = end;
        eprint!("\r{made} articles");
    }
    eprintln!("; indexes ...");
    let mut copy = connection
        .copy_in_raw("COPY search_words FROM STDIN")
        .await?;
    copy.send(words.all.join("\n").as_bytes()).await?;
    copy.finish().await?;
    for (_, definition) in indexes {
        connection.execute(AssertSqlSafe(definition)).await?;
    }
    connection.execute("VACUUM ANALYZE").await?;
    Ok(())
}

fn row(
    rows: &mut [String; 3],
    titles: &mut Vec<String>,
    words: &Words,
    chance: &mut Chance,
    (n, articles): (usize, usize),
) -> anyhow::Result<()> {
    let id = n + 1;
    // Twice as many a day at the end as at the beginning; some come days late.
    let share = (n as f64 / articles as f64).sqrt();
    let late = if chance.below(20) == 0 {
        chance.below(7 * 86_400)
    } else {
        chance.below(3_600)
    };
    let seconds = (share * 1_095.0 * 86_400.0) as i64 - i64::try_from(late)?;
    let time = newest() - TimeDelta::days(1_095) + TimeDelta::seconds(seconds);
    let time = time.to_rfc3339();
    let source = source(chance.skewed(SOURCES));
    let copied = (chance.below(10) == 0 && titles.len() > 1_000).then(|| chance.below(1_000));
    let (title, duplicate_of) = match copied {
        Some(back) => (
            titles[titles.len() - 1 - back].clone(),
            format!("{}", n - back),
        ),
        None => (words.text(chance, 11), "\\N".to_owned()),
    };
    // Of a duplicate's own duplicates there are none: what is copied is remembered as its original only once.
    let duplicate_of =
        if copied.is_some_and(|back| titles[titles.len() - 1 - back].starts_with('\u{1}')) {
            "\\N".to_owned()
        } else {
            duplicate_of
        };
    let title = title.trim_start_matches('\u{1}').to_owned();
    titles.push(if duplicate_of == "\\N" {
        title.clone()
    } else {
        format!("\u{1}{title}")
    });
    if titles.len() > 4_000 {
        titles.drain(..2_000);
    }
    let language = match chance.below(100) {
        0 => "pt",
        1..=4 => "es",
        5..=10 => "fr",
        11..=20 => "de",
        _ => "en",
    };
    let [own, categories, sentiments] = rows;
    let category = Category::ALL[chance.skewed(Category::ALL.len())];
    let label = (language == "en").then(|| Label::ALL[chance.below(3)].as_str());
    let filters: Vec<&str> = std::iter::once(category.as_str()).chain(label).collect();
    writeln!(
        own,
        "{source}\tOutlet of {source}\t{title}\t{}\t{}\thttps://news.example/{source}/2026/{id}/story.html\t\
         https://news.example/{source}/2026/{id}/story.html\t{id:064x}\t{time}\t{time}\t{time}\t{language}\t{title}\t{duplicate_of}\t{{{}}}",
        words.text(chance, 35),
        words.text(chance, 33),
        filters.join(","),
    )?;
    writeln!(categories, "{id}\t{category}\t{source}\t{time}")?;
    if let Some(label) = label {
        writeln!(sentiments, "{id}\tvader\t1\t0.5\t{label}\t{time}")?;
    }
    Ok(())
}
