//! Bodies: the fields of a form or of a JSON object, both as texts. Every field is known, given once and sensible, or the answer
//! names all that are not.

use super::error::ApiError;
use super::params::{FAULTS_MAX, PAIRS_MAX, ParameterFault};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

/// What a body is written in, and what the answer is for: a program, or a browser without scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Form,
}

impl Format {
    /// By `Content-Type`; parameters such as the charset change nothing, because both are UTF-8.
    pub(super) fn of(fields: &HeaderMap) -> Result<Self, ApiError> {
        let kind = fields
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let kind = kind
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        match kind.trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-www-form-urlencoded" => Ok(Self::Form),
            _ => Err(ApiError::MediaType),
        }
    }
}

/// The fields of a body, and what is wrong with them.
#[derive(Debug)]
pub(super) struct Fields {
    pairs: Vec<(String, String)>,
    faults: Vec<ParameterFault>,
}

impl Fields {
    /// Notes what is unknown, repeated or no text.
    pub(super) fn read(format: Format, body: &[u8], known: &[&str]) -> Result<Self, ApiError> {
        let given = match format {
            Format::Json => json_fields(body)?,
            Format::Form => url::form_urlencoded::parse(body)
                .take(PAIRS_MAX + 1)
                .map(|(name, value)| (name.into_owned(), Some(value.into_owned())))
                .collect(),
        };
        let mut fields = Self {
            pairs: Vec::new(),
            faults: Vec::new(),
        };
        if given.len() > PAIRS_MAX {
            fields.note("body", format!("has more than {PAIRS_MAX} fields"));
        }
        for (name, value) in given.into_iter().take(PAIRS_MAX) {
            let is_repeated = fields.pairs.iter().any(|(other, _)| *other == name);
            match value {
                _ if !known.contains(&name.as_str()) => {
                    fields.note(
                        &name,
                        format!("is unknown; the fields are {}", known.join(", ")),
                    );
                }
                _ if is_repeated => fields.note(&name, "is given more than once".to_owned()),
                None => fields.note(&name, "must be text".to_owned()),
                Some(value) => fields.pairs.push((name, value)),
            }
        }
        Ok(fields)
    }

    /// A field that may be left out, or left empty as browsers leave it; a fault is noted.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let position = self.pairs.iter().position(|(given, _)| given == name)?;
        let (_, text) = self.pairs.swap_remove(position);
        if text.trim().is_empty() {
            return None;
        }
        match parse(&text) {
            Ok(value) => Some(value),
            Err(detail) => {
                self.note(name, detail);
                None
            }
        }
    }

    /// A field that must be there; a fault is noted.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let faults = self.faults.len();
        let value = self.optional(name, parse);
        if value.is_none() && self.faults.len() == faults {
            self.note(name, "must be given".to_owned());
        }
        value
    }

    /// What was read, if all of it was sensible.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ApiError> {
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(ApiError::Fields(self.faults)),
        }
    }

    fn note(&mut self, name: &str, detail: String) {
        let name = super::params::echo(name);
        if self.faults.len() < FAULTS_MAX && !self.faults.iter().any(|fault| fault.name == name) {
            self.faults.push(ParameterFault { name, detail });
        }
    }
}

/// The members of an object; `null` is as good as nothing.
fn json_fields(body: &[u8]) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let fields = json(body)?;
    let Value::Object(fields) = fields else {
        return Err(ApiError::Body("must be a JSON object".to_owned()));
    };
    let text = |(name, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((name, Some(text))),
        _ => Some((name, None)),
    };
    Ok(fields.into_iter().filter_map(text).collect())
}

/// Any JSON value.
pub(super) fn json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::Body(format!("is not valid JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn faults(format: Format, body: &str) -> Vec<String> {
        let mut fields = Fields::read(format, body.as_bytes(), &["text", "author"]).unwrap();
        let (text, _) = (
            fields.required("text", text),
            fields.optional("author", text),
        );
        match fields.finish(text) {
            Err(ApiError::Fields(faults)) => faults.into_iter().map(|fault| fault.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn forms_and_json_say_the_same() {
        for (format, body) in [
            (Format::Form, "text=a+b%26c&author="),
            (Format::Json, r#"{"text": "a b&c", "author": null}"#),
        ] {
            let mut fields = Fields::read(format, body.as_bytes(), &["text", "author"]).unwrap();
            assert_eq!(fields.optional("author", text), None);
            let value = fields.required("text", text);
            assert_eq!(fields.finish(value), Ok("a b&c".to_owned()));
        }
    }

    #[test]
    fn every_fault_is_named_once() {
        assert_eq!(faults(Format::Form, ""), ["text"]);
        assert_eq!(faults(Format::Form, "text=+&x=1&x=2"), ["x", "text"]);
        assert_eq!(faults(Format::Form, "text=a&text=b"), ["text"]);
        assert_eq!(faults(Format::Json, r#"{"text": 1}"#), ["text"]);
    }

    #[test]
    fn a_body_of_thousands_costs_no_more_than_a_short_one() {
        let form: Vec<String> = (0..10_000).map(|n| format!("x{n}=1")).collect();
        let json: Vec<String> = (0..10_000).map(|n| format!("\"x{n}\":1")).collect();
        for (format, body) in [
            (Format::Form, form.join("&")),
            (Format::Json, format!("{{{}}}", json.join(","))),
        ] {
            let names = faults(format, &body);
            assert_eq!((names.len(), names[0].as_str()), (FAULTS_MAX, "body"));
        }
        assert_eq!(
            faults(Format::Form, &"text=a&".repeat(10_000)),
            ["body", "text"]
        );
    }

    #[test]
    fn what_is_no_object_is_no_body() {
        for body in ["", "[]", "1", "{", "{\"a\":\"\\ud800\"}"] {
            let read = Fields::read(Format::Json, body.as_bytes(), &[]);
            assert!(matches!(read, Err(ApiError::Body(_))), "{body}");
        }
    }
}
