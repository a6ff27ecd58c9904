//! May this process fetch for its clients, or does another replica fetch already?
//!
//! Who has its turn in the process asks Redis for the lease of the URL. Without an answer in time it fetches: nobody is slower
//! for having asked. When another replica has the lease, it looks again and again for what that one writes, for as long as
//! fetches of the route usually take, and then fetches as well; so it does when what appears is not for its request. When a
//! lease ends without anything being written, one of those who looked gets it. What nobody waits for (a refresh behind a
//! client's back) is left to the other replica. [`next`] decides, on values alone.

use super::fetch::{Ended, How, Job, Landed, share};
use super::{Engine, Plan};
use crate::clock;
use crate::flight::Published;
use crate::store::{Claimed, Entry, FetchLease, Found, Turn, Written};
use larder_policy::{Reuse, reuse, shareable_with_waiters};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// The first pause between two looks,
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// and the longest: a few of them are nothing beside a fetch, and cost Redis next to nothing.
const PAUSE_MAX: Duration = Duration::from_millis(25);

/// How a job asks for the lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// How long another replica's fetch is waited for.
    patience: Duration,
    /// When the first answer must be there: the look-up and it share one deadline.
    answer_by: Instant,
    /// No client waits for what it brings.
    pub(super) is_behind: bool,
}

/// What an answer says of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Mine,
    Elsewhere,
    Everybody,
    Unknown,
}

/// What an answer brought of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Nothing that was not seen before.
    Nothing,
    /// It answers the request.
    Usable,
    /// It doesn't.
    Useless,
    /// It may have been purged, so only a fetch helps.
    Unverified,
}

/// What is known when an answer has come.
#[derive(Debug, Clone, Copy)]
struct Facts {
    word: Word,
    sight: Sight,
    /// Answers that said that another replica fetches.
    waits: u32,
    /// No client waits any more, or ever did.
    is_idle: bool,
    now: Instant,
    give_up: Instant,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Use what was found.
    Use,
    Fetch,
    /// Fetch, and let everybody else in the process do so, too.
    FetchAlone,
    /// Leave it to the other replica.
    Leave,
    /// Ask again after this.
    Pause(Duration),
}

fn next(facts: &Facts) -> Step {
    match (facts.word, facts.sight) {
        (_, Sight::Usable) => Step::Use,
        (Word::Everybody, _) => Step::FetchAlone,
        (Word::Mine | Word::Unknown, _) | (_, Sight::Unverified) => Step::Fetch,
        (Word::Elsewhere, _) if facts.is_idle => Step::Leave,
        // It waited for this, and it is for other requests.
        (Word::Elsewhere, Sight::Useless) if facts.waits > 0 => Step::Fetch,
        (Word::Elsewhere, _) => match facts.give_up.checked_duration_since(facts.now) {
            None | Some(Duration::ZERO) => Step::Fetch,
            Some(left) => Step::Pause(pause(facts.waits).min(left)),
        },
    }
}

/// The pause after so many answers in vain.
fn pause(waits: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << waits.min(16)).min(PAUSE_MAX)
}

impl Word {
    fn of(turn: &Turn) -> Self {
        match turn {
            Turn::Mine(_) => Self::Mine,
            Turn::Elsewhere => Self::Elsewhere,
            Turn::Everybody => Self::Everybody,
            Turn::Unknown => Self::Unknown,
        }
    }
}

impl Engine {
    /// How a request asks for the lease; none when what is being fetched elsewhere is not new enough for it.
    /// Nor when the look-up has left little time: a lease whose holder doesn't hear of it keeps others waiting.
    pub(super) fn wish(&self, plan: &Plan<'_>, is_behind: bool) -> Option<Wish> {
        let left = (plan.redis_answers_by).saturating_duration_since(Instant::now());
        let asks = !plan.lookup.directives.no_cache && left >= self.config.redis_timeout / 2;
        asks.then(|| Wish {
            patience: self.patience(plan),
            answer_by: plan.redis_answers_by,
            is_behind,
        })
    }

    /// Fetches, or gets what another replica fetched.
    pub(super) async fn lead(&self, mut job: Job, landed: oneshot::Sender<Landed>) {
        let Some(wish) = job.wish.take() else {
            return self.run(job, landed).await;
        };
        let began = clock::now();
        let give_up = Instant::now() + wish.patience;
        let (mut seen, mut waits, mut end) = (Written::default(), 0, wish.answer_by);
        loop {
            let now = clock::now();
            let claimed = self.claim(&job, &seen, now, end).await;
            let (sight, entry) = judged(&job, claimed.found, now, (waits > 0).then_some(began));
            let word = Word::of(&claimed.turn);
            let nobody_listens = wish.is_behind || landed.is_closed();
            let facts = Facts {
                word,
                sight,
                waits,
                is_idle: word == Word::Elsewhere && nobody_listens && job.closes_unless_awaited(),
                now: Instant::now(),
                give_up,
            };
            match (next(&facts), entry) {
                (Step::Use, Some(entry)) => {
                    let waited = waits > 0;
                    if waited {
                        self.metrics.count_spared();
                    }
                    let how = How::Elsewhere { waited };
                    return share(&job, landed, Ended::Stored { entry, how });
                }
                (Step::Use | Step::Fetch, _) => {
                    job.lease = held(claimed.turn);
                    if job.lease.is_some() && waits > 0 {
                        self.metrics.count_taken_over();
                    }
                    break;
                }
                (Step::FetchAlone, _) => {
                    job.publish(Published::GoAlone);
                    break;
                }
                (Step::Leave, _) => return,
                (Step::Pause(pause), _) => {
                    if waits == 0 {
                        job.waits_elsewhere(give_up);
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            seen = claimed.written;
            waits += 1;
            end = Instant::now() + self.config.redis_timeout;
        }
        if waits > 0 {
            job.begins();
        }
        self.run(job, landed).await;
    }

    async fn claim(&self, job: &Job, seen: &Written, now: SystemTime, end: Instant) -> Claimed {
        let names_caller = job.lookup.names_caller;
        self.store
            .claim(&job.key, names_caller, &job.client, seen, now, end)
            .await
    }
}

fn held(turn: Turn) -> Option<Arc<FetchLease>> {
    match turn {
        Turn::Mine(lease) => Some(lease),
        Turn::Elsewhere | Turn::Everybody | Turn::Unknown => None,
    }
}

/// What was found is good for, and itself if it is of use. `waited_since` tells since when this job has waited for it.
fn judged(
    job: &Job,
    found: Option<Found>,
    now: SystemTime,
    waited_since: Option<SystemTime>,
) -> (Sight, Option<Arc<Entry>>) {
    let entry = match found {
        None | Some(Found::Miss) => return (Sight::Nothing, None),
        Some(Found::VaryMiss | Found::Part(_) | Found::WaivedPart(_)) => {
            return (Sight::Useless, None);
        }
        Some(Found::Unverified(_) | Found::Waived(_)) => return (Sight::Unverified, None),
        Some(Found::Hit(entry)) => entry,
    };
    let is_fresh = reuse(&entry.policy, &job.lookup, now) == Reuse::Fresh;
    // A refresh of what is fresh wants something newer.
    let is_new =
        !job.is_early || (job.entry.as_ref()).is_none_or(|stored| entry.began_us > stored.began_us);
    // Made while this request waited, by a fetch that knew of all purges that it must heed: as good as one in this process
    // (see `Engine::fits`).
    let mine = job.mark.stamp();
    let heeds = entry.born.epoch == mine.epoch && entry.born.sequence >= mine.sequence;
    let is_shared = waited_since.filter(|_| heeds).is_some_and(|since| {
        let since_s = since
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        entry.policy.response_time_unix_s >= since_s
            && shareable_with_waiters(&entry.policy, &job.lookup)
    });
    match is_new && (is_fresh || is_shared) {
        true => (Sight::Usable, Some(entry)),
        false => (Sight::Useless, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn facts(word: Word, sight: Sight) -> Facts {
        let now = Instant::now();
        Facts {
            word,
            sight,
            waits: 0,
            is_idle: false,
            now,
            give_up: now + PATIENCE,
        }
    }

    #[test]
    fn who_has_the_lease_or_gets_no_word_fetches_unless_the_answer_is_there() {
        use Sight::{Nothing, Unverified, Usable, Useless};
        use Word::{Elsewhere, Everybody, Mine, Unknown};
        let rows = [
            (Mine, Nothing, Step::Fetch),
            (Mine, Useless, Step::Fetch),
            (Mine, Unverified, Step::Fetch),
            (Mine, Usable, Step::Use),
            (Unknown, Nothing, Step::Fetch),
            (Everybody, Nothing, Step::FetchAlone),
            (Everybody, Useless, Step::FetchAlone),
            (Everybody, Usable, Step::Use),
            (Elsewhere, Usable, Step::Use),
            (Elsewhere, Unverified, Step::Fetch),
            (Elsewhere, Nothing, Step::Pause(PAUSE_MIN)),
            // It was there before: the other replica fetches something newer.
            (Elsewhere, Useless, Step::Pause(PAUSE_MIN)),
        ];
        for (word, sight, expected) in rows {
            assert_eq!(next(&facts(word, sight)), expected, "{word:?} {sight:?}");
        }
    }

    #[test]
    fn a_wait_ends_when_something_else_appears_or_patience_ends() {
        let waiting = Facts {
            waits: 1,
            ..facts(Word::Elsewhere, Sight::Nothing)
        };
        assert_eq!(next(&waiting), Step::Pause(2 * PAUSE_MIN));
        let other = Facts {
            sight: Sight::Useless,
            ..waiting
        };
        assert_eq!(next(&other), Step::Fetch);
        let almost = Facts {
            now: waiting.give_up - Duration::from_millis(1),
            ..waiting
        };
        assert_eq!(next(&almost), Step::Pause(Duration::from_millis(1)));
        for late_ms in [0, 1, 1000] {
            let late = Facts {
                now: waiting.give_up + Duration::from_millis(late_ms),
                ..waiting
            };
            assert_eq!(next(&late), Step::Fetch, "{late_ms}");
        }
    }

    #[test]
    fn what_nobody_waits_for_is_left_to_the_other_replica_alone() {
        use Word::{Elsewhere, Everybody, Mine, Unknown};
        let rows = [
            (Elsewhere, Step::Leave),
            (Mine, Step::Fetch),
            (Unknown, Step::Fetch),
            (Everybody, Step::FetchAlone),
        ];
        for (word, expected) in rows {
            let idle = Facts {
                is_idle: true,
                ..facts(word, Sight::Nothing)
            };
            assert_eq!(next(&idle), expected, "{word:?}");
        }
    }

    #[test]
    fn pauses_grow_to_their_most() {
        let pauses: Vec<_> = (0..5).map(|waits| pause(waits).as_millis()).collect();
        assert_eq!(pauses, [5, 10, 20, 25, 25]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
