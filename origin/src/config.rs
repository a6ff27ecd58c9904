//! What the origin is told from outside: one table of settings, from which the flags are built and `.env.example` is checked.
//!
//! A flag wins over the environment, the environment over a `..._FILE`, that over the default. An empty environment value counts
//! as unset: Compose passes those for whatever `.env` leaves out. All faults are reported at once, with the setting's name;
//! no fault repeats a secret. Nothing else in this crate reads the environment.

mod lookup;
mod summary;
mod value;

pub use lookup::{Given, Stop, given};

use crate::database::DatabaseUrl;
use crate::discipline::Window;
use crate::reddit::RedditSettings;
use crate::secret::Secret;
use crate::source::SourceSettings;
use crate::vault::VaultKey;
use ipnet::IpNet;
use lookup::Reader;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// One setting: its names, what holds without it, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    pub default: Option<&'static str>,
    /// A secret is never printed, and can also come from the file that `NAME_FILE` (`--flag-file`) names.
    pub is_secret: bool,
    pub help: &'static str,
}

const fn plain(
    name: &'static str,
    flag: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        flag,
        default,
        is_secret: false,
        help,
    }
}

const fn secret(
    name: &'static str,
    flag: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        flag,
        default,
        is_secret: true,
        help,
    }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    plain(
        "ORIGIN_LISTEN",
        "listen",
        Some("127.0.0.1:8001"),
        "Address and port to listen on; port 0 takes a free one and logs it",
    ),
    // In the working directory: a clone's articles stay in the clone and go with it.
    secret(
        "DATABASE_URL",
        "database-url",
        Some("sqlite://.larder/origin.db"),
        "postgres://user:password@host/name or sqlite:///path/file.db",
    ),
    secret(
        "NEWSAPI_KEY",
        "newsapi-key",
        None,
        "Key for NewsAPI.org; switches that source on",
    ),
    secret(
        "GUARDIAN_API_KEY",
        "guardian-api-key",
        None,
        "Key for the Guardian's Open Platform; switches that source on",
    ),
    plain(
        "REDDIT_CLIENT_ID",
        "reddit-client-id",
        None,
        "The client id of an app registered at Reddit; switches that source on",
    ),
    secret(
        "REDDIT_CLIENT_SECRET",
        "reddit-client-secret",
        None,
        "Its secret; installed apps have none",
    ),
    plain(
        "REDDIT_REDIRECT_URI",
        "reddit-redirect-uri",
        Some("http://localhost:8000/auth/reddit/callback"),
        "Where Reddit sends people back to, exactly as registered there",
    ),
    plain(
        "REDDIT_USER_AGENT",
        "reddit-user-agent",
        Some(concat!(
            "linux:larder-origin:",
            env!("CARGO_PKG_VERSION"),
            " (by /u/unnamed)"
        )),
        "How to introduce ourselves to Reddit: platform:app:version (by /u/account)",
    ),
    plain(
        "REDDIT_SUBREDDITS",
        "reddit-subreddits",
        Some("worldnews technology science business"),
        "Subreddits to read, separated by blanks or commas",
    ),
    secret(
        "ORIGIN_TOKEN_KEY",
        "token-key",
        None,
        "Key under which people's tokens are stored, 32 bytes in base64; without it nobody can connect a Reddit account",
    ),
    secret(
        "ORIGIN_TOKEN_KEY_OLD",
        "token-key-old",
        None,
        "The key before it, which still opens what was stored under it",
    ),
    plain(
        "FEED_URLS",
        "feed-urls",
        None,
        "RSS, Atom and JSON feeds to read, separated by white space",
    ),
    plain(
        "HACKERNEWS",
        "hackernews",
        Some("off"),
        "on reads Hacker News, which needs no key",
    ),
    plain(
        "CACHE_TTL",
        "cache-ttl",
        Some("300s"),
        "How long articles count as fresh, here and in the cache; a bare number is in seconds",
    ),
    plain(
        "ORIGIN_REFRESH_INTERVAL",
        "refresh-interval",
        Some("5m"),
        "How often each source is asked for news, about; 0s asks only when a request finds nothing fresh",
    ),
    plain(
        "ORIGIN_LIVE_INTERVAL_MIN",
        "live-interval-min",
        Some("0s"),
        "Shortest time between two askings of one question, though live=true insists",
    ),
    plain(
        "LARDER_PURGE_URL",
        "purge-url",
        None,
        "Larder's purge route, as in http://127.0.0.1:8002/purge: it is told what new articles make out of date",
    ),
    secret(
        "LARDER_PURGE_TOKEN",
        "purge-token",
        None,
        "What Larder's admin port demands, if anything: its LARDER_ADMIN_TOKEN",
    ),
    plain(
        "NEWSAPI_URL",
        "newsapi-url",
        None,
        "Base URL in place of the provider's own, for tests and mirrors",
    ),
    plain(
        "GUARDIAN_URL",
        "guardian-url",
        None,
        "Base URL in place of the provider's own, for tests and mirrors",
    ),
    plain(
        "HACKERNEWS_URL",
        "hackernews-url",
        None,
        "Base URL in place of the provider's own, for tests and mirrors",
    ),
    plain(
        "REDDIT_URL",
        "reddit-url",
        None,
        "Base URL in place of www.reddit.com, for tests and mirrors",
    ),
    plain(
        "REDDIT_API_URL",
        "reddit-api-url",
        None,
        "Base URL in place of oauth.reddit.com, for tests and mirrors",
    ),
    plain(
        "ORIGIN_SOURCE_TIMEOUT",
        "source-timeout",
        Some("5s"),
        "How long one source may take; one that takes longer makes a partial answer",
    ),
    plain(
        "NEWSAPI_QUOTA",
        "newsapi-quota",
        Some("100/24h 50/12h"),
        "Requests that NewsAPI may be sent: how many in how long, several separated by blanks",
    ),
    plain(
        "GUARDIAN_QUOTA",
        "guardian-quota",
        Some("500/24h 1/1s"),
        "Requests that the Guardian may be sent: how many in how long",
    ),
    plain(
        "REDDIT_QUOTA",
        "reddit-quota",
        Some("1000/10m"),
        "Requests that Reddit may be sent: how many in how long; what it says itself is left counts too",
    ),
    plain(
        "FEED_INTERVAL_MIN",
        "feed-interval-min",
        Some("15m"),
        "Shortest time between two polls of a feed, whatever it says of itself",
    ),
    plain(
        "FEED_PERMITTED_NETWORKS",
        "feed-permitted-networks",
        None,
        "Networks, separated by blanks or commas, in which users' feeds may lie though they are not public",
    ),
    plain(
        "ORIGIN_USER_FEEDS_MAX",
        "user-feeds-max",
        Some("20"),
        "Feeds that one user may add",
    ),
    plain(
        "ORIGIN_ALL_USERS_FEEDS_MAX",
        "all-users-feeds-max",
        Some("2000"),
        "Feeds that all users together may add",
    ),
    plain(
        "ORIGIN_RATE_LIMIT",
        "rate-limit",
        Some("6000"),
        "Requests a minute that one client may make; 0 sets no limit",
    ),
    plain(
        "ORIGIN_LOGIN_RATE_LIMIT",
        "login-rate-limit",
        Some("30"),
        "Sign-ins and registrations a minute that one client may try; 0 sets no limit",
    ),
    plain(
        "ORIGIN_REGISTRATION_RATE_LIMIT",
        "registration-rate-limit",
        Some("20"),
        "Registrations an hour that one client may try; 0 sets no limit",
    ),
    plain(
        "ORIGIN_MESSAGE_RATE_LIMIT",
        "message-rate-limit",
        Some("10"),
        "Messages a minute that one client may post; 0 sets no limit",
    ),
    plain(
        "ORIGIN_SESSION_TTL",
        "session-ttl",
        Some("30d"),
        "How long a sign-in lasts",
    ),
    plain(
        "ORIGIN_PUBLIC_URL",
        "public-url",
        None,
        "Where people reach this service, as in https://news.example: makes cookies Secure, and names our own pages",
    ),
    plain(
        "ORIGIN_TRUSTED_PROXIES",
        "trusted-proxies",
        None,
        "Addresses or networks, separated by blanks or commas, whose Forwarded and X-Forwarded-For are believed",
    ),
    plain(
        "ORIGIN_CORS_ORIGINS",
        "cors-origins",
        None,
        "Web origins whose pages may read answers, separated by blanks, as in https://app.example; * lets all",
    ),
    plain(
        "ORIGIN_CONNECTIONS_MAX",
        "connections-max",
        Some("1024"),
        "Connections held open at the same time; more wait to be accepted",
    ),
    plain(
        "ORIGIN_DATABASE_CONNECTIONS_MAX",
        "database-connections-max",
        Some("10"),
        "Connections to the database",
    ),
    plain(
        "ORIGIN_SENTIMENT_MODEL",
        "sentiment-model",
        None,
        "Path of an ONNX model that scores articles, its vocab.txt beside it, in place of the built-in lexicon; needs a build with --features onnx",
    ),
    plain(
        "ORIGIN_LOG_FORMAT",
        "log-format",
        Some("human"),
        "human or json",
    ),
    plain(
        "ORIGIN_LOG",
        "log",
        Some("info"),
        "How much to log: error, warn, info, debug, or directives such as info,sqlx=debug",
    ),
];

/// Whose pages may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    Anybody,
    These(Vec<String>),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

/// Feeds' addresses. `Debug` shows neither passwords nor queries: both may hold what lets a subscriber in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FeedUrls(pub Vec<Url>);

impl fmt::Debug for FeedUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(value::without_secrets))
            .finish()
    }
}

/// A base URL in place of a provider's own. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl(pub Url);

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&value::without_secrets(&self.0))
    }
}

/// The settings, each valid by itself. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    pub database: DatabaseUrl,
    pub newsapi_key: Option<Secret>,
    pub guardian_api_key: Option<Secret>,
    /// What is needed to speak to Reddit; `None` without a client id.
    pub reddit: Option<RedditSettings>,
    pub subreddits: Vec<String>,
    pub token_key: Option<VaultKey>,
    pub token_key_old: Option<VaultKey>,
    pub feed_urls: FeedUrls,
    pub hackernews: bool,
    pub cache_ttl: Duration,
    /// `None`: there is no schedule.
    pub refresh_interval: Option<Duration>,
    pub live_interval_min: Duration,
    pub purge_url: Option<BaseUrl>,
    pub purge_token: Option<Secret>,
    pub newsapi_url: Option<BaseUrl>,
    pub guardian_url: Option<BaseUrl>,
    pub hackernews_url: Option<BaseUrl>,
    pub source_timeout: Duration,
    pub newsapi_quota: Vec<Window>,
    pub guardian_quota: Vec<Window>,
    pub reddit_quota: Vec<Window>,
    pub feed_interval_min: Duration,
    pub feed_permitted_networks: Vec<IpNet>,
    pub user_feeds_max: u32,
    pub all_users_feeds_max: u32,
    /// `None` sets no limit.
    pub rate_limit_per_minute: Option<NonZeroU32>,
    /// `None` sets no limit.
    pub login_rate_limit_per_minute: Option<NonZeroU32>,
    /// `None` sets no limit.
    pub registration_rate_limit_per_hour: Option<NonZeroU32>,
    /// `None` sets no limit.
    pub message_rate_limit_per_minute: Option<NonZeroU32>,
    pub session_ttl: Duration,
    pub public_url: Option<BaseUrl>,
    pub trusted_proxies: Vec<IpNet>,
    pub cors: Option<Cors>,
    pub connections_max: u32,
    pub database_connections_max: u32,
    /// `None` is the lexicon.
    pub sentiment_model: Option<PathBuf>,
    pub log_format: LogFormat,
    pub log: String,
}

impl Config {
    /// Makes sense of what was given, or tells everything that is wrong with it.
    pub fn parse(given: &Given) -> Result<Self, Stop> {
        let mut read = Reader::new(given);
        let config = Self::read(&mut read);
        match config {
            Some(config) if read.faults.is_empty() => Ok(config),
            _ => Err(Stop::Faults(read.faults)),
        }
    }

    /// All of it in lines for people, without secrets.
    pub fn summary(&self) -> String {
        summary::summary(self)
    }

    /// What the sources need of it.
    pub fn source_settings(&self) -> SourceSettings {
        SourceSettings {
            newsapi_key: self.newsapi_key.clone(),
            newsapi_url: self.newsapi_url.clone().map(|base| base.0),
            guardian_key: self.guardian_api_key.clone(),
            guardian_url: self.guardian_url.clone().map(|base| base.0),
            reddit: self.reddit.clone(),
            subreddits: self.subreddits.clone(),
            feed_urls: self.feed_urls.0.clone(),
            hackernews: self.hackernews,
            hackernews_url: self.hackernews_url.clone().map(|base| base.0),
            timeout: self.source_timeout,
            newsapi_quota: self.newsapi_quota.clone(),
            guardian_quota: self.guardian_quota.clone(),
            reddit_quota: self.reddit_quota.clone(),
            feed_interval_min: self.feed_interval_min,
        }
    }

    fn read_reddit(read: &mut Reader<'_>) -> Option<Option<RedditSettings>> {
        let client_id = read.optional("REDDIT_CLIENT_ID", value::client_id);
        let client_secret = read.optional("REDDIT_CLIENT_SECRET", value::secret);
        let redirect_uri = read.required("REDDIT_REDIRECT_URI", value::http_url);
        let user_agent = read.required("REDDIT_USER_AGENT", value::user_agent);
        let www = read.optional("REDDIT_URL", value::base_url);
        let api = read.optional("REDDIT_API_URL", value::base_url);
        let (client_secret, redirect_uri, user_agent) =
            (client_secret?, redirect_uri?, user_agent?);
        let (www, api) = (www?, api?);
        Some(client_id?.map(|client_id| RedditSettings {
            client_id,
            client_secret,
            redirect_uri,
            user_agent,
            www: www.map_or_else(RedditSettings::www_url, |base| base.0),
            api: api.map_or_else(RedditSettings::api_url, |base| base.0),
        }))
    }

    /// Reads every setting before the first fault ends it, so that all faults are known.
    fn read(read: &mut Reader<'_>) -> Option<Self> {
        let listen = read.required("ORIGIN_LISTEN", value::socket_address);
        let database = read.required("DATABASE_URL", value::database);
        let newsapi_key = read.optional("NEWSAPI_KEY", value::secret);
        let guardian_api_key = read.optional("GUARDIAN_API_KEY", value::secret);
        let reddit = Self::read_reddit(read);
        let subreddits = read.required("REDDIT_SUBREDDITS", value::subreddits);
        let token_key = read.optional("ORIGIN_TOKEN_KEY", value::token_key);
        let token_key_old = read.optional("ORIGIN_TOKEN_KEY_OLD", value::token_key);
        let feed_urls = read.optional("FEED_URLS", value::urls);
        let hackernews = read.required("HACKERNEWS", value::switch);
        let cache_ttl = read.required("CACHE_TTL", value::seconds_or_duration);
        let refresh_interval = read.required("ORIGIN_REFRESH_INTERVAL", value::interval);
        let live_interval_min = read.required("ORIGIN_LIVE_INTERVAL_MIN", value::duration);
        let purge_url = read.optional("LARDER_PURGE_URL", value::base_url);
        let purge_token = read.optional("LARDER_PURGE_TOKEN", value::secret);
        let newsapi_url = read.optional("NEWSAPI_URL", value::base_url);
        let guardian_url = read.optional("GUARDIAN_URL", value::base_url);
        let hackernews_url = read.optional("HACKERNEWS_URL", value::base_url);
        let source_timeout = read.required("ORIGIN_SOURCE_TIMEOUT", value::timeout);
        let newsapi_quota = read.required("NEWSAPI_QUOTA", value::quota);
        let guardian_quota = read.required("GUARDIAN_QUOTA", value::quota);
        let reddit_quota = read.required("REDDIT_QUOTA", value::quota);
        let feed_interval_min = read.required("FEED_INTERVAL_MIN", value::duration);
        let feed_permitted_networks = read.optional("FEED_PERMITTED_NETWORKS", value::networks);
        let user_feeds_max = read.required("ORIGIN_USER_FEEDS_MAX", value::count);
        let all_users_feeds_max = read.required("ORIGIN_ALL_USERS_FEEDS_MAX", value::count);
        let rate_limit_per_minute = read.required("ORIGIN_RATE_LIMIT", value::rate);
        let login_rate_limit_per_minute = read.required("ORIGIN_LOGIN_RATE_LIMIT", value::rate);
        let registration_rate_limit_per_hour =
            read.required("ORIGIN_REGISTRATION_RATE_LIMIT", value::rate);
        let message_rate_limit_per_minute = read.required("ORIGIN_MESSAGE_RATE_LIMIT", value::rate);
        let session_ttl = read.required("ORIGIN_SESSION_TTL", value::timeout);
        let public_url = read.optional("ORIGIN_PUBLIC_URL", value::base_url);
        let trusted_proxies = read.optional("ORIGIN_TRUSTED_PROXIES", value::networks);
        let cors = read.optional("ORIGIN_CORS_ORIGINS", value::cors);
        let connections_max = read.required("ORIGIN_CONNECTIONS_MAX", value::count);
        let database_connections_max =
            read.required("ORIGIN_DATABASE_CONNECTIONS_MAX", value::count);
        let sentiment_model = read.optional("ORIGIN_SENTIMENT_MODEL", value::path);
        let log_format = read.required("ORIGIN_LOG_FORMAT", value::log_format);
        let log = read.required("ORIGIN_LOG", value::log_filter);
        Some(Self {
            listen: listen?,
            database: database?,
            newsapi_key: newsapi_key?,
            guardian_api_key: guardian_api_key?,
            reddit: reddit?,
            subreddits: subreddits?,
            token_key: token_key?,
            token_key_old: token_key_old?,
            feed_urls: feed_urls?.unwrap_or_default(),
            hackernews: hackernews?,
            cache_ttl: cache_ttl?,
            refresh_interval: refresh_interval?,
            live_interval_min: live_interval_min?,
            purge_url: purge_url?,
            purge_token: purge_token?,
            newsapi_url: newsapi_url?,
            guardian_url: guardian_url?,
            hackernews_url: hackernews_url?,
            source_timeout: source_timeout?,
            newsapi_quota: newsapi_quota?,
            guardian_quota: guardian_quota?,
            reddit_quota: reddit_quota?,
            feed_interval_min: feed_interval_min?,
            feed_permitted_networks: feed_permitted_networks?.unwrap_or_default(),
            user_feeds_max: user_feeds_max?,
            all_users_feeds_max: all_users_feeds_max?,
            rate_limit_per_minute: rate_limit_per_minute?,
            login_rate_limit_per_minute: login_rate_limit_per_minute?,
            registration_rate_limit_per_hour: registration_rate_limit_per_hour?,
            message_rate_limit_per_minute: message_rate_limit_per_minute?,
            session_ttl: session_ttl?,
            public_url: public_url?,
            trusted_proxies: trusted_proxies?.unwrap_or_default(),
            cors: cors?,
            connections_max: connections_max?,
            database_connections_max: database_connections_max?,
            sentiment_model: sentiment_model?,
            log_format: log_format?,
            log: log?,
        })
    }
}
