//! An answer as a value: what the parsers and the mapping of failures need of it.

use crate::article::text;
use crate::source::SourceError;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER};
use std::time::Duration;
use url::Url;

/// Longest stretch of a stranger's message that an error repeats, in characters.
const MESSAGE_CHARS_MAX: usize = 300;
/// Longest wait believed: a source that says "in a year" is asked again tomorrow.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A complete answer, within its size limit.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Where it came from in the end.
    pub url: Url,
}

impl Answer {
    /// True for 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header as text, when it is there and is text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The charset named in `Content-Type`.
    pub fn charset(&self) -> Option<&str> {
        let parameters = self.header(&CONTENT_TYPE)?.split(';').skip(1);
        parameters
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .map(|(_, value)| value.trim().trim_matches('"'))
    }

    /// How long we are asked to wait.
    pub fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        retry_after(self.header(&RETRY_AFTER)?, now)
    }

    /// What an answer that is no success means, with the stranger's own words where it had some.
    pub fn failure(&self, message: Option<&str>, now: DateTime<Utc>) -> SourceError {
        failure(self.status, self.retry_after(now), message)
    }
}

/// The meaning of a status; 503 with `Retry-After` asks for the same thing as 429.
pub(crate) fn failure(
    status: u16,
    retry_after: Option<Duration>,
    message: Option<&str>,
) -> SourceError {
    let message = message.and_then(|raw| text::clean(raw, MESSAGE_CHARS_MAX));
    let message = message.unwrap_or_else(|| "no message".to_owned());
    match status {
        401 | 403 => SourceError::Credentials(message),
        429 => SourceError::RateLimited { retry_after },
        503 if retry_after.is_some() => SourceError::RateLimited { retry_after },
        status => SourceError::Status { status, message },
    }
}

/// Seconds, or a date (RFC 9110 §10.2.3); a date in the past means now.
fn retry_after(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = DateTime::parse_from_rfc2822(value).ok()?.to_utc();
            (until - now).to_std().unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: HeaderName, value: &str) -> Answer {
        let headers = [(name, value.parse().expect("a header"))]
            .into_iter()
            .collect();
        let url = Url::parse("https://example.com/").expect("a URL");
        Answer {
            status: 200,
            headers,
            body: Vec::new(),
            url,
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = DateTime::from_timestamp(784_111_777, 0).expect("a date"); // Sun, 06 Nov 1994 08:49:37 GMT
        let rows = [
            ("4", Some(4)),
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("999999999999", Some(86_400)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ];
        for (value, seconds) in rows {
            let wait = answer(RETRY_AFTER, value).retry_after(now);
            assert_eq!(wait, seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn the_charset_is_found_whatever_its_dress() {
        let rows = [
            ("text/xml; charset=ISO-8859-1", Some("ISO-8859-1")),
            ("text/xml;profile=x; Charset=\"utf-8\"", Some("utf-8")),
            ("text/xml", None),
        ];
        for (value, charset) in rows {
            assert_eq!(answer(CONTENT_TYPE, value).charset(), charset);
        }
    }

    #[test]
    fn an_unavailable_source_that_names_a_time_asks_us_to_slow_down() {
        let wait = Some(Duration::from_secs(4));
        assert!(
            matches!(failure(503, wait, None), SourceError::RateLimited { retry_after } if retry_after == wait)
        );
        assert!(matches!(
            failure(503, None, None),
            SourceError::Status { status: 503, .. }
        ));
    }
}
