//! How messages look on an HTTP/1.x connection, whoever writes them: the front or Pingora.

use http::{HeaderName, StatusCode};

/// Writes a field name as HTTP/1.1 people do. Names are case-insensitive, but scripts that match `X-Cache:` are not.
pub(crate) fn spell(name: &[u8], out: &mut Vec<u8>) {
    if name.eq_ignore_ascii_case(b"etag") {
        return out.extend_from_slice(b"ETag");
    }
    let mut begins = true;
    out.extend(name.iter().map(|letter| {
        let spelled = match begins {
            true => letter.to_ascii_uppercase(),
            false => letter.to_ascii_lowercase(),
        };
        begins = *letter == b'-';
        spelled
    }));
}

/// The same for those who want a string.
pub(crate) fn spelled(name: &HeaderName) -> String {
    let mut spelled = Vec::with_capacity(name.as_str().len());
    spell(name.as_str().as_bytes(), &mut spelled);
    String::from_utf8(spelled).unwrap_or_default()
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 §5.5: visible characters, blanks, tabs and obs-text.
pub(crate) fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
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
        for (name, expected) in [
            ("x-cache", "X-Cache"),
            ("etag", "ETag"),
            ("x--odd-", "X--Odd-"),
        ] {
            let mut spelled = Vec::new();
            spell(name.as_bytes(), &mut spelled);
            assert_eq!(spelled, expected.as_bytes());
        }
    }
}
