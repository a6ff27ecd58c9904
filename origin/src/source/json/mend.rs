//! What programs write for JSON that put it together by hand: line breaks and control characters within texts, halves of
//! surrogate pairs (texts cut at a number of UTF-16 units hold them), escapes that JSON has not, commas before a closing bracket,
//! numbers that are none or too large, and warnings behind the document.
//!
//! Left out: quotes that were forgotten, and documents cut off in the middle: what they were meant to say is a guess.

use serde_json::Value;

/// The first value of the mended text.
pub(super) fn first_value(text: &str) -> Option<Value> {
    let mended = mended(text);
    let mut values = serde_json::Deserializer::from_str(&mended).into_iter::<Value>();
    values.next()?.ok()
}

fn mended(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' => string(rest, &mut out),
            ',' => comma(rest, &mut out),
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' => word(rest, &mut out),
            other => {
                out.push(other);
                other.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// A text with its quotes; how many bytes were read.
fn string(rest: &str, out: &mut String) -> usize {
    out.push('"');
    let mut at = 1;
    while let Some(c) = rest.get(at..).and_then(|rest| rest.chars().next()) {
        at += c.len_utf8();
        match c {
            '"' => {
                out.push('"');
                break;
            }
            '\\' => at += escape(rest.get(at..).unwrap_or_default(), out),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {}
            c => out.push(c),
        }
    }
    at
}

/// What follows a backslash; how many bytes of it were read.
fn escape(after: &str, out: &mut String) -> usize {
    let low = || {
        let second = after.get(5..)?.strip_prefix('\\')?;
        unit(second)
    };
    match unit(after) {
        Some(0xD800..=0xDBFF) if matches!(low(), Some(0xDC00..=0xDFFF)) => {
            out.push('\\');
            out.push_str(after.get(..11).unwrap_or_default());
            11
        }
        Some(0xD800..=0xDFFF) => {
            out.push('\u{FFFD}');
            5
        }
        Some(_) => {
            out.push('\\');
            out.push_str(after.get(..5).unwrap_or_default());
            5
        }
        None => match after.chars().next() {
            Some(c @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't')) => {
                out.push('\\');
                out.push(c);
                1
            }
            // `\'`: the backslash says nothing.
            _ => 0,
        },
    }
}

/// The code unit of `uXXXX` at the start of the text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix('u')?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex
        .then(|| u16::from_str_radix(digits, 16).ok())
        .flatten()
}

/// A comma, unless nothing follows it in its brackets.
fn comma(rest: &str, out: &mut String) -> usize {
    let next = rest.get(1..).unwrap_or_default().trim_start();
    if !next.starts_with([']', '}']) {
        out.push(',');
    }
    1
}

/// A number or a name; what is none in JSON is nothing.
fn word(rest: &str, out: &mut String) -> usize {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let word = rest.get(..end).unwrap_or_default();
    let is_number = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let is_nothing = match word {
        "NaN" | "Infinity" | "undefined" => true,
        word => is_number && serde_json::from_str::<Value>(word).is_err(),
    };
    out.push_str(if is_nothing { "null" } else { word });
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_nearly_json_is_read() {
        let rows = [
            (r#"{"a": [1, 2, ], "b": 3, }"#, json!({"a": [1, 2], "b": 3})),
            (
                r#"{"a": "x, ]", "b": ",}"}"#,
                json!({"a": "x, ]", "b": ",}"}),
            ),
            (
                r#"{"a": NaN, "b": -Infinity, "c": 1e999, "d": undefined, "e": 007, "f": -1.5e3, "g": true}"#,
                json!({"a": null, "b": null, "c": null, "d": null, "e": null, "f": -1500.0, "g": true}),
            ),
            ("{\"a\": \"one\n\ttwo\u{1}\"}", json!({"a": "one\n\ttwo"})),
            (r#"{"a": "it\'s \x20"}"#, json!({"a": "it's x20"})),
            (
                r#"{"a": "cut \ud83d, \udc00 \ud83d\ude00 \\ud83d \u00e9 \ud83dx"}"#,
                json!({"a": "cut \u{FFFD}, \u{FFFD} 😀 \\ud83d é \u{FFFD}x"}),
            ),
            ("{\"a\": 1}\n<b>Warning</b>: x", json!({"a": 1})),
        ];
        for (text, expected) in rows {
            assert_eq!(first_value(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_not_guessed() {
        for text in [
            "",
            "{",
            "{\"a\": \"x",
            "{\"a\": \"x\\",
            "[1, 2",
            "<p>",
            "{a: 1}",
            "call({});",
            "{\"a\" 1}",
        ] {
            assert_eq!(first_value(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_json_stays_what_it_was(text in ".{0,40}", number in proptest::num::i64::ANY, other in 0_u64..) {
            let value = json!({"a": [&text, number, null, {"b": other}], (&text): -1});
            proptest::prop_assert_eq!(first_value(&value.to_string()), Some(value));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}|[\\\\\"\\[\\]{},:u0-9dDnN.a-]{0,40}") {
            let _ = first_value(&text);
        }
    }
}
