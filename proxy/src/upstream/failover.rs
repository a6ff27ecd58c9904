//! Which of several addresses is asked first: the one that answered last, until it fails.

/// Where the upstream was last seen. Addresses go by their place in the list.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Failover {
    first: usize,
    /// How many were left one after the other without an answer from any.
    left: usize,
}

impl Failover {
    /// Where to begin with so many addresses.
    pub(super) fn first(&self, count: usize) -> usize {
        self.first.checked_rem(count).unwrap_or(0)
    }

    pub(super) fn answered(&mut self, place: usize) {
        *self = Self {
            first: place,
            left: 0,
        };
    }

    /// Goes on to the next address, unless somebody else did before. True when none is left that has not failed.
    pub(super) fn failed(&mut self, place: usize, count: usize) -> bool {
        if self.first(count) == place {
            self.first = place + 1;
            self.left = self.left.saturating_add(1);
        }
        self.left >= count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_only_address_that_fails_leaves_none() {
        let mut failover = Failover::default();
        assert!(failover.failed(0, 1));
        assert_eq!(failover.first(1), 0);
        assert!(failover.failed(0, 1));
    }

    #[test]
    fn many_failures_of_one_address_leave_the_other() {
        let mut failover = Failover::default();
        for _ in 0..100 {
            assert!(!failover.failed(0, 2));
        }
        assert_eq!(failover.first(2), 1);
        assert!(failover.failed(1, 2));
        assert_eq!(failover.first(2), 0);
    }

    #[test]
    fn an_answer_stays_where_it_came_from_whatever_fails_elsewhere() {
        let mut failover = Failover::default();
        failover.failed(0, 3);
        failover.answered(1);
        assert!(!failover.failed(0, 3));
        assert_eq!(failover.first(3), 1);
        // The list of addresses may change.
        assert_eq!((failover.first(1), failover.first(0)), (0, 0));
    }
}
