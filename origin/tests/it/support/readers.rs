//! Readers of an origin, and the feeds that they add.

use super::database::TestDatabase;
use super::http::{Reply, get_with, send, send_json};
use super::news::{Act, Script, article};
use super::origin::TestOrigin;
use chrono::{DateTime, Utc};
use hyper::Method;
use larder_origin::sim::{Behaviour, Simulation};
use serde_json::{Value, json};
use std::sync::Arc;

/// Lets users' feeds be asked on this machine.
pub(crate) const LOOPBACK: (&str, &str) = ("FEED_PERMITTED_NETWORKS", "127.0.0.0/8");

/// An origin with readers, and feeds that they may add.
pub(crate) struct Place {
    pub(crate) simulation: Simulation,
    pub(crate) origin: TestOrigin,
}

impl Place {
    pub(crate) async fn start(database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        let source = Script::new("a", Act::Give(vec![article("everybodys", 0)]));
        Self::with(database, source, settings).await
    }

    /// With this one source that the operator has chosen.
    pub(crate) async fn with(
        database: TestDatabase,
        source: Arc<Script>,
        settings: &[(&str, &str)],
    ) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let behaviour = Behaviour::default();
        let simulation = Simulation::start(listen, behaviour)
            .await
            .expect("a free port");
        let origin = TestOrigin::with(database, &[source], settings).await;
        Self { simulation, origin }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.simulation.url(path).to_string()
    }

    /// Signs somebody up: what to send along.
    pub(crate) async fn somebody(&self, email: &str) -> String {
        let body = json!({"email": email, "password": "correct horse battery"});
        let signed_up = send_json(
            self.origin.address,
            Method::POST,
            "/auth/register",
            &[],
            &body,
        )
        .await;
        assert_eq!(signed_up.status, 201, "{:?}", signed_up.body);
        format!(
            "Bearer {}",
            signed_up.json()["token"].as_str().expect("a token")
        )
    }

    pub(crate) async fn add(&self, bearer: &str, url: &str) -> Reply {
        let fields = [("authorization", bearer)];
        send_json(
            self.origin.address,
            Method::POST,
            "/me/feeds",
            &fields,
            &json!({"url": url}),
        )
        .await
    }

    /// Takes a feed, by the target that its list names, off somebody's list.
    pub(crate) async fn remove(&self, bearer: &str, feed: &Value) -> Reply {
        let fields = [("authorization", bearer)];
        let target = format!("/me/feeds/{}", feed["id"]);
        let removed = send(self.origin.address, Method::DELETE, &target, &fields).await;
        removed.expect("an answer")
    }

    /// Asks what users added and is due.
    pub(crate) async fn round(&self, now: DateTime<Utc>) {
        let round = self.origin.ingest.tick_added(now).await;
        assert_eq!(round.expect("a round").failed, 0);
    }

    pub(crate) async fn get(&self, bearer: &str, target: &str) -> Reply {
        get_with(self.origin.address, target, &[("authorization", bearer)]).await
    }

    /// The sources of what somebody reads, each once.
    pub(crate) async fn reads(&self, bearer: &str) -> Vec<String> {
        let reply = self.get(bearer, "/me/feed?limit=100").await;
        assert_eq!(reply.header("cache-control"), "private, no-store");
        let body = reply.json();
        let articles = body["articles"].as_array().expect("articles").iter();
        let mut sources: Vec<String> = articles
            .map(|article| article["source"].as_str().expect("a name").to_owned())
            .collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }
}
