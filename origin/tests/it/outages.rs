//! PostgreSQL goes away and comes back.

use crate::support::cache::TestCache;
use crate::support::database::TestDatabase;
use crate::support::gate::{Gate, Pace, To};
use crate::support::http::{Reply, get, send_json};
use crate::support::news::{Act, Script, article, noon};
use crate::support::origin::TestOrigin;
use crate::support::postgres::Postgres;
use crate::support::until;
use hyper::Method;
use larder_origin::articles::{Answer, Articles};
use larder_origin::database::DatabaseError;
use larder_origin::outbox::{Dispatcher, Outbox};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_is_told_and_survived() {
    let postgres = Postgres::start();
    let database = TestDatabase::at(postgres.database().await);
    let origin = TestOrigin::with(
        database,
        &[Script::new("a", Act::Give(vec![article("x", 0)]))],
        &[],
    )
    .await;
    let status = async |path: &str| get(origin.address, path).await.status.as_u16();
    assert_eq!(status("/articles").await, 200);
    assert_eq!(status("/health/ready").await, 200);

    postgres.stop();
    until("the outage is noticed", || async {
        status("/articles").await == 503
    })
    .await;
    for path in [
        "/articles",
        "/articles?live=true",
        "/articles/1",
        "/sources",
    ] {
        let reply = get(origin.address, path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (503, "database_unavailable"),
            "{path}"
        );
        assert_eq!(
            (reply.header("content-type"), reply.header("cache-control")),
            ("application/problem+json", "no-store")
        );
        assert!(!reply.header("retry-after").is_empty(), "{path}");
    }
    let ready = get(origin.address, "/health/ready").await;
    assert_eq!(
        (ready.status.as_u16(), ready.code().as_str()),
        (503, "not_ready")
    );
    assert_eq!(status("/health/live").await, 200);
    assert_eq!(status("/status").await, 200);

    postgres.start_again();
    until("the database is used again", || async {
        status("/health/ready").await == 200
    })
    .await;
    let reply = get(origin.address, "/articles").await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["total"].as_i64()),
        (200, Some(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_in_the_middle_of_a_statement_is_not_waited_for() {
    use sqlx::{ConnectOptions, Row};
    let postgres = Postgres::start();
    let url = postgres.database().await;
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    let origin = TestOrigin::with(
        TestDatabase::at(url),
        &[Script::new("a", Act::Give(vec![article("x", 0)]))],
        &[],
    )
    .await;
    assert_eq!(get(origin.address, "/articles").await.status, 200);
    // A lock keeps the statement under way until the server is frozen.
    let mut locker = options.connect().await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE articles IN ACCESS EXCLUSIVE MODE")
        .execute(&mut locker)
        .await
        .expect("a lock");
    let address = origin.address;
    let waiting = tokio::spawn(async move { get(address, "/articles/1").await });
    let locker = tokio::sync::Mutex::new(locker);
    until("the statement waits", || async {
        let waiters = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let row = sqlx::query(waiters)
            .fetch_one(&mut *locker.lock().await)
            .await;
        row.expect("a count").get::<i64, _>(0) > 0
    })
    .await;
    postgres.freeze();
    let reply = tokio::time::timeout(Duration::from_secs(15), waiting).await;
    postgres.thaw();
    let reply = reply.expect("an answer in time").expect("a reply");
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "database_unavailable")
    );
    drop(locker);
    until("the database is used again", || async {
        get(origin.address, "/articles/1").await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_storing_leaves_nothing_half_written_and_what_was_queued_is_told()
{
    use sqlx::{ConnectOptions, Row};
    let postgres = Postgres::start();
    let url = postgres.database().await;
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    let database = TestDatabase::at(url);
    let pool = database.migrated().await;
    let (outbox, cache) = (Outbox::new(&pool), TestCache::well());
    let articles = Arc::new(Articles::with_outbox(&pool, outbox.clone()));
    let store = |path: &'static str| {
        let articles = Arc::clone(&articles);
        async move {
            let answer = Answer {
                source: "a",
                category: None,
                by_category: true,
                outcome: "ok",
                articles: &[article(path, 0)],
                asked_at: noon(),
                stored_at: noon(),
                ask_again_at: noon(),
            };
            articles.store(&answer).await
        }
    };
    store("first").await.expect("stored");
    store("second").await.expect("stored");
    let waiting = outbox.waiting().await.expect("a count");

    // A lock stops the third transaction when its article is written and its categories are not.
    let mut locker = options.connect().await.expect("a connection");
    sqlx::raw_sql("BEGIN; LOCK TABLE article_categories IN ACCESS EXCLUSIVE MODE")
        .execute(&mut locker)
        .await
        .expect("a lock");
    let storing = tokio::spawn(store("third"));
    let locker = tokio::sync::Mutex::new(locker);
    until("the transaction waits", || async {
        let waiters = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let row = sqlx::query(waiters)
            .fetch_one(&mut *locker.lock().await)
            .await;
        row.expect("a count").get::<i64, _>(0) > 0
    })
    .await;
    postgres.stop();
    let failed = storing.await.expect("no panic");
    assert!(
        matches!(failed, Err(DatabaseError::Unavailable(_))),
        "{failed:?}"
    );
    postgres.start_again();
    until("the database is back", || async {
        pool.ping().await.is_ok()
    })
    .await;
    assert_eq!(
        articles.counts(&["a"]).await.expect("counts"),
        [("a".to_owned(), 2)]
    );
    assert_eq!(outbox.waiting().await.expect("a count"), waiting);

    cache.refuse(true);
    let dispatcher = tokio::spawn(Dispatcher::new(&outbox, cache.clone()).run(chrono::Utc::now));
    until("the cache refuses", || async { cache.asked() > 0 }).await;
    postgres.stop();
    cache.refuse(false);
    postgres.start_again();
    until("all is told", || async {
        outbox.waiting().await.is_ok_and(|waiting| waiting == 0)
    })
    .await;
    assert!(cache.told().iter().any(|tags| tags.contains("list")));
    dispatcher.abort();
}

/// An origin whose way to PostgreSQL leads through a gate; and a way beside it.
struct Behind {
    origin: TestOrigin,
    gate: Gate,
    beside: TestDatabase,
}

impl Behind {
    async fn a_gate() -> Self {
        let postgres = Postgres::shared();
        let direct = postgres.database().await;
        let (_, name) = direct.split_once("localhost/").expect("a database URL");
        let (name, _) = name.split_once('?').expect("a query");
        let gate = Gate::leading(To::Unix(postgres.socket())).await;
        let url = format!("postgres://larder@{}/{name}?sslmode=disable", gate.address);
        let source = Script::new("a", Act::Give(vec![article("x", 0)]));
        // Few connections: a reader takes one that another has left, whatever has become of it.
        let settings = [("ORIGIN_DATABASE_CONNECTIONS_MAX", "3")];
        let origin = TestOrigin::with(TestDatabase::at(url), &[source], &settings).await;
        assert_eq!(get(origin.address, "/articles").await.status, 200);
        Self {
            origin,
            gate,
            beside: TestDatabase::at(direct),
        }
    }

    async fn post(&self) -> Reply {
        let message = serde_json::json!({"text": "hello", "author": "somebody"});
        let address = self.origin.address;
        send_json(address, Method::POST, "/messages", &[], &message).await
    }

    /// Reads and writes at once; each is refused within its time.
    async fn all_is_refused(&self) {
        let begun = Instant::now();
        let address = self.origin.address;
        let (list, one, search, post) = tokio::join!(
            get(address, "/articles"),
            get(address, "/articles/1"),
            get(address, "/search?q=description"),
            self.post(),
        );
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(30), "{took:?}");
        for (what, reply) in [
            ("list", list),
            ("one", one),
            ("search", search),
            ("post", post),
        ] {
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (503, "database_unavailable"),
                "{what}"
            );
            assert!(!reply.header("retry-after").is_empty(), "{what}");
            assert_eq!(reply.header("cache-control"), "no-store", "{what}");
        }
        assert_eq!(get(address, "/health/ready").await.status, 503);
        assert_eq!(get(address, "/health/live").await.status, 200);
    }

    /// All is well again by itself, and each message is there whole or not at all.
    async fn all_is_well_again(&self) {
        let address = self.origin.address;
        until("the database is used again", || async {
            get(address, "/health/ready").await.status == 200
        })
        .await;
        let list = get(address, "/articles").await;
        assert_eq!(
            (list.status.as_u16(), &list.json()["total"]),
            (200, &1.into())
        );
        let before = self.beside.count("SELECT count(*) FROM messages").await;
        assert_eq!(self.post().await.status, 201);
        let after = self.beside.count("SELECT count(*) FROM messages").await;
        assert_eq!((before, after), (0, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_slow_is_waited_for() {
    let behind = Behind::a_gate().await;
    behind.gate.pace(Pace::Slow {
        wait: Duration::from_millis(50),
        bytes_max: 16 * 1024,
    });
    let address = behind.origin.address;
    for path in [
        "/articles",
        "/articles/1",
        "/search?q=description",
        "/sources",
    ] {
        assert_eq!(get(address, path).await.status, 200, "{path}");
    }
    behind.all_is_well_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_answers_by_the_byte_is_not_waited_for() {
    let behind = Behind::a_gate().await;
    behind.gate.pace(Pace::Slow {
        wait: Duration::from_millis(500),
        bytes_max: 1,
    });
    behind.all_is_refused().await;
    behind.gate.pace(Pace::Free);
    behind.all_is_well_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_stall_are_given_up_and_replaced() {
    let behind = Behind::a_gate().await;
    behind.gate.pace(Pace::Stalled);
    behind.all_is_refused().await;
    behind.gate.pace(Pace::Free);
    behind.all_is_well_again().await;
}
