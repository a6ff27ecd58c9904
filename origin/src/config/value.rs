//! From the text of a setting to its value. Pure; a fault says what would be right, and never repeats what may be secret.

use super::{BaseUrl, Cors, FeedUrls, LogFormat};
use crate::database::DatabaseUrl;
use crate::discipline::Window;
use crate::secret::Secret;
use crate::source::reddit::is_subreddit;
use crate::vault::VaultKey;
use chrono::TimeDelta;
use ipnet::IpNet;
use reqwest::header::HeaderValue;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use url::Url;

/// A year: longer is a slip of the unit.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Every request of a window is a row to be read when the next one is counted.
const QUOTA_REQUESTS_MAX: u32 = 10_000;

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("must be an IP address and a port, as in 127.0.0.1:8001 or [::]:8001, not {text:?}")
    })
}

pub(super) fn database(text: &str) -> Result<DatabaseUrl, String> {
    text.parse()
        .map_err(|fault: crate::database::DatabaseUrlFault| fault.to_string())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

pub(super) fn secret(text: &str) -> Result<Secret, String> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "must be printable ASCII without blanks: it travels in a header or a URL".to_owned(),
        );
    }
    Secret::new(text).ok_or_else(|| "must not be empty".to_owned())
}

pub(super) fn base_url(text: &str) -> Result<BaseUrl, String> {
    let url = http_url(text)?;
    match (url.query(), url.fragment()) {
        (None, None) => Ok(BaseUrl(url)),
        _ => Err(format!(
            "must have neither query nor fragment: {}",
            without_secrets(&url)
        )),
    }
}

pub(super) fn urls(text: &str) -> Result<FeedUrls, String> {
    let (urls, faults): (Vec<_>, Vec<_>) = text
        .split_whitespace()
        .map(http_url)
        .partition(Result::is_ok);
    let faults: Vec<String> = faults.into_iter().filter_map(Result::err).collect();
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    let mut distinct: Vec<Url> = Vec::new();
    for url in urls.into_iter().flatten() {
        if !distinct.contains(&url) {
            distinct.push(url);
        }
    }
    Ok(FeedUrls(distinct))
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("must be a URL that begins with http:// or https://: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!(
            "must begin with http:// or https://, not {scheme}:"
        )),
    }
}

/// The URL without user, password and query.
pub(super) fn without_secrets(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}"));
    format!(
        "{}://{}{}{}",
        url.scheme(),
        url.host_str().unwrap_or(""),
        port.unwrap_or_default(),
        url.path()
    )
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("must be on or off, not {text:?}")),
    }
}

pub(super) fn seconds_or_duration(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds) => duration(&format!("{seconds}s")),
        Err(_) => duration(text),
    }
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        timeout => Ok(timeout),
    }
}

/// `None` for none at all. Shorter ones than a second are a slip of the unit.
pub(super) fn interval(text: &str) -> Result<Option<Duration>, String> {
    match duration(text)? {
        Duration::ZERO => Ok(None),
        short if short < Duration::from_secs(1) => {
            Err("must be at least 1s, or 0s for none".to_owned())
        }
        interval => Ok(Some(interval)),
    }
}

pub(super) fn cors(text: &str) -> Result<Cors, String> {
    if text == "*" {
        return Ok(Cors::Anybody);
    }
    let origins = text.split_whitespace().map(|word| {
        let origin = http_url(word)?.origin().ascii_serialization();
        // What browsers send: no path, no slash, no default port.
        match origin == word {
            true => Ok(origin),
            false => Err(format!("must be origins, as in {origin}, not {word:?}")),
        }
    });
    origins.collect::<Result<_, _>>().map(Cors::These)
}

/// A whole number and a unit: `250ms`, `300s`, `5m`, `1h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let fault = || {
        format!(
            "must be a whole number with a unit (ms, s, m, h, d), as in 300s or 5m, not {text:?}"
        )
    };
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .ok_or_else(fault)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| fault())?;
    let unit_ms: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    let duration = number.checked_mul(unit_ms).map(Duration::from_millis);
    duration
        .filter(|duration| *duration <= DURATION_MAX)
        .ok_or_else(|| "must be at most 365d".to_owned())
}

/// It travels in a URL and in a header.
pub(super) fn client_id(text: &str) -> Result<String, String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match text.bytes().all(is_word) {
        true => Ok(text.to_owned()),
        false => Err("must be letters, digits, -, _ and . alone".to_owned()),
    }
}

pub(super) fn user_agent(text: &str) -> Result<HeaderValue, String> {
    let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    match HeaderValue::from_str(text) {
        Ok(value) if text.bytes().all(is_visible) => Ok(value),
        _ => Err("must be printable ASCII on one line".to_owned()),
    }
}

pub(super) fn subreddits(text: &str) -> Result<Vec<String>, String> {
    let mut named: Vec<String> = Vec::new();
    for word in text
        .split([',', ' ', '\t', '\n', '\r', '+'])
        .filter(|word| !word.is_empty())
    {
        let name = word.strip_prefix("r/").unwrap_or(word);
        if !is_subreddit(name) {
            return Err(format!(
                "must be names of subreddits, as in worldnews technology, not {word:?}"
            ));
        }
        if !named.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            named.push(name.to_owned());
        }
    }
    Ok(named)
}

pub(super) fn token_key(text: &str) -> Result<VaultKey, String> {
    VaultKey::parse(text).ok_or_else(|| {
        "must be 32 bytes in base64, as openssl rand -base64 32 makes them".to_owned()
    })
}

/// How many requests in how long, one or several: `100/24h 50/12h`.
pub(super) fn quota(text: &str) -> Result<Vec<Window>, String> {
    text.split_whitespace().map(window).collect()
}

fn window(word: &str) -> Result<Window, String> {
    let fault = || {
        format!("must be whole numbers of requests with times, as in 100/24h 50/12h, not {word:?}")
    };
    let (requests, length) = word.split_once('/').ok_or_else(fault)?;
    let requests_max = requests.parse().map_err(|_| fault())?;
    let length = timeout(length)?;
    let length = TimeDelta::from_std(length).map_err(|_| fault())?;
    if requests_max > QUOTA_REQUESTS_MAX {
        return Err(format!("must be at most {QUOTA_REQUESTS_MAX} requests"));
    }
    Ok(Window {
        requests_max,
        length,
    })
}

pub(super) fn rate(text: &str) -> Result<Option<NonZeroU32>, String> {
    let rate: u32 = text
        .parse()
        .map_err(|_| format!("must be a whole number, or 0 for no limit, not {text:?}"))?;
    Ok(NonZeroU32::new(rate))
}

pub(super) fn count(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(format!(
            "must be a whole number from 1 to 1000000, not {text:?}"
        )),
    }
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let words = text.split(|character: char| character == ',' || character.is_whitespace());
    words.filter(|word| !word.is_empty()).map(network).collect()
}

fn network(word: &str) -> Result<IpNet, String> {
    let network = word
        .parse::<IpNet>()
        .ok()
        .or_else(|| word.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| {
        format!("must be addresses or networks, as in 127.0.0.1 or 172.16.0.0/12, not {word:?}")
    })
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text.to_ascii_lowercase().as_str() {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("must be human or json, not {text:?}")),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("must be error, warn, info, debug or directives: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("300s", 300_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("0s", 0),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 minutes",
            "1.5s",
            "366d",
            "99999999999999999999s",
            "5ſ",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_switch_is_on_or_off_and_nothing_else() {
        assert_eq!(switch("on"), Ok(true));
        assert_eq!(switch("Off"), Ok(false));
        for text in ["yes", "true", "1", "no", "0", ""] {
            assert!(switch(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        assert_eq!(cors("*"), Ok(Cors::Anybody));
        let two = cors("https://app.example http://localhost:3000").unwrap();
        let expected = ["https://app.example", "http://localhost:3000"];
        assert_eq!(two, Cors::These(expected.map(str::to_owned).into()));
        for text in [
            "https://app.example/",
            "app.example",
            "https://a.example:443",
            "null",
        ] {
            assert!(cors(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_in_seconds_where_that_is_allowed() {
        assert_eq!(seconds_or_duration("300"), Ok(Duration::from_secs(300)));
        assert_eq!(seconds_or_duration("5m"), Ok(Duration::from_secs(300)));
        assert!(timeout("300").is_err());
        assert!(timeout("0s").is_err());
    }

    #[test]
    fn feeds_are_separated_by_white_space_and_asked_once() {
        let urls =
            urls("https://a.example/feed\n http://b.example/rss https://a.example/feed").unwrap();
        let texts: Vec<&str> = urls.0.iter().map(Url::as_str).collect();
        assert_eq!(texts, ["https://a.example/feed", "http://b.example/rss"]);
        assert!(super::urls("file:///etc/passwd").is_err());
    }

    #[test]
    fn a_quota_is_a_number_of_requests_in_a_time() {
        let windows = quota("100/24h 1/1s").unwrap();
        assert_eq!(
            windows
                .iter()
                .map(|window| (window.requests_max, window.length.num_seconds()))
                .collect::<Vec<_>>(),
            [(100, 86_400), (1, 1)]
        );
        assert_eq!(quota(""), Ok(vec![]));
        for text in [
            "100",
            "100/24",
            "/24h",
            "100/",
            "-1/1h",
            "1/0s",
            "10001/1h",
            "100 / 24h",
        ] {
            assert!(quota(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_addresses_or_prefixes() {
        let networks = networks("127.0.0.1, 172.16.0.0/12 ::1").unwrap();
        assert!(
            networks
                .iter()
                .any(|network| network.contains(&"172.20.1.2".parse::<IpAddr>().unwrap()))
        );
        assert_eq!(networks.len(), 3);
        assert!(super::networks("localhost").is_err());
    }

    #[test]
    fn a_base_url_shows_its_port_but_no_password() {
        let url = base_url("http://u:hunter2@mirror.example:81/p").unwrap();
        assert_eq!(format!("{url:?}"), "http://mirror.example:81/p");
        assert_eq!(url.0.password(), Some("hunter2"));
        let fault = base_url("http://u:hunter2@mirror.example/?hunter2").unwrap_err();
        assert!(!fault.contains("hunter2"), "{fault}");
    }

    #[test]
    fn a_fault_in_a_database_url_repeats_no_password() {
        for url in [
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@h:port/d",
            "hunter2",
        ] {
            let fault = database(url).unwrap_err();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
