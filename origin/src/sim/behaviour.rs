//! How the simulated upstreams behave: slow, failing now and then, silent, or asking for patience.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

/// One of the simulated providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upstream {
    Newsapi,
    Guardian,
    Hackernews,
    Feeds,
    Reddit,
}

/// A behaviour that can't be.
#[derive(Debug, thiserror::Error)]
pub enum BehaviourFault {
    #[error("unknown source: newsapi, guardian, hackernews, feeds and reddit are simulated")]
    UnknownUpstream,
    #[error("the failure rate is a number from 0 to 1")]
    FailRate,
    #[error("not a behaviour: {0}")]
    Json(#[from] serde_json::Error),
}

impl FromStr for Upstream {
    type Err = BehaviourFault;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "newsapi" => Ok(Self::Newsapi),
            "guardian" => Ok(Self::Guardian),
            "hackernews" => Ok(Self::Hackernews),
            "feeds" | "feed" => Ok(Self::Feeds),
            "reddit" => Ok(Self::Reddit),
            _ => Err(BehaviourFault::UnknownUpstream),
        }
    }
}

impl Upstream {
    /// Whose endpoint a path is.
    pub(super) fn of_path(path: &str) -> Self {
        let of_reddit = [
            "/api/v1/authorize",
            "/api/v1/access_token",
            "/api/v1/revoke_token",
            "/api/v1/me",
            "/best",
        ];
        match path {
            path if of_reddit.contains(&path) || path.starts_with("/r/") => Self::Reddit,
            path if path.starts_with("/v2/") => Self::Newsapi,
            path if path.starts_with("/api/v1/") => Self::Hackernews,
            path if path.starts_with("/feeds/") => Self::Feeds,
            _ => Self::Guardian,
        }
    }
}

/// How long a simulated limit asks to wait.
const RETRY_AFTER_SECS: u64 = 7;

/// What happens to requests. The default answers everything at once.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Every answer waits this long.
    pub latency: Duration,
    /// The share of requests that fail, spread evenly: of ten at 0.2, exactly two.
    pub fail_rate: f64,
    /// These accept and never answer.
    pub hang: BTreeSet<Upstream>,
    /// These answer with their form of a 5xx.
    pub fail: BTreeSet<Upstream>,
    /// These answer 429 with `Retry-After`.
    pub limit: BTreeSet<Upstream>,
    /// How many seconds a limit asks to wait; 7 when nothing is said.
    pub retry_after_secs: Option<u64>,
    /// How long Reddit's tokens live by their own word; a day when nothing is said.
    pub reddit_token_secs: Option<u64>,
    /// Refresh tokens stay good, and none comes with a new access token.
    pub reddit_keeps_refresh_tokens: bool,
    /// Requests that Reddit answers until it has had enough; 996 when nothing is said.
    pub reddit_requests_max: Option<u64>,
}

/// What `POST /_control` takes; members left out go back to their defaults.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Control {
    latency_ms: u64,
    fail_rate: f64,
    hang: BTreeSet<Upstream>,
    fail: BTreeSet<Upstream>,
    limit: BTreeSet<Upstream>,
    retry_after_secs: Option<u64>,
    reddit_token_secs: Option<u64>,
    reddit_keeps_refresh_tokens: bool,
    reddit_requests_max: Option<u64>,
}

/// What becomes of one request, after its latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answer,
    Hang,
    Fail,
    Limit,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Verdict {
    pub(super) latency: Duration,
    pub(super) fate: Fate,
    pub(super) retry_after_secs: u64,
}

impl Behaviour {
    pub(super) fn from_json(body: &[u8]) -> Result<Self, BehaviourFault> {
        let Control {
            latency_ms,
            fail_rate,
            hang,
            fail,
            limit,
            retry_after_secs,
            reddit_token_secs,
            reddit_keeps_refresh_tokens,
            reddit_requests_max,
        } = serde_json::from_slice(body)?;
        let latency = Duration::from_millis(latency_ms);
        Self {
            latency,
            fail_rate,
            hang,
            fail,
            limit,
            retry_after_secs,
            reddit_token_secs,
            reddit_keeps_refresh_tokens,
            reddit_requests_max,
        }
        .checked()
    }

    /// Itself, when its failure rate is one.
    pub fn checked(self) -> Result<Self, BehaviourFault> {
        if (0.0..=1.0).contains(&self.fail_rate) {
            Ok(self)
        } else {
            Err(BehaviourFault::FailRate)
        }
    }

    /// The fate of the `nth` request, from 1.
    pub(super) fn judge(&self, upstream: Upstream, nth: u64) -> Verdict {
        let fate = if self.hang.contains(&upstream) {
            Fate::Hang
        } else if self.limit.contains(&upstream) {
            Fate::Limit
        } else if self.fail.contains(&upstream) || self.is_unlucky(nth) {
            Fate::Fail
        } else {
            Fate::Answer
        };
        Verdict {
            latency: self.latency,
            fate,
            retry_after_secs: self.retry_after_secs.unwrap_or(RETRY_AFTER_SECS),
        }
    }

    /// True when the expected number of failures passes a whole number with this request: even and repeatable, where dice
    /// would make two runs of one measurement differ.
    fn is_unlucky(&self, nth: u64) -> bool {
        let due = |requests: u64| (requests as f64 * self.fail_rate + 1e-9).floor();
        due(nth) > due(nth.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_spread_evenly() {
        for (fail_rate, expected) in [(0.0, 0), (0.2, 20), (0.5, 50), (1.0, 100)] {
            let behaviour = Behaviour {
                fail_rate,
                ..Behaviour::default()
            };
            let failed = (1..=100)
                .filter(|nth| behaviour.judge(Upstream::Guardian, *nth).fate == Fate::Fail)
                .count();
            assert_eq!(failed, expected, "{fail_rate}");
        }
    }

    #[test]
    fn a_control_message_is_checked() {
        let behaviour = Behaviour::from_json(br#"{"latency_ms": 200, "hang": ["newsapi"]}"#)
            .expect("a behaviour");
        assert_eq!(behaviour.latency, Duration::from_millis(200));
        assert_eq!(behaviour.judge(Upstream::Newsapi, 1).fate, Fate::Hang);
        assert_eq!(behaviour.judge(Upstream::Feeds, 1).fate, Fate::Answer);
        for body in [
            &br#"{"fail_rate": 1.5}"#[..],
            br#"{"hang": ["twitter"]}"#,
            br#"{"latency": 5}"#,
            b"x",
        ] {
            assert!(Behaviour::from_json(body).is_err());
        }
    }
}
