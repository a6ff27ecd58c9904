//! When an article was published, in the many ways sources write it: ISO 8601 in its dialects, RFC 2822 and what passes for it,
//! the forms of C and of American pages, and seconds since 1970.
//!
//! A time without a zone is taken as UTC. Left out, because they could be read two ways: days and months in digits alone
//! (`3/4/2026`), names of zones that several have, and weeks; an article without a readable date is dated by its fetch.

mod words;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeDelta, Utc};

/// No news site is older than the web; earlier dates (1970 above all) mean "unknown".
const YEAR_MIN: i32 = 1990;
/// Longer texts are no dates.
const DATE_BYTES_MAX: usize = 100;

/// Reads a date in any of these forms.
pub fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if text.len() > DATE_BYTES_MAX {
        return None;
    }
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.to_utc());
    }
    iso(text)
        .or_else(|| since_1970(text))
        .or_else(|| words::parse(text))
}

/// ISO 8601 more freely than RFC 3339: slashes for dashes, no seconds, a comma before the fraction, any blanks, an offset of hours
/// alone, a named zone; and the form without any separators, when it has a time.
fn iso(text: &str) -> Option<DateTime<Utc>> {
    // "[Europe/Berlin]" repeats what the offset says.
    let text = text.split_once('[').map_or(text, |(date, _)| date);
    let (day, rest) = match (text.get(..10), text.get(..9)) {
        (Some(day), _) if iso_day(day).is_some() => (iso_day(day)?, text.get(10..)?),
        (_, Some(day)) if day.ends_with(['T', 't']) => {
            let day = NaiveDate::parse_from_str(day.get(..8)?, "%Y%m%d").ok()?;
            (day, text.get(8..)?)
        }
        _ => return None,
    };
    let rest = rest.trim_start_matches(['T', 't']).trim();
    if rest.is_empty() {
        return Some(day.and_time(NaiveTime::MIN).and_utc());
    }
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.' | ',')))
        .unwrap_or(rest.len());
    let (time, zone) = (rest.get(..end)?, rest.get(end..)?.trim());
    at(day, time_of_day(time)?, words::offset(zone)?)
}

fn iso_day(text: &str) -> Option<NaiveDate> {
    ["%Y-%m-%d", "%Y/%m/%d"]
        .iter()
        .find_map(|form| NaiveDate::parse_from_str(text, form).ok())
}

/// A time of day as what has passed of it: `24:00` is the next day's beginning, and second 60 the next minute's.
fn time_of_day(text: &str) -> Option<TimeDelta> {
    let (whole, fraction) = match text.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let parts: Vec<u32> = if whole.contains(':') {
        whole.split(':').map(two_digits).collect::<Option<_>>()?
    } else {
        let pairs = whole.as_bytes().chunks(2);
        let pairs = pairs.map(|pair| two_digits(std::str::from_utf8(pair).ok()?));
        pairs.collect::<Option<_>>()?
    };
    let (hour, minute, second) = match *parts.as_slice() {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let is_end = (hour, minute, second) == (24, 0, 0);
    if (hour > 23 && !is_end) || minute > 59 || second > 60 {
        return None;
    }
    let seconds = TimeDelta::seconds(i64::from(hour * 3600 + minute * 60 + second));
    seconds.checked_add(&fraction_of_a_second(fraction)?)
}

/// One digit or two.
fn two_digits(text: &str) -> Option<u32> {
    let is_number = matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn fraction_of_a_second(digits: &str) -> Option<TimeDelta> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: String = digits.chars().chain("000000000".chars()).take(9).collect();
    nanoseconds.parse().ok().map(TimeDelta::nanoseconds)
}

fn at(day: NaiveDate, time: TimeDelta, offset: TimeDelta) -> Option<DateTime<Utc>> {
    let midnight: NaiveDateTime = day.and_time(NaiveTime::MIN);
    let there = midnight.checked_add_signed(time)?;
    Some(there.checked_sub_signed(offset)?.and_utc())
}

/// Seconds or, with three digits more, milliseconds since 1970. As many digits as there are since 2001.
fn since_1970(text: &str) -> Option<DateTime<Utc>> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match text.len() {
        10 => DateTime::from_timestamp(text.parse().ok()?, 0),
        13 => DateTime::from_timestamp_millis(text.parse().ok()?),
        _ => None,
    }
}

/// The date to store and whether it is only our estimate. A missing or prehistoric date, and one from the future,
/// becomes `now`: a wrong clock elsewhere must not pin an article to the top of the list.
pub fn plausible_date(given: Option<DateTime<Utc>>, now: DateTime<Utc>) -> (DateTime<Utc>, bool) {
    use chrono::Datelike;
    match given {
        // Microseconds are what the databases keep: what is written is what is read back. A leap second is rounded
        // away first, for the same reason.
        Some(date) if date.year() >= YEAR_MIN && date <= now => {
            (without_leap_second(date).trunc_subsecs(6), false)
        }
        _ => (now.trunc_subsecs(6), true),
    }
}

/// chrono keeps second 60 as a fraction above one second; databases refuse it.
fn without_leap_second(date: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(date.timestamp_micros()).unwrap_or(date)
}

#[cfg(test)]
mod tests;
