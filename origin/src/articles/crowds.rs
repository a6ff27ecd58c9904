//! On SQLite, what everybody reads costs as many steps, or nearly, with a crowd of users' own articles in store as without: they are counted, not
//! timed. On PostgreSQL the tests from outside count what is read.

use super::filters::Filters;
use super::lists::{page, total_of};
use super::statements::SQLITE;
use crate::article::Category;
use crate::database::{Dialect, SQLITE_MIGRATIONS};
use crate::sentiment::Label;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Connection, Row, SqliteConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Articles with the numbers from $1 to $2, an hour apart, each later than the one before, of two sources whose names begin with $3.
const STORE: &str = "WITH RECURSIVE numbers (n) AS (SELECT $1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $2) \
    INSERT INTO articles (source, title, url, url_canonical, url_hash, published_at, fetched_at, updated_at, listed_at, language, headline) \
    SELECT $3 || (n % 2), 'Parliament', n, n, printf('%064d', n), strftime('%Y-%m-%dT%H:%M:%S+00:00', n * 3600, 'unixepoch'), \
        '2025', '2025', '2025', 'en', 'parliament' FROM numbers";
const CATEGORIES: &str = "INSERT INTO article_categories (article_id, category, source, published_at) \
    SELECT id, 'general', source, published_at FROM articles WHERE id > $1";
const SENTIMENTS: &str = "INSERT INTO article_sentiments (article_id, model, version, score, label, scored_at) \
    SELECT id, 'm', '1', 0, 'neutral', '2025' FROM articles WHERE id > $1";
const SHARED: i64 = 100;
const CROWD: i64 = 50_000;

async fn store(database: &mut SqliteConnection, from: i64, to: i64, source: &str) {
    let mut tx = database.begin().await.expect("a transaction");
    let stored = sqlx::query(STORE).bind(from).bind(to).bind(source);
    stored.execute(&mut *tx).await.expect("articles");
    for beside in [CATEGORIES, SENTIMENTS] {
        let stored = sqlx::query(beside).bind(from - 1).execute(&mut *tx).await;
        stored.expect("what stands beside them");
    }
    tx.commit().await.expect("a commit");
}

/// Steps of the virtual machine, and rows.
async fn steps(
    database: &mut SqliteConnection,
    sql: &str,
    arguments: SqliteArguments,
) -> (u64, usize) {
    let steps = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&steps);
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        true
    };
    let mut handle = database.lock_handle().await.expect("a handle");
    handle.set_progress_handler(1, count);
    drop(handle);
    let asked = sqlx::query_with(AssertSqlSafe(sql.to_owned()), arguments);
    let rows = asked.fetch_all(&mut *database).await.expect("rows");
    let mut handle = database.lock_handle().await.expect("a handle");
    handle.remove_progress_handler();
    (steps.load(Ordering::Relaxed), rows.len())
}

fn lists() -> Vec<Filters> {
    let changes: [fn(&mut Filters); 7] = [
        |_| (),
        |f| f.duplicates = true,
        |f| f.sources.truncate(1),
        |f| f.language = Some("en".to_owned()),
        |f| f.category = Some(Category::General),
        |f| f.sentiment = Some(Label::Neutral),
        |f| (f.category, f.sentiment) = (Some(Category::General), Some(Label::Neutral)),
    ];
    let lists = changes.into_iter().map(|change| {
        let mut filters = Filters {
            sources: vec!["a0".to_owned(), "a1".to_owned()],
            ..Filters::default()
        };
        change(&mut filters);
        filters
    });
    lists.collect()
}

macro_rules! arguments {
    ($($value:expr),+ $(,)?) => {{
        let mut arguments = SqliteArguments::default();
        $(arguments.add($value).expect("an argument");)+
        arguments
    }};
}

/// What everybody reads, and what a reader with no source of their own does, each with what it is asked with.
fn statements() -> Vec<(String, SqliteArguments)> {
    let mut statements = Vec::new();
    for filters in lists() {
        let sources = serde_json::to_string(&filters.sources).expect("JSON");
        for (sql, rows_max) in [
            (page(Dialect::Sqlite, &filters), 21),
            (total_of(Dialect::Sqlite, &filters), 10_001),
        ] {
            let asked = arguments!(
                sources.clone(),
                filters.sources.first().cloned(),
                filters.category.map(Category::as_str),
                filters.language.clone(),
                filters.sentiment.map(Label::as_str),
                "0001",
                "9999",
                "9999",
                i64::MAX,
                rows_max,
            );
            statements.push((sql, asked));
        }
    }
    let sources = r#"["a0","a1"]"#;
    let selected = arguments!(sources, r#"["general"]"#, "9999", i64::MAX, 21, 1);
    statements.push((SQLITE.selected.to_owned(), selected));
    statements.push((SQLITE.counts.to_owned(), arguments!(sources)));
    statements
}

#[tokio::test]
async fn what_everybody_reads_costs_no_more_for_what_users_add() {
    let database = SqliteConnection::connect("sqlite::memory:").await;
    let mut database = database.expect("a database");
    let migrated = SQLITE_MIGRATIONS.run(&mut database).await;
    migrated.expect("the schema");
    store(&mut database, 1, SHARED, "a").await;
    let mut alone = Vec::new();
    for (sql, asked) in statements() {
        alone.push(steps(&mut database, &sql, asked).await);
    }
    assert!(
        alone.iter().all(|(steps, rows)| *steps > 0 && *rows > 0),
        "{alone:?}"
    );
    // The newest of all.
    store(&mut database, SHARED + 1, SHARED + CROWD, "user-feed:").await;
    let stored = sqlx::query("SELECT count(*) FROM articles").fetch_one(&mut database);
    let stored: i64 = stored.await.expect("a row").get(0);
    assert_eq!(stored, SHARED + CROWD);
    for ((sql, asked), (alone, rows)) in statements().into_iter().zip(alone) {
        let (crowded, found) = steps(&mut database, &sql, asked).await;
        assert_eq!(found, rows, "{sql}");
        // The end of a table is found in fewer steps than the next row of another article.
        assert!(crowded <= alone + alone / 10, "{alone} {crowded}: {sql}");
    }
}
