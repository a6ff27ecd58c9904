//! How messages look on an HTTP/1.x connection, whoever writes them: the front or Pingora.

use http::{HeaderName, StatusCode, header};

/// A field name as HTTP/1.1 people write it. Names are case-insensitive, but scripts that match `X-Cache:` are not.
pub(crate) fn spelled(name: &HeaderName) -> String {
    if name == header::ETAG {
        return "ETag".to_owned();
    }
    let mut begins = true;
    let spell = |letter: char| {
        let spelled = if begins {
            letter.to_ascii_uppercase()
        } else {
            letter
        };
        begins = letter == '-';
        spelled
    };
    name.as_str().chars().map(spell).collect()
}

/// Statuses whose responses never have content (RFC 9110 §6.4.1).
pub(crate) fn has_no_content(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// An absolute-form target means the same as its path and query (RFC 9112 §3.2.2); the front has seen that it names the
/// same host as `Host`.
pub(crate) fn origin_form(target: &str) -> &str {
    let rest = match target.split_once("://") {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
        {
            rest
        }
        _ => return target,
    };
    match rest.find('/') {
        Some(at) if !rest.get(..at).unwrap_or_default().contains('?') => {
            rest.get(at..).unwrap_or(target)
        }
        // No path, and perhaps a query: left to the upstream, unkeyed.
        _ => target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_target_means_its_path() {
        assert_eq!(origin_form("http://a:80/b?c=http://d/"), "/b?c=http://d/");
        assert_eq!(origin_form("/b?c=http://d/"), "/b?c=http://d/");
        for unkeyed in ["http://a", "http://a?b/c", "*", "ftp://a/b"] {
            assert_eq!(origin_form(unkeyed), unkeyed);
        }
    }

    #[test]
    fn names_are_spelled_as_people_write_them() {
        let x_cache = HeaderName::from_static("x-cache");
        assert_eq!(spelled(&x_cache), "X-Cache");
        assert_eq!(spelled(&header::ETAG), "ETag");
        assert_eq!(spelled(&HeaderName::from_static("x--odd-")), "X--Odd-");
    }
}
