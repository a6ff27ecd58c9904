//! How long a feed wishes to be left in peace, by `Cache-Control: max-age`. `<ttl>` is read with the feed itself.

use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};
use std::time::Duration;

/// What is left of `max-age` when the answer has spent some time in a cache. `no-cache` and the like wish nothing.
pub(super) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let directives = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|directive| directive.split_once('='));
    let seconds = directives
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .find_map(|(_, value)| number(value))?;
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let age = age.and_then(number).unwrap_or(0);
    Some(Duration::from_secs(seconds.saturating_sub(age)))
}

/// RFC 9111 §1.2.2: what is too large to be held counts as very long.
fn number(text: &str) -> Option<u64> {
    let text = text.trim().trim_matches('"');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_read_in_any_company() {
        let rows = [
            (&["max-age=60"][..], "", Some(60)),
            (&["public, MAX-AGE = \"120\""], "", Some(120)),
            (
                &["no-cache", "max-age=3600, must-revalidate"],
                "",
                Some(3600),
            ),
            (&["max-age=100"], "40", Some(60)),
            (&["max-age=100"], "400", Some(0)),
            (&["max-age=99999999999999999999999"], "", Some(u64::MAX)),
            (&["s-maxage=60"], "", None),
            (&["max-age=-1"], "", None),
            (&["max-age"], "", None),
            (&[], "", None),
        ];
        for (lines, age, expected) in rows {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, line.parse().expect("a value"));
            }
            headers.insert(AGE, age.parse().expect("a value"));
            assert_eq!(
                max_age(&headers),
                expected.map(Duration::from_secs),
                "{lines:?}"
            );
        }
    }
}
