//! How much one client may ask for, and who counts as one.

use crate::support::database::TestDatabase;
use crate::support::http::{get, get_with};
use crate::support::news::{Act, Script};
use crate::support::origin::TestOrigin;

async fn origin(settings: &[(&str, &str)]) -> TestOrigin {
    TestOrigin::with(
        TestDatabase::sqlite().await,
        &[Script::new("a", Act::Give(vec![]))],
        settings,
    )
    .await
}

async fn status_for(origin: &TestOrigin, forwarded_for: &str) -> u16 {
    get_with(
        origin.address,
        "/status",
        &[("x-forwarded-for", forwarded_for)],
    )
    .await
    .status
    .as_u16()
}

#[tokio::test]
async fn a_client_that_asks_too_much_is_told_when_to_come_back() {
    let origin = origin(&[("ORIGIN_RATE_LIMIT", "3")]).await;
    for _ in 0..3 {
        assert_eq!(get(origin.address, "/status").await.status, 200);
    }
    let refused = get(origin.address, "/status").await;
    assert_eq!(
        (refused.status.as_u16(), refused.code().as_str()),
        (429, "rate_limited")
    );
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(
        (
            refused.header("content-type"),
            refused.header("cache-control")
        ),
        ("application/problem+json", "no-store")
    );
    assert!(refused.header("x-process-time").ends_with("ms"));
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(
            get(origin.address, path).await.status,
            200,
            "{path} is never refused"
        );
    }
}

#[tokio::test]
async fn without_trust_a_client_cannot_pretend_to_be_many() {
    let origin = origin(&[("ORIGIN_RATE_LIMIT", "2")]).await;
    assert_eq!(status_for(&origin, "198.51.100.1").await, 200);
    assert_eq!(status_for(&origin, "198.51.100.2").await, 200);
    assert_eq!(status_for(&origin, "198.51.100.3").await, 429);
}

#[tokio::test]
async fn behind_a_trusted_proxy_clients_are_counted_apart_and_the_proxy_itself_is_not() {
    let origin = origin(&[
        ("ORIGIN_RATE_LIMIT", "1"),
        ("ORIGIN_TRUSTED_PROXIES", "127.0.0.0/8"),
    ])
    .await;
    assert_eq!(status_for(&origin, "198.51.100.1").await, 200);
    assert_eq!(status_for(&origin, "198.51.100.2").await, 200);
    assert_eq!(status_for(&origin, "6.6.6.6, 198.51.100.1").await, 429);
    for _ in 0..5 {
        assert_eq!(get(origin.address, "/status").await.status, 200);
    }
}

#[tokio::test]
async fn zero_sets_no_limit() {
    let origin = origin(&[("ORIGIN_RATE_LIMIT", "0")]).await;
    for _ in 0..50 {
        assert_eq!(get(origin.address, "/status").await.status, 200);
    }
}
