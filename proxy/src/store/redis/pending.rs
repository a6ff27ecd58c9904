//! Purges that nobody waits for and that could not be put into the log yet.
//!
//! Each thing once, so that one which is purged again and again doesn't become a purge of everything; that many different ones
//! do. What is being put into the log is told apart from what came in the meantime: only the former has a number then.

use crate::store::log::{Purge, Record, Scope};

/// More than that become a purge of everything.
const PENDING_MAX: usize = 1_000;

/// Those that wait, and those that are being put into the log.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: Vec<Record>,
    under_way: Vec<Record>,
}

impl Pending {
    pub(super) fn add(&mut self, records: &[Record]) {
        for record in records {
            if !self.waiting.contains(record) {
                self.waiting.push(record.clone());
            }
        }
        if self.waiting.len() > PENDING_MAX {
            let (scope, soft) = (Scope::All, false);
            self.waiting = Record::new(&Purge { scope, soft }).into_iter().collect();
        }
    }

    /// What is to be put into the log now; whatever was given out before and did not get there is among it.
    pub(super) fn begin(&mut self) -> Vec<Record> {
        let before = std::mem::take(&mut self.under_way);
        self.add(&before);
        self.under_way = std::mem::take(&mut self.waiting);
        self.under_way.clone()
    }

    /// What was given out last is in the log.
    pub(super) fn made(&mut self) {
        self.under_way.clear();
    }

    /// All that has no number yet.
    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.under_way.iter().chain(&self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(scope: Scope) -> Record {
        Record::new(&Purge { scope, soft: false }).expect("short enough")
    }

    fn tag(name: usize) -> Record {
        record(Scope::Tag(name.to_string().into_bytes()))
    }

    #[test]
    fn only_many_different_purges_become_one_of_everything() {
        let mut pending = Pending::default();
        for number in 0..3 * PENDING_MAX {
            pending.add(&[tag(number % 2), tag(2)]);
        }
        assert_eq!(pending.waiting, [tag(0), tag(2), tag(1)]);
        for number in 0..=PENDING_MAX {
            pending.add(&[tag(number)]);
        }
        assert_eq!(pending.waiting.first(), Some(&record(Scope::All)));
        assert!(pending.waiting.len() < PENDING_MAX);
    }

    #[test]
    fn what_comes_while_others_are_made_waits_for_its_own_turn() {
        let mut pending = Pending::default();
        pending.add(&[tag(1), tag(2)]);
        assert_eq!(pending.begin(), [tag(1), tag(2)]);
        // The second one again: it is purged anew.
        pending.add(&[tag(2), tag(3)]);
        assert_eq!(pending.all().count(), 4);
        pending.made();
        assert!(pending.all().eq(&[tag(2), tag(3)]));
        assert_eq!(pending.begin(), [tag(2), tag(3)]);
        pending.made();
        assert_eq!(pending.begin(), []);
    }

    #[test]
    fn what_was_not_made_comes_again() {
        let mut pending = Pending::default();
        pending.add(&[tag(1)]);
        pending.begin();
        pending.add(&[tag(2)]);
        assert_eq!(pending.begin(), [tag(2), tag(1)]);
    }
}
