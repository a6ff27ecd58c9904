//! PostgreSQL goes away and comes back.

use crate::support::database::TestDatabase;
use crate::support::http::get;
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use crate::support::postgres::Postgres;
use crate::support::until;

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
