//! Reddit's OAuth: what is sent to it and what its answers mean (`oauth`, pure), who carries that out ([`Reddit`]), and where a
//! person's tokens are kept (`accounts`).
//!
//! Must stay true: no token, code or secret is ever in a log, an error or a URL of ours; a code and a refresh token are sent once
//! and not again when the answer was lost.

mod accounts;
mod oauth;

pub(crate) use accounts::end_of_user;
pub use accounts::{Account, AccountFault, Accounts, Owner, Pending, forget_revocations};
pub use oauth::{Grant, OauthFault, Permission, authorize_url};

use crate::article::text::{self, NAME_CHARS_MAX};
use crate::config::Config;
use crate::database::{Database, DatabaseError};
use crate::discipline::{Ask, Gate, Ledger, Request, Rules};
use crate::http::{Answer, HttpClient, Redirects, sensitive};
use crate::secret::Secret;
use crate::source::{SourceError, endpoint, json, known_url};
use crate::vault::Vault;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Semaphore};
use url::Url;

/// Where people sign in and tokens are given out.
pub const WWW_URL: &str = "https://www.reddit.com";
/// Where tokens are good for something.
pub const API_URL: &str = "https://oauth.reddit.com";
/// A token is replaced when it has less than this to live.
const EXPIRY_MARGIN: TimeDelta = TimeDelta::seconds(60);
/// People whose questions are put to Reddit at the same time; more wait.
const PEOPLE_AT_ONCE_MAX: usize = 8;
/// Between looks for tokens that Reddit did not take back at once.
const REVOKE_INTERVAL: Duration = Duration::from_secs(60);
/// Rounds of taking tokens back that are under way at the same time; more wait, and find less to do.
const REVOKING_MAX: usize = 2;
/// Reddit's own word for installations that will not be told apart.
const DEVICE_ID: &str = "DO_NOT_TRACK_THIS_DEVICE";

/// What is known of our registration at Reddit.
#[derive(Debug, Clone)]
pub struct RedditSettings {
    pub client_id: String,
    /// Installed apps have none.
    pub client_secret: Option<Secret>,
    /// Exactly as registered.
    pub redirect_uri: Url,
    pub user_agent: HeaderValue,
    pub www: Url,
    pub api: Url,
}

/// Reddit, as this program speaks to it.
#[derive(Debug)]
pub struct Reddit {
    settings: RedditSettings,
    http: HttpClient,
    /// The token of the program itself. Locked while a new one is fetched, so that one request fetches it for all.
    app_token: Mutex<Option<AppToken>>,
}

#[derive(Debug, Clone)]
struct AppToken {
    token: Secret,
    expires_at: DateTime<Utc>,
}

impl Reddit {
    pub fn new(settings: RedditSettings, http: HttpClient) -> Self {
        Self {
            settings,
            http,
            app_token: Mutex::default(),
        }
    }

    /// Where a browser is sent to ask its person (step 1).
    pub fn authorize_url(&self, state: &str) -> Url {
        let base = endpoint(&self.settings.www, "api/v1/authorize");
        authorize_url(
            base,
            &self.settings.client_id,
            &self.settings.redirect_uri,
            state,
        )
    }

    /// Exchanges a code for tokens (step 3). Sent once: a code is spent by being seen.
    pub async fn exchange(&self, code: &str, now: DateTime<Utc>) -> Result<Grant, OauthFault> {
        let redirect_uri = self.settings.redirect_uri.as_str();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
        ];
        self.token(&form, now).await
    }

    /// New tokens for a refresh token. Sent once: it may be spent by being seen.
    pub async fn refresh(
        &self,
        refresh_token: &Secret,
        now: DateTime<Utc>,
    ) -> Result<Grant, OauthFault> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
        ];
        let fault = |fault| match fault {
            // Of a code it says so with another status.
            OauthFault::InvalidGrant => OauthFault::BadRefreshToken,
            fault => fault,
        };
        self.token(&form, now).await.map_err(fault)
    }

    /// Takes a token back. Reddit answers the same whether it knew the token or not.
    pub async fn revoke(
        &self,
        token: &Secret,
        hint: &str,
        now: DateTime<Utc>,
    ) -> Result<(), OauthFault> {
        let url = endpoint(&self.settings.www, "api/v1/revoke_token");
        let form = [("token", token.expose()), ("token_type_hint", hint)];
        let answer = self.http.post_form(url, self.basic(), &form).await?;
        match answer.is_success() {
            true => Ok(()),
            false => Err(oauth::refusal(&answer, now)),
        }
    }

    /// The longest that any of its answers is waited for.
    fn patience(&self) -> Duration {
        self.http.timeout()
    }

    /// Takes back what could not be kept, and so is tried but once.
    async fn revoke_grant(&self, grant: Grant, now: DateTime<Utc>) {
        let tokens = [
            (grant.refresh_token, "refresh_token"),
            (Some(grant.access_token), "access_token"),
        ];
        for (token, hint) in tokens {
            let Some(token) = token else { continue };
            if let Err(fault) = self.revoke(&token, hint, now).await {
                tracing::warn!(%fault, hint, "Reddit did not take a token back");
            }
        }
    }

    async fn token(&self, form: &[(&str, &str)], now: DateTime<Utc>) -> Result<Grant, OauthFault> {
        let url = endpoint(&self.settings.www, "api/v1/access_token");
        let answer = self.http.post_form(url, self.basic(), form).await?;
        oauth::grant(&answer, now)
    }

    /// What a bearer token opens (step 4).
    pub async fn ask(
        &self,
        path: &str,
        query: &[(&str, &str)],
        token: &Secret,
    ) -> Result<Answer, SourceError> {
        let Request {
            url,
            headers,
            redirects,
            ..
        } = self.request(path, query, token);
        self.http.get(url, headers, redirects).await
    }

    /// The same as a request, for a gate.
    pub fn request(&self, path: &str, query: &[(&str, &str)], token: &Secret) -> Request {
        let mut url = endpoint(&self.settings.api, path);
        url.query_pairs_mut()
            .extend_pairs(query)
            .append_pair("raw_json", "1");
        let mut headers = self.agent();
        if let Some(bearer) = sensitive(&format!("bearer {}", token.expose())) {
            headers.insert(AUTHORIZATION, bearer);
        }
        Request {
            url,
            headers,
            // Reddit sends a subreddit that isn't there to its search, and the token would go along.
            redirects: Redirects::Nowhere,
            form: None,
        }
    }

    /// The program's own token, for what needs no person: the one at hand unless it is `spent` or about to end. There is no
    /// refreshing it, only asking again.
    pub async fn app_token(
        &self,
        spent: Option<&Secret>,
        gate: &Gate,
        ask: Ask,
    ) -> Result<Secret, SourceError> {
        let mut known = self.app_token.lock().await;
        if let Some(known) = &*known
            && ask.now + EXPIRY_MARGIN < known.expires_at
            && spent != Some(&known.token)
        {
            return Ok(known.token.clone());
        }
        let request = self.app_request();
        let judge = |answer: &Answer, now| oauth::grant(answer, now).map_err(SourceError::from);
        let grant = gate.ask(&request, ask, judge).await?;
        *known = Some(AppToken {
            token: grant.access_token.clone(),
            expires_at: grant.expires_at,
        });
        Ok(grant.access_token)
    }

    fn app_request(&self) -> Request {
        let form: &[(&'static str, &'static str)] = match self.settings.client_secret {
            Some(_) => &[("grant_type", "client_credentials")],
            None => &[
                (
                    "grant_type",
                    "https://oauth.reddit.com/grants/installed_client",
                ),
                ("device_id", DEVICE_ID),
            ],
        };
        Request {
            url: endpoint(&self.settings.www, "api/v1/access_token"),
            headers: self.basic(),
            redirects: Redirects::Nowhere,
            form: Some(form),
        }
    }

    fn agent(&self) -> HeaderMap {
        let agent = self.settings.user_agent.clone();
        std::iter::once((USER_AGENT, agent)).collect()
    }

    /// Client and secret, which is empty for installed apps.
    fn basic(&self) -> HeaderMap {
        let secret = self.settings.client_secret.as_ref();
        let pair = format!(
            "{}:{}",
            self.settings.client_id,
            secret.map_or("", Secret::expose)
        );
        let mut headers = self.agent();
        if let Some(basic) = sensitive(&format!("Basic {}", STANDARD.encode(pair))) {
            headers.insert(AUTHORIZATION, basic);
        }
        headers
    }
}

impl RedditSettings {
    /// Reddit's own addresses.
    pub fn www_url() -> Url {
        known_url(WWW_URL)
    }

    pub fn api_url() -> Url {
        known_url(API_URL)
    }
}

/// All that connecting people's accounts takes.
#[derive(Debug)]
pub struct Connections {
    pub reddit: Arc<Reddit>,
    pub accounts: Arc<Accounts>,
    /// The same quota as the source's: Reddit counts by client.
    pub gate: Gate,
    /// Rounds of revoking under way.
    revoking: Arc<Semaphore>,
}

impl Connections {
    pub fn new(reddit: Reddit, accounts: Accounts, gate: Gate) -> Self {
        Self {
            reddit: Arc::new(reddit),
            accounts: Arc::new(accounts),
            gate,
            revoking: Arc::new(Semaphore::new(REVOKING_MAX)),
        }
    }

    /// From the settings; `None` unless there are a client and a key to store tokens under.
    pub fn of(config: &Config, database: &Database) -> Option<Self> {
        let settings = config.reddit.clone()?;
        let Some(key) = &config.token_key else {
            tracing::info!("without ORIGIN_TOKEN_KEY nobody can connect a Reddit account");
            return None;
        };
        let http = HttpClient::new(config.source_timeout)
            .inspect_err(|error| tracing::error!(%error, "nobody can connect a Reddit account"))
            .ok()?;
        let rules = Rules {
            windows: config.reddit_quota.clone(),
            concurrent_max: PEOPLE_AT_ONCE_MAX,
        };
        let gate = Gate::new("reddit", http.clone(), Ledger::new(database), rules);
        let vault = Vault::new(key, config.token_key_old.as_ref());
        Some(Self::new(
            Reddit::new(settings, http),
            Accounts::new(database, vault),
            gate,
        ))
    }

    /// A token of that owner's, a new one if that one is spent.
    pub async fn token(
        &self,
        owner: &Owner,
        spent: Option<Secret>,
        now: DateTime<Utc>,
    ) -> Result<Secret, AccountFault> {
        self.accounts
            .access_token(owner, spent.as_ref(), &self.reddit, now)
            .await
    }

    /// The name of the account a token opens. Not knowing it is no reason not to connect.
    pub async fn name(&self, token: &Secret, now: DateTime<Utc>) -> Option<String> {
        let asked = self.reddit.ask("api/v1/me", &[], token).await;
        let answer = asked
            .map_err(OauthFault::from)
            .and_then(|answer| match answer.is_success() {
                true => Ok(answer),
                false => Err(OauthFault::of(&answer, now)),
            });
        let answer = answer
            .inspect_err(|fault| tracing::warn!(%fault, "Reddit did not tell the account's name"))
            .ok()?;
        let body = json::read(&answer.body).ok()?;
        json::text(&body, "name").and_then(|name| text::clean(name, NAME_CHARS_MAX))
    }

    /// Keeps a new connection, and takes back at Reddit what it replaces; what could not be kept is taken back itself.
    pub async fn connect(
        &self,
        owner: &Owner,
        grant: Grant,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), AccountFault> {
        let kept = self.accounts.connect(owner, &grant, name, now).await;
        if kept.is_err() {
            let reddit = Arc::clone(&self.reddit);
            tokio::spawn(async move { reddit.revoke_grant(grant, now).await });
        }
        self.revoke_soon(now);
        kept
    }

    /// Ends a connection, here and, soon after, at Reddit. Nothing to end is fine.
    pub async fn disconnect(&self, owner: &Owner, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        self.accounts.disconnect(owner, now).await?;
        self.revoke_soon(now);
        Ok(())
    }

    /// Takes back at Reddit what is due, while nobody waits for it.
    pub fn revoke_soon(&self, now: DateTime<Utc>) {
        let (reddit, accounts) = (Arc::clone(&self.reddit), Arc::clone(&self.accounts));
        let (revoking, begun) = (Arc::clone(&self.revoking), Instant::now());
        tokio::spawn(async move {
            // It is never closed.
            let _seat = revoking.acquire().await;
            revoke_due(&accounts, &reddit, now + begun.elapsed()).await;
        });
    }

    /// Now and then takes back what could not be taken back at once, for ever.
    pub async fn revoke_now_and_then(self: Arc<Self>, clock: impl Fn() -> DateTime<Utc>) {
        loop {
            revoke_due(&self.accounts, &self.reddit, clock()).await;
            tokio::time::sleep(REVOKE_INTERVAL).await;
        }
    }
}

async fn revoke_due(accounts: &Accounts, reddit: &Reddit, now: DateTime<Utc>) {
    if let Err(error) = accounts.revoke_due(reddit, now).await {
        tracing::warn!(%error, "tokens are taken back later");
    }
}

/// Whether a token is to be replaced before it is used.
pub(crate) fn is_ending(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    expires_at <= now + EXPIRY_MARGIN
}
