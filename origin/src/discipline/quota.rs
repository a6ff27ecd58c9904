//! How many requests a source may be sent, and when: pure, over the times of the requests already counted.
//!
//! Must stay true: in no stretch of a window's length do more requests start than it allows, wherever the stretch begins.
//! Providers don't say where their days begin, and a rolling window keeps within all of them. Requests on the schedule
//! are spread over the longer windows and leave a share to those that somebody waits for. These may use that at once, and beyond it
//! are spread as well: whoever asks without end takes nothing from the schedule of tomorrow.

use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;

/// Windows at least this long are spread evenly; within shorter ones bursts are what they are for.
const PACED_FROM: TimeDelta = TimeDelta::hours(1);
/// The grain of that spreading: in each twelfth of a window about a twelfth of what remains.
const SLOTS: i32 = 12;
/// The share of a paced window that the schedule leaves to `live`: one in so many.
const RESERVE_ONE_IN: u32 = 5;
/// Added to every window: our clock says when we counted, not when the request arrived, and clocks of replicas differ.
const SLACK_MIN: TimeDelta = TimeDelta::milliseconds(250);
const SLACK_MAX: TimeDelta = TimeDelta::seconds(60);

/// Who waits for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Nobody: it keeps what is stored fresh.
    Scheduled,
    /// Somebody does, and may use what the schedule leaves: the reserve at once, and an even share beside the schedule's.
    Live,
}

/// So many requests in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub requests_max: u32,
    pub length: TimeDelta,
}

/// A request that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub at: DateTime<Utc>,
    pub purpose: Purpose,
}

/// Why a request is not made now, and when asking again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub until: DateTime<Utc>,
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A window is used up.
    Spent,
    /// The schedule, or those who wait, have had their share for the moment.
    Paced,
    /// The provider asked for patience, or says that nothing is left.
    Paused,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spent => "its quota is used up",
            Self::Paced => "its quota is spread over the day",
            Self::Paused => "it asked for patience",
        })
    }
}

/// What is left of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub window: Window,
    pub left: u32,
    /// When the next request is regained; `None` while none is used.
    pub regains_at: Option<DateTime<Utc>>,
    /// When all of it is there again, if nothing more is asked.
    pub resets_at: Option<DateTime<Utc>>,
}

impl Window {
    fn slack(&self) -> TimeDelta {
        (self.length / 100).clamp(SLACK_MIN, SLACK_MAX)
    }

    /// How long a request counts.
    fn span(&self) -> TimeDelta {
        self.length + self.slack()
    }

    fn is_paced(&self) -> bool {
        self.length >= PACED_FROM
    }

    fn reserve(&self) -> u32 {
        if self.is_paced() {
            self.requests_max / RESERVE_ONE_IN
        } else {
            0
        }
    }
}

/// How long requests must be remembered.
pub fn memory(windows: &[Window]) -> Option<TimeDelta> {
    windows.iter().map(Window::span).max()
}

/// Whether a request may start now. `counted` is sorted by time.
pub fn decide(
    windows: &[Window],
    counted: &[Counted],
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let refusals = windows
        .iter()
        .filter_map(|window| refuse(window, counted, purpose, now));
    // The one that lasts longest: before it ends, another try is in vain.
    refusals
        .max_by_key(|refusal| refusal.until)
        .map_or(Ok(()), Err)
}

/// What is left of each window.
pub fn left(windows: &[Window], counted: &[Counted], now: DateTime<Utc>) -> Vec<Left> {
    windows
        .iter()
        .map(|window| {
            let used = within(counted, window.span(), now);
            let free_at = |counted: &Counted| counted.at + window.span();
            Left {
                window: *window,
                left: window.requests_max.saturating_sub(count(used)),
                regains_at: used.first().map(free_at),
                resets_at: used.last().map(free_at),
            }
        })
        .collect()
}

fn refuse(
    window: &Window,
    counted: &[Counted],
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Option<Refusal> {
    let used = within(counted, window.span(), now);
    if let Some(until) = freed(used, window.requests_max, window.span()) {
        return Some(Refusal {
            reason: Reason::Spent,
            until,
        });
    }
    if window.requests_max == 0 {
        return Some(Refusal {
            reason: Reason::Spent,
            until: now + window.span(),
        });
    }
    if !window.is_paced() || (purpose == Purpose::Live && live(used) < window.reserve()) {
        return None;
    }
    let until = pace(window, used, purpose, now).filter(|until| *until > now)?;
    Some(Refusal {
        reason: Reason::Paced,
        until,
    })
}

/// When a request may be made that is not from the reserve: what remains, divided by the time that is left, is the rate. The time
/// left is what the oldest counted request still has to go: then the window begins to give back. Those that somebody waits for have
/// only what the schedule leaves of a slot, and the schedule has its share whatever they took: anybody may ask for them.
fn pace(
    window: &Window,
    used: &[Counted],
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let (reserve, slot) = (window.reserve(), window.length / SLOTS);
    let reserve_left = reserve.saturating_sub(live(used));
    let remaining = window
        .requests_max
        .saturating_sub(count(used))
        .saturating_sub(reserve_left);
    if remaining == 0 {
        return used.first().map(|oldest| oldest.at + window.span());
    }
    let time_left = used
        .first()
        .map_or(window.length, |oldest| oldest.at + window.span() - now)
        .max(slot);
    // Never faster than twice the even rate: else what was spent in a rush would be spent in a rush again when it comes back.
    let even = f64::from(window.requests_max - reserve) / f64::from(SLOTS);
    let share = f64::from(remaining) * seconds(slot) / seconds(time_left);
    let allowance = share.min(2.0 * even).ceil().max(1.0) as u32;
    let of_slot: Vec<Counted> = within(used, slot, now)
        .iter()
        .filter(|counted| purpose == Purpose::Live || counted.purpose == Purpose::Scheduled)
        .copied()
        .collect();
    freed(&of_slot, allowance, slot)
}

/// How many of these somebody waited for.
fn live(used: &[Counted]) -> u32 {
    let live = used
        .iter()
        .filter(|counted| counted.purpose == Purpose::Live);
    u32::try_from(live.count()).unwrap_or(u32::MAX)
}

/// When fewer than `max` of these still count; `None` when that is so already.
fn freed(used: &[Counted], max: u32, span: TimeDelta) -> Option<DateTime<Utc>> {
    let over = used.len().checked_sub(usize::try_from(max).ok()?)?;
    used.get(over).map(|counted| counted.at + span)
}

fn within(counted: &[Counted], span: TimeDelta, now: DateTime<Utc>) -> &[Counted] {
    let from = counted.partition_point(|counted| counted.at + span <= now);
    counted.get(from..).unwrap_or_default()
}

fn count(used: &[Counted]) -> u32 {
    u32::try_from(used.len()).unwrap_or(u32::MAX)
}

fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64()
}

#[cfg(test)]
mod tests;
