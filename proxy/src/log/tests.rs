//! What an access line looks like, and what it never holds.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use larder_policy::{Forward, Stored};
use serde_json::{Value, json};

use super::*;
use crate::trace::{Trace, TraceMode};

#[test]
fn userinfo_of_an_absolute_target_is_not_logged() {
    assert_eq!(
        loggable("http://user:pass@api.example/x?q=1"),
        "api.example/x?q=1"
    );
    assert_eq!(loggable("/x?next=http://a@b/"), "/x?next=http://a@b/");
    assert_eq!(loggable("http://api.example/@x"), "http://api.example/@x");
}

#[test]
fn values_of_parameters_that_open_something_are_not_logged() {
    for (target, logged) in [
        (
            "/auth/reddit/callback?state=abc&code=s3cret",
            "/auth/reddit/callback?state=***&code=***",
        ),
        (
            "/auth/reddit/callback?error=access_denied&state=abc",
            "/auth/reddit/callback?error=access_denied&state=***",
        ),
        ("/addresses?state=CA", "/addresses?state=CA"),
        (
            "/x?a=1;Token=s3cret&b=2&access_token=s3cret",
            "/x?a=1;Token=***&b=2&access_token=***",
        ),
        ("/x?code&code=&q=code%3D1", "/x?code&code=&q=code%3D1"),
        ("/code=1?codes=1&zip-code=2", "/code=1?codes=1&zip-code=2"),
        (
            "http://u:p@api.example/x?api-key=s3cret",
            "api.example/x?api-key=***",
        ),
    ] {
        assert_eq!(loggable(target), logged);
    }
    let long = format!("/x?{}&code=s3cret", "a".repeat(TARGET_BYTES_MAX - 10));
    assert!(!loggable(&long).contains('3'));
}

#[test]
fn a_long_target_is_cut_at_a_character() {
    let target = format!("/{}", "ä".repeat(TARGET_BYTES_MAX));
    let cut = loggable(&target);
    assert_eq!(cut.len(), TARGET_BYTES_MAX - 1);
    assert!(target.starts_with(&*cut));
}

#[test]
fn control_characters_and_direction_marks_are_escaped() {
    let text = Escaped("/a\r\nINFO forged\u{1b}[2J\u{202e}\\n ä").to_string();
    assert_eq!(text, "/a\\r\\nINFO forged\\u{1b}[2J\\u{202e}\\\\n \\u{e4}");
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `work` logs.
fn logged(format: LogFormat, level: LogLevel, work: impl FnOnce()) -> String {
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = subscriber(format, level, false, move || writer.clone());
    tracing::subscriber::with_default(subscriber, work);
    let bytes = kept.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn log_one(target: &str) {
    log_one_of(target, Told::default());
}

fn log_one_of(target: &str, trace: Told<'_>) {
    access(&Access {
        method: &Method::GET,
        target,
        status: 200,
        outcome: &Outcome::Miss {
            fwd: Forward::UriMiss,
            status: 200,
            stored: Stored::Yes,
            collapsed: false,
        },
        bytes: 1234,
        duration: Duration::from_micros(12_345),
        client: Some(Ipv4Addr::LOCALHOST.into()),
        protocol: Version::HTTP_11,
        trace,
    });
}

#[test]
fn a_json_line_is_one_flat_object() {
    let text = logged(LogFormat::Json, LogLevel::Info, || {
        log_one("/articles?q=\"x\"")
    });
    let mut line: Value = serde_json::from_str(&text).unwrap();
    let timestamp = line.as_object_mut().unwrap().remove("timestamp");
    assert!(timestamp.is_some_and(|timestamp| timestamp.as_str().unwrap().ends_with('Z')));
    assert_eq!(
        line,
        json!({
            "level": "INFO", "target": "larder_proxy::access", "message": "request",
            "method": "GET", "url": "/articles?q=\"x\"", "status": 200, "result": "MISS",
            "reason": "uri-miss", "bytes": 1234, "duration_ms": 12.345, "client": "127.0.0.1",
            "protocol": "HTTP/1.1",
        })
    );
}

#[test]
fn a_line_bears_the_identifiers_of_its_request_and_a_stranger_s_cannot_break_it() {
    let mut client = http::HeaderMap::new();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    client.insert("traceparent", traceparent.parse().unwrap());
    client.insert("x-request-id", "a\"b\\c".parse().unwrap());
    let trace = Trace::new(TraceMode::Continue);
    let line = |trace: &Trace| {
        let text = logged(LogFormat::Json, LogLevel::Info, || {
            log_one_of("/", trace.told(&client));
        });
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let of_client = line(&trace);
    assert_eq!(of_client["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(of_client["parent_id"], "00f067aa0ba902b7");
    assert_eq!(
        of_client["request_id"], "a\"b\\\\c",
        "escaped as a target is"
    );
    assert_eq!(of_client.get("span_id"), None, "nothing went upstream");
    let sent = trace.sent(&client).unwrap().traceparent.to_str().unwrap();
    let gone_upstream = line(&trace);
    assert_eq!(gone_upstream["span_id"].as_str(), sent.split('-').nth(2));
    for name in ["trace_id", "parent_id", "request_id"] {
        assert_eq!(gone_upstream[name], of_client[name]);
    }
    let text = logged(LogFormat::Human, LogLevel::Info, || {
        log_one_of("/", trace.told(&client));
    });
    let end = "trace_id=4bf92f3577b34da6a3ce929d0e0e4736";
    assert!(
        text.contains(end) && text.contains("request_id=a"),
        "{text}"
    );
}

/// One of each kind of field.
macro_rules! odd_event {
    ($target:expr, $text:expr) => {
        info!(
            target: $target,
            text = $text,
            debug = ?$text,
            display = %$text,
            nothing = None::<u64>,
            number = 1.25,
            no_number = f64::NAN,
            below = -1_i64,
            most = u64::MAX,
            yes = true,
            "message"
        )
    };
}

#[test]
fn a_json_line_has_the_shape_of_all_others_and_is_read_back_whatever_is_in_it() {
    let odd = "\"\\ \u{1} \u{7f}\u{e4}";
    let text = logged(LogFormat::Json, LogLevel::Info, || {
        odd_event!(ACCESS, odd);
        odd_event!("larder_proxy::other", odd);
    });
    let mut lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let object = line.as_object_mut().unwrap();
        let taken = ["timestamp", "target"].map(|name| object.remove(name).unwrap());
        (line, taken[0].as_str().unwrap().len())
    });
    let (ours, theirs) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(ours, theirs);
    assert_eq!(
        (&ours.0["text"], &ours.0["debug"]),
        (&json!(odd), &json!(format!("{odd:?}")))
    );
    assert_eq!(lines.next(), None);
}

#[test]
fn a_human_line_says_the_same() {
    let text = logged(LogFormat::Human, LogLevel::Info, || log_one("/articles"));
    assert!(
        text.ends_with(
            "INFO larder_proxy::access: request method=GET url=/articles status=200 result=\"MISS\" \
             reason=\"uri-miss\" bytes=1234 duration_ms=12.345 client=127.0.0.1 protocol=HTTP/1.1\n"
        ),
        "{text}"
    );
}

#[test]
fn a_request_is_one_line_whatever_its_target_holds() {
    for format in [LogFormat::Human, LogFormat::Json] {
        let text = logged(format, LogLevel::Info, || {
            log_one("/a\r\n2026-01-01 INFO forged\u{85}\u{2028}\u{1b}[31m\0");
        });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(
            text.trim_end().chars().all(|c| matches!(c, ' '..='~')),
            "{text:?}"
        );
    }
}

#[test]
fn the_level_decides_and_libraries_are_a_step_quieter() {
    let work = || {
        log_one("/a");
        tracing::warn!(target: "larder_proxy::store", "ours-warn");
        tracing::debug!(target: "larder_proxy::store", "ours-debug");
        tracing::info!(target: "pingora_core", "theirs-info");
        tracing::warn!(target: "pingora_core", "theirs-warn");
    };
    for (level, seen) in [
        (LogLevel::Error, &[][..]),
        (LogLevel::Warn, &["ours-warn", "theirs-warn"]),
        (LogLevel::Info, &["request", "ours-warn", "theirs-warn"]),
        (
            LogLevel::Debug,
            &[
                "request",
                "ours-warn",
                "ours-debug",
                "theirs-info",
                "theirs-warn",
            ],
        ),
    ] {
        let text = logged(LogFormat::Human, level, work);
        assert_eq!(text.lines().count(), seen.len(), "{level:?}: {text}");
        for word in seen {
            assert!(text.contains(word), "{level:?}: {word} is not in {text}");
        }
    }
}
