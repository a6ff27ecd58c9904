//! JSON from strangers: every member may be missing, null, or of another type than the documents say, and one odd
//! member must not cost the whole answer. So sources look into a tree instead of deserialising into structs.

mod mend;

use super::SourceError;
use super::feed::to_text;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::borrow::Cow;

/// Values in a document of any length: each takes some dozen bytes of memory, however few it is written in.
const VALUES_MAX: usize = 200_000;

/// Reads a document. Other encodings than UTF-8, and what many programs write though it is no JSON, are mended first; what is
/// still none is malformed.
pub(crate) fn read(body: &[u8]) -> Result<Value, SourceError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    if body.trim_ascii().is_empty() {
        return Err(SourceError::Malformed("an empty document".to_owned()));
    }
    bounded(body)?;
    serde_json::from_slice(body).or_else(|fault| {
        let text = to_text(body, None);
        bounded(text.as_bytes())?;
        mend::first_value(&text).ok_or_else(|| SourceError::Malformed(describe(body, &fault)))
    })
}

/// Counts what separates and opens, but not within texts.
fn bounded(body: &[u8]) -> Result<(), SourceError> {
    let (mut values, mut in_text, mut is_escaped) = (0_usize, false, false);
    for byte in body {
        match (in_text, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b',' | b'[' | b'{') => values += 1,
            _ => {}
        }
    }
    if values > VALUES_MAX {
        let many = format!("more than {VALUES_MAX} values");
        return Err(SourceError::Malformed(many));
    }
    Ok(())
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

/// A time in seconds, with or without fraction, as a number or, as some mirrors write it, as text.
pub(crate) fn seconds(object: &Value, key: &str) -> Option<DateTime<Utc>> {
    let value = object.get(key)?;
    let seconds = value
        .as_f64()
        .or_else(|| value.as_str()?.trim().parse().ok())?;
    let is_sane = seconds.is_finite() && (0.0..1e12).contains(&seconds);
    is_sane
        .then(|| DateTime::from_timestamp_millis((seconds * 1000.0) as i64))
        .flatten()
}

/// Whether a member says yes: as a boolean, or as the text of one.
pub(crate) fn is(object: &Value, key: &str) -> bool {
    match object.get(key) {
        Some(Value::Bool(yes)) => *yes,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// The members of an array, none when it is missing or something else.
pub(crate) fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
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
        assert_eq!(string(b"{\"t\":\"caf\xE9 \x93x\x94\"}"), "café “x”");
        assert_eq!(string(br#"{"t":"cut \ud83d"}"#), "cut \u{FFFD}");
        assert_eq!(
            string(br#"{"t":"cut \udc00 whole \ud83d\ude00 \\ud83d \n"}"#),
            "cut \u{FFFD} whole 😀 \\ud83d \n"
        );
    }

    #[test]
    fn documents_of_two_bytes_a_character_are_read() {
        let text = r#"{"t":"café – \ud83d"}"#;
        let bytes = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(to_bytes).collect()
        };
        let (low, high) = (bytes(u16::to_le_bytes), bytes(u16::to_be_bytes));
        let marked = [b"\xFF\xFE".as_slice(), &low].concat();
        for body in [marked, low, high] {
            assert_eq!(string(&body), "café – \u{FFFD}");
        }
    }

    #[test]
    fn a_document_of_nothing_but_small_values_is_not_made() {
        let body = format!("[{}0]", "0,".repeat(VALUES_MAX));
        assert!(matches!(
            read(body.as_bytes()),
            Err(SourceError::Malformed(words)) if words.contains("values")
        ));
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
