//! Was anything used after it was purged? A judge of histories, apart from whatever made them.
//!
//! A history is what happened, in the order in which it was noted. The API has one version, which only grows; every answer
//! shows the version that the API had when it was asked. A purge notes the version at which it begins. So whoever asks after
//! its end (a 200) must see that version or a later one, of everything that the purge covers. A purge that failed promises
//! nothing. Left out: whether answers were quick, or cached at all.

use std::collections::HashMap;

/// Something that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) host: &'static str,
    pub(crate) target: String,
    pub(crate) tags: Vec<String>,
    /// May it be served stale while it is fetched anew?
    pub(crate) while_revalidate: bool,
}

/// What a purge covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cover {
    Url(&'static str, String),
    Target(String),
    Prefix(Option<&'static str>, String),
    Tag(String),
    /// By an unsafe request, of one host.
    Group(&'static str, String),
    All,
}

impl Cover {
    pub(super) fn covers(&self, resource: &Resource) -> bool {
        match self {
            Self::Url(host, target) => *host == resource.host && *target == resource.target,
            Self::Target(target) => *target == resource.target,
            Self::Prefix(host, prefix) => {
                host.is_none_or(|host| host == resource.host)
                    && resource.target.starts_with(prefix.as_str())
            }
            Self::Tag(tag) => resource.tags.contains(tag),
            Self::Group(host, tag) => *host == resource.host && resource.tags.contains(tag),
            Self::All => true,
        }
    }
}

/// How an answer says that it came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing that would excuse its age.
    Good,
    Stale,
    /// From a replica that may serve what it can't verify, and which says so.
    Unverified,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    PurgeBegun {
        purge: usize,
        cover: Cover,
        soft: bool,
        version: u64,
    },
    /// It is true on every replica; or, with one, on this one.
    PurgeDone {
        purge: usize,
        on: Option<usize>,
    },
    PurgeFailed {
        purge: usize,
    },
    RequestBegun {
        request: usize,
        resource: usize,
        replica: usize,
    },
    Answered {
        request: usize,
        version: u64,
        said: Said,
    },
    /// Without a version: an error, or nothing.
    Unanswered {
        request: usize,
    },
}

/// The least version that may be shown, by hard and by soft purges, and which purges these are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Floor {
    hard: (u64, usize),
    soft: (u64, usize),
}

impl Floor {
    fn max(self, other: Self) -> Self {
        Self {
            hard: self.hard.max(other.hard),
            soft: self.soft.max(other.soft),
        }
    }
}

struct Begun {
    cover: Cover,
    soft: bool,
    version: u64,
}

/// An answer that must not have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The place of the answer in the history.
    pub(crate) at: usize,
    pub(crate) purge: usize,
    pub(crate) told: String,
}

/// What was judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) violations: Vec<Violation>,
    /// Answers to which some purge meant something.
    pub(crate) bound: usize,
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) excused: usize,
}

struct Judge<'a> {
    resources: &'a [Resource],
    purges: HashMap<usize, Begun>,
    /// By resource, and by resource and replica.
    floors: Vec<Floor>,
    floors_on: HashMap<(usize, usize), Floor>,
    requests: HashMap<usize, (usize, Floor)>,
    judged: Judged,
}

/// Judges a history over these resources.
pub(crate) fn judge(resources: &[Resource], history: &[Event]) -> Judged {
    let mut judge = Judge {
        resources,
        purges: HashMap::new(),
        floors: vec![Floor::default(); resources.len()],
        floors_on: HashMap::new(),
        requests: HashMap::new(),
        judged: Judged::default(),
    };
    for (at, event) in history.iter().enumerate() {
        judge.take(at, event);
    }
    judge.judged
}

impl Judge<'_> {
    fn take(&mut self, at: usize, event: &Event) {
        match event {
            Event::PurgeBegun {
                purge,
                cover,
                soft,
                version,
            } => {
                let begun = Begun {
                    cover: cover.clone(),
                    soft: *soft,
                    version: *version,
                };
                self.purges.insert(*purge, begun);
            }
            Event::PurgeDone { purge, on } => self.done(*purge, *on),
            Event::PurgeFailed { purge } => {
                self.purges.remove(purge);
                self.judged.failed += 1;
            }
            Event::RequestBegun {
                request,
                resource,
                replica,
            } => {
                let on = self.floors_on.get(&(*resource, *replica));
                let floor = self.floors[*resource].max(on.copied().unwrap_or_default());
                self.requests.insert(*request, (*resource, floor));
            }
            Event::Answered {
                request,
                version,
                said,
            } => self.answered(at, *request, *version, *said),
            Event::Unanswered { request } => {
                self.requests.remove(request);
            }
        }
    }

    fn done(&mut self, purge: usize, on: Option<usize>) {
        let Some(begun) = self.purges.remove(&purge) else {
            return;
        };
        self.judged.done += 1;
        let mut floor = Floor::default();
        match begun.soft {
            true => floor.soft = (begun.version, purge),
            false => floor.hard = (begun.version, purge),
        }
        for (resource, at) in self.resources.iter().zip(0..) {
            if begun.cover.covers(resource) {
                let old = match on {
                    None => &mut self.floors[at],
                    Some(replica) => self.floors_on.entry((at, replica)).or_default(),
                };
                *old = old.max(floor);
            }
        }
    }

    fn answered(&mut self, at: usize, request: usize, version: u64, said: Said) {
        let Some((resource, floor)) = self.requests.remove(&request) else {
            return;
        };
        self.judged.bound += usize::from(floor != Floor::default());
        let too_old = |(least, purge): (u64, usize)| (version < least).then_some((least, purge));
        let stale_is_right = said == Said::Stale && self.resources[resource].while_revalidate;
        let fault = too_old(floor.hard).or_else(|| too_old(floor.soft).filter(|_| !stale_is_right));
        let Some((least, purge)) = fault else {
            return;
        };
        if said == Said::Unverified {
            self.judged.excused += 1;
            return;
        }
        let told = format!(
            "{:?} was answered with version {version} ({said:?}), though purge {purge} was done at version {least}",
            self.resources[resource]
        );
        self.judged.violations.push(Violation { at, purge, told });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Vec<Resource> {
        let resource = |host, target: &str, tag: &str, while_revalidate| Resource {
            host,
            target: target.to_owned(),
            tags: vec![tag.to_owned()],
            while_revalidate,
        };
        vec![
            resource("a", "/x/1", "t", false),
            resource("b", "/x/1", "t", true),
            resource("b", "/y/1", "u", false),
        ]
    }

    fn purge(cover: Cover, soft: bool) -> Event {
        Event::PurgeBegun {
            purge: 7,
            cover,
            soft,
            version: 5,
        }
    }

    const DONE: Event = Event::PurgeDone { purge: 7, on: None };

    fn asks(resource: usize) -> Event {
        Event::RequestBegun {
            request: 1,
            resource,
            replica: 0,
        }
    }

    fn gets(version: u64, said: Said) -> Event {
        Event::Answered {
            request: 1,
            version,
            said,
        }
    }

    fn is_accepted(history: &[Event]) -> bool {
        judge(&resources(), history).violations.is_empty()
    }

    #[test]
    fn what_is_older_than_a_purge_is_rejected_after_its_end_alone() {
        let (begun, old, new) = (
            purge(Cover::All, false),
            gets(4, Said::Good),
            gets(5, Said::Good),
        );
        // history, is it accepted
        for (history, accepted) in [
            (vec![begun.clone(), DONE, asks(0), old.clone()], false),
            (vec![begun.clone(), DONE, asks(0), new], true),
            (vec![begun.clone(), asks(0), DONE, old.clone()], true),
            (vec![asks(0), begun.clone(), DONE, old.clone()], true),
            (
                vec![
                    begun.clone(),
                    Event::PurgeFailed { purge: 7 },
                    asks(0),
                    old.clone(),
                ],
                true,
            ),
            (vec![begun.clone(), asks(0), old, DONE], true),
            (
                vec![begun, DONE, asks(0), Event::Unanswered { request: 1 }],
                true,
            ),
        ] {
            assert_eq!(is_accepted(&history), accepted, "{history:?}");
        }
    }

    #[test]
    fn a_violation_tells_where_and_by_which_purge() {
        let history = [
            purge(Cover::Target("/y/1".into()), false),
            DONE,
            asks(2),
            gets(4, Said::Good),
        ];
        let judged = judge(&resources(), &history);
        let [violation] = &judged.violations[..] else {
            panic!("one: {judged:?}");
        };
        assert_eq!((violation.at, violation.purge), (3, 7));
        assert_eq!((judged.bound, judged.done), (1, 1));
    }

    #[test]
    fn a_purge_binds_what_it_covers_and_nothing_else() {
        for (cover, covered) in [
            (Cover::Url("a", "/x/1".into()), [true, false, false]),
            (Cover::Target("/x/1".into()), [true, true, false]),
            (Cover::Prefix(None, "/x".into()), [true, true, false]),
            (Cover::Prefix(Some("b"), "/".into()), [false, true, true]),
            (Cover::Tag("t".into()), [true, true, false]),
            (Cover::Group("b", "t".into()), [false, true, false]),
            (Cover::All, [true, true, true]),
        ] {
            for (resource, covered) in covered.into_iter().enumerate() {
                let begun = purge(cover.clone(), false);
                let history = [begun, DONE, asks(resource), gets(4, Said::Good)];
                assert_eq!(is_accepted(&history), !covered, "{history:?}");
            }
        }
    }

    #[test]
    fn after_a_soft_purge_stale_is_right_where_it_is_allowed_and_said() {
        // resource, said, soft, accepted
        for (resource, said, soft, accepted) in [
            (1, Said::Stale, true, true),
            (1, Said::Good, true, false),
            (0, Said::Stale, true, false),
            (1, Said::Stale, false, false),
            (1, Said::Unverified, false, true),
        ] {
            let history = [purge(Cover::All, soft), DONE, asks(resource), gets(4, said)];
            assert_eq!(is_accepted(&history), accepted, "{history:?}");
        }
    }

    #[test]
    fn a_later_purge_that_asks_for_less_takes_nothing_back() {
        let later = |purge, version, soft| {
            let begun = Event::PurgeBegun {
                purge,
                cover: Cover::All,
                soft,
                version,
            };
            [begun, Event::PurgeDone { purge, on: None }]
        };
        for soft in [false, true] {
            let history = [&later(1, 9, false)[..], &later(2, 5, soft)].concat();
            let history = [history, vec![asks(0), gets(8, Said::Good)]].concat();
            assert!(!is_accepted(&history));
        }
    }

    #[test]
    fn what_holds_on_one_replica_binds_no_other() {
        for (on, accepted) in [(0, false), (1, true)] {
            let done = Event::PurgeDone {
                purge: 7,
                on: Some(on),
            };
            let begun = purge(Cover::Group("a", "t".into()), false);
            let history = [begun, done, asks(0), gets(4, Said::Good)];
            assert_eq!(is_accepted(&history), accepted);
        }
    }
}
