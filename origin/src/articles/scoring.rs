//! How texts are scored: away from the threads that answer requests, one batch at a time, and before any transaction begins.
//!
//! A model may take its time; the database's deadline and its locks are no place to wait for it. So what somebody waits for is
//! bounded here: texts that aren't reached in time have no score, are stored without one, and are found again by its absence
//! (`backfill`). Whose turn it is has a time of its own, and is waited for as long as that lasts; a model that overruns it is taken to
//! hang, and is hardly waited for: else one text would hold everybody up. Turns are given in the order in which they were asked for, so
//! that who scores batch after batch lets others in between.

use crate::sentiment::{Score, Scorer, Text};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What a single text may take beyond the time for all of them, before it is given up.
const GRACE: Duration = Duration::from_secs(1);

/// How long somebody waits for a model that has been used for longer than it may.
const TURN_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a batch whose time nobody limits is waited for by others: many times what one takes.
const UNLIMITED_WAITED_FOR: Duration = Duration::from_secs(10);

/// A text to be scored, owned: scoring runs where it may take its time.
#[derive(Debug, Clone)]
pub(super) struct OwnedText {
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) language: Option<String>,
}

/// A model, and whose turn it is to use it: several batches at once would only slow each other down.
#[derive(Debug, Clone)]
pub(super) struct Scoring {
    scorer: Arc<dyn Scorer>,
    turn: Arc<Semaphore>,
    /// When whoever has the turn, or had it last, is overdue.
    overdue_at: Arc<Mutex<Instant>>,
}

impl Scoring {
    pub(super) fn new(scorer: Arc<dyn Scorer>) -> Self {
        Self {
            scorer,
            turn: Arc::new(Semaphore::new(1)),
            overdue_at: Arc::new(Mutex::new(Instant::now())),
        }
    }

    pub(super) fn scorer(&self) -> &dyn Scorer {
        &*self.scorer
    }

    /// Scores texts, whatever time that takes. What fails has no score.
    pub(super) async fn score<K: Ord + Send + 'static>(
        &self,
        texts: Vec<(K, OwnedText)>,
    ) -> BTreeMap<K, Option<Score>> {
        self.run(texts, None).await
    }

    /// Scores texts as far as that is possible in this time. What fails or isn't reached has no score.
    pub(super) async fn score_within<K: Ord + Clone + Send + 'static>(
        &self,
        texts: Vec<(K, OwnedText)>,
        time: Duration,
    ) -> BTreeMap<K, Option<Score>> {
        let keys: Vec<K> = texts.iter().map(|(key, _)| key.clone()).collect();
        let mut scored = self.score_reached(texts, time).await;
        let unscored = keys.iter().filter(|key| !scored.contains_key(key)).count();
        if unscored > 0 {
            let model = &self.scorer.model().name;
            tracing::warn!(unscored, model, "texts were not scored, or not in time");
        }
        for key in keys {
            scored.entry(key).or_insert(None);
        }
        scored
    }

    /// The same without those that weren't reached.
    pub(super) async fn score_reached<K: Ord + Send + 'static>(
        &self,
        texts: Vec<(K, OwnedText)>,
        time: Duration,
    ) -> BTreeMap<K, Option<Score>> {
        let until = Instant::now() + time;
        let scored = tokio::time::timeout(time + GRACE, self.run(texts, Some(until))).await;
        scored.unwrap_or_default()
    }

    /// Without those that were not begun in time. The turn goes with the work: it lasts as long, though nobody may wait any more.
    async fn run<K: Ord + Send + 'static>(
        &self,
        texts: Vec<(K, OwnedText)>,
        until: Option<Instant>,
    ) -> BTreeMap<K, Option<Score>> {
        if texts.is_empty() {
            return BTreeMap::new();
        }
        let Some(turn) = self.turn(until).await else {
            return BTreeMap::new();
        };
        let scorer = Arc::clone(&self.scorer);
        let scored = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let is_time = || until.is_none_or(|until| Instant::now() < until);
            let texts = texts.into_iter().take_while(|_| is_time());
            let scored = texts.map(|(key, text)| {
                let score = score(&*scorer, &text);
                (key, score)
            });
            scored.collect()
        });
        scored.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the scorer panicked");
            BTreeMap::new()
        })
    }

    /// The turn; `None` when it doesn't come in time, or when whoever has it hangs.
    async fn turn(&self, until: Option<Instant>) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.turn).acquire_owned();
        let turn = match until {
            None => turn.await.ok(),
            Some(until) => tokio::select! {
                biased;
                turn = turn => turn.ok(),
                () = self.waited_in_vain(until) => None,
            },
        };
        let now = Instant::now();
        if turn.is_some() {
            let done_by = until.map_or(now + UNLIMITED_WAITED_FOR, |until| until.max(now));
            *self.overdue_at() = done_by + GRACE;
        }
        turn
    }

    /// Until no turn is worth waiting for any more. When the turn has gone on to somebody else meanwhile, their time counts.
    async fn waited_in_vain(&self, until: Instant) {
        let begun = Instant::now();
        loop {
            let overdue_at = *self.overdue_at();
            tokio::time::sleep_until(until.min(overdue_at.max(begun) + TURN_WAIT_MAX)).await;
            if Instant::now() >= until || *self.overdue_at() == overdue_at {
                return;
            }
        }
    }

    fn overdue_at(&self) -> MutexGuard<'_, Instant> {
        let overdue_at = self.overdue_at.lock();
        overdue_at.unwrap_or_else(PoisonError::into_inner)
    }
}

fn score(scorer: &dyn Scorer, text: &OwnedText) -> Option<Score> {
    let text = Text {
        title: &text.title,
        description: text.description.as_deref(),
        language: text.language.as_deref(),
    };
    scorer.score(text).unwrap_or_else(|error| {
        tracing::warn!(%error, model = scorer.model().name, "a text could not be scored");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::{Label, ModelName, ScoreError};
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Scores one text for each word it is given, and waits for it.
    #[derive(Debug)]
    struct Patient {
        model: ModelName,
        begun: Sender<String>,
        go: Mutex<Receiver<()>>,
    }

    impl Scorer for Patient {
        fn model(&self) -> &ModelName {
            &self.model
        }

        fn score(&self, text: Text<'_>) -> Result<Option<Score>, ScoreError> {
            let _ = self.begun.send(text.title.to_owned());
            let go = self.go.lock().expect("no panic while locked").recv();
            go.map_err(|_| ScoreError("nobody is there".to_owned()))?;
            let (value, label) = (0.5, Label::Positive);
            Ok(Some(Score { value, label }))
        }
    }

    fn patient() -> (Scoring, Receiver<String>, Sender<()>) {
        let ((begun, has_begun), (let_go, go)) = (channel(), channel());
        let (name, version) = ("patient".to_owned(), "1".to_owned());
        let scorer = Patient {
            model: ModelName { name, version },
            begun,
            go: Mutex::new(go),
        };
        (Scoring::new(Arc::new(scorer)), has_begun, let_go)
    }

    fn texts(keys: &[i64]) -> Vec<(i64, OwnedText)> {
        let text = |key: &i64| OwnedText {
            title: format!("Text {key}"),
            description: None,
            language: None,
        };
        keys.iter().map(|key| (*key, text(key))).collect()
    }

    #[tokio::test]
    async fn what_is_not_reached_in_time_has_no_score() {
        let (scoring, has_begun, _let_go) = patient();
        let scored = scoring.score_within(texts(&[1, 2]), Duration::ZERO).await;
        assert_eq!(scored, BTreeMap::from([(1, None), (2, None)]));
        assert!(has_begun.try_recv().is_err(), "it was not even begun");
    }

    const TIME: Duration = Duration::from_secs(10);

    /// Scores with so much time, in a task of its own that waits for the turn, or has it, when this is over.
    async fn begin(scoring: &Scoring, keys: &[i64], time: Duration) -> Begun {
        let (scoring, texts) = (scoring.clone(), texts(keys));
        let task = tokio::spawn(async move { scoring.score_within(texts, time).await });
        tokio::task::yield_now().await;
        task
    }

    type Begun = tokio::task::JoinHandle<BTreeMap<i64, Option<Score>>>;

    async fn scored(begun: Begun) -> Vec<i64> {
        let scores = begun.await.expect("no panic");
        let scored = scores.into_iter().filter(|(_, score)| score.is_some());
        scored.map(|(key, _)| key).collect()
    }

    /// Time stands still while a text is being scored, unless a test moves it on.
    #[tokio::test(start_paused = true)]
    async fn batches_side_by_side_are_all_scored_while_each_is_within_its_time() {
        let (scoring, has_begun, let_go) = patient();
        let first = begin(&scoring, &[1], TIME).await;
        has_begun.recv().expect("it was begun");
        let second = begin(&scoring, &[2], TIME).await;
        let third = begin(&scoring, &[3], TIME).await;
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(3)).await;
            let_go.send(()).expect("somebody waits");
        }
        assert_eq!(scored(first).await, [1]);
        assert_eq!(scored(second).await, [2]);
        assert_eq!(scored(third).await, [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_their_own_time() {
        let (scoring, has_begun, _let_go) = patient();
        let _first = begin(&scoring, &[1], TIME).await;
        has_begun.recv().expect("it was begun");
        let second = begin(&scoring, &[2], TIME / 2).await;
        tokio::time::advance(TIME / 2 - Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(scored(second).await, [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_model_that_hangs_is_given_up_and_its_turn_comes_back_with_it() {
        let (scoring, has_begun, let_go) = patient();
        let first = begin(&scoring, &[1], TIME).await;
        has_begun.recv().expect("it was begun");
        tokio::time::advance(TIME + GRACE).await;
        assert_eq!(scored(first).await, [0; 0]);
        // Nobody else begins while it hangs, nor waits for it for long.
        let hour = Duration::from_secs(3_600);
        let second = begin(&scoring, &[2], hour).await;
        tokio::time::advance(TURN_WAIT_MAX - Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(scored(second).await, [0; 0]);
        assert!(has_begun.try_recv().is_err());
        for _ in 0..2 {
            let_go.send(()).expect("somebody waits");
        }
        let scored = scoring.score(texts(&[3])).await;
        assert!(scored[&3].is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_while_a_model_hangs_waits_on_when_somebody_else_has_the_turn() {
        let (scoring, has_begun, let_go) = patient();
        let first = begin(&scoring, &[1], TIME / 10).await;
        has_begun.recv().expect("it was begun");
        tokio::time::advance(TIME / 10 + GRACE).await;
        assert_eq!(scored(first).await, [0; 0]);
        let second = begin(&scoring, &[2], TIME).await;
        let third = begin(&scoring, &[3], TIME).await;
        let_go.send(()).expect("somebody waits");
        while has_begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(2 * TURN_WAIT_MAX).await;
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        for _ in 0..2 {
            let_go.send(()).expect("somebody waits");
        }
        assert_eq!(scored(second).await, [2]);
        assert_eq!(scored(third).await, [3]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_scores_batch_after_batch_lets_others_in_between() {
        let (scoring, has_begun, let_go) = patient();
        let batches = scoring.clone();
        let batches = tokio::spawn(async move {
            batches.score_reached(texts(&[1]), TIME).await;
            batches.score_reached(texts(&[2]), TIME).await;
        });
        tokio::task::yield_now().await;
        assert_eq!(has_begun.recv().as_deref(), Ok("Text 1"));
        let other = begin(&scoring, &[3], TIME).await;
        for _ in 0..3 {
            let_go.send(()).expect("somebody waits");
        }
        assert_eq!(scored(other).await, [3]);
        batches.await.expect("no panic");
        let order: Vec<String> = has_begun.try_iter().collect();
        assert_eq!(order, ["Text 3", "Text 2"]);
    }
}
