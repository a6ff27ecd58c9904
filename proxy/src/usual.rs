//! How long fetches usually take: nobody should wait for another's fetch for longer than that without doing something.

use std::time::Duration;

/// A mean and a deviation that forget what is long ago, computed as TCP computes its retransmission timer (RFC 6298 §2).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usual(Option<Estimate>);

#[derive(Debug, Clone, Copy)]
struct Estimate {
    mean_s: f64,
    deviation_s: f64,
}

/// Who waits for less than this can as well wait: a second fetch would hardly be faster.
const PATIENCE_MIN: Duration = Duration::from_millis(50);
/// Also without any history.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

impl Usual {
    /// Takes notice of one fetch.
    pub(crate) fn observe(&mut self, took: Duration) {
        let took_s = took.as_secs_f64();
        self.0 = Some(match self.0 {
            None => Estimate {
                mean_s: took_s,
                deviation_s: took_s / 2.0,
            },
            Some(old) => Estimate {
                deviation_s: 0.75 * old.deviation_s + 0.25 * (old.mean_s - took_s).abs(),
                mean_s: 0.875 * old.mean_s + 0.125 * took_s,
            },
        });
    }

    /// How long to wait before one asks, too: few fetches take longer.
    pub(crate) fn patience(&self) -> Duration {
        let Some(Estimate {
            mean_s,
            deviation_s,
        }) = self.0
        else {
            return PATIENCE_MAX;
        };
        let usual_s = mean_s + 4.0 * deviation_s;
        // Out of range, but not by much: the clamp comes first, for a Duration can't hold everything that a float can.
        let most_s = PATIENCE_MAX.as_secs_f64();
        Duration::from_secs_f64(usual_s.min(most_s)).max(PATIENCE_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(fetches_ms: &[u64]) -> Duration {
        let mut usual = Usual::default();
        for ms in fetches_ms {
            usual.observe(Duration::from_millis(*ms));
        }
        usual.patience()
    }

    #[test]
    fn patience_is_the_mean_and_four_deviations_within_limits() {
        let rows: [(&[u64], u64); 7] = [
            (&[], 5000),
            (&[100], 300),
            (&[0], 50),
            (&[16], 50),
            (&[17], 51),
            (&[100, 100], 250),
            // The mean becomes 200, the deviation 0.75 * 50 + 0.25 * 800.
            (&[100, 900], 1150),
        ];
        for (fetches_ms, patience_ms) in rows {
            assert_eq!(
                after(fetches_ms).as_millis(),
                u128::from(patience_ms),
                "{fetches_ms:?}"
            );
        }
        assert_eq!(after(&[1_667]), PATIENCE_MAX);
        assert_eq!(after(&[u64::MAX]), PATIENCE_MAX);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut fetches_ms = vec![5000];
        fetches_ms.extend([100; 80]);
        let patience = after(&fetches_ms).as_millis();
        assert!((100..110).contains(&patience), "{patience}");
    }
}
