//! How a source fared: one set of words for the database, the answer and the log.

use crate::discipline::Reason;
use crate::source::{Source, SourceError};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;

/// Why a source gave nothing, as a stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    Timeout,
    Unreachable,
    Credentials,
    RateLimited,
    BadStatus,
    Malformed,
    TooLarge,
    /// Not asked: its quota is used up or spread over the day.
    QuotaSpent,
    /// Not asked: it failed too often of late.
    CircuitOpen,
    /// Not asked: its address leads where it must not.
    Forbidden,
    /// A fault of ours, or a word from another version.
    Internal,
}

impl Failure {
    /// Every failure there is.
    pub const ALL: [Self; 11] = [
        Self::Timeout,
        Self::Unreachable,
        Self::Credentials,
        Self::RateLimited,
        Self::BadStatus,
        Self::Malformed,
        Self::TooLarge,
        Self::QuotaSpent,
        Self::CircuitOpen,
        Self::Forbidden,
        Self::Internal,
    ];

    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Credentials => "credentials",
            Self::RateLimited => "rate_limited",
            Self::BadStatus => "bad_status",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::QuotaSpent => "quota_spent",
            Self::CircuitOpen => "circuit_open",
            Self::Forbidden => "forbidden",
            Self::Internal => "internal",
        }
    }

    /// The code in a sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Timeout => "The source did not answer in time.",
            Self::Unreachable => "The source could not be reached.",
            Self::Credentials => "The source refused our credentials.",
            Self::RateLimited => "The source asked us to slow down.",
            Self::BadStatus => "The source answered with an error.",
            Self::Malformed => "The source's answer could not be understood.",
            Self::TooLarge => "The source's answer was too large.",
            Self::QuotaSpent => {
                "The source was not asked: its quota is used up or spread over the day."
            }
            Self::CircuitOpen => "The source was not asked: it has failed too often of late.",
            Self::Forbidden => "The source was not asked: its address is not a public one.",
            Self::Internal => "Asking the source failed on our side.",
        }
    }

    /// For how long the source is left in peace. Short, so that it is noticed soon when it is back; long enough that every
    /// request does not wait for its timeout. Longer where asking again soon would make it worse.
    pub(super) fn peace(self, error: &SourceError) -> Duration {
        const USUAL: Duration = Duration::from_secs(5);
        const RATE_LIMITED: Duration = Duration::from_secs(60);
        const RATE_LIMITED_MAX: Duration = Duration::from_secs(3600);
        match error {
            SourceError::RateLimited { retry_after } => retry_after
                .unwrap_or(RATE_LIMITED)
                .clamp(USUAL, RATE_LIMITED_MAX),
            SourceError::Refused { wait, .. } | SourceError::Open { wait } => {
                (*wait).clamp(USUAL, RATE_LIMITED_MAX)
            }
            SourceError::Credentials(_) | SourceError::Forbidden(_) => RATE_LIMITED,
            _ => USUAL,
        }
    }
}

impl From<&SourceError> for Failure {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::Timeout(_) => Self::Timeout,
            SourceError::Unreachable(_) => Self::Unreachable,
            SourceError::Credentials(_) => Self::Credentials,
            SourceError::RateLimited { .. }
            | SourceError::Refused {
                reason: Reason::Paused,
                ..
            } => Self::RateLimited,
            SourceError::Status { .. } => Self::BadStatus,
            SourceError::Malformed(_) => Self::Malformed,
            SourceError::TooLarge { .. } => Self::TooLarge,
            SourceError::Refused { .. } => Self::QuotaSpent,
            SourceError::Open { .. } => Self::CircuitOpen,
            SourceError::Forbidden(_) => Self::Forbidden,
            SourceError::Uncounted(_) => Self::Internal,
        }
    }
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Empty,
    Failed(Failure),
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Empty => "empty",
            Self::Failed(failure) => failure.as_str(),
        }
    }

    pub(super) fn parse(word: &str) -> Self {
        match word {
            "ok" => Self::Ok,
            "empty" => Self::Empty,
            code => {
                let known = Failure::ALL
                    .into_iter()
                    .find(|failure| failure.as_str() == code);
                Self::Failed(known.unwrap_or(Failure::Internal))
            }
        }
    }
}

/// How a source stands in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked, and it gave articles.
    Ok,
    /// Asked, and it had nothing.
    Empty,
    /// Not asked now: what is stored of it is shown.
    Fresh,
    /// Embedded documents that stand in while nothing is configured.
    Sample,
    /// It failed, now or so recently that it was not asked again; what is stored of it is shown.
    Error,
}

/// How one source fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceReport {
    pub name: String,
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
    /// From when its news are, where a request insisted on newer ones and got none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<DateTime<Utc>>,
    /// When what is shown of it was last changed.
    #[serde(skip)]
    pub changed_at: Option<DateTime<Utc>>,
}

impl SourceReport {
    pub(super) fn new(
        source: &dyn Source,
        outcome: Outcome,
        from_store: bool,
        changed_at: Option<DateTime<Utc>>,
    ) -> Self {
        let code = match outcome {
            Outcome::Failed(failure) => Some(failure),
            Outcome::Ok | Outcome::Empty => None,
        };
        let state = match outcome {
            Outcome::Failed(_) => State::Error,
            _ if source.is_sample() => State::Sample,
            _ if from_store => State::Fresh,
            Outcome::Empty => State::Empty,
            Outcome::Ok => State::Ok,
        };
        Self {
            name: source.name().to_owned(),
            state,
            code,
            detail: code.map(Failure::sentence),
            answered_at: None,
            changed_at,
        }
    }

    /// With the time of the answer that is shown.
    pub(super) fn answered(self, answered_at: Option<DateTime<Utc>>) -> Self {
        Self {
            answered_at,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_survives_the_database() {
        let failures = Failure::ALL.into_iter().map(Outcome::Failed);
        for outcome in [Outcome::Ok, Outcome::Empty].into_iter().chain(failures) {
            assert_eq!(Outcome::parse(outcome.as_str()), outcome);
        }
        assert_eq!(
            Outcome::parse("from_the_future"),
            Outcome::Failed(Failure::Internal)
        );
    }

    #[test]
    fn the_code_in_an_answer_is_the_code_in_the_database() {
        for failure in Failure::ALL {
            assert_eq!(serde_json::to_value(failure).unwrap(), failure.as_str());
        }
    }

    #[test]
    fn a_source_that_slows_us_down_is_obeyed_within_reason() {
        let peace = |seconds: Option<u64>| {
            let error = SourceError::RateLimited {
                retry_after: seconds.map(Duration::from_secs),
            };
            Failure::from(&error).peace(&error).as_secs()
        };
        assert_eq!(peace(None), 60);
        assert_eq!(peace(Some(0)), 5);
        assert_eq!(peace(Some(90)), 90);
        assert_eq!(peace(Some(86_400)), 3600);
    }
}
