//! Upstreams to test and measure against: NewsAPI, the Guardian, Algolia, Reddit and feeds in their real shapes, with the faults one
//! asks for. The `upstream-sim` binary serves it; tests start it in their own process and change its behaviour as they go.
//!
//! Must stay true: it binds loopback only, since its control endpoint asks nobody's name. Left out: quotas and delays of
//! the free plans, and dates that move (its stories are the samples, as written).

mod algolia;
mod behaviour;
mod feeds;
mod guardian;
mod newsapi;
mod reddit;
mod reply;

pub use behaviour::{Behaviour, BehaviourFault, Upstream};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use reply::{Question, Reply};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// A running simulation. Dropping it ends it.
#[derive(Debug)]
pub struct Simulation {
    address: SocketAddr,
    state: Shared,
    server: JoinHandle<io::Result<()>>,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Inner>>);

/// What requests and controls share: held for a look or a change only, never across an await.
#[derive(Debug, Default)]
struct Inner {
    behaviour: Behaviour,
    counts: BTreeMap<String, u64>,
    /// Requests that the failure rate has judged.
    judged: u64,
    reddit: reddit::Memory,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Simulation {
    /// Listens on a loopback address; port 0 picks a free one.
    pub async fn start(listen: SocketAddr, behaviour: Behaviour) -> io::Result<Self> {
        if !listen.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the simulated upstreams listen on loopback only",
            ));
        }
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let state = Shared::default();
        state.lock().behaviour = behaviour;
        let app = router(state.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self {
            address,
            state,
            server,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An address below it, for the base URLs of sources and for feeds.
    pub fn url(&self, path: &str) -> Url {
        let mut url = crate::source::known_url("http://127.0.0.1/");
        // A listening socket's address is a valid host and port.
        let _ = url.set_ip_host(self.address.ip());
        let _ = url.set_port(Some(self.address.port()));
        url.set_path(path);
        url
    }

    /// Behaves like that from the next request on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().behaviour = behaviour;
    }

    /// As if Reddit's access tokens had lived their time.
    pub fn expire_reddit_tokens(&self) {
        self.state.lock().reddit.expire();
    }

    /// As if everybody had taken back what they permitted at Reddit.
    pub fn revoke_reddit_tokens(&self) {
        self.state.lock().reddit.revoke();
    }

    /// How often each endpoint was asked.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.state.lock().counts.clone()
    }

    /// Runs until the server fails.
    pub async fn run(mut self) -> io::Result<()> {
        (&mut self.server)
            .await
            .unwrap_or_else(|fault| Err(io::Error::other(fault)))
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(state: Shared) -> Router {
    let upstreams = Router::new()
        .route(
            "/v2/top-headlines",
            get(|question: Question| async move { newsapi::top_headlines(&question) }),
        )
        .route(
            "/v2/everything",
            get(|question: Question| async move { newsapi::everything(&question) }),
        )
        .route(
            "/search",
            get(|question: Question| async move { guardian::search(&question) }),
        )
        .route(
            "/api/v1/search",
            get(|question: Question| async move { algolia::search(&question) }),
        )
        .route(
            "/api/v1/search_by_date",
            get(|question: Question| async move { algolia::search_by_date(&question) }),
        )
        .route(
            "/feeds/{name}",
            get(|uri: Uri, headers: HeaderMap| async move { feeds::feed(uri.path(), &headers) }),
        )
        .route("/api/v1/authorize", get(reddit_authorize))
        .route("/api/v1/access_token", post(reddit_access_token))
        .route("/api/v1/revoke_token", post(reddit_revoke_token))
        .route("/api/v1/me", get(reddit_me))
        .route("/r/{subreddit}/{order}", get(reddit_listing))
        .route("/best", get(reddit_listing))
        .with_state(state.clone())
        .layer(middleware::from_fn_with_state(state.clone(), gate));
    Router::new()
        .route("/_counts", get(counts))
        .route("/_control", post(control))
        .with_state(state)
        .merge(upstreams)
}

async fn reddit_authorize(State(state): State<Shared>, question: Question) -> Reply {
    reddit::authorize(&state, &question)
}

async fn reddit_access_token(
    State(state): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    reddit::access_token(&state, &headers, &body)
}

async fn reddit_revoke_token(
    State(state): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    reddit::revoke_token(&state, &headers, &body)
}

async fn reddit_me(State(state): State<Shared>, headers: HeaderMap) -> Reply {
    reddit::me(&state, &headers)
}

async fn reddit_listing(State(state): State<Shared>, uri: Uri, question: Question) -> Reply {
    reddit::listing(&state, &question, uri.path())
}

/// Counts a request, then does to it what the behaviour says.
async fn gate(State(state): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let upstream = Upstream::of_path(&path);
    let verdict = {
        let mut inner = state.lock();
        *inner.counts.entry(path).or_default() += 1;
        inner.judged += 1;
        inner.behaviour.judge(upstream, inner.judged)
    };
    if !verdict.latency.is_zero() {
        tokio::time::sleep(verdict.latency).await;
    }
    match verdict.fate {
        behaviour::Fate::Answer => next.run(request).await,
        behaviour::Fate::Hang => std::future::pending().await,
        behaviour::Fate::Fail => reply::failure(upstream).into(),
        behaviour::Fate::Limit => reply::limit(upstream, verdict.retry_after_secs).into(),
    }
}

async fn counts(State(state): State<Shared>) -> Reply {
    let counts = state.lock().counts.clone();
    Reply::json(200, &serde_json::json!(counts))
}

async fn control(State(state): State<Shared>, body: Bytes) -> Reply {
    match Behaviour::from_json(&body) {
        Ok(behaviour) => {
            state.lock().behaviour = behaviour;
            Reply::json(200, &serde_json::json!({"ok": true}))
        }
        Err(fault) => Reply::json(
            400,
            &serde_json::json!({"ok": false, "message": fault.to_string()}),
        ),
    }
}
