//! How sources are asked: within their quotas, not more at once than they bear, not while they are down, again only when that may
//! help, and never longer than the deadline. Decisions are pure (`quota`, `breaker`, `retry`); `ledger` remembers them in the
//! database; [`Gate`] carries them out, one for each source.
//!
//! Must stay true: every request of a source passes its gate, retries too, and a request that cannot be counted is not made.

mod breaker;
mod ledger;
pub mod quota;
mod retry;

pub use breaker::Standing;
pub use ledger::{Allowance, Claim, Ledger, Record, Validators};
pub use quota::{Counted, Purpose, Reason, Refusal, Window};

use crate::http::{Answer, HttpClient, Redirects};
use crate::ingest::Failure;
use crate::source::SourceError;
use breaker::Breaker;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use reqwest::header::{HeaderMap, HeaderName};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use url::Url;

/// A turn that comes within this is waited for, when the deadline allows: a second at the Guardian, not a day's quota.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);
/// What is kept of the deadline for writing down what came of it.
const RECORD_TIME_MAX: Duration = Duration::from_millis(250);
/// A provider that asks for patience without saying how long.
const PAUSE_UNSAID: Duration = Duration::from_secs(60);
/// Longest stretch believed of a provider's count.
const RESET_SECONDS_MAX: f64 = 86_400.0;
/// Longest text of a failure that is kept, in characters.
const TEXT_CHARS_MAX: usize = 500;

/// What a source may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Its quotas; none means that its requests are not counted.
    pub windows: Vec<Window>,
    /// The bulkhead: a source that hangs holds no more than this many of our requests.
    pub concurrent_max: usize,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    pub url: Url,
    pub headers: HeaderMap,
    pub redirects: Redirects,
    /// A form to be sent by POST, redirects not followed; else it is a GET.
    pub form: Option<&'static [(&'static str, &'static str)]>,
}

/// Who waits for an answer, and since when.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub purpose: Purpose,
    pub now: DateTime<Utc>,
}

/// What can be told of a gate from inside this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateStatus {
    pub windows: Vec<Window>,
    pub breaker: Standing,
}

/// The one way from a source to the outside.
#[derive(Debug)]
pub struct Gate {
    source: String,
    http: HttpClient,
    ledger: Ledger,
    rules: Rules,
    /// Held for a look or a change only, never across an await.
    breaker: Mutex<Breaker>,
    bulkhead: Semaphore,
}

/// The time as it passes while a question is under way; the clock itself was read before.
#[derive(Debug, Clone, Copy)]
struct Course {
    begun: Instant,
    now: DateTime<Utc>,
    deadline: Duration,
}

impl Gate {
    pub fn new(source: &str, http: HttpClient, ledger: Ledger, rules: Rules) -> Self {
        Self {
            source: source.to_owned(),
            http,
            ledger,
            bulkhead: Semaphore::new(rules.concurrent_max.max(1)),
            rules,
            breaker: Mutex::default(),
        }
    }

    /// The source's name.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The client, for exchanges that belong to no quota (tokens).
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn status(&self, now: DateTime<Utc>) -> GateStatus {
        GateStatus {
            windows: self.rules.windows.clone(),
            breaker: self.breaker().standing(now),
        }
    }

    /// Asks, as often as that may help and may be, and has every answer judged. What comes of it is remembered.
    pub async fn ask<T: Send>(
        &self,
        request: &Request,
        ask: Ask,
        judge: impl Fn(&Answer, DateTime<Utc>) -> Result<T, SourceError> + Send + Sync,
    ) -> Result<T, SourceError> {
        let judge = |answer: Answer, now| std::future::ready(judge(&answer, now));
        self.ask_at_length(request, ask, judge).await
    }

    /// The same for answers that take long to judge. The deadline is one for all.
    pub async fn ask_at_length<T: Send, J: Future<Output = Result<T, SourceError>> + Send>(
        &self,
        request: &Request,
        ask: Ask,
        judge: impl Fn(Answer, DateTime<Utc>) -> J + Send + Sync,
    ) -> Result<T, SourceError> {
        let timeout = self.http.timeout();
        let course = Course {
            begun: Instant::now(),
            now: ask.now,
            deadline: timeout - (timeout / 10).min(RECORD_TIME_MAX),
        };
        self.breaker()
            .admit(ask.now)
            .map_err(|until| SourceError::Open {
                wait: wait(until, ask.now),
            })?;
        let mut trial = Trial {
            gate: self,
            course,
            is_over: false,
        };
        let tried = tokio::time::timeout(
            course.deadline,
            self.try_until(request, ask.purpose, course, judge),
        );
        let outcome = tried.await.unwrap_or(Err(SourceError::Timeout(timeout)));
        trial.is_over = true;
        drop(trial);
        self.conclude(outcome.as_ref().err(), course.now()).await;
        outcome
    }

    async fn try_until<T, J: Future<Output = Result<T, SourceError>>>(
        &self,
        request: &Request,
        purpose: Purpose,
        course: Course,
        judge: impl Fn(Answer, DateTime<Utc>) -> J,
    ) -> Result<T, SourceError> {
        // It is never closed.
        let _seat = self.bulkhead.acquire().await;
        let mut retry = 0;
        self.take(purpose, course).await?;
        loop {
            let error = match self.once(request, course, &judge).await {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            retry += 1;
            match retry::pause(&error, retry, fastrand::f64()) {
                Some(pause) if course.has(pause) => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
            // What went wrong says more than that there was no second chance.
            if self.take(purpose, course).await.is_err() {
                return Err(error);
            }
            let error = error.told_of(&self.source);
            tracing::debug!(source = self.source, error, retry, "asking again");
        }
    }

    async fn once<T, J: Future<Output = Result<T, SourceError>>>(
        &self,
        request: &Request,
        course: Course,
        judge: &impl Fn(Answer, DateTime<Utc>) -> J,
    ) -> Result<T, SourceError> {
        let (url, headers) = (request.url.clone(), request.headers.clone());
        let answer = match request.form {
            Some(form) => self.http.post_form(url, headers, form).await?,
            None => self.http.get(url, headers, request.redirects).await?,
        };
        if let Some(allowance) = allowance(&answer.headers, course.now()) {
            self.keep(self.ledger.allow(&self.source, allowance).await);
        }
        let judged = judge(answer, course.now()).await;
        if let Err(SourceError::RateLimited { retry_after }) = &judged {
            let until = course.now() + retry_after.unwrap_or(PAUSE_UNSAID);
            self.keep(self.ledger.pause(&self.source, until).await);
        }
        judged
    }

    /// Counts a request before it is made; waits for its turn when that comes soon.
    async fn take(&self, purpose: Purpose, course: Course) -> Result<(), SourceError> {
        loop {
            let now = course.now();
            let taken = self
                .ledger
                .take(&self.source, &self.rules.windows, purpose, now)
                .await
                .map_err(|error| SourceError::Uncounted(error.to_string()))?;
            let Err(refusal) = taken else { return Ok(()) };
            let wait = wait(refusal.until, now);
            if wait > TURN_WAIT_MAX || !course.has(wait) {
                return Err(SourceError::Refused {
                    reason: refusal.reason,
                    wait,
                });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Remembers what came of it. What was never asked says nothing about the source.
    async fn conclude(&self, error: Option<&SourceError>, now: DateTime<Utc>) {
        let Some(error) = error else {
            self.breaker().succeeded();
            self.keep(self.ledger.succeeded(&self.source, now).await);
            return;
        };
        match error {
            SourceError::Refused { .. }
            | SourceError::Open { .. }
            | SourceError::Uncounted(_)
            | SourceError::Forbidden(_) => return,
            // It answers, and says when to come back.
            SourceError::RateLimited { .. } => self.breaker().succeeded(),
            // Wrong now, wrong at the next try.
            SourceError::Credentials(_) => self.breaker().trip(now),
            SourceError::Timeout(_)
            | SourceError::Unreachable(_)
            | SourceError::Status { .. }
            | SourceError::Malformed(_)
            | SourceError::TooLarge { .. } => self.breaker().failed(now),
        }
        let text = error.told_of(&self.source);
        let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
        let code = Failure::from(error).as_str();
        self.keep(self.ledger.failed(&self.source, code, &text, now).await);
    }

    /// What could not be written down is no reason to drop what was fetched.
    fn keep(&self, written: Result<(), crate::database::DatabaseError>) {
        if let Err(error) = written {
            tracing::warn!(source = self.source, %error, "what came of asking was not remembered");
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    fn now(&self) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(self.begun.elapsed()).unwrap_or_default();
        self.now + passed
    }

    /// Whether so much time is left, and a little more to use it.
    fn has(&self, wait: Duration) -> bool {
        self.begun.elapsed() + wait < self.deadline
    }
}

/// An asking that is dropped half-way (its own deadline lies around it) has failed too.
struct Trial<'a> {
    gate: &'a Gate,
    course: Course,
    is_over: bool,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.gate.breaker().failed(self.course.now());
        }
    }
}

fn wait(until: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (until - now).to_std().unwrap_or_default()
}

/// What the provider says is left: Reddit's fields (fractions of a request, seconds until the end), or the Guardian's for the day.
/// Fields that make no sense are as good as none.
fn allowance(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Allowance> {
    let number = |name: &'static str| {
        let value = headers.get(HeaderName::from_static(name))?.to_str().ok()?;
        value.trim().parse::<f64>().ok().filter(|n| n.is_finite())
    };
    if let (Some(remaining), Some(reset)) =
        (number("x-ratelimit-remaining"), number("x-ratelimit-reset"))
    {
        let seconds = reset.clamp(0.0, RESET_SECONDS_MAX);
        let resets_at = now + TimeDelta::milliseconds((seconds * 1000.0) as i64);
        return Some(Allowance {
            remaining: remaining.max(0.0),
            resets_at,
        });
    }
    let remaining = number("x-ratelimit-remaining-day")?;
    let midnight = (now.date_naive() + TimeDelta::days(1)).and_time(NaiveTime::MIN);
    Some(Allowance {
        remaining: remaining.max(0.0),
        resets_at: midnight.and_utc(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000 + seconds, 0).expect("a time")
    }

    fn read(fields: &[(&'static str, &str)]) -> Option<Allowance> {
        let headers = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            )
        });
        allowance(&headers.collect(), at(0))
    }

    #[test]
    fn what_a_provider_says_is_left_is_read_with_its_fractions() {
        let fields = [
            ("x-ratelimit-used", "4"),
            ("x-ratelimit-remaining", "996.0"),
            ("x-ratelimit-reset", "11"),
        ];
        let expected = Allowance {
            remaining: 996.0,
            resets_at: at(11),
        };
        assert_eq!(read(&fields), Some(expected));
        let half = [
            ("x-ratelimit-remaining", "0.5"),
            ("x-ratelimit-reset", "1.5"),
        ];
        assert_eq!(
            read(&half).map(|left| (left.remaining, left.resets_at)),
            Some((0.5, at(1) + TimeDelta::milliseconds(500)))
        );
        let day = read(&[("x-ratelimit-remaining-day", "12")]).expect("an allowance");
        assert_eq!(day.resets_at.to_rfc3339(), "2026-05-29T00:00:00+00:00");
    }

    #[test]
    fn fields_that_make_no_sense_are_as_good_as_none() {
        for (remaining, reset) in [
            ("NaN", "1"),
            ("", "1"),
            ("many", "1"),
            ("1", "inf"),
            ("1", "soon"),
        ] {
            let fields = [
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", reset),
            ];
            assert_eq!(read(&fields), None, "{fields:?}");
        }
        let odd = read(&[("x-ratelimit-remaining", "-3"), ("x-ratelimit-reset", "-1")]);
        assert_eq!(
            odd.map(|left| (left.remaining, left.resets_at)),
            Some((0.0, at(0)))
        );
        assert_eq!(read(&[("x-ratelimit-remaining", "5")]), None);
    }
}
