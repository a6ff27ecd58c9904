//! Dates with the month in letters: RFC 2822, RFC 850, `asctime`, and what people write. The parts are known by their look, not by
//! their place; weekdays say nothing that the rest does not, and are often wrong.

use super::{at, time_of_day, two_digits};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

/// Beginnings of the months' names in the languages of most feeds: English, German, French, Spanish, Italian, Portuguese, Dutch.
const MONTHS: [&[&str]; 12] = [
    &["jan", "ene", "gen", "jän"],
    &["feb", "fév", "fev", "febr"],
    &["mar", "mär", "maer", "mrt", "maa", "mrz"],
    &["apr", "avr", "abr"],
    &["may", "mai", "mag", "mei"],
    &["jun", "juin", "giu"],
    &["jul", "juil", "lug"],
    &["aug", "aoû", "aou", "ago"],
    &["sep", "set"],
    &["oct", "okt", "ott", "out"],
    &["nov"],
    &["dec", "dez", "déc", "dic"],
];

/// Zones by name, in minutes east of UTC: those of RFC 2822, and those whose names mean one thing.
const ZONES: [(&str, i64); 32] = [
    ("z", 0),
    ("ut", 0),
    ("utc", 0),
    ("gmt", 0),
    ("wet", 0),
    ("bst", 60),
    ("cet", 60),
    ("met", 60),
    ("mez", 60),
    ("west", 60),
    ("cest", 120),
    ("mest", 120),
    ("mesz", 120),
    ("eet", 120),
    ("sast", 120),
    ("eest", 180),
    ("msk", 180),
    ("hkt", 480),
    ("jst", 540),
    ("kst", 540),
    ("aest", 600),
    ("aedt", 660),
    ("nzst", 720),
    ("nzdt", 780),
    ("est", -300),
    ("edt", -240),
    ("cst", -360),
    ("cdt", -300),
    ("mst", -420),
    ("mdt", -360),
    ("pst", -480),
    ("pdt", -420),
];
/// No place on earth is further from UTC.
const OFFSET_MINUTES_MAX: i64 = 14 * 60;

#[derive(Default)]
struct Parts {
    day: Option<u32>,
    month: Option<u32>,
    year: Option<i32>,
    time: Option<TimeDelta>,
    offset: Option<TimeDelta>,
}

/// Reads a date whose month is a word.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    let lower = text.to_lowercase();
    let mut parts = Parts::default();
    for word in lower.split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')')) {
        // "20-nov-26", but not the sign of an offset.
        let is_joined = word.contains('-') && word.contains(|c: char| c.is_alphabetic());
        let separator = if is_joined && !word.contains(':') {
            '-'
        } else {
            ' '
        };
        for word in word.split(separator).filter(|word| !word.is_empty()) {
            parts.take(word)?;
        }
    }
    let day = NaiveDate::from_ymd_opt(parts.year?, parts.month?, parts.day?)?;
    let (time, offset) = (
        parts.time.unwrap_or_default(),
        parts.offset.unwrap_or_default(),
    );
    at(day, time, offset)
}

impl Parts {
    /// `None` when a word makes the whole doubtful.
    fn take(&mut self, word: &str) -> Option<()> {
        let starts_with_digit = word.starts_with(|c: char| c.is_ascii_digit());
        if word.contains(':') && starts_with_digit {
            let (time, half) = split_half(word);
            // Some count the first hour of a day as the day before's 25th, and forget the day.
            let first = time.strip_prefix("24:").map(|rest| format!("00:{rest}"));
            let time = first.as_deref().unwrap_or(time);
            self.time = Some(time_of_day(time)?);
            return half.map_or(Some(()), |half| self.shift(half));
        }
        if matches!(word, "am" | "pm" | "a.m." | "p.m.") {
            return self.shift(word);
        }
        if word.starts_with(['+', '-']) {
            self.offset = Some(offset(word)?);
        } else if starts_with_digit {
            self.number(word)?;
        } else if let Some(month) = month(word) {
            // The last of them: "mar" is a Tuesday too.
            self.month = Some(month);
        } else if self.time.is_some() && self.offset.is_none() {
            self.offset = Some(offset(word)?);
        }
        Some(())
    }

    /// A day, with or without "st", "nd", "rd", "th" or a full stop; or a year, of two digits where the day is known.
    fn number(&mut self, word: &str) -> Option<()> {
        let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '.');
        match (digits.len(), self.day) {
            (4, _) => self.year = Some(digits.parse().ok()?),
            (1 | 2, None) => self.day = Some(two_digits(digits)?),
            (2, Some(_)) if self.year.is_none() => {
                let year = i32::try_from(two_digits(digits)?).ok()?;
                // RFC 2822 §4.3.
                self.year = Some(year + if year < 50 { 2000 } else { 1900 });
            }
            _ => return None,
        }
        Some(())
    }

    /// From twelve hours to twenty-four.
    fn shift(&mut self, half: &str) -> Option<()> {
        let (time, noon) = (self.time?, TimeDelta::hours(12));
        let is_afternoon = half.starts_with('p');
        self.time = Some(match (is_afternoon, time < noon) {
            (true, true) => time + noon,
            (false, false) => time - noon,
            _ => time,
        });
        Some(())
    }
}

/// `10:00am`
fn split_half(word: &str) -> (&str, Option<&str>) {
    let halves = ["am", "pm"];
    let half = halves.into_iter().find(|half| word.ends_with(half));
    match half.and_then(|half| word.strip_suffix(half)) {
        Some(time) => (time, half),
        None => (word, None),
    }
}

fn month(word: &str) -> Option<u32> {
    let found = MONTHS
        .iter()
        .position(|names| names.iter().any(|name| word.starts_with(name)))?;
    u32::try_from(found + 1).ok()
}

/// `+0100`, `+01:00`, `+01`, a name, or nothing at all: UTC. `None` when it is none of these.
pub(super) fn offset(text: &str) -> Option<TimeDelta> {
    let name = text.to_ascii_lowercase();
    if name.is_empty() {
        return Some(TimeDelta::zero());
    }
    if let Some((_, minutes)) = ZONES.iter().find(|(known, _)| *known == name) {
        return Some(TimeDelta::minutes(*minutes));
    }
    let digits = name
        .strip_prefix("gmt")
        .or_else(|| name.strip_prefix("utc"));
    let signed = digits.unwrap_or(&name);
    let sign = match signed.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = signed.chars().skip(1).filter(|c| *c != ':').collect();
    let (hours, minutes) = match digits.len() {
        1 | 2 => (digits.as_str(), "0"),
        4 => digits.split_at_checked(2)?,
        _ => return None,
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let total = i64::from(hours * 60 + minutes);
    (minutes < 60 && total <= OFFSET_MINUTES_MAX).then(|| TimeDelta::minutes(sign * total))
}
