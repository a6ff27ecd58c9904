//! The log: how it is set up, and the access line, one a request.
//!
//! What a stranger sends is escaped before it is written, so nobody can forge a line or move a terminal's cursor. The access line holds the
//! request's target with its query, which may name people: keep logs accordingly. It never holds `Authorization`, cookies, the userinfo of a
//! URL, or the values of parameters whose names say that they open something.

mod json;

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::time::Duration;

use http::{Method, Version};
use larder_policy::Outcome;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, info};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{LogFormat, LogLevel};
use crate::trace::Told;

/// More of a target than any log's reader needs; the rest is cut, so that a line stays a line.
const TARGET_BYTES_MAX: usize = 2048;

/// Sends everything that is logged, by the libraries too, to standard error. Once a process.
pub fn install(format: LogFormat, level: LogLevel) -> Result<(), TryInitError> {
    let colours = std::io::stderr().is_terminal();
    subscriber(format, level, colours, std::io::stderr).try_init()
}

/// The same with another place to write to.
pub fn subscriber<W>(
    format: LogFormat,
    level: LogLevel,
    colours: bool,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colours)
        .log_internal_errors(false);
    let layer = match format {
        LogFormat::Human => layer.boxed(),
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true);
            layer.map_event_format(json::AccessAside).boxed()
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter(level)))
}

/// Ours at the level asked for. The libraries' one step quieter: at info they speak of each connection.
fn filter(level: LogLevel) -> Targets {
    let (ours, libraries) = match level {
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Trace => (LevelFilter::TRACE, LevelFilter::TRACE),
    };
    Targets::new()
        .with_target("larder_proxy", ours)
        .with_default(libraries)
}

/// Where access lines come from, as far as the log is concerned.
const ACCESS: &str = "larder_proxy::access";

/// What an access line tells.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The method as it came.
    pub method: &'a Method,
    /// The target as it came, query included.
    pub target: &'a str,
    /// The status that the client was sent.
    pub status: u16,
    /// What happened: the same value that feeds `X-Cache`, `Cache-Status` and the metrics.
    pub outcome: &'a Outcome,
    /// Bytes of body that the client was sent.
    pub bytes: u64,
    /// From the request's head to the last byte of the answer.
    pub duration: Duration,
    /// Who asked, when the socket says.
    pub client: Option<IpAddr>,
    /// The protocol's version.
    pub protocol: Version,
    /// Which request of which trace it is, as far as anything else bears the same.
    pub trace: Told<'a>,
}

/// Whether anybody gets access lines.
pub fn logs_access() -> bool {
    tracing::enabled!(target: ACCESS, tracing::Level::INFO)
}

/// Writes one access line, at level info.
pub fn access(access: &Access<'_>) {
    info!(
        target: ACCESS,
        method = %Escaped(access.method.as_str()),
        url = %Escaped(&loggable(access.target)),
        status = access.status,
        result = access.outcome.x_cache().as_str(),
        reason = access.outcome.reason().as_str(),
        bytes = access.bytes,
        duration_ms = milliseconds(access.duration),
        client = access.client.map(tracing::field::display),
        protocol = ?access.protocol,
        request_id = access.trace.request_id.map(|id| tracing::field::display(Escaped(id))),
        trace_id = access.trace.trace_id.map(tracing::field::display),
        span_id = access.trace.span_id.map(tracing::field::display),
        parent_id = access.trace.parent_id.map(tracing::field::display),
        "request"
    );
}

/// Milliseconds to the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Parameters whose values open something to whoever reads them: what OAuth sends through browsers, keys of APIs, signatures.
const SECRETIVE_NAMES: &[&str] = &[
    "access_token",
    "api-key",
    "api_key",
    "apikey",
    "client_secret",
    "code",
    "id_token",
    "password",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
];
/// What begins as OAuth's and ends as a word of many APIs: its value opens something beside one of these (RFC 6749 §4.1.2).
const STATE: &str = "state";
const BESIDE_STATE: &[&str] = &["code", "error"];
/// What stands in such a value's place.
const MASK: &str = "***";

/// A target as it may be logged: without userinfo (an absolute-form target can have one), without the values of
/// `SECRETIVE_NAMES`, and not without end.
fn loggable(target: &str) -> Cow<'_, str> {
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            match rest
                .get(..authority_end)
                .and_then(|authority| authority.rfind('@'))
            {
                Some(at) => rest.get(at + 1..).unwrap_or_default(),
                None => target,
            }
        }
        _ => target,
    };
    let end = target
        .char_indices()
        .find(|(at, c)| at + c.len_utf8() > TARGET_BYTES_MAX)
        .map_or(target.len(), |(at, _)| at);
    masked(target.get(..end).unwrap_or(target))
}

/// Whether a parameter has one of these names, and a value.
fn is_one_of(names: &[&str], pair: &str) -> bool {
    let Some((name, value)) = pair.split_once('=') else {
        return false;
    };
    !value.is_empty() && names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn masked(target: &str) -> Cow<'_, str> {
    let Some((path, query)) = target.split_once('?') else {
        return target.into();
    };
    let has = |names| query.split(['&', ';']).any(|pair| is_one_of(names, pair));
    let hides_state = has(&[STATE]) && has(BESIDE_STATE);
    let is_secretive =
        |pair: &str| is_one_of(SECRETIVE_NAMES, pair) || (hides_state && is_one_of(&[STATE], pair));
    if !query.split(['&', ';']).any(is_secretive) {
        return target.into();
    }
    let mut shown = format!("{path}?");
    for pair in query.split_inclusive(['&', ';']) {
        let (pair, end) = match pair.strip_suffix(['&', ';']) {
            Some(bare) => pair.split_at(bare.len()),
            None => (pair, ""),
        };
        match pair.split_once('=') {
            Some((name, _)) if is_secretive(pair) => {
                shown.extend([name, "=", MASK, end]);
            }
            _ => shown.extend([pair, end]),
        }
    }
    Cow::Owned(shown)
}

/// Text from strangers: control characters, quotes and backslashes are written as escapes, and so is everything that isn't ASCII (direction
/// marks and line separators among it).
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                ' '..='~' if c != '\\' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_default())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
