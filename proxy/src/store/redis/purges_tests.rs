use super::*;

use crate::store::log::{Purge, Scope};

const EPOCH: u64 = 7;
const LEASE: Duration = Duration::from_secs(2);

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn record(tag: &str) -> Value {
    let scope = Scope::Tag(tag.as_bytes().to_vec());
    let record = Record::new(&Purge { scope, soft: false }).expect("short enough");
    Value::BulkString(Seal::checksum().record(EPOCH, &record))
}

fn followed(members: &[(Value, u64)]) -> Followed {
    let members = members.iter().cloned();
    let members = members.flat_map(|(member, number)| [member, text(&number.to_string())]);
    let answer = [
        text("7"),
        text("900"),
        text("0"),
        Value::Array(members.collect()),
    ];
    Followed::read(Value::Array(answer.into()), &Seal::checksum()).expect("readable")
}

/// At `now`, with a list since `since` of replicas: name, applied, end of the lease.
fn following(now: u64, since: Option<u64>, replicas: &[(&str, u64, u64)]) -> Following {
    let mut all = Vec::new();
    if let Some(since) = since {
        all.extend([text("since"), text(&since.to_string())]);
    }
    for (id, applied, ends) in replicas {
        all.extend([text(id), text(&format!("{applied} {ends} 2000000"))]);
    }
    let answer = [
        text("7"),
        text("50"),
        text(&now.to_string()),
        Value::Array(all),
    ];
    Following::read(Value::Array(answer.into())).expect("readable")
}

#[test]
fn an_answer_that_is_cut_is_known_up_to_the_last_number_that_is_whole() {
    let junk = || text("junk");
    // members, how far it is known, the floor
    for (members, sequence, floor) in [
        (vec![(record("a"), 1), (record("b"), 2)], 900, 0),
        (
            vec![(record("a"), 1), (record("b"), 2), (record("c"), 3)],
            2,
            0,
        ),
        (
            vec![(record("a"), 1), (record("b"), 2), (record("c"), 2)],
            1,
            0,
        ),
        // A stranger's member may have been a purge of anything.
        (vec![(record("a"), 1), (junk(), 2), (junk(), 3)], 2, 3),
        (vec![(record("a"), 3), (record("b"), 3), (junk(), 3)], 3, 3),
    ] {
        let mut read = followed(&members);
        assert_eq!(read.is_cut(3), members.len() == 3);
        assert_eq!(
            (read.stamp.sequence, read.floor),
            (sequence, floor),
            "{members:?}"
        );
    }
}

#[test]
fn a_purge_is_awaited_by_those_whose_leases_run() {
    let made = following(
        100,
        Some(0),
        &[("a", 49, 200), ("b", 49, 200), ("c", 49, 90)],
    )
    .alive();
    // who is there later, and what is to be said of them
    for (later, expected) in [
        (vec![("a", 50, 300), ("b", 49, 200)], (2, 1, 1)),
        (vec![("a", 50, 300), ("b", 51, 300)], (2, 2, 0)),
        // Silent, or said goodbye.
        (vec![("a", 50, 300), ("b", 49, 150)], (2, 1, 0)),
        (vec![("a", 50, 300)], (2, 1, 0)),
        // Came since.
        (
            vec![("a", 50, 300), ("b", 50, 300), ("d", 0, 300)],
            (3, 2, 1),
        ),
        (
            vec![("a", 50, 300), ("b", 50, 300), ("d", 50, 300)],
            (3, 3, 0),
        ),
        (
            vec![("a", 50, 300), ("b", 50, 300), ("d", 0, 100)],
            (2, 2, 0),
        ),
    ] {
        let reach = made.reach(50, &following(150, Some(0), &later));
        let got = (reach.replicas, reach.applied, reach.awaited);
        assert_eq!(got, expected, "{later:?}");
    }
}

#[test]
fn a_list_is_complete_when_it_is_as_old_as_a_lease() {
    for (now, since, complete) in [
        (5_000_000, Some(3_000_000), true),
        (4_999_999, Some(3_000_000), false),
        (5_000_000, None, false),
        (5_000_000, Some(u64::MAX), false),
    ] {
        let list = following(now, since, &[]);
        assert_eq!(list.is_complete(LEASE), complete, "{now} {since:?}");
    }
}

#[test]
fn what_somebody_else_wrote_on_the_list_is_nobody() {
    let facts = ["", "1", "1 2", "1 2 x", "-1 2 3", "1  2 3"].map(text);
    let all = facts.into_iter().flat_map(|facts| [text("x"), facts]);
    let answer = [text(""), text("0"), text("1"), Value::Array(all.collect())];
    let list = Following::read(Value::Array(answer.into())).expect("readable");
    assert_eq!((list.replicas.len(), list.stamp.epoch), (0, 0));
    assert_eq!(list.longest_lease(), Duration::ZERO);
}

#[test]
fn what_is_older_than_a_record_that_cannot_be_read_is_dead() {
    for (number, floor) in [(300, 300), (u64::MAX, 900)] {
        let read = followed(&[(record("a"), 200), (text("foreign"), number)]);
        assert_eq!((read.foreign, read.floor), (1, floor), "{number}");
        assert_eq!(read.records.len(), 1);
    }
}

#[test]
fn with_a_key_only_what_it_sealed_for_this_epoch_is_a_record() {
    let seal = |key: &[u8]| Seal::keyed("a", key, None).expect("long enough");
    let ours = seal(b"a key that only the tests can know");
    let others = seal(b"another key, which came after that");
    let scope = Scope::Tag(b"a".to_vec());
    let purge = Record::new(&Purge { scope, soft: false }).expect("short enough");
    let sealed = [
        ours.record(EPOCH, &purge),
        ours.record(EPOCH + 1, &purge),
        others.record(EPOCH, &purge),
        purge.as_bytes().to_vec(),
    ];
    let members = sealed.map(Value::BulkString);
    let members = members.into_iter().flat_map(|member| [member, text("200")]);
    let all = Value::Array(members.collect());
    let answer = Value::Array(vec![text("7"), text("900"), text("0"), all]);
    let read = Followed::read(answer, &ours).expect("readable");
    assert_eq!(read.records, [(purge, 200)]);
    assert_eq!((read.foreign, read.floor), (3, 200));
}

#[test]
fn a_number_may_be_ahead_of_our_clock_by_an_hour_and_no_more() {
    let mut read = followed(&[]);
    assert!(!read.is_ahead_of(0));
    read.stamp.sequence = AHEAD_MAX_US + 1;
    assert!(read.is_ahead_of(0) && !read.is_ahead_of(1));
}
