use super::*;

use http::HeaderMap;
use larder_policy::{QueryRules, canonical_target};
use std::time::UNIX_EPOCH;

fn key(target: &str) -> CacheKey {
    let target = canonical_target(target, &QueryRules::default()).expect("a path");
    CacheKey::new("n", "http", "h", &target, None, &[])
}

fn at(s: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(s)
}

fn record(target: &str) -> Record {
    let (scope, soft) = (Scope::Url(key(target)), false);
    Record::new(&Purge { scope, soft }).expect("short enough")
}

fn verdict(log: &Log, target: &str, born: Stamp) -> Verdict {
    log.judge(&key(target), &HeaderMap::new(), born)
}

#[test]
fn purges_of_one_s_own_log_are_numbered_by_time_and_never_backwards() {
    let log = Log::own(at(100));
    let before = log.stamp();
    assert_eq!(before.sequence, 100_000_000);
    assert_eq!(log.purge_own(&[record("/a")], at(200)), 200_000_000);
    // The clock is set back.
    assert_eq!(log.purge_own(&[record("/b")], at(50)), 200_000_001);
    assert_eq!(log.stamp().sequence, 200_000_001);
    assert_eq!(verdict(&log, "/a", before), Verdict::Dead);
    assert_eq!(verdict(&log, "/c", before), Verdict::Alive);
    assert_eq!(verdict(&log, "/a", log.stamp()), Verdict::Alive);
    assert_eq!(log.trust(), Trust::Sure);
}

#[test]
fn every_purge_changes_the_version_and_nothing_else_does() {
    let log = Log::own(at(100));
    let version = log.version();
    let _ = log.stamp();
    assert_eq!(log.version(), version);
    log.purge_own(&[record("/a")], at(200));
    assert!(log.version() > version);
}

#[test]
fn a_followed_log_is_trusted_for_its_lease_and_no_longer() {
    for (rule, without) in [
        (OnPartition::Origin, Trust::Unsure),
        (OnPartition::Serve, Trust::Waived),
    ] {
        let log = Log::followed(rule);
        assert_eq!(log.trust(), without);
        log.trust_for(Instant::now(), Duration::from_secs(3600));
        assert_eq!(log.trust(), Trust::Sure);
        let log = Log::followed(rule);
        log.trust_for(Instant::now(), Duration::ZERO);
        assert_eq!(log.trust(), without);
    }
}

#[test]
fn an_older_answer_takes_nothing_back() {
    let log = Log::followed(OnPartition::Origin);
    let stamp = |sequence| Stamp { epoch: 3, sequence };
    log.take_in(stamp(10), 0, &[(record("/a"), 10)]);
    let version = log.version();
    log.take_in(stamp(9), 0, &[]);
    assert_eq!((log.stamp(), log.version()), (stamp(10), version));
    assert_eq!(verdict(&log, "/a", stamp(9)), Verdict::Dead);
}

#[test]
fn another_epoch_makes_all_that_was_stored_before_unknown() {
    let log = Log::followed(OnPartition::Origin);
    let (old, new) = (
        Stamp {
            epoch: 3,
            sequence: 10,
        },
        Stamp {
            epoch: 4,
            sequence: 20,
        },
    );
    log.take_in(old, 0, &[(record("/a"), 10)]);
    assert_eq!(verdict(&log, "/b", old), Verdict::Alive);
    log.take_in(new, 0, &[]);
    assert_eq!(log.stamp(), new);
    assert_eq!(verdict(&log, "/b", old), Verdict::Unknown);
    assert_eq!(verdict(&log, "/b", new), Verdict::Alive);
}

#[test]
fn what_was_purged_stays_so_when_the_log_gets_another_name_and_when_it_gets_the_old_one_back() {
    let log = Log::followed(OnPartition::Origin);
    let stamp = |epoch, sequence| Stamp { epoch, sequence };
    log.take_in(stamp(3, 10), 0, &[(record("/a"), 10)]);
    for (epoch, sequence) in [(4, 20), (3, 10)] {
        log.take_in(stamp(epoch, sequence), 0, &[]);
        assert_eq!(log.stamp(), stamp(epoch, sequence));
        assert_eq!(verdict(&log, "/a", stamp(3, 9)), Verdict::Dead);
        assert_eq!(verdict(&log, "/a", log.stamp()), Verdict::Alive);
    }
}

#[test]
fn a_purge_that_is_not_in_the_log_yet_holds_against_everything_until_it_is() {
    let log = Log::followed(OnPartition::Origin);
    let stamp = |sequence| Stamp { epoch: 3, sequence };
    log.take_in(stamp(10), 0, &[]);
    log.hold([&record("/a")].into_iter());
    // Nobody can tell whether what is fetched now, here or by a replica that knows later purges, began before or after it.
    for born in [
        log.stamp(),
        stamp(15),
        stamp(u64::MAX),
        Stamp {
            epoch: 4,
            sequence: 1,
        },
    ] {
        assert_eq!(verdict(&log, "/a", born), Verdict::Dead, "{born:?}");
    }
    assert_eq!(verdict(&log, "/b", stamp(15)), Verdict::Alive);
    log.take_in(stamp(12), 0, &[]);
    assert_eq!(verdict(&log, "/a", stamp(15)), Verdict::Dead);
    log.apply_early(&[record("/a")], 20);
    log.hold([].into_iter());
    assert_eq!(verdict(&log, "/a", stamp(19)), Verdict::Dead);
    log.take_in(stamp(20), 0, &[(record("/a"), 20)]);
    assert_eq!(verdict(&log, "/a", stamp(19)), Verdict::Dead);
    assert_eq!(verdict(&log, "/a", log.stamp()), Verdict::Alive);
}
