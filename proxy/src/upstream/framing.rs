//! Is the transfer coding of a response one that somebody here can undo (RFC 9112 §6.1, §6.3)?
//!
//! Where content ends must be understood in one way only, so that no rest of one response becomes the beginning of the next,
//! and nothing is stored as whole that is not. Lengths that are none or disagree Pingora has refused already; one beside a
//! transfer coding it has dropped.

use http::{HeaderMap, header};
use pingora::{Error, ErrorType};

/// Transfer codings that are registered, and a client of HTTP/1.1 would have to undo: this one never said it could.
const CODINGS: [&str; 6] = [
    "gzip",
    "x-gzip",
    "deflate",
    "compress",
    "x-compress",
    "chunked",
];

/// An error that says what is wrong with a response's head.
pub(super) fn broken(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, why)
}

/// Refuses every combination with a registered coding in it but one plain `chunked`. A single word that names no coding is
/// a stray field: the content then ends with the connection (RFC 9112 §6.3), which is not used again.
pub(super) fn check(headers: &HeaderMap) -> pingora::Result<()> {
    let lines = || headers.get_all(header::TRANSFER_ENCODING).iter();
    let only = lines().next().filter(|_| lines().count() == 1);
    if lines().count() == 0
        || only.is_some_and(|one| one.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Ok(());
    }
    let codings = lines().map(|line| line.to_str().unwrap_or("chunked"));
    let refused = codings
        .flat_map(|line| line.split([',', ';', ' ', '\t']))
        .any(|word| {
            CODINGS
                .iter()
                .any(|coding| word.eq_ignore_ascii_case(coding))
        });
    if refused || only.is_none() {
        return Err(broken("a transfer coding that cannot be undone"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn is_sound(codings: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static(coding));
        }
        check(&headers).is_ok()
    }

    #[test]
    fn only_one_plain_chunked_or_a_stray_word_is_taken() {
        assert!(is_sound(&[]) && is_sound(&["Chunked"]) && is_sound(&["AbCdEf"]));
        for coding in [
            "gzip",
            "gzip, chunked",
            "chunked, gzip",
            "x, chunked",
            "chunked,chunked",
            "chunked;a",
            "chunked x",
        ] {
            assert!(!is_sound(&[coding]), "{coding}");
        }
        assert!(!is_sound(&["chunked", "chunked"]) && !is_sound(&["x", "y"]));
    }
}
