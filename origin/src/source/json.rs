//! JSON from strangers: every member may be missing, null, or of another type than the documents say, and one odd
//! member must not cost the whole answer. So sources look into a tree instead of deserialising into structs.

use super::SourceError;
use serde_json::Value;
use std::borrow::Cow;

/// Reads a document. A byte order mark, bytes that are not UTF-8 and halves of surrogate pairs (texts cut at a number of
/// UTF-16 units hold them) are mended first; what is still no JSON is malformed.
pub(crate) fn read(body: &[u8]) -> Result<Value, SourceError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    if body.trim_ascii().is_empty() {
        return Err(SourceError::Malformed("an empty document".to_owned()));
    }
    serde_json::from_slice(body).or_else(|fault| {
        let text = mend_surrogates(&String::from_utf8_lossy(body));
        serde_json::from_str(&text).map_err(|_| SourceError::Malformed(describe(body, &fault)))
    })
}

/// What arrived instead; serde's own text holds no part of the document.
fn describe(body: &[u8], fault: &serde_json::Error) -> String {
    match body.trim_ascii_start().first() {
        Some(b'<') => "an HTML or XML page where JSON was due".to_owned(),
        _ => format!("no JSON: {fault}"),
    }
}

/// A member that is a string with something in it.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object
        .get(key)?
        .as_str()
        .filter(|text| !text.trim().is_empty())
}

/// A member that identifies: a string, or a number as some write it.
pub(crate) fn id<'a>(object: &'a Value, key: &str) -> Option<Cow<'a, str>> {
    match object.get(key)? {
        Value::String(text) if !text.trim().is_empty() => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// The members of an array, none when it is missing or something else.
pub(crate) fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Replaces `\ud83d` and the like by U+FFFD where its other half is missing.
fn mend_surrogates(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let (escape, len) = match (
            unit(after),
            after
                .get(5..)
                .and_then(|low| low.strip_prefix('\\'))
                .and_then(unit),
        ) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (None, 11),
            (Some(0xD800..=0xDFFF), _) => (Some("ufffd"), 5),
            (Some(_), _) => (None, 5),
            // Any other escape is one character long; both together, so that the second backslash of two opens nothing.
            (None, _) => (None, after.chars().next().map_or(0, char::len_utf8)),
        };
        out.push('\\');
        out.push_str(escape.or_else(|| after.get(..len)).unwrap_or_default());
        rest = after.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The code unit of `uXXXX` at the start of the text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix('u')?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(body: &[u8]) -> String {
        read(body).expect("JSON")["t"]
            .as_str()
            .expect("a string")
            .to_owned()
    }

    #[test]
    fn damaged_text_is_mended() {
        assert_eq!(string(b"\xEF\xBB\xBF{\"t\":\"bom\"}"), "bom");
        assert_eq!(string(b"{\"t\":\"caf\xE9\"}"), "caf\u{FFFD}");
        assert_eq!(string(br#"{"t":"cut \ud83d"}"#), "cut \u{FFFD}");
        assert_eq!(
            string(br#"{"t":"cut \udc00 whole \ud83d\ude00 \\ud83d \n"}"#),
            "cut \u{FFFD} whole 😀 \\ud83d \n"
        );
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for body in [
            &b""[..],
            b"  ",
            b"<html>",
            b"{",
            b"{\"t\":\"\\",
            b"\xFF\xFE",
        ] {
            assert!(
                matches!(read(body), Err(SourceError::Malformed(_))),
                "{body:?}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(
            read(deep.as_bytes()),
            Err(SourceError::Malformed(_))
        ));
    }

    #[test]
    fn members_of_another_type_are_as_good_as_missing() {
        let object = serde_json::json!({"a": 5, "b": null, "c": " ", "d": "x", "e": {}});
        for (key, expected) in [
            ("a", None),
            ("b", None),
            ("c", None),
            ("d", Some("x")),
            ("z", None),
        ] {
            assert_eq!(text(&object, key), expected);
        }
        assert_eq!(id(&object, "a").as_deref(), Some("5"));
        assert!(list(&object, "e").is_empty());
    }
}
