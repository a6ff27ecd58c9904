//! Reddit as a source, over the simulation: tokens, pages, and what each failure costs.

use super::support::Built;
use chrono::{DateTime, TimeDelta, Utc};
use larder_origin::discipline::Purpose;
use larder_origin::reddit::RedditSettings;
use larder_origin::secret::Secret;
use larder_origin::sim::{Behaviour, Simulation, Upstream};
use larder_origin::source::{Batch, Query, SourceError, SourceSettings};
use reqwest::header::HeaderValue;
use std::time::Duration;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a date")
}

struct Reddit {
    simulation: Simulation,
    built: Built,
}

impl Reddit {
    async fn start(
        subreddits: &[&str],
        client: (&str, Option<&str>),
        behaviour: Behaviour,
    ) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let simulation = Simulation::start(listen, behaviour)
            .await
            .expect("a free port");
        let settings = SourceSettings {
            reddit: Some(RedditSettings {
                client_id: client.0.to_owned(),
                client_secret: client.1.and_then(Secret::new),
                redirect_uri: simulation.url("/callback"),
                user_agent: HeaderValue::from_static("linux:test:1 (by /u/tester)"),
                www: simulation.url("/"),
                api: simulation.url("/"),
            }),
            subreddits: subreddits.iter().map(|name| (*name).to_owned()).collect(),
            timeout: Duration::from_secs(20),
            ..SourceSettings::default()
        };
        let built = Built::new(&settings).await;
        Self { simulation, built }
    }

    async fn usual(subreddits: &[&str]) -> Self {
        Self::start(
            subreddits,
            ("sim", Some("sim-secret")),
            Behaviour::default(),
        )
        .await
    }

    async fn fetch(&self, seconds: i64) -> Result<Batch, SourceError> {
        let query = Query {
            category: None,
            articles_max: 100,
            purpose: Purpose::Live,
        };
        self.built[0]
            .fetch(query, now() + TimeDelta::seconds(seconds))
            .await
    }

    fn asked(&self, path: &str) -> u64 {
        self.simulation.counts().get(path).copied().unwrap_or(0)
    }
}

#[tokio::test]
async fn all_pages_of_all_subreddits_are_read_with_one_token() {
    let reddit = Reddit::usual(&["technology", "science"]).await;
    let batch = reddit.fetch(0).await.expect("a batch");
    // Of thirty each: three for adults, three that lead nowhere else, three pictures, one pinned.
    assert_eq!((batch.articles.len(), batch.skipped), (40, 20));
    assert_eq!(reddit.asked("/r/technology/hot"), 2, "two pages");
    assert_eq!(reddit.asked("/api/v1/access_token"), 1);
    assert!(
        batch
            .articles
            .iter()
            .all(|article| article.title.contains("& more"))
    );
    reddit.fetch(60).await.expect("a batch");
    assert_eq!(
        reddit.asked("/api/v1/access_token"),
        1,
        "the token still holds"
    );
    reddit.fetch(86_400).await.expect("a batch");
    assert_eq!(reddit.asked("/api/v1/access_token"), 2, "its day is over");
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let reddit = Reddit::usual(&["technology"]).await;
    reddit.fetch(0).await.expect("a batch");
    reddit.simulation.expire_reddit_tokens();
    reddit.fetch(60).await.expect("a batch");
    assert_eq!(reddit.asked("/api/v1/access_token"), 2);
    // The first page twice, then the second.
    assert_eq!(reddit.asked("/r/technology/hot"), 2 + 3);
}

#[tokio::test]
async fn installed_apps_have_no_secret_and_no_device() {
    let reddit = Reddit::start(
        &["technology"],
        ("sim-installed", None),
        Behaviour::default(),
    )
    .await;
    assert!(!reddit.fetch(0).await.expect("a batch").articles.is_empty());
}

#[tokio::test]
async fn a_wrong_secret_is_a_matter_of_credentials_and_is_not_tried_again() {
    let reddit = Reddit::start(
        &["technology"],
        ("sim", Some("s3cr3t")),
        Behaviour::default(),
    )
    .await;
    let fault = reddit.fetch(0).await.expect_err("refused");
    assert!(matches!(fault, SourceError::Credentials(_)), "{fault:?}");
    assert!(!format!("{fault} {fault:?} {:?}", reddit.built[0]).contains("s3cr3t"));
    assert_eq!(reddit.asked("/api/v1/access_token"), 1);
    assert!(matches!(
        reddit.fetch(60).await,
        Err(SourceError::Open { .. })
    ));
    assert_eq!(reddit.asked("/api/v1/access_token"), 1);
}

#[tokio::test]
async fn a_subreddit_that_fails_costs_its_own_articles_only() {
    let reddit =
        Reddit::usual(&["private", "technology", "missing", "quarantined", "broken"]).await;
    let batch = reddit.fetch(0).await.expect("the others");
    assert_eq!(batch.articles.len(), 20);
    assert!(
        batch
            .articles
            .iter()
            .all(|article| article.outlet.as_deref() == Some("r/technology"))
    );
    let alone = Reddit::usual(&["missing"]).await;
    let fault = alone.fetch(0).await.expect_err("nothing there");
    assert!(
        matches!(fault, SourceError::Status { status: 302, .. }),
        "{fault:?}"
    );
}

#[tokio::test]
async fn when_nothing_is_left_reddit_is_not_asked_until_it_counts_anew() {
    let behaviour = Behaviour {
        reddit_requests_max: Some(2),
        ..Behaviour::default()
    };
    let reddit = Reddit::start(&["technology"], ("sim", Some("sim-secret")), behaviour).await;
    reddit.fetch(0).await.expect("two pages");
    let fault = reddit.fetch(60).await.expect_err("nothing left");
    assert!(matches!(fault, SourceError::Refused { .. }), "{fault:?}");
    assert_eq!(reddit.asked("/r/technology/hot"), 2);
}

#[tokio::test]
async fn a_limit_without_a_time_is_read_from_the_count() {
    let behaviour = Behaviour {
        reddit_requests_max: Some(0),
        ..Behaviour::default()
    };
    let reddit = Reddit::start(&["technology"], ("sim", Some("sim-secret")), behaviour).await;
    let fault = reddit.fetch(0).await.expect_err("a limit");
    let wait = Some(Duration::from_secs(300));
    assert!(
        matches!(fault, SourceError::RateLimited { retry_after } if retry_after == wait),
        "{fault:?}"
    );
}

#[tokio::test]
async fn outages_are_tried_again_and_told() {
    let behaviour = Behaviour {
        fail: [Upstream::Reddit].into(),
        ..Behaviour::default()
    };
    let reddit = Reddit::start(&["technology"], ("sim", Some("sim-secret")), behaviour).await;
    let fault = reddit.fetch(0).await.expect_err("down");
    assert!(matches!(fault, SourceError::Unreachable(_)), "{fault:?}");
    assert_eq!(reddit.asked("/api/v1/access_token"), 3);
    reddit.simulation.behave(Behaviour::default());
    reddit.fetch(60).await.expect("it is back");
}
