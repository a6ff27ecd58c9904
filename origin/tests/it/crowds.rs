//! However much users add for themselves, nobody else walks over it. What is read is counted, not timed: here on PostgreSQL, which tells
//! it; on SQLite beside the statements (`articles/crowds.rs`).

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::news::{article, store};
use crate::support::until;
use larder_origin::article::{Category, NewArticle};
use larder_origin::articles::{Article, Articles, PageQuery, Position, Selection};
use larder_origin::search::{Filters, Order, Question, Search, Terms};
use larder_origin::sentiment::Label;

on_both_databases!(
    a_reader_finds_own_articles_and_everybodys_in_one_order,
    what_is_one_persons_own_is_in_no_list_whoever_asks,
);

const OWN: &str = "user-feed:0123456789abcdef0123456789abcdef";
const ANOTHERS: &str = "user-feed:fedcba9876543210fedcba9876543210";
const READER: &str = "INSERT INTO users (email, name, password_hash, created_at) \
    VALUES ('ada@news.example', 'ada', 'x', '2020-01-01T00:00:00+00:00'); \
    INSERT INTO user_feeds (user_id, url, url_hash, source, added_at) SELECT id, 'https://own.example/', \
    '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'user-feed:0123456789abcdef0123456789abcdef', \
    '2020-01-01T00:00:00+00:00' FROM users";

/// The newest of all, of a hundred readers: in English, neutral and of one category, four hours apart, a thousand weeks of them. Without triggers, which
/// would take their time.
const CROWD: &str = "SET session_replication_role = replica; \
    INSERT INTO articles (source, title, url, url_canonical, url_hash, published_at, fetched_at, updated_at, listed_at, language, \
        headline, filters) \
    SELECT 'user-feed:' || md5(CAST(n % 100 AS text)), 'Parliament ' || n, 'u' || n, 'u' || n, repeat(md5(CAST(n AS text)), 2), \
        timestamptz '2025-06-16 00:00:00+00' + n * interval '4 hours', now(), now(), now(), 'en', 'crowd', '{general,neutral}' \
    FROM generate_series(1, 50000) AS n; \
    INSERT INTO article_categories (article_id, category, source, published_at, language) \
    SELECT id, 'general', source, published_at, language FROM articles WHERE headline = 'crowd'; \
    INSERT INTO article_sentiments (article_id, model, version, score, label, scored_at, source, published_at, language) \
    SELECT id, 'm', '1', 0, 'neutral', now(), source, published_at, language FROM articles WHERE headline = 'crowd'; \
    ANALYZE";
/// Rows of tables and entries of indexes that any session has read.
const READ: &str = "SELECT CAST((SELECT sum(seq_tup_read) FROM pg_stat_user_tables) \
    + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) AS bigint)";
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
/// Of everybody's, fifty articles of two sources each.
const SHARED: i64 = 100;

/// Too short to be alike, and a minute apart.
fn plain(source: &str, from: i64, step: usize) -> Vec<NewArticle> {
    let numbers = (from..from + 50).step_by(step);
    let plain = |n: i64| NewArticle {
        title: format!("Parliament {source}{n}"),
        description: None,
        language: Some("en".to_owned()),
        ..article(&format!("{source}/{n}"), -60 * n)
    };
    numbers.map(plain).collect()
}

fn filters(change: impl FnOnce(&mut Filters)) -> Filters {
    let mut filters = Filters {
        sources: vec!["a".to_owned(), "b".to_owned()],
        ..Filters::default()
    };
    change(&mut filters);
    filters
}

fn lists() -> [Filters; 8] {
    let english = || Some("en".to_owned());
    [
        filters(|_| ()),
        filters(|f| f.duplicates = true),
        filters(|f| f.sources.truncate(1)),
        filters(|f| f.language = english()),
        filters(|f| f.category = Some(Category::General)),
        filters(|f| f.sentiment = Some(Label::Neutral)),
        filters(|f| (f.category, f.language) = (Some(Category::General), english())),
        filters(|f| (f.category, f.sentiment) = (Some(Category::General), Some(Label::Neutral))),
    ]
}

/// What is read for one answer.
async fn read_for(database: &TestDatabase, answer: impl AsyncFnOnce(&Articles, &Search)) -> i64 {
    let before = database.count(READ).await;
    let pool = database.open();
    answer(&Articles::new(&pool), &Search::new(&pool)).await;
    pool.close().await;
    // Sessions tell what they did when they end.
    until("the sessions have ended", || async {
        database.count(SESSIONS).await == 1
    })
    .await;
    database.count(READ).await - before
}

async fn crowded() -> TestDatabase {
    let database = TestDatabase::postgres().await;
    let pool = database.migrated().await;
    let articles = Articles::new(&pool);
    for source in ["a", "b", OWN] {
        store(&articles, source, &plain(source, 0, 1)).await;
    }
    pool.close().await;
    database.execute(READER).await;
    database.execute(CROWD).await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn what_users_add_is_walked_over_by_nobody_else() {
    let database = crowded().await;
    lists_walk_over_nobodys_own(&database).await;
    searches_counts_and_feeds_walk_over_nobodys_own(&database).await;
}

async fn lists_walk_over_nobodys_own(database: &TestDatabase) {
    for filters in lists() {
        let query = PageQuery {
            filters,
            after: None,
            limit: 20,
        };
        let read = read_for(database, async |articles, _| {
            let page = articles.page(&query).await.expect("a page");
            assert_eq!(page.articles.len(), 20);
            let all = SHARED
                / if query.filters.sources.len() == 1 {
                    2
                } else {
                    1
                };
            assert_eq!(page.total, all);
        })
        .await;
        // For each article of either statement: its entry, itself, its story, its categories and its tone.
        assert!(read <= 10 * SHARED, "{read} for {query:?}");
    }
}

async fn searches_counts_and_feeds_walk_over_nobodys_own(database: &TestDatabase) {
    let question = Question {
        terms: Terms::parse("parliament"),
        filters: filters(|_| ()),
        order: Order::Newest,
        place: None,
        is_corrected: false,
        limit: 20,
    };
    let searched = read_for(database, async |_, search| {
        let found = search.find(&question).await.expect("an answer");
        assert_eq!(found.hits.len(), 20);
    });
    let searched = searched.await;
    let counted = read_for(database, async |articles, _| {
        let mut counts = articles.counts(&["a", "b", "c"]).await.expect("counts");
        counts.sort();
        assert_eq!(
            counts,
            [("a", 50), ("b", 50), ("c", 0)].map(|(name, count)| (name.to_owned(), count))
        );
    });
    let counted = counted.await;
    let (sources, categories) = (["a", "b", OWN].map(str::to_owned), [Category::General]);
    let selection = Selection {
        sources: &sources,
        reader: Some(1),
        categories: &categories,
        after: None,
        limit: 100,
    };
    let selected = read_for(database, async |articles, _| {
        let selected = articles.selected(&selection).await.expect("a selection");
        assert_eq!(selected.len(), 100);
    });
    let selected = selected.await;
    // A feed is found, and then shown with all that stands beside it.
    for (read, each_max) in [(searched, 10), (counted, 2), (selected, 20)] {
        assert!(
            read <= each_max * SHARED,
            "{searched} searched, {counted} counted, {selected} selected"
        );
    }
}

async fn a_reader_finds_own_articles_and_everybodys_in_one_order(database: TestDatabase) {
    let articles = database.articles().await;
    database.execute(READER).await;
    // Every other one's is later, and another reader's are the latest of all.
    for (source, from) in [("a", 0), (OWN, 1), (ANOTHERS, -50)] {
        store(&articles, source, &plain(source, from, 2)).await;
    }
    let expected: Vec<String> = (0..50)
        .map(|n| {
            let source = if n % 2 == 0 { "a" } else { OWN };
            format!("Parliament {source}{n}")
        })
        .collect();
    let read = async |sources: &[&str], limit| -> Vec<String> {
        let sources: Vec<String> = sources.iter().map(|name| (*name).to_owned()).collect();
        let (mut titles, mut after) = (Vec::new(), None);
        loop {
            let selection = Selection {
                sources: &sources,
                reader: Some(1),
                categories: &[],
                after,
                limit,
            };
            let page = articles.selected(&selection).await.expect("a page");
            let Some(last) = page.last() else {
                return titles;
            };
            assert!(page.len() <= usize::from(limit));
            let (published_at, id) = (last.published_at, last.id);
            after = Some(Position { published_at, id });
            titles.extend(page.into_iter().map(|article| article.title));
        }
    };
    for limit in [7, 100] {
        assert_eq!(read(&["a", OWN], limit).await, expected, "by {limit}");
    }
    let halves = |own: bool| -> Vec<String> {
        let half = expected.iter().skip(usize::from(own)).step_by(2);
        half.cloned().collect()
    };
    assert_eq!(read(&["a"], 7).await, halves(false));
    assert_eq!(read(&[OWN], 7).await, halves(true));
    // Of what others have added, nothing, whoever names it.
    assert_eq!(read(&["a", OWN, ANOTHERS], 100).await, expected);
}

async fn what_is_one_persons_own_is_in_no_list_whoever_asks(database: TestDatabase) {
    let articles = database.articles().await;
    for source in ["a", OWN] {
        store(&articles, source, &plain(source, 0, 1)).await;
    }
    for mut filters in lists() {
        for (sources, expected) in [(vec!["a", OWN], 50), (vec![OWN], 0)] {
            filters.sources = sources.into_iter().map(str::to_owned).collect();
            let query = PageQuery {
                filters: filters.clone(),
                after: None,
                limit: 100,
            };
            let page = articles.page(&query).await.expect("a page");
            assert_eq!(page.total, expected, "{query:?}");
            let is_shared = |article: &Article| article.source == "a";
            assert!(page.articles.iter().all(is_shared), "{query:?}");
        }
    }
}

/// Whatever broke it off: after its first step, with some of what it makes, or at its very end.
#[tokio::test(flavor = "multi_thread")]
async fn the_indexes_of_lists_are_made_though_it_was_interrupted() {
    const INDEXES: &str = "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%user-feed:%' AND indexname LIKE '%shared%'";
    const EARLIER: &str = "SELECT count(*) FROM pg_indexes WHERE indexname IN ('articles_newest_idx', \
        'articles_language_newest_idx', 'articles_url_hash_idx', 'article_categories_listed_idx', 'article_sentiments_listed_idx')";
    const UNDONE: [&str; 3] = [
        "DELETE FROM _sqlx_migrations WHERE version = 15",
        "DELETE FROM _sqlx_migrations WHERE version = 15; DROP INDEX article_categories_shared_idx, article_sentiments_shared_idx; \
         CREATE INDEX article_categories_listed_idx ON article_categories (category, published_at DESC, article_id DESC, source, language); \
         CREATE INDEX article_sentiments_listed_idx ON article_sentiments (label, published_at DESC, article_id DESC, source, language)",
        "DELETE FROM _sqlx_migrations WHERE version = 15; DROP INDEX articles_shared_newest_idx; \
         CREATE INDEX articles_newest_idx ON articles (published_at DESC, id DESC, source)",
    ];
    let database = TestDatabase::postgres().await;
    database.migrated().await;
    for undone in UNDONE {
        database.execute(undone).await;
        database.migrated().await;
        let found = (database.count(INDEXES).await, database.count(EARLIER).await);
        assert_eq!(found, (5, 0), "{undone}");
    }
}
