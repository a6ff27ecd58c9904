//! Values as both databases keep them: their range of time, their alphabet, and JSON for parameters of many rows.

use super::DatabaseError;
use chrono::{DateTime, NaiveDate, NaiveTime, SubsecRound, Utc};
use serde::Serialize;
use std::borrow::Cow;

/// Later than anything: the position before the first page.
pub(crate) const LAST_TIME: DateTime<Utc> = day(9999, 12, 31);
/// Times before this are taken for this one: text in RFC 3339 has no years below 0.
const FIRST_TIME: DateTime<Utc> = day(1, 1, 1);

const fn day(year: i32, month: u32, day: u32) -> DateTime<Utc> {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date.and_time(NaiveTime::MIN).and_utc(),
        None => DateTime::UNIX_EPOCH,
    }
}

/// Both databases keep microseconds: what is stored equals what was handed in.
pub(crate) fn stored_time(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(6).clamp(FIRST_TIME, LAST_TIME)
}

/// PostgreSQL's text has no NUL.
pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// Any value as a JSON parameter.
pub(crate) fn json(value: &impl Serialize) -> Result<String, DatabaseError> {
    serde_json::to_string(value).map_err(|error| DatabaseError::Failed(error.to_string()))
}
