//! The HTTP answers. Routes:
//!
//! | path | answers | kept by the cache before us |
//! | --- | --- | --- |
//! | `/` | the news as a page for people | as `/articles`, 60 s at most |
//! | `/board` | the board as a page | as `/messages` |
//! | `/account`, `/account/menu` | one person's page, and the entry of the menu that leads there | private, not at all |
//! | `/assets/{name}` | style and script of the pages | for ever |
//! | `/articles` | a page of articles, newest first | `CACHE_TTL`, or until its tags are purged |
//! | `/articles/{id}` | one article | `CACHE_TTL`, or until its tags are purged |
//! | `POST /refresh`, `/refresh/{id}` | asks for a round of all sources; how it went | not at all |
//! | `/search` | a page of stored articles that match a question | `CACHE_TTL`, or until its tags are purged |
//! | `/sources` | the enabled sources and how they fared | 30 s, or until its tags are purged |
//! | `/status` | the time, and how often pages were looked at | 10 s |
//! | `/messages`, `/messages/{id}` | the message board; `POST` puts a message up | 60 s, or until one is posted |
//! | `/views` | `POST` counts a look at a page | not at all |
//! | `/auth/register`, `/auth/login`, `/auth/logout` | `POST`: an account, a session, its end | not at all |
//! | `/me`, `/me/preferences`, `/me/preferences/{key}`, `/me/feed` | what belongs to who is signed in | private, not at all |
//! | `/auth/reddit`, `/auth/reddit/login`, `/auth/reddit/callback` | a person's Reddit account: whether, how, and back from there | not at all |
//! | `/me/feeds`, `/me/feeds/{id}` | the feeds that the signed-in user added | not at all |
//! | `/me/reddit` | what that account has chosen to read | not at all |
//! | `/health/live`, `/health/ready`, `/health` | whether the process runs; whether it can answer | not at all |
//! | `/openapi.json`, `/docs` | this interface, for programs and for people | 1 h |
//!
//! Browsers keep an answer too, but ask each time whether it still holds (`caching`).
//!
//! Handlers extract, ask and shape. What all answers share (time taken, `ETag`, `HEAD`, the rate limit, the access line) lies in
//! `exchange`; every failure's form in `error`. No body holds anything that changes from one request to the next.

mod account;
mod articles;
mod auth;
mod body;
mod caching;
mod caller;
mod client;
mod conditions;
mod cookies;
mod cors;
mod cursor;
mod docs;
mod error;
mod exchange;
mod failures;
mod feed;
mod filters;
mod forgery;
mod health;
mod limit;
mod messages;
mod page;
mod params;
mod people;
mod reddit;
mod refresh;
mod search;
mod sources;
mod subscriptions;
mod trace;
mod views;

pub use exchange::exchange;
pub use limit::Limiter;

use crate::articles::Articles;
use crate::config::Config;
use crate::database::{Database, DatabaseError};
use crate::ingest::Ingest;
use crate::keys::CursorKey;
use crate::reddit::Connections;
use crate::refreshes::Refreshes;
use crate::search::Search;
use crate::subscriptions::{FeedsMax, Subscriptions};
use crate::users::Deleted;
use axum::Router;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use caching::Shared;
use chrono::{DateTime, Utc};
use error::ApiError;
use ipnet::IpNet;
use people::People;
use serde::Serialize;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower_http::cors::CorsLayer;

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    database: Database,
    articles: Arc<Articles>,
    ingest: Arc<Ingest>,
    refreshes: Refreshes,
    search: Search,
    cursor_key: CursorKey,
    fresh_for: Duration,
    cors: Option<CorsLayer>,
    trusted_proxies: Vec<IpNet>,
    limiter: Option<Mutex<Limiter>>,
    people: People,
    /// `None` when people's Reddit accounts cannot be connected here.
    connections: Option<Arc<Connections>>,
    /// `None` when there is no client to ask them with.
    subscriptions: Option<Arc<Subscriptions>>,
}

impl App {
    pub fn new(
        config: &Config,
        database: &Database,
        articles: Arc<Articles>,
        ingest: Arc<Ingest>,
    ) -> Arc<Self> {
        let subscriptions = Subscriptions::new(
            database,
            &config.feed_permitted_networks,
            config.source_timeout,
            config.feed_interval_min,
            FeedsMax {
                of_one: config.user_feeds_max,
                of_all: config.all_users_feeds_max,
            },
        );
        let subscriptions = subscriptions
            .inspect_err(|error| tracing::error!(%error, "users' feeds cannot be asked"))
            .ok()
            .map(Arc::new);
        if let Some(subscriptions) = &subscriptions {
            ingest.subscribe(Arc::clone(subscriptions));
        }
        let people = People::new(config, database, articles.outbox().clone());
        Arc::new(Self {
            subscriptions,
            database: database.clone(),
            articles,
            ingest,
            refreshes: Refreshes::new(database),
            search: Search::new(database),
            cursor_key: CursorKey::new(database),
            fresh_for: config.cache_ttl,
            cors: config.cors.as_ref().map(cors::layer),
            trusted_proxies: config.trusted_proxies.clone(),
            limiter: config
                .rate_limit_per_minute
                .map(|rate| Mutex::new(Limiter::new(rate))),
            people,
            connections: Connections::of(config, database).map(Arc::new),
        })
    }

    /// The rounds that clients ask for, to be run by a schedule.
    pub fn refreshes(&self) -> &Refreshes {
        &self.refreshes
    }

    /// People's Reddit accounts; `None` when they cannot be connected here.
    pub fn connections(&self) -> Option<&Arc<Connections>> {
        self.connections.as_ref()
    }

    /// What users added, to be asked by a schedule of its own; `None` when there is no client to ask with.
    pub fn subscriptions(&self) -> Option<&Arc<Subscriptions>> {
        self.subscriptions.as_ref()
    }

    /// Deletes an account with all that hangs on it.
    async fn delete_user(
        &self,
        user_id: i64,
        now: DateTime<Utc>,
    ) -> Result<Deleted, DatabaseError> {
        let users = &self.people.users;
        let deleted = match &self.subscriptions {
            Some(subscriptions) => subscriptions.delete_user(users, user_id, now).await?,
            None => users.delete(user_id, now).await?,
        };
        if let Some(connections) = &self.connections {
            connections.revoke_soon(now);
        }
        Ok(deleted)
    }

    /// How long articles may be kept.
    fn articles_shared(&self) -> Shared {
        Shared::for_secs(self.fresh_for.as_secs())
    }
}

/// All routes; what no route knows is answered as every other failure.
pub fn router(app: Arc<App>) -> Router {
    let cors = app.cors.clone();
    let router = Router::new()
        .route("/", get(page::front))
        .route("/board", get(page::board))
        .route("/account", get(page::account))
        .route("/account/menu", get(page::menu))
        .route("/account/feed", post(page::save_feed))
        .route("/account/delete", post(page::delete))
        .route("/assets/{name}", get(page::asset))
        .route("/articles", get(articles::list))
        .route("/articles/{id}", get(articles::one))
        .route("/refresh", post(refresh::request))
        .route("/refresh/{id}", get(refresh::status))
        .route("/search", get(search::find))
        .route("/sources", get(sources::list))
        .route("/status", get(health::status))
        .route("/auth/register", post(auth::register))
        .route("/auth/login", post(auth::login))
        .route("/auth/logout", post(auth::logout))
        .route("/auth/reddit/login", get(reddit::login))
        .route("/auth/reddit/callback", get(reddit::callback))
        .route(
            "/auth/reddit",
            get(reddit::status).delete(reddit::disconnect),
        )
        .route("/me/reddit", get(reddit::posts))
        .route("/me", get(account::me).delete(account::delete))
        .route("/me/preferences", get(account::preferences))
        .route(
            "/me/preferences/{key}",
            get(account::preference)
                .put(account::set_preference)
                .delete(account::remove_preference),
        )
        .route("/me/feed", get(feed::feed))
        .route(
            "/me/feeds",
            get(subscriptions::list).post(subscriptions::add),
        )
        .route("/me/feeds/{id}", delete(subscriptions::remove))
        .route("/messages", get(messages::list).post(messages::post))
        .route(
            "/messages/{id}",
            get(messages::one).delete(messages::remove),
        )
        .route("/views", post(views::count))
        .route("/health", get(health::ready))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/openapi.json", get(docs::openapi))
        .route("/docs", get(docs::page))
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .with_state(app);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// A JSON answer with its `Cache-Control`.
fn json(cache_control: &str, value: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))?;
    let cache_control = HeaderValue::from_str(cache_control)
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let fields = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (CACHE_CONTROL, cache_control),
    ];
    Ok((fields, body).into_response())
}

/// One spelling for each identifier: no sign, no leading zero.
fn identifier(text: &str) -> Option<i64> {
    text.parse()
        .ok()
        .filter(|id: &i64| *id > 0 && id.to_string() == text)
}

/// For answers that belong to one person, or are given once.
const PRIVATE: &str = "private, no-store";

/// A JSON answer that belongs to one person.
fn private_json(value: &impl Serialize) -> Result<Response, ApiError> {
    json(PRIVATE, value)
}

/// An answer without a body that belongs to one person.
fn private(status: StatusCode) -> Response {
    (status, [(CACHE_CONTROL, HeaderValue::from_static(PRIVATE))]).into_response()
}

/// Our own pages that a form may name to be sent back to.
const PAGES: &[&str] = &["/", "/board", "/account"];

/// Reads a form's field `back`: a page of ours, so that nobody is sent elsewhere.
fn back(text: &str) -> Result<&'static str, String> {
    let page = PAGES.iter().find(|page| **page == text);
    page.copied()
        .ok_or_else(|| format!("must be one of {}", PAGES.join(", ")))
}
