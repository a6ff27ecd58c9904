//! Which of the responses under one of our keys does a request select? The question to Redis, and what its answer means.
//!
//! A URL's hash says itself by which request fields its variants are told apart, so the right one can't be named before that
//! is known. But an API says the same `Vary` of most of what it has. So the question asks for the names, for the variant that
//! is the request's where there are none, and for those that are its by each `Vary` met lately. Where another one is right, the
//! answer tells which, and a second question asks by that. A script would always find it at once, and takes ten times as long
//! in a server that does one thing at a time. Left out: whether what is found is believed.

use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, HeaderName};
use larder_policy::{VarySpec, selecting};
use redis::{Cmd, Value};

use super::script::{joined_names, variant_field};

/// Kinds of `Vary` that are asked by at once.
const HABITS_MAX: usize = 4;
/// Names in `v`, joined: longer than any that is written.
const NAMES_BYTES_MAX: usize = 64 * 1024;

/// A `Vary`, and what stands in `v` for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Habit {
    names: String,
    spec: Option<VarySpec>,
}

impl Habit {
    pub(super) fn of(spec: Option<&VarySpec>) -> Self {
        Self {
            names: joined_names(spec),
            spec: spec.cloned(),
        }
    }

    /// None when it is nothing that we write.
    fn read(names: &[u8]) -> Option<Self> {
        let names = Some(names).filter(|names| names.len() <= NAMES_BYTES_MAX)?;
        if names.is_empty() {
            return Some(Self::of(None));
        }
        let read = names
            .split(|byte| *byte == b',')
            .map(HeaderName::from_bytes);
        let spec = VarySpec::from_names(read.collect::<Result<Vec<_>, _>>().ok()?);
        Some(Self::of(Some(&spec))).filter(|habit| habit.names.as_bytes() == names)
    }

    pub(super) fn spec(&self) -> Option<&VarySpec> {
        self.spec.as_ref()
    }

    fn field(&self, request: &HeaderMap) -> Vec<u8> {
        let selecting = self.spec.as_ref().map(|spec| selecting(spec, request));
        let field = variant_field(&selecting.unwrap_or_default());
        // Written by ourselves a line ago, it can be read; no variant has the name that stands in for it.
        field.unwrap_or_default()
    }
}

/// No `Vary`, and the kinds of it that were met last, the newest first.
#[derive(Debug)]
pub(super) struct Habits(RwLock<Arc<[Habit]>>);

impl Default for Habits {
    fn default() -> Self {
        Self(RwLock::new([Habit::of(None)].into()))
    }
}

impl Habits {
    fn known(&self) -> Arc<[Habit]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn learn(&self, spec: Option<&VarySpec>) {
        if self.known().iter().any(|known| known.spec() == spec) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let first = [Habit::of(None), Habit::of(spec)];
        let others = known.iter().skip(1).take(HABITS_MAX - 1).cloned();
        *known = first.into_iter().chain(others).collect();
    }
}

/// What is asked: habits, and the field that is the request's by each.
#[derive(Debug)]
pub(super) struct Question {
    habits: Arc<[Habit]>,
    fields: Vec<Vec<u8>>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Found(Vec<u8>),
    /// Responses of this URL, but none that this request selects.
    VaryMiss,
    Miss,
    /// It varies by something else than was asked by: to be asked again.
    By(Habit),
    Damaged,
}

impl Question {
    /// By no field, and by all that is known.
    pub(super) fn first(habits: &Habits, request: &HeaderMap) -> Self {
        Self::by(habits.known(), request)
    }

    pub(super) fn by(habits: Arc<[Habit]>, request: &HeaderMap) -> Self {
        let fields = habits.iter().map(|habit| habit.field(request)).collect();
        Self { habits, fields }
    }

    /// Fields that are alike are asked for once.
    fn is_first(&self, at: usize) -> bool {
        let field = self.fields.get(at);
        !self
            .fields
            .iter()
            .take(at)
            .any(|other| Some(other) == field)
    }

    /// Where among the values of the answer is that of a habit's field?
    fn place(&self, at: usize) -> usize {
        let first = self
            .fields
            .iter()
            .position(|field| self.fields.get(at) == Some(field));
        let before = 0..first.unwrap_or(at);
        1 + before.filter(|&before| self.is_first(before)).count()
    }

    pub(super) fn cmd(&self, key: &str) -> Cmd {
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(key).arg("v");
        for (at, field) in self.fields.iter().enumerate() {
            if self.is_first(at) {
                cmd.arg(field.as_slice());
            }
        }
        cmd
    }

    pub(super) fn read(&self, answer: Value) -> Answer {
        let Value::Array(mut values) = answer else {
            return Answer::Damaged;
        };
        let names = match values.first() {
            Some(Value::Nil) => return Answer::Miss,
            Some(Value::BulkString(names)) => Habit::read(names),
            _ => None,
        };
        let Some(habit) = names else {
            return Answer::Damaged;
        };
        let Some(at) = self.habits.iter().position(|known| *known == habit) else {
            return Answer::By(habit);
        };
        match values
            .get_mut(self.place(at))
            .map(|value| std::mem::replace(value, Value::Nil))
        {
            Some(Value::BulkString(form)) => Answer::Found(form),
            Some(Value::Nil) if habit.spec.is_none() => Answer::Miss,
            Some(Value::Nil) => Answer::VaryMiss,
            _ => Answer::Damaged,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderValue, ORIGIN};

    use super::*;

    fn bulk(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    fn german() -> HeaderMap {
        [(ACCEPT_LANGUAGE, HeaderValue::from_static("de"))]
            .into_iter()
            .collect()
    }

    fn knowing(names: &[HeaderName]) -> Habits {
        let habits = Habits::default();
        for name in names {
            habits.learn(Some(&VarySpec::from_names([name.clone()])));
        }
        habits
    }

    fn words(cmd: &Cmd) -> Vec<Vec<u8>> {
        let words = cmd.args_iter().map(|word| match word {
            redis::Arg::Simple(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        });
        words.collect()
    }

    #[test]
    fn what_is_known_is_asked_for_at_once_and_each_field_once() {
        let question = Question::first(&knowing(&[ACCEPT, ORIGIN, ACCEPT_LANGUAGE]), &german());
        let words = words(&question.cmd("key"));
        // Newest first; by Accept and by Origin it is the same field, which the request has neither of.
        assert_eq!(words[..4], [&b"HMGET"[..], b"key", b"v", b"e"]);
        assert!(words[4].starts_with(b"e+"));
        assert_eq!(words[5..], [b"e-".to_vec()]);
        let answer = |names: &[u8]| {
            let values = [
                bulk(names),
                bulk(b"none"),
                bulk(b"german"),
                bulk(b"without"),
            ];
            question.read(Value::Array(values.into()))
        };
        for (names, form) in [
            (&b""[..], &b"none"[..]),
            (b"accept-language", b"german"),
            (b"origin", b"without"),
            (b"accept", b"without"),
        ] {
            assert_eq!(answer(names), Answer::Found(form.into()));
        }
    }

    #[test]
    fn an_answer_says_by_what_it_varies_when_that_was_not_asked() {
        let question = Question::first(&Habits::default(), &german());
        let answer = question.read(Value::Array(vec![bulk(b"accept-language"), Value::Nil]));
        let Answer::By(habit) = answer else {
            panic!("{answer:?}");
        };
        let again = Question::by([habit].into(), &german());
        let there = Value::Array(vec![bulk(b"accept-language"), bulk(b"form")]);
        assert_eq!(again.read(there), Answer::Found(b"form".into()));
        let absent = Value::Array(vec![bulk(b"accept-language"), Value::Nil]);
        assert_eq!(again.read(absent), Answer::VaryMiss);
    }

    #[test]
    fn without_names_there_is_nothing_whatever_else_there_is() {
        let question = Question::first(&Habits::default(), &german());
        let gone = question.read(Value::Array(vec![Value::Nil, bulk(b"form")]));
        assert_eq!(gone, Answer::Miss);
        let empty = question.read(Value::Array(vec![bulk(b""), Value::Nil]));
        assert_eq!(empty, Answer::Miss);
    }

    #[test]
    fn what_we_never_write_is_damaged() {
        let question = Question::first(&knowing(&[ACCEPT]), &german());
        let long = "a,".repeat(NAMES_BYTES_MAX / 2 + 1);
        for names in ["b,a", "a,a", ",", "a,", "A", "a b", "\0", &long] {
            let values = vec![bulk(names.as_bytes()), bulk(b"x"), bulk(b"x")];
            assert_eq!(
                question.read(Value::Array(values)),
                Answer::Damaged,
                "{names:?}"
            );
        }
        for answer in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1), Value::Nil]),
            Value::Array(vec![bulk(b"")]),
            Value::Array(vec![bulk(b""), Value::Int(1)]),
        ] {
            assert_eq!(question.read(answer), Answer::Damaged);
        }
    }

    #[test]
    fn only_the_last_few_are_known() {
        let name = |n: usize| HeaderName::from_bytes(format!("x-{n}").as_bytes()).expect("a name");
        let all: Vec<_> = (0..=HABITS_MAX).map(name).collect();
        let habits = knowing(&all);
        habits.learn(Some(&VarySpec::from_names([name(HABITS_MAX)])));
        habits.learn(None);
        let known: Vec<_> = habits
            .known()
            .iter()
            .map(|habit| habit.names.clone())
            .collect();
        let expected = all[1..].iter().rev().map(ToString::to_string);
        let expected: Vec<_> = std::iter::once(String::new()).chain(expected).collect();
        assert_eq!(known, expected);
    }
}
