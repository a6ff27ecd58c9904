//! Lists by any set of filters: the same on PostgreSQL and on SQLite, from outside.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::{Reply, get, get_with};
use crate::support::news::{Act, Script, article, noon, store, titles};
use crate::support::origin::TestOrigin;
use crate::support::readers::Place;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use larder_origin::article::{Category, NewArticle};
use larder_origin::articles::{Articles, Filters, PageQuery};
use larder_origin::sentiment::{Label, ModelName, Score, ScoreError, Scorer, Text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

on_both_databases!(
    every_set_of_filters_leaves_what_all_of_them_name,
    pages_hold_every_article_once_in_order_whatever_the_filters_while_others_come_in,
    what_changes_of_an_article_moves_it_from_list_to_list,
    a_story_stands_in_each_list_that_has_one_who_tells_it,
    a_cursor_belongs_to_its_filters_and_nobody_can_make_one,
    the_feed_reads_languages_as_lists_do,
    articles_of_an_earlier_schema_stand_in_filtered_lists,
);

const EN: Option<&str> = Some("en");
const DE: Option<&str> = Some("de");

/// With a title too short to be alike another one.
fn told(path: &str, seconds: i64, words: &str, language: Option<&str>) -> NewArticle {
    NewArticle {
        title: format!("{words} {path}"),
        description: None,
        language: language.map(str::to_owned),
        ..article(path, seconds)
    }
}

/// Every kind of article there is, an hour apart.
fn every_kind(source: &str) -> Vec<NewArticle> {
    let mut batch = Vec::new();
    for language in [EN, DE, None] {
        for words in ["Wonderful success", "Terrible disaster", "Plain talk"] {
            for category in [Category::World, Category::Health] {
                let hours = i64::try_from(batch.len()).expect("few");
                let path = format!("{source}{hours}");
                batch.push(NewArticle {
                    categories: vec![category, Category::General],
                    ..told(&path, -3600 * hours, words, language)
                });
            }
        }
    }
    batch
}

async fn origin(database: TestDatabase, sources: Vec<(&str, Vec<NewArticle>)>) -> TestOrigin {
    let scripts: Vec<_> = sources
        .into_iter()
        .map(|(name, batch)| Script::without_categories(name, Act::Give(batch)))
        .collect();
    TestOrigin::with(database, &scripts, &[]).await
}

async fn list(origin: &TestOrigin, query: &str) -> Value {
    let reply = get(origin.address, &format!("/articles?{query}")).await;
    assert_eq!(reply.status, 200, "{query}: {:?}", reply.body);
    reply.json()
}

async fn listed(origin: &TestOrigin, query: &str) -> Vec<String> {
    titles(&list(origin, query).await)
}

/// A parameter, and which articles it leaves.
type Kind = (&'static str, fn(&Value) -> bool);

fn time(article: &Value) -> DateTime<Utc> {
    let text = article["published_at"].as_str().expect("a time");
    text.parse().expect("RFC 3339")
}

fn is_of(article: &Value, category: &str) -> bool {
    let categories = article["categories"].as_array().expect("categories");
    categories.contains(&json!(category))
}

/// Noon of the tests is at 2025-06-15T15:06:40Z.
const KINDS: [Kind; 6] = [
    ("source=b", |article| article["source"] == "b"),
    ("category=health", |article| is_of(article, "health")),
    ("language=en", |article| article["language"] == "en"),
    ("sentiment=positive", |article| {
        article["sentiment"]["label"] == "positive"
    }),
    ("from=2025-06-15", |article| {
        time(article)
            >= "2025-06-15T00:00:00Z"
                .parse::<DateTime<Utc>>()
                .expect("a time")
    }),
    ("to=2025-06-15T12:06:40Z", |article| {
        time(article) < noon() - TimeDelta::hours(3)
    }),
];

async fn every_set_of_filters_leaves_what_all_of_them_name(database: TestDatabase) {
    let sources = vec![("a", every_kind("a")), ("b", every_kind("b"))];
    let origin = origin(database, sources).await;
    let all = list(&origin, "limit=100").await;
    let all = all["articles"].as_array().expect("articles");
    assert_eq!(all.len(), 36);
    for set in 0..1 << KINDS.len() {
        let asked = KINDS.iter().enumerate();
        let asked: Vec<&Kind> = asked
            .filter(|(n, _)| set >> n & 1 == 1)
            .map(|(_, kind)| kind)
            .collect();
        let expected: Vec<&Value> = all
            .iter()
            .filter(|article| asked.iter().all(|(_, leaves)| leaves(article)))
            .collect();
        let query: Vec<&str> = asked.iter().map(|(parameter, _)| *parameter).collect();
        let query = query.join("&");
        if asked.len() == 1 {
            assert!((1..36).contains(&expected.len()), "{query} tells nothing");
        }
        let page = list(&origin, &format!("{query}&limit=100")).await;
        let found: Vec<&Value> = page["articles"]
            .as_array()
            .expect("articles")
            .iter()
            .collect();
        assert_eq!(found, expected, "{query}");
        assert_eq!(page["total"], expected.len(), "{query}");
        assert_eq!(page["total_relation"], "exact", "{query}");
        assert_eq!(page["next"], Value::Null, "{query}");
    }
    let day = listed(&origin, "from=2025-06-14&to=2025-06-14&limit=100").await;
    assert_eq!(day.len(), 4, "what was published on that day: {day:?}");
    for nothing in [
        "language=is",
        "from=2025-06-16",
        "from=2025-06-15&to=2025-06-14",
    ] {
        assert_eq!(listed(&origin, nothing).await, [""; 0], "{nothing}");
    }
}

async fn pages_hold_every_article_once_in_order_whatever_the_filters_while_others_come_in(
    database: TestDatabase,
) {
    let origin = origin(database, vec![("a", every_kind("a")), ("b", Vec::new())]).await;
    let sets = [
        "language=en",
        "sentiment=positive",
        "to=2025-06-15T14:06:40Z",
        "duplicates=show",
        "category=world&language=en&sentiment=negative&source=a&from=2025-06-14&to=2025-06-15&duplicates=show",
    ];
    let mut round = 0;
    for set in sets {
        let expected = listed(&origin, &format!("{set}&limit=100")).await;
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = list(&origin, &format!("{set}&limit=2{cursor}")).await;
            found.extend(titles(&page));
            let Some(next) = page["next"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
            round += 1;
            assert!(round < 100, "pages without end");
            // Newer than all, as old as what has been read, and of all kinds.
            let newer = ["Wonderful success", "Terrible disaster"].map(|words| NewArticle {
                categories: vec![Category::World],
                ..told(&format!("new{round}"), round, words, EN)
            });
            store(&origin.articles, "a", &newer).await;
        }
        assert_eq!(found, expected, "{set}");
    }
}

/// As it was before lists had copies to filter by.
const EARLIER: [&str; 2] = [
    "DELETE FROM _sqlx_migrations WHERE version IN (9, 15); DROP INDEX articles_shared_newest_idx; \
     CREATE INDEX articles_newest_idx ON articles (published_at DESC, id DESC, source); \
     DROP TRIGGER articles_copy ON articles; DROP TRIGGER article_categories_copy ON article_categories; \
     DROP TRIGGER article_sentiments_copy ON article_sentiments; DROP INDEX articles_shared_language_idx; \
     ALTER TABLE article_categories DROP COLUMN language; \
     ALTER TABLE article_sentiments DROP COLUMN source, DROP COLUMN language, DROP COLUMN published_at; \
     CREATE INDEX article_categories_newest_idx ON article_categories (category, published_at DESC, article_id DESC, source)",
    "DELETE FROM _sqlx_migrations WHERE version IN (9, 15); DROP INDEX articles_shared_newest_idx; DROP INDEX articles_shared_url_hash_idx; \
     CREATE INDEX articles_newest_idx ON articles (published_at DESC, id DESC, source); \
     CREATE INDEX articles_url_hash_idx ON articles (url_hash); \
     DROP TRIGGER articles_copy; DROP TRIGGER article_categories_copy; DROP TRIGGER article_sentiments_copy; \
     DROP INDEX articles_shared_language_idx; DROP INDEX article_categories_shared_idx; DROP INDEX article_sentiments_shared_idx; \
     ALTER TABLE article_categories DROP COLUMN language; ALTER TABLE article_sentiments DROP COLUMN source; \
     ALTER TABLE article_sentiments DROP COLUMN language; ALTER TABLE article_sentiments DROP COLUMN published_at; \
     CREATE INDEX article_categories_newest_idx ON article_categories (category, published_at DESC, article_id DESC, source)",
];

async fn articles_of_an_earlier_schema_stand_in_filtered_lists(database: TestDatabase) {
    store(&database.articles().await, "a", &every_kind("a")).await;
    let is_postgres = database.url.starts_with("postgres");
    database.execute(EARLIER[usize::from(!is_postgres)]).await;
    let second = "INSERT INTO article_sentiments (article_id, model, version, score, label, scored_at) \
        SELECT article_id, 'older', '1', 0, 'neutral', '2020-01-01T00:00:00+00:00' FROM article_sentiments";
    database.execute(second).await;
    let articles = database.articles().await;
    for (label, expected) in [
        (Label::Positive, 2),
        (Label::Neutral, 2),
        (Label::Negative, 2),
    ] {
        let filters = Filters {
            sources: vec!["a".to_owned()],
            language: EN.map(str::to_owned),
            sentiment: Some(label),
            ..Filters::default()
        };
        for category in [None, Some(Category::General)] {
            let filters = Filters {
                category,
                ..filters.clone()
            };
            let query = PageQuery {
                filters,
                after: None,
                limit: 100,
            };
            let page = articles.page(&query).await.expect("a page");
            assert_eq!(page.total, expected, "{label:?} {category:?}");
            let shown = page.articles.iter().all(|article| {
                let sentiment = article.sentiment.as_ref();
                sentiment.is_some_and(|sentiment| sentiment.label == label)
            });
            assert!(shown, "{label:?} {category:?}");
        }
    }
    // Of what was done before an interruption, nothing stands in the way of doing it again.
    if is_postgres {
        database
            .execute("DELETE FROM _sqlx_migrations WHERE version IN (9, 10, 15)")
            .await;
        database.open().migrate().await.expect("migrations");
    }
}

/// Finds that everything sounds alike.
#[derive(Debug)]
struct Grim(ModelName);

impl Scorer for Grim {
    fn model(&self) -> &ModelName {
        &self.0
    }

    fn score(&self, _: Text<'_>) -> Result<Option<Score>, ScoreError> {
        let (value, label) = (-1.0, Label::Negative);
        Ok(Some(Score { value, label }))
    }
}

async fn what_changes_of_an_article_moves_it_from_list_to_list(database: TestDatabase) {
    let articles = database.articles().await;
    let page = async |articles: &Articles, change: fn(&mut Filters)| -> Vec<String> {
        let mut filters = Filters {
            sources: vec!["a".to_owned()],
            duplicates: true,
            ..Filters::default()
        };
        change(&mut filters);
        let query = PageQuery {
            filters,
            after: None,
            limit: 100,
        };
        let page = articles.page(&query).await.expect("a page");
        assert_eq!(page.total, i64::try_from(page.articles.len()).expect("few"));
        page.articles.into_iter().map(|found| found.url).collect()
    };
    let german: fn(&mut Filters) = |f| f.language = Some("de".to_owned());
    let german_health: fn(&mut Filters) = |f| {
        (f.category, f.language) = (Some(Category::Health), Some("de".to_owned()));
    };
    let english: fn(&mut Filters) = |f| {
        (f.category, f.language) = (Some(Category::Health), Some("en".to_owned()));
    };
    let positive: fn(&mut Filters) = |f| f.sentiment = Some(Label::Positive);
    let negative: fn(&mut Filters) = |f| {
        (f.language, f.sentiment) = (Some("en".to_owned()), Some(Label::Negative));
    };
    let grim_health: fn(&mut Filters) = |f| {
        (f.category, f.sentiment) = (Some(Category::Health), Some(Label::Negative));
    };
    let [x, y] = ["x", "y"].map(|path| format!("https://news.example/{path}"));
    let health = |path: &str, seconds, words, language| NewArticle {
        categories: vec![Category::Health],
        ..told(path, seconds, words, language)
    };

    let mut batch = [
        health("x", 0, "Wonderful success", EN),
        health("y", 60, "Wonderful success", EN),
    ];
    store(&articles, "a", &batch).await;
    assert_eq!(page(&articles, english).await, [&*y, &*x]);
    assert_eq!(page(&articles, positive).await, [&*y, &*x]);

    // Later than the other one now.
    batch[0].published_at = noon() + TimeDelta::hours(1);
    store(&articles, "a", &batch[..1]).await;
    for list in [english, positive] {
        assert_eq!(page(&articles, list).await, [&*x, &*y]);
    }
    // In other words.
    batch[0].title = "Terrible disaster x".to_owned();
    store(&articles, "a", &batch[..1]).await;
    assert_eq!(page(&articles, positive).await, [&*y]);
    assert_eq!(page(&articles, negative).await, [&*x]);
    assert_eq!(page(&articles, grim_health).await, [&*x]);
    // In another language, as its source says now. The words are the same, and so is what they sounded like.
    batch[0].language = Some("de".to_owned());
    store(&articles, "a", &batch[..1]).await;
    for list in [german, german_health] {
        assert_eq!(page(&articles, list).await, [&*x]);
    }
    assert_eq!(page(&articles, english).await, [&*y]);
    assert_eq!(page(&articles, negative).await, [""; 0]);
    // By another model.
    let name = ModelName {
        name: "grim".to_owned(),
        version: "1".to_owned(),
    };
    let articles = articles.scored_by(Arc::new(Grim(name)));
    let scored = articles.rescore(0, noon()).await.expect("scores");
    assert_eq!(scored.map(|scored| scored.scored), Some(2));
    assert_eq!(page(&articles, positive).await, [""; 0]);
    assert_eq!(page(&articles, negative).await, [&*y]);
    assert_eq!(page(&articles, grim_health).await, [&*x, &*y]);
    // What nobody has computed yet is in no language's list until it is.
    database
        .execute("UPDATE articles SET headline = NULL, language = NULL")
        .await;
    assert_eq!(page(&articles, german).await, [""; 0]);
    let titles = "UPDATE articles SET title = 'Bundestag stimmt nach langer Nacht über den Haushalt ab, und alle fahren heim'";
    database.execute(titles).await;
    while articles.catch_up(noon()).await.expect("caught up") > 0 {}
    for list in [german, german_health] {
        let found: BTreeSet<String> = page(&articles, list).await.into_iter().collect();
        assert_eq!(found, [x.clone(), y.clone()].into());
    }
}

async fn a_story_stands_in_each_list_that_has_one_who_tells_it(database: TestDatabase) {
    let headline = "Harbour plan to be drawn up for the northern district";
    let telling = |source: &str, hours: i64, language, category, words: &str| NewArticle {
        title: headline.to_owned(),
        outlet: Some(format!("Outlet {source}")),
        description: Some(words.to_owned()),
        categories: vec![category],
        ..told(source, 3600 * hours, "", language)
    };
    let (glad, sad) = ("A wonderful success", "A terrible disaster");
    let sources = vec![
        ("a", vec![telling("a", 0, EN, Category::World, glad)]),
        ("b", vec![telling("b", 1, EN, Category::Health, sad)]),
        ("c", vec![telling("c", 2, DE, Category::Health, "")]),
    ];
    let origin = origin(database, sources).await;
    let rows: [(&str, &[&str]); 11] = [
        ("", &["a"]),
        ("duplicates=hide", &["a"]),
        ("duplicates=show", &["c", "b", "a"]),
        ("language=en", &["a"]),
        ("language=de", &["c"]),
        ("category=health", &["b"]),
        ("category=health&language=de", &["c"]),
        ("sentiment=negative", &["b"]),
        ("sentiment=negative&duplicates=show", &["b"]),
        ("category=health&duplicates=show", &["c", "b"]),
        ("from=2025-06-15T15:30:00Z", &["b"]),
    ];
    for (query, expected) in rows {
        let page = list(&origin, query).await;
        let articles = page["articles"].as_array().expect("articles");
        let sources: Vec<&str> = articles
            .iter()
            .map(|article| article["source"].as_str().expect("a name"))
            .collect();
        assert_eq!(sources, expected, "{query}");
        assert_eq!(page["total"], expected.len(), "{query}");
    }
    let also = &list(&origin, "language=en").await["articles"][0]["also_at"];
    assert_eq!(
        also.as_array().map(Vec::len),
        Some(2),
        "wherever else it stands"
    );
}

fn fault(reply: &Reply) -> (String, String) {
    assert_eq!(reply.status, 400, "{:?}", reply.body);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.code(), "invalid_parameter");
    let faults = reply.json()["parameters"].clone();
    let text = |name: &str| faults[0][name].as_str().expect("text").to_owned();
    (text("name"), text("detail"))
}

async fn a_cursor_belongs_to_its_filters_and_nobody_can_make_one(database: TestDatabase) {
    let url = database.url.clone();
    let sources = vec![("a", every_kind("a")), ("b", every_kind("b"))];
    let origin = origin(database, sources).await;
    let next_of = async |query: &str| -> String {
        let page = list(&origin, query).await;
        page["next"].as_str().expect("a cursor").to_owned()
    };
    let cursor = next_of("language=en&limit=1").await;
    let second = listed(&origin, "language=en&limit=2").await.remove(1);
    for same in [
        "language=en",
        "language=en&limit=3",
        "live=true&language=en&limit=1",
        "duplicates=hide&language=en",
    ] {
        let follows = listed(&origin, &format!("{same}&cursor={cursor}")).await;
        assert_eq!(follows[0], second, "{same}");
    }
    for (other, _) in KINDS.iter().filter(|(name, _)| *name != "language=en") {
        let reply = get(
            origin.address,
            &format!("/articles?language=en&{other}&cursor={cursor}"),
        )
        .await;
        let (name, detail) = fault(&reply);
        assert!(
            detail.starts_with("belongs to another list"),
            "{other}: {detail}"
        );
        assert_eq!(name, "cursor");
    }
    for other in ["", "language=de", "language=en&duplicates=show"] {
        let (_, detail) = fault(
            &get(
                origin.address,
                &format!("/articles?{other}&cursor={cursor}"),
            )
            .await,
        );
        assert!(
            detail.starts_with("belongs to another list"),
            "{other}: {detail}"
        );
    }
    // As they were before they were signed: version, microseconds, identifier, four bytes of a digest.
    let mut unsigned = vec![1];
    unsigned.extend(noon().timestamp_micros().to_be_bytes());
    unsigned.extend([0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4]);
    let mut forged = URL_SAFE_NO_PAD.decode(&cursor).expect("base64");
    forged[16] ^= 1;
    let page = get(origin.address, "/search?q=success&limit=1")
        .await
        .json();
    let searched = page["next"].as_str().expect("a cursor");
    let forged = [
        URL_SAFE_NO_PAD.encode(unsigned),
        URL_SAFE_NO_PAD.encode(forged),
        "x".to_owned(),
        String::new(),
    ];
    for text in &forged {
        let (_, detail) = fault(
            &get(
                origin.address,
                &format!("/articles?language=en&cursor={text}"),
            )
            .await,
        );
        assert!(
            detail.contains("what an earlier answer gave as next"),
            "{text:?}: {detail}"
        );
    }
    let (_, detail) = fault(&get(origin.address, &format!("/articles?cursor={searched}")).await);
    assert!(detail.starts_with("belongs to another list"), "{detail}");
    let (_, detail) = fault(
        &get(
            origin.address,
            &format!("/search?q=success&cursor={cursor}"),
        )
        .await,
    );
    assert!(detail.starts_with("belongs to another search"), "{detail}");

    // Another replica, or this one after a restart, goes on where this one ended.
    let scripts = ["a", "b"].map(|name| Script::without_categories(name, Act::Give(Vec::new())));
    let replica = TestOrigin::with(TestDatabase::at(url), &scripts, &[]).await;
    let follows = listed(&replica, &format!("language=en&cursor={cursor}")).await;
    assert_eq!(follows[0], second);
}

async fn the_feed_reads_languages_as_lists_do(database: TestDatabase) {
    let languages = [EN, DE, Some("pt"), None];
    let batch = languages.iter().map(|language| {
        let code = language.unwrap_or("unknown");
        told(code, 0, "Written in", *language)
    });
    let source = Script::new("a", Act::Give(batch.collect()));
    let place = Place::with(database, source, &[]).await;
    assert_eq!(
        get(place.origin.address, "/articles").await.json()["total"],
        4
    );
    let (ada, bob) = (
        place.somebody("ada@example.org").await,
        place.somebody("bob@example.org").await,
    );
    let prefer = async |codes: Value| {
        let (target, fields) = (
            "/me/preferences/feed.languages",
            [("authorization", ada.as_str())],
        );
        let set = crate::support::http::send_json(
            place.origin.address,
            hyper::Method::PUT,
            target,
            &fields,
            &codes,
        );
        set.await.status.as_u16()
    };
    let read = async || -> BTreeSet<String> {
        let page = place.get(&ada, "/me/feed").await.json();
        let titles = titles(&page).into_iter();
        titles
            .map(|title| title.replace("Written in ", ""))
            .collect()
    };
    let rows: [(Value, &[&str]); 7] = [
        (json!([]), &["de", "en", "pt", "unknown"]),
        (json!(["de"]), &["de", "unknown"]),
        (json!([" EN "]), &["en", "unknown"]),
        (json!(["en-GB"]), &["en", "unknown"]),
        (json!(["deu"]), &["de", "unknown"]),
        (json!(["pt-BR", "EN"]), &["en", "pt", "unknown"]),
        (json!(["is"]), &["unknown"]),
    ];
    for (codes, expected) in rows {
        assert!([200, 201].contains(&prefer(codes.clone()).await), "{codes}");
        let expected: BTreeSet<String> = expected.iter().map(|code| (*code).to_owned()).collect();
        assert_eq!(read().await, expected, "{codes}");
    }
    for nonsense in ["english", "xqx", "12", "é"] {
        assert_eq!(prefer(json!([nonsense])).await, 422, "{nonsense}");
    }
    // A list by language is the stricter one: it holds no article of which nobody knows.
    assert_eq!(
        get(place.origin.address, "/articles?language=de")
            .await
            .json()["total"],
        1
    );

    // Nobody goes on where somebody else stopped reading, or where a list did.
    assert!([200, 201].contains(&prefer(json!([])).await));
    let page = place.get(&ada, "/me/feed?limit=1").await.json();
    let cursor = page["next"].as_str().expect("a cursor");
    assert_eq!(
        place
            .get(&ada, &format!("/me/feed?limit=3&cursor={cursor}"))
            .await
            .status,
        200
    );
    let refused = place.get(&bob, &format!("/me/feed?cursor={cursor}")).await;
    assert!(fault(&refused).1.starts_with("belongs to another feed"));
    let refused = get(place.origin.address, &format!("/articles?cursor={cursor}")).await;
    assert!(fault(&refused).1.starts_with("belongs to another list"));
    let page = get(place.origin.address, "/articles?limit=1").await.json();
    let cursor = page["next"].as_str().expect("a cursor");
    let refused = place.get(&ada, &format!("/me/feed?cursor={cursor}")).await;
    assert!(fault(&refused).1.starts_with("belongs to another feed"));
}

#[tokio::test]
async fn all_bad_values_are_named_at_once() {
    let origin = TestOrigin::start(&[Script::new("a", Act::Give(vec![article("x", 0)]))]).await;
    let query = "language=english&from=yesterday&to=2026-02-30&sentiment=glad&duplicates=yes&category=x&source=x&colour=red&limit=5&limit=5";
    let reply = get(origin.address, &format!("/articles?{query}")).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (400, "invalid_parameter")
    );
    let body = reply.json();
    let faults = body["parameters"].as_array().expect("faults").iter();
    let names: BTreeSet<&str> = faults
        .map(|fault| fault["name"].as_str().expect("a name"))
        .collect();
    let all = [
        "category",
        "colour",
        "duplicates",
        "from",
        "language",
        "limit",
        "sentiment",
        "source",
        "to",
    ];
    assert_eq!(names, all.into());
}

#[tokio::test]
async fn a_filtered_list_is_kept_and_voided_as_every_list_is() {
    let origin = TestOrigin::start(&[Script::new("a", Act::Give(every_kind("a")))]).await;
    let all = get(origin.address, "/articles").await;
    let target =
        "/articles?language=en&sentiment=positive&from=2025-06-01&to=2025-06-30&duplicates=show";
    let reply = get(origin.address, target).await;
    for name in ["cache-control", "cdn-cache-control", "cache-groups"] {
        assert_eq!(reply.header(name), all.header(name), "{name}");
    }
    assert_eq!(
        reply.header("cache-groups"),
        "\"category:any\", \"list\", \"source:a\""
    );
    for article in reply.json()["articles"].as_array().expect("articles") {
        let tag = format!("article:{}", article["id"]);
        assert!(
            reply
                .header("cache-tag")
                .split(", ")
                .any(|other| other == tag),
            "{tag}"
        );
    }
    assert!(!reply.header("last-modified").is_empty());
    let again = get_with(
        origin.address,
        target,
        &[("if-none-match", reply.header("etag"))],
    )
    .await;
    assert_eq!(again.status, 304);
    assert_ne!(reply.header("etag"), all.header("etag"));
    let of_category = get(origin.address, "/articles?category=health&language=en").await;
    assert_eq!(
        of_category.header("cache-groups"),
        "\"category:health\", \"list\", \"source:a\""
    );
}

#[tokio::test]
async fn the_page_filters_by_language_and_tone_without_a_script() {
    let origin = TestOrigin::start(&[Script::new("a", Act::Give(every_kind("a")))]).await;
    let page = get(
        origin.address,
        "/?q=&category=&source=&language=en&sentiment=negative",
    )
    .await;
    assert_eq!(page.status, 200);
    let html = String::from_utf8_lossy(&page.body).into_owned();
    for expected in [
        "<label for=\"language\">Language</label>",
        "<label for=\"sentiment\">Tone</label>",
        "<option value=\"en\" selected>English</option>",
        "<option value=\"negative\" selected>negative</option>",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
    assert_eq!(html.matches("Terrible disaster").count(), 2);
    assert!(!html.contains("Wonderful success"));
    let refused = get(origin.address, "/?language=english").await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("content-type")),
        (400, "text/html; charset=utf-8")
    );
}
