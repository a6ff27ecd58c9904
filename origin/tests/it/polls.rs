//! Whose turn it is to poll a feed, and what is said of one that was not polled: nothing is lost by a failure of the database, and
//! nothing is "ok" that nobody has ever answered.

use crate::support::database::{TestDatabase, on_both_databases};
use chrono::{DateTime, Utc};
use larder_origin::articles::{Articles, Asked};
use larder_origin::discipline::{Claim, Ledger};
use larder_origin::ingest::{Ingest, Round, Scope, State, Wanted};
use larder_origin::sim::{Behaviour, Simulation};
use larder_origin::source::{SourceSettings, build};
use std::sync::Arc;
use std::time::Duration;

on_both_databases!(
    what_could_not_be_stored_comes_with_the_next_asking,
    a_feed_that_can_never_be_stored_is_not_fetched_all_the_time,
    a_feed_that_another_asks_for_the_first_time_is_not_ok_before_it_has_answered,
    anothers_turn_puts_off_no_question_that_was_answered,
);

const PATH: &str = "/feeds/atom.xml";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + seconds, 0).expect("a time")
}

/// An operator's feed, asked by rounds whenever the test says.
struct Place {
    database: TestDatabase,
    simulation: Simulation,
    ingest: Arc<Ingest>,
    articles: Arc<Articles>,
    ledger: Ledger,
}

impl Place {
    async fn start(database: TestDatabase) -> Self {
        let simulation = Simulation::start(([127, 0, 0, 1], 0).into(), Behaviour::default());
        let simulation = simulation.await.expect("a free port");
        let pool = database.migrated().await;
        let (ledger, articles) = (Ledger::new(&pool), Arc::new(Articles::new(&pool)));
        let settings = SourceSettings {
            feed_urls: vec![simulation.url(PATH)],
            timeout: Duration::from_secs(20),
            feed_interval_min: Duration::from_secs(600),
            ..SourceSettings::default()
        };
        let sources = build(&settings, &ledger).expect("a source");
        let (fresh, interval) = (Duration::from_secs(60), Some(Duration::from_secs(300)));
        let ingest = Ingest::new(
            sources,
            Arc::clone(&articles),
            fresh,
            settings.timeout,
            interval,
            Duration::ZERO,
        );
        Self {
            database,
            simulation,
            ingest,
            articles,
            ledger,
        }
    }

    async fn round(&self, scope: Scope, seconds: i64) -> Vec<&'static str> {
        let round: Round = self.ingest.tick(scope, at(seconds)).await.expect("a round");
        round.asked.iter().map(|asking| asking.outcome).collect()
    }

    fn polls(&self) -> u64 {
        self.simulation.counts().get(PATH).copied().unwrap_or(0)
    }

    async fn stored(&self) -> i64 {
        self.database.count("SELECT count(*) FROM articles").await
    }

    async fn remembered(&self) -> Option<Asked> {
        let asked = self.articles.asked(&self.ingest.names()).await;
        asked.expect("a list").into_iter().next()
    }

    /// Somebody else takes the turn, and says nothing more.
    async fn another_takes_the_turn(&self, seconds: i64) {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(self.simulation.url(PATH).as_str());
        let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let claim = self
            .ledger
            .claim_poll(&hash, at(seconds), at(seconds + 60))
            .await;
        assert!(matches!(claim, Ok(Claim::Taken(_))), "{claim:?}");
    }

    async fn state(&self, seconds: i64) -> State {
        let wanted = Wanted {
            source: None,
            category: None,
            live: false,
        };
        let reports = self.ingest.refresh(wanted, at(seconds)).await;
        reports.expect("reports")[0].state
    }
}

/// Has storing fail, and nothing else.
const HIDE: &str = "ALTER TABLE article_categories RENAME TO away";
const SHOW: &str = "ALTER TABLE away RENAME TO article_categories";

async fn what_could_not_be_stored_comes_with_the_next_asking(database: TestDatabase) {
    let place = Place::start(database).await;
    place.database.execute(HIDE).await;
    assert_eq!(place.round(Scope::Due, 0).await, ["internal"]);
    assert_eq!((place.polls(), place.remembered().await), (1, None));
    place.database.execute(SHOW).await;
    assert_eq!(place.round(Scope::Due, 1).await, ["ok"]);
    assert_eq!(place.polls(), 2);
    assert!(place.stored().await > 0);
}

async fn a_feed_that_can_never_be_stored_is_not_fetched_all_the_time(database: TestDatabase) {
    let place = Place::start(database).await;
    place.database.execute(HIDE).await;
    assert_eq!(place.round(Scope::Due, 0).await, ["internal"]);
    assert_eq!(place.round(Scope::Due, 1).await, ["internal"]);
    assert_eq!(place.round(Scope::All, 2).await, ["quota_spent"]);
    assert_eq!(place.polls(), 2);
    place.database.execute(SHOW).await;
    assert_eq!(place.round(Scope::Due, 62).await, ["ok"]);
    assert_eq!(place.polls(), 3);
    assert!(place.stored().await > 0);
}

async fn a_feed_that_another_asks_for_the_first_time_is_not_ok_before_it_has_answered(
    database: TestDatabase,
) {
    let place = Place::start(database).await;
    place.another_takes_the_turn(0).await;
    assert_eq!(place.state(1).await, State::Error);
    assert_eq!(place.round(Scope::All, 2).await, ["quota_spent"]);
    assert_eq!(place.polls(), 0);
    // The other one died.
    assert_eq!(place.round(Scope::Due, 61).await, ["ok"]);
    assert_eq!(place.state(62).await, State::Fresh);
    assert!(place.stored().await > 0);
}

async fn anothers_turn_puts_off_no_question_that_was_answered(database: TestDatabase) {
    let place = Place::start(database).await;
    assert_eq!(place.round(Scope::Due, 0).await, ["ok"]);
    let asked_at = async || place.remembered().await.expect("it").asked_at;
    // Polled so short a while ago that it stands for an interval.
    assert_eq!(place.round(Scope::Due, 301).await, ["ok"]);
    let stands_from = asked_at().await;
    assert!(stands_from >= at(301));
    place.another_takes_the_turn(605).await;
    assert_eq!(place.round(Scope::Due, 606).await, ["ok"]);
    assert_eq!(asked_at().await, stands_from);
    assert_eq!(place.polls(), 1);
    assert_eq!(place.round(Scope::Due, 665).await, ["ok"]);
    assert!(asked_at().await >= at(665));
    assert_eq!(place.polls(), 2);
}
