//! What is a stored response good for, after what the log of purges says of it?

use std::sync::Arc;
use std::time::SystemTime;

use super::entry::Entry;
use super::log::{Trust, Verdict};

/// A purge's numbers are microseconds.
const SEQUENCE_PER_S: u64 = 1_000_000;

/// A stored response, as far as purges let it be used.
#[derive(Debug)]
pub(super) enum Screened {
    /// As its own policy says. That of one that was softly purged says that it is stale since then.
    Usable(Arc<Entry>),
    /// The same, but a purge may have been missed.
    Waived(Arc<Entry>),
    /// Only once the upstream has confirmed it.
    Unverified(Arc<Entry>),
    /// Not at all.
    Gone,
}

/// Applies a verdict to a stored response.
pub(super) fn screen(
    entry: &Arc<Entry>,
    verdict: Verdict,
    trust: Trust,
    now: SystemTime,
) -> Screened {
    let unverified = || {
        Screened::Unverified(Arc::new(Entry {
            policy: entry.policy.unverified(),
            ..Entry::clone(entry)
        }))
    };
    let usable = match verdict {
        Verdict::Dead => return Screened::Gone,
        // Of a log that is lost nothing is known that could be waived.
        Verdict::Unknown => return unverified(),
        Verdict::Alive => Arc::clone(entry),
        Verdict::Stale { sequence } => Arc::new(Entry {
            policy: entry.policy.stale_since(sequence / SEQUENCE_PER_S, now),
            ..Entry::clone(entry)
        }),
    };
    match trust {
        Trust::Sure => Screened::Usable(usable),
        Trust::Waived => Screened::Waived(usable),
        Trust::Unsure => unverified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entry::tests::small;
    use larder_policy::Flags;
    use std::time::{Duration, UNIX_EPOCH};

    /// Received at second 100 with 60 seconds to live.
    fn entry() -> Arc<Entry> {
        let mut entry = small();
        entry.policy.response_time_unix_s = 100;
        entry.policy.initial_age_s = 0;
        entry.policy.lifetime_s = 60;
        Arc::new(entry)
    }

    fn at(s: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(s)
    }

    #[test]
    fn each_verdict_and_trust_has_its_use() {
        use Trust::{Sure, Unsure, Waived};
        let stale = Verdict::Stale {
            sequence: 130_000_000,
        };
        // verdict, trust, what becomes of it
        for (verdict, trust, expected) in [
            (Verdict::Alive, Sure, "usable 60"),
            (Verdict::Alive, Waived, "waived 60"),
            (Verdict::Alive, Unsure, "unverified 0"),
            (stale, Sure, "usable 30"),
            (stale, Waived, "waived 30"),
            (stale, Unsure, "unverified 0"),
            (Verdict::Unknown, Sure, "unverified 0"),
            (Verdict::Unknown, Waived, "unverified 0"),
            (Verdict::Unknown, Unsure, "unverified 0"),
            (Verdict::Dead, Sure, "gone"),
            (Verdict::Dead, Waived, "gone"),
            (Verdict::Dead, Unsure, "gone"),
        ] {
            let got = match screen(&entry(), verdict, trust, at(140)) {
                Screened::Usable(entry) => format!("usable {}", entry.policy.lifetime_s),
                Screened::Waived(entry) => format!("waived {}", entry.policy.lifetime_s),
                Screened::Unverified(entry) => {
                    assert!(entry.policy.flags.contains(Flags::MUST_REVALIDATE));
                    format!("unverified {}", entry.policy.lifetime_s)
                }
                Screened::Gone => "gone".to_owned(),
            };
            assert_eq!(got, expected, "{verdict:?} {trust:?}");
        }
    }

    #[test]
    fn a_soft_purge_makes_stale_whatever_the_clocks_say() {
        for (purged_s, now_s) in [(90, 100), (100, 100), (130, 110), (1_000_000, 120)] {
            let sequence = purged_s * SEQUENCE_PER_S;
            let verdict = Verdict::Stale { sequence };
            let Screened::Usable(entry) = screen(&entry(), verdict, Trust::Sure, at(now_s)) else {
                panic!("usable");
            };
            assert!(entry.policy.ttl_s(at(now_s)) <= 0, "purged at {purged_s}");
        }
    }
}
