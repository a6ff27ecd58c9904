//! The origin in this process: its real server on a free port, with scripted sources.

use super::database::TestDatabase;
use super::news::Script;
use larder_origin::api::{self, App};
use larder_origin::articles::Articles;
use larder_origin::config::{self, Config};
use larder_origin::http::Larder;
use larder_origin::ingest::Ingest;
use larder_origin::outbox::{Dispatcher, Outbox};
use larder_origin::reddit::Connections;
use larder_origin::schedule::Schedule;
use larder_origin::serve;
use larder_origin::source::Source;
use larder_origin::subscriptions::Subscriptions;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

/// Ends with the test's runtime.
pub(crate) struct TestOrigin {
    pub(crate) address: SocketAddr,
    pub(crate) articles: Arc<Articles>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) schedule: Schedule,
    pub(crate) outbox: Outbox,
    pub(crate) subscriptions: Arc<Subscriptions>,
    /// Where people's Reddit accounts can be connected.
    pub(crate) connections: Option<Arc<Connections>>,
    _database: TestDatabase,
}

impl TestOrigin {
    /// On a SQLite file, with these sources and no further settings.
    pub(crate) async fn start(sources: &[Arc<Script>]) -> Self {
        Self::with(TestDatabase::sqlite().await, sources, &[]).await
    }

    pub(crate) async fn with(
        database: TestDatabase,
        sources: &[Arc<Script>],
        settings: &[(&str, &str)],
    ) -> Self {
        let config = config(settings);
        let pool = database.migrated().await;
        let purge_url = config.purge_url.as_ref();
        let cache = purge_url.map(|url| Larder::new(&url.0, config.purge_token.as_ref()));
        let outbox = match &cache {
            Some(_) => Outbox::new(&pool),
            None => Outbox::without_cache(&pool),
        };
        if let Some(cache) = cache {
            let cache = cache.expect("a client");
            tokio::spawn(Dispatcher::new(&outbox, cache).run(chrono::Utc::now));
        }
        let articles = Arc::new(Articles::with_outbox(&pool, outbox.clone()));
        let sources = sources
            .iter()
            .map(|source| Arc::clone(source) as Arc<dyn Source>)
            .collect();
        let ingest = Ingest::new(
            sources,
            Arc::clone(&articles),
            config.cache_ttl,
            config.source_timeout,
            config.refresh_interval,
            config.live_interval_min,
        );
        let app = App::new(&config, &pool, Arc::clone(&articles), Arc::clone(&ingest));
        let schedule = Schedule::new(&pool, &ingest, app.refreshes(), config.refresh_interval);
        let subscriptions = Arc::clone(app.subscriptions().expect("a client"));
        let connections = app.connections().cloned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve::serve(
            listener,
            Arc::clone(&app),
            api::router(app),
            config.connections_max,
            std::future::pending(),
        ));
        Self {
            address,
            articles,
            ingest,
            schedule,
            outbox,
            subscriptions,
            connections,
            _database: database,
        }
    }
}

/// The settings as the program would read them from this environment.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    let environment = |name: &str| {
        settings
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| OsString::from(value))
    };
    let given = config::given(["larder-origin".into()], &environment).expect("arguments");
    Config::parse(&given).expect("settings")
}

/// Short enough for a test that waits for it, long enough for everything that is not to run into it.
pub(crate) const SHORT_TIMEOUT: (&str, &str) = ("ORIGIN_SOURCE_TIMEOUT", "300ms");
