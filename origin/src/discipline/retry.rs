//! Whether another try may help, and after what pause: exponential backoff with full jitter. Pure; chance is an argument.

use crate::source::SourceError;
use std::time::Duration;

/// Tries after the first.
pub(super) const RETRIES_MAX: u32 = 2;
const BASE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A `Retry-After` up to this is waited for on the spot, when the deadline allows; a longer one is for the next time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// The pause before try number `retry` (from 1), or `None` when this failure would only come again. `chance` is 0 to 1.
pub(super) fn pause(error: &SourceError, retry: u32, chance: f64) -> Option<Duration> {
    if retry > RETRIES_MAX {
        return None;
    }
    let jittered = || {
        let ceiling = BASE.saturating_mul(1 << retry.min(8)).min(PAUSE_MAX);
        ceiling.mul_f64(chance.clamp(0.0, 1.0))
    };
    match error {
        SourceError::RateLimited {
            retry_after: Some(wait),
        } => (*wait <= RETRY_AFTER_MAX).then(|| *wait + jittered()),
        error => is_passing(error).then(jittered),
    }
}

/// What may be gone at the next try. A refusal of the request as such is not, whatever its status.
fn is_passing(error: &SourceError) -> bool {
    match error {
        SourceError::Unreachable(_) => true,
        SourceError::Status { status, .. } => {
            matches!(status, 408 | 500 | 502 | 503 | 504 | 509 | 520 | 522)
        }
        // The time is over, the words make no sense, or we ourselves have decided not to ask.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> SourceError {
        SourceError::Status {
            status,
            message: String::new(),
        }
    }

    fn limited(seconds: Option<u64>) -> SourceError {
        SourceError::RateLimited {
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for code in [408, 500, 502, 503, 504, 509, 520, 522] {
            assert!(pause(&status(code), 1, 0.5).is_some(), "{code}");
        }
        for code in [400, 404, 409, 410, 426, 501, 505] {
            assert_eq!(pause(&status(code), 1, 0.5), None, "{code}");
        }
        let hopeless = [
            SourceError::Credentials("no".to_owned()),
            SourceError::Malformed("no".to_owned()),
            SourceError::TooLarge { bytes_max: 1 },
            SourceError::Timeout(BASE),
        ];
        for error in &hopeless {
            assert_eq!(pause(error, 1, 0.5), None, "{error}");
        }
        assert!(pause(&SourceError::Unreachable("reset".to_owned()), 1, 0.5).is_some());
    }

    #[test]
    fn pauses_are_anything_from_nothing_to_a_doubling_ceiling() {
        let error = status(503);
        let ceiling = |retry| pause(&error, retry, 1.0);
        assert_eq!(ceiling(1), Some(Duration::from_millis(500)));
        assert_eq!(ceiling(2), Some(Duration::from_secs(1)));
        assert_eq!(ceiling(3), None);
        assert_eq!(pause(&error, 1, 0.0), Some(Duration::ZERO));
    }

    #[test]
    fn a_short_retry_after_is_waited_for_and_never_shortened() {
        assert_eq!(
            pause(&limited(Some(4)), 1, 0.0),
            Some(Duration::from_secs(4))
        );
        assert!(pause(&limited(Some(4)), 1, 1.0) > Some(Duration::from_secs(4)));
        assert_eq!(pause(&limited(Some(6)), 1, 0.0), None);
        assert_eq!(pause(&limited(None), 1, 0.0), None);
    }
}
