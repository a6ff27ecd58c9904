//! The settings as they hold, one a line under the name of its variable, for `check`. Secrets show only that they are set, URLs
//! neither passwords nor queries.

use super::value::without_secrets;
use super::{BaseUrl, Config, Cors, LogFormat};
use crate::discipline::Window;
use std::fmt::{Display, Write};
use std::num::NonZeroU32;
use std::time::Duration;

/// What stands for a setting that nothing was said about.
const UNSET: &str = "-";

pub(super) fn summary(config: &Config) -> String {
    rows(config)
        .iter()
        .fold(String::new(), |mut text, (name, value)| {
            // Writing to a String can't fail.
            let _ = writeln!(text, "  {name:<32} {value}");
            text
        })
}

/// In the order of the table of settings.
#[rustfmt::skip] // one row per setting reads as the table it is
fn rows(config: &Config) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("ORIGIN_LISTEN", config.listen.to_string()),
        ("DATABASE_URL", format!("{:?}", config.database)),
        ("NEWSAPI_KEY", secret(config.newsapi_key.is_some())),
        ("GUARDIAN_API_KEY", secret(config.guardian_api_key.is_some())),
    ];
    rows.extend(reddit_rows(config));
    rows.extend([
        ("REDDIT_SUBREDDITS", list(&config.subreddits)),
        ("ORIGIN_TOKEN_KEY", secret(config.token_key.is_some())),
        ("ORIGIN_TOKEN_KEY_OLD", secret(config.token_key_old.is_some())),
        ("FEED_URLS", list(config.feed_urls.0.iter().map(without_secrets))),
        ("HACKERNEWS", if config.hackernews { "on" } else { "off" }.to_owned()),
        ("CACHE_TTL", duration(config.cache_ttl)),
        ("ORIGIN_REFRESH_INTERVAL", duration(config.refresh_interval.unwrap_or_default())),
        ("ORIGIN_LIVE_INTERVAL_MIN", duration(config.live_interval_min)),
        ("LARDER_PURGE_URL", base(config.purge_url.as_ref())),
        ("LARDER_PURGE_TOKEN", secret(config.purge_token.is_some())),
        ("NEWSAPI_URL", base(config.newsapi_url.as_ref())),
        ("GUARDIAN_URL", base(config.guardian_url.as_ref())),
        ("HACKERNEWS_URL", base(config.hackernews_url.as_ref())),
        ("ORIGIN_SOURCE_TIMEOUT", duration(config.source_timeout)),
        ("NEWSAPI_QUOTA", quota(&config.newsapi_quota)),
        ("GUARDIAN_QUOTA", quota(&config.guardian_quota)),
        ("REDDIT_QUOTA", quota(&config.reddit_quota)),
        ("FEED_INTERVAL_MIN", duration(config.feed_interval_min)),
        ("FEED_PERMITTED_NETWORKS", list(&config.feed_permitted_networks)),
        ("ORIGIN_USER_FEEDS_MAX", config.user_feeds_max.to_string()),
        ("ORIGIN_ALL_USERS_FEEDS_MAX", config.all_users_feeds_max.to_string()),
        ("ORIGIN_RATE_LIMIT", rate(config.rate_limit_per_minute)),
        ("ORIGIN_LOGIN_RATE_LIMIT", rate(config.login_rate_limit_per_minute)),
        ("ORIGIN_REGISTRATION_RATE_LIMIT", rate(config.registration_rate_limit_per_hour)),
        ("ORIGIN_MESSAGE_RATE_LIMIT", rate(config.message_rate_limit_per_minute)),
        ("ORIGIN_SESSION_TTL", duration(config.session_ttl)),
        ("ORIGIN_PUBLIC_URL", base(config.public_url.as_ref())),
        ("ORIGIN_TRUSTED_PROXIES", list(&config.trusted_proxies)),
        ("ORIGIN_CORS_ORIGINS", cors(config.cors.as_ref())),
        ("ORIGIN_CONNECTIONS_MAX", config.connections_max.to_string()),
        ("ORIGIN_DATABASE_CONNECTIONS_MAX", config.database_connections_max.to_string()),
        ("ORIGIN_SENTIMENT_MODEL", list(config.sentiment_model.iter().map(|path| path.display()))),
        ("ORIGIN_LOG_FORMAT", log_format(config.log_format).to_owned()),
        ("ORIGIN_LOG", config.log.clone()),
    ]);
    rows
}

/// The client id alone says whether the others count.
fn reddit_rows(config: &Config) -> Vec<(&'static str, String)> {
    let Some(reddit) = &config.reddit else {
        return vec![("REDDIT_CLIENT_ID", UNSET.to_owned())];
    };
    let agent = String::from_utf8_lossy(reddit.user_agent.as_bytes());
    vec![
        ("REDDIT_CLIENT_ID", reddit.client_id.clone()),
        (
            "REDDIT_CLIENT_SECRET",
            secret(reddit.client_secret.is_some()),
        ),
        ("REDDIT_REDIRECT_URI", without_secrets(&reddit.redirect_uri)),
        ("REDDIT_USER_AGENT", agent.into_owned()),
        ("REDDIT_URL", without_secrets(&reddit.www)),
        ("REDDIT_API_URL", without_secrets(&reddit.api)),
    ]
}

fn secret(is_set: bool) -> String {
    if is_set { "(set)" } else { UNSET }.to_owned()
}

fn base(url: Option<&BaseUrl>) -> String {
    url.map_or_else(|| UNSET.to_owned(), |url| without_secrets(&url.0))
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.is_empty() {
        true => UNSET.to_owned(),
        false => items.join(" "),
    }
}

fn cors(cors: Option<&Cors>) -> String {
    match cors {
        None => UNSET.to_owned(),
        Some(Cors::Anybody) => "*".to_owned(),
        Some(Cors::These(origins)) => list(origins),
    }
}

/// As it is written: 0 sets no limit.
fn rate(limit: Option<NonZeroU32>) -> String {
    limit.map_or(0, NonZeroU32::get).to_string()
}

fn quota(windows: &[Window]) -> String {
    let window = |window: &Window| {
        let length = window.length.to_std().unwrap_or_default();
        format!("{}/{}", window.requests_max, duration(length))
    };
    list(windows.iter().map(window))
}

/// In the largest unit that loses nothing.
fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
    ]
    .iter()
    .find(|(unit, factor)| ms.is_multiple_of(*factor) && (ms > 0 || *unit == "s"))
    .map_or_else(
        || format!("{ms}ms"),
        |(unit, factor)| format!("{}{unit}", ms / factor),
    )
}

fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Human => "human",
        LogFormat::Json => "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SETTINGS, given};
    use std::collections::{BTreeMap, BTreeSet};
    use std::ffi::OsString;

    fn config(settings: &[(&str, &str)]) -> Config {
        let settings: BTreeMap<&str, &str> = settings.iter().copied().collect();
        let environment = |name: &str| settings.get(name).map(OsString::from);
        let given = given(["larder-origin".into()], &environment).unwrap();
        Config::parse(&given).unwrap()
    }

    #[test]
    fn every_setting_has_a_row() {
        let rows = rows(&config(&[("REDDIT_CLIENT_ID", "id")]));
        let shown: BTreeSet<_> = rows.iter().map(|(name, _)| *name).collect();
        let known: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(shown, known);
        assert_eq!(rows.len(), known.len());
    }

    #[test]
    fn defaults_are_shown_as_the_table_of_settings_writes_them() {
        let rows = rows(&config(&[("REDDIT_CLIENT_ID", "id")]));
        for setting in SETTINGS
            .iter()
            .filter(|setting| setting.name != "CACHE_TTL")
        {
            if let Some(default) = setting.default {
                let row = rows.iter().find(|(name, _)| *name == setting.name);
                let day = default.replace("24h", "1d");
                assert_eq!(row.map(|(_, value)| value.as_str()), Some(day.as_str()));
            }
        }
    }

    #[test]
    fn no_row_shows_a_secret() {
        let config = config(&[
            ("NEWSAPI_KEY", "hunter2"),
            ("DATABASE_URL", "postgres://u:hunter2@h/d"),
            ("FEED_URLS", "https://u:hunter2@f.example/rss?k=hunter2"),
            ("LARDER_PURGE_URL", "http://u:hunter2@p.example/purge"),
            ("LARDER_PURGE_TOKEN", "hunter2"),
            ("REDDIT_CLIENT_ID", "id"),
            ("REDDIT_CLIENT_SECRET", "hunter2"),
            ("REDDIT_URL", "http://u:hunter2@r.example/"),
            ("CACHE_TTL", "1500ms"),
        ]);
        let text = summary(&config);
        assert!(!text.contains("hunter2"), "{text}");
        for row in [
            "FEED_URLS https://f.example/rss",
            "NEWSAPI_KEY (set)",
            "CACHE_TTL 1500ms",
        ] {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert!(words.join(" ").contains(row), "{row} in {text}");
        }
    }
}
