//! The access line as a JSON object, written where it is formatted: there is one for every request, and a hit is to need no memory.
//!
//! The shape is that of all other lines in JSON: the time, the level, the event's fields and its target, all in one flat
//! object. Other events are left to the format that is wrapped.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

use super::ACCESS;

/// Another format, but for access lines.
#[derive(Debug)]
pub(super) struct AccessAside<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for AccessAside<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match event.metadata().target() {
            ACCESS => line(writer, event),
            _ => self.0.format_event(context, writer, event),
        }
    }
}

fn line(mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    out.write_str("{\"timestamp\":\"")?;
    SystemTime.format_time(&mut out)?;
    write!(out, "\",\"level\":\"{}\"", metadata.level())?;
    let mut members = Members {
        out: out.by_ref(),
        result: Ok(()),
    };
    event.record(&mut members);
    members.result?;
    out.write_str(",\"target\":")?;
    text(&mut out, metadata.target())?;
    out.write_str("}\n")
}

/// The members of an object that has some already.
struct Members<'a> {
    out: Writer<'a>,
    result: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.with(field, |out| out.write_fmt(value));
    }

    fn with(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let name = field.name();
        self.result = self.result.and_then(|()| {
            self.out.write_char(',')?;
            text(&mut self.out, name)?;
            self.out.write_char(':')?;
            value(&mut self.out)
        });
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.member(field, format_args!("{value:?}")),
            false => self.member(field, format_args!("null")),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.with(field, |out| text(out, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.with(field, |out| {
            out.write_char('"')?;
            write!(Inside(out), "{value:?}")?;
            out.write_char('"')
        });
    }
}

fn text(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    Inside(out).write_str(text)?;
    out.write_char('"')
}

/// Text within quotes (RFC 8259 §7).
struct Inside<'a, 'w>(&'a mut Writer<'w>);

impl Write for Inside<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |c: &char| !matches!(c, '"' | '\\' | '\0'..='\x1f');
        let mut rest = text;
        while let Some(at) = rest.find(|c| !is_plain(&c)) {
            let (plain, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
            self.0.write_str(plain)?;
            let mut characters = after.chars();
            match characters.next() {
                Some(c @ ('"' | '\\')) => write!(self.0, "\\{c}")?,
                Some(c) => write!(self.0, "\\u{:04x}", u32::from(c))?,
                None => {}
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}
