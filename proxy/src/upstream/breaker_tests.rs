use super::*;

const SILENT: Luck = Luck::Failed {
    kind: Kind::Silent,
    certain: false,
};
const UNREACHABLE: Luck = Luck::Failed {
    kind: Kind::Broken,
    certain: true,
};

/// A breaker with its clock: each test tells a story in steps of time.
struct Story {
    breaker: Breaker,
    now: Instant,
    jitter: f64,
}

impl Story {
    fn new() -> Self {
        Self {
            breaker: Breaker::new(),
            now: Instant::now(),
            jitter: 1.0,
        }
    }

    fn opened() -> Self {
        let mut story = Self::new();
        for _ in 0..FAILURES_MAX {
            story.ask(1, UNREACHABLE);
        }
        assert!(!story.breaker.is_closed());
        story
    }

    fn admit(&mut self, path: u64) -> Result<Leave, Kind> {
        self.breaker.admit(path, self.now)
    }

    fn record(&mut self, leave: Leave, luck: Luck) -> Option<Change> {
        self.breaker.record(leave, luck, self.now, self.jitter)
    }

    fn ask(&mut self, path: u64, luck: Luck) -> Option<Change> {
        let leave = self.admit(path).expect("not refused");
        self.record(leave, luck)
    }

    /// Until when it is open.
    fn until(&self) -> Instant {
        match self.breaker.state {
            State::Open { until, .. } => until,
            other => panic!("{other:?} is not open"),
        }
    }
}

#[test]
fn it_opens_at_exactly_the_last_failure_in_a_row() {
    let mut story = Story::new();
    for _ in 1..FAILURES_MAX {
        assert_eq!(story.ask(1, UNREACHABLE), None);
    }
    assert_eq!(story.ask(1, Luck::Answered), None);
    for _ in 1..FAILURES_MAX {
        assert_eq!(story.ask(1, UNREACHABLE), None);
    }
    assert!(story.breaker.is_closed());
    assert_eq!(story.ask(1, UNREACHABLE), Some(Change::Opened));
    assert_eq!(story.admit(1), Err(Kind::Broken));
}

#[test]
fn it_refuses_with_the_failure_that_opened_it() {
    let mut story = Story::new();
    for _ in 1..FAILURES_MAX {
        story.ask(1, UNREACHABLE);
    }
    story.ask(1, SILENT);
    assert_eq!(story.admit(1), Err(Kind::Silent));
}

#[test]
fn one_trial_goes_through_at_exactly_the_end_of_the_pause() {
    let mut story = Story::opened();
    let end = story.now + PAUSE_MIN;
    story.now = end - Duration::from_nanos(1);
    assert_eq!(story.admit(1), Err(Kind::Broken));
    story.now = end;
    let trial = story.admit(1).expect("the trial");
    assert_eq!(story.admit(1), Err(Kind::Broken));
    assert_eq!(story.record(trial, Luck::Answered), Some(Change::Closed));
    assert!(story.admit(1).is_ok());
}

#[test]
fn failed_trials_double_the_pause_up_to_a_limit() {
    let mut story = Story::opened();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        pauses.push(story.until() - story.now);
        story.now = story.until();
        assert_eq!(story.ask(1, SILENT), None);
    }
    let millis = [200, 400, 800, 1600, 3200, 5000, 5000, 5000];
    assert_eq!(pauses, millis.map(Duration::from_millis));
}

#[test]
fn jitter_shortens_the_pause_by_half_at_most() {
    let mut story = Story::new();
    story.jitter = 0.0;
    for _ in 0..FAILURES_MAX {
        story.ask(1, UNREACHABLE);
    }
    assert_eq!(story.until() - story.now, PAUSE_MIN / 2);
}

#[test]
fn a_trial_whose_client_went_away_lets_the_next_one_try() {
    let mut story = Story::opened();
    story.now = story.until();
    let trial = story.admit(1).expect("the trial");
    story.record(trial, Luck::Unknown);
    assert!(story.admit(1).is_ok(), "the next trial");
    assert_eq!(story.admit(1), Err(Kind::Broken));
}

#[test]
fn a_trial_that_is_silent_for_too_long_makes_room_for_one_other() {
    let mut story = Story::opened();
    story.now = story.until();
    let silent = story.admit(1).expect("the trial");
    story.now += TRIAL_MAX - Duration::from_nanos(1);
    assert!(story.admit(1).is_err());
    story.now += Duration::from_nanos(1);
    let next = story.admit(1).expect("the next trial");
    assert!(story.admit(1).is_err());
    // The first one's end, whatever it is, is not the second one's.
    story.record(silent, Luck::Unknown);
    story.record(silent, SILENT);
    assert!(story.admit(1).is_err());
    assert_eq!(story.record(next, Luck::Answered), Some(Change::Closed));
}

#[test]
fn any_answer_closes_it_a_late_one_and_a_pass_s_too() {
    let mut story = Story::new();
    let early = story.admit(1).expect("closed");
    for _ in 0..FAILURES_MAX {
        story.ask(1, UNREACHABLE);
    }
    assert_eq!(story.record(early, Luck::Answered), Some(Change::Closed));
    let mut story = Story::opened();
    let pass = story.breaker.admit_pass(9);
    assert_eq!(story.record(pass, Luck::Answered), Some(Change::Closed));
}

#[test]
fn failures_of_what_began_before_neither_lengthen_the_pause_nor_open_it_again() {
    let mut story = Story::new();
    let early: Vec<_> = (0..1000).map(|path| story.admit(path).unwrap()).collect();
    for _ in 0..FAILURES_MAX {
        story.ask(1, UNREACHABLE);
    }
    let until = story.until();
    for leave in &early[..500] {
        story.record(*leave, SILENT);
    }
    assert_eq!(story.until(), until);
    story.now = until;
    assert_eq!(story.ask(1, Luck::Answered), Some(Change::Closed));
    for leave in &early[500..] {
        assert_eq!(story.record(*leave, SILENT), None);
    }
    assert!(story.breaker.is_closed());
    assert!(story.admit(1).is_ok());
}

#[test]
fn a_path_that_hangs_is_refused_alone_until_another_hangs_too() {
    let mut story = Story::new();
    for _ in 0..FAILURES_MAX {
        story.ask(1, SILENT);
    }
    assert_eq!(story.admit(1), Err(Kind::Silent));
    let other = story.admit(2).expect("other paths are asked");
    assert!(story.admit(3).is_ok());
    story.record(other, SILENT);
    for path in [1, 2, 3] {
        assert_eq!(story.admit(path), Err(Kind::Silent), "{path}");
    }
}

#[test]
fn an_answer_on_another_path_closes_it() {
    let mut story = Story::new();
    for _ in 0..FAILURES_MAX {
        story.ask(1, SILENT);
    }
    assert_eq!(story.ask(2, Luck::Answered), Some(Change::Closed));
}

#[test]
fn failures_on_several_paths_and_certain_ones_concern_all() {
    let mut story = Story::new();
    for path in 0..u64::from(FAILURES_MAX) {
        story.ask(path, SILENT);
    }
    assert!(story.admit(99).is_err());
    assert!(Story::opened().admit(99).is_err());
}

#[test]
fn a_pass_is_never_refused_and_its_failures_count() {
    let mut story = Story::new();
    for _ in 0..FAILURES_MAX {
        let pass = story.breaker.admit_pass(1);
        story.record(pass, UNREACHABLE);
    }
    assert!(story.admit(1).is_err());
    let (until, pass) = (story.until(), story.breaker.admit_pass(1));
    story.record(pass, UNREACHABLE);
    assert_eq!(story.until(), until, "it was no trial");
}
