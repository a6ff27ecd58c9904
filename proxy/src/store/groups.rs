//! Was a group of this response invalidated since its fetch began (RFC 9875)?
//!
//! Nothing knows which stored responses are in a group. What is remembered is when each group of an origin was last
//! invalidated; a response whose fetch began no later is void wherever it is read, be it stored already or still on its
//! way. Left out: invalidations that other processes received, and those before this one's start.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use larder_policy::{CacheKey, Flags, StoredPolicy, cache_groups};
use xxhash_rust::xxh3::Xxh3;

/// Groups remembered: some two megabytes. When there are more, everything in any group that was fetched until then is void.
const GROUPS_MAX: usize = 100_000;

/// Microseconds since 1970: when a fetch began, or a group was invalidated.
pub fn unix_us(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
struct Invalidations {
    /// When each group was last invalidated, by the hash of its origin and name. Two that share a hash invalidate each
    /// other, which costs fetches and never freshness.
    at_us: HashMap<u64, u64>,
    /// When all groups were.
    all_at_us: Option<u64>,
}

/// The invalidations of this process.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Held for map operations only.
    invalidations: Mutex<Invalidations>,
    /// How many there were, so that reads need no lock as long as nobody uses groups.
    count: AtomicUsize,
    #[cfg(test)]
    groups_max: Option<usize>,
}

impl Groups {
    /// From now on nothing of these groups is used whose fetch began until now.
    pub(super) fn invalidate(&self, origin: &[u8], groups: &[String], now: SystemTime) {
        let now_us = unix_us(now);
        let mut invalidations = self.lock();
        for group in groups {
            let hash = hash(origin, group);
            let known = invalidations.at_us.contains_key(&hash);
            if !known && invalidations.at_us.len() >= self.groups_max() {
                let latest = invalidations.at_us.drain().map(|(_, at_us)| at_us).max();
                invalidations.all_at_us = invalidations.all_at_us.max(latest);
            }
            let at_us = invalidations.at_us.entry(hash).or_default();
            *at_us = now_us.max(*at_us);
        }
        drop(invalidations);
        self.count.fetch_add(groups.len(), Ordering::SeqCst);
    }

    /// Must a response that has been fetched, or is being fetched, since `began_us` not be used any more?
    pub(super) fn is_void(
        &self,
        key: &CacheKey,
        policy: &StoredPolicy,
        headers: &HeaderMap,
        began_us: u64,
    ) -> bool {
        if !policy.flags.contains(Flags::GROUPED) || self.count.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let hashes = cache_groups(headers);
        let mut hashes = hashes.iter().map(|group| hash(key.origin(), group));
        let invalidations = self.lock();
        let is_over = |at_us: u64| began_us <= at_us;
        invalidations.all_at_us.is_some_and(is_over)
            || hashes.any(|hash| invalidations.at_us.get(&hash).copied().is_some_and(is_over))
    }

    fn groups_max(&self) -> usize {
        #[cfg(test)]
        if let Some(groups_max) = self.groups_max {
            return groups_max;
        }
        GROUPS_MAX
    }

    fn lock(&self) -> MutexGuard<'_, Invalidations> {
        self.invalidations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An origin ends where its length says, so that no two pairs are the same bytes.
fn hash(origin: &[u8], group: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(origin);
    hasher.update(group.as_bytes());
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use larder_policy::{QueryRules, canonical_target};

    use super::*;

    fn at(us: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(us)
    }

    fn key(host: &str) -> CacheKey {
        let target = canonical_target("/a", &QueryRules::default()).expect("a path");
        CacheKey::new("n", "http", host, &target, None, &[])
    }

    fn is_void(groups: &Groups, host: &str, field: &'static str, began_us: u64) -> bool {
        let policy = StoredPolicy {
            response_time_unix_s: 0,
            initial_age_s: 0,
            lifetime_s: 60,
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            flags: Flags::default().with(Flags::GROUPED, !field.is_empty()),
        };
        let mut headers = HeaderMap::new();
        headers.insert("cache-groups", http::HeaderValue::from_static(field));
        groups.is_void(&key(host), &policy, &headers, began_us)
    }

    #[test]
    fn what_began_until_the_invalidation_is_void_and_what_began_later_is_not() {
        let groups = Groups::default();
        assert!(!is_void(&groups, "h", "\"a\"", 0));
        groups.invalidate(key("h").origin(), &["a".into(), "c".into()], at(1000));
        for (field, began_us, void) in [
            ("\"a\"", 999, true),
            ("\"a\"", 1000, true),
            ("\"a\"", 1001, false),
            ("\"b\"", 1000, false),
            ("\"b\", \"c\"", 1000, true),
            ("\"A\"", 1000, false),
            ("", 1000, false),
        ] {
            assert_eq!(
                is_void(&groups, "h", field, began_us),
                void,
                "{field} {began_us}"
            );
        }
        assert!(!is_void(&groups, "other", "\"a\"", 1000));
    }

    #[test]
    fn a_clock_that_is_set_back_takes_nothing_back() {
        let groups = Groups::default();
        groups.invalidate(key("h").origin(), &["a".into()], at(1000));
        groups.invalidate(key("h").origin(), &["a".into()], at(500));
        assert!(is_void(&groups, "h", "\"a\"", 1000));
    }

    #[test]
    fn what_is_too_much_to_remember_makes_all_groups_void_until_then() {
        let groups = Groups {
            groups_max: Some(2),
            ..Groups::default()
        };
        for (n, group) in ["a", "b", "a", "c"].into_iter().enumerate() {
            groups.invalidate(key("h").origin(), &[group.into()], at(1000 + n as u64));
        }
        for (field, began_us, void) in [
            ("\"x\"", 1002, true),
            ("\"x\"", 1003, false),
            ("\"a\"", 1003, false),
            ("\"c\"", 1003, true),
            ("", 0, false),
        ] {
            assert_eq!(
                is_void(&groups, "h", field, began_us),
                void,
                "{field} {began_us}"
            );
        }
        assert_eq!(groups.lock().at_us.len(), 1);
    }
}
