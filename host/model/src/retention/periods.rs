//! The rules of a policy, applied from the newest backup back.

use jiff::civil::Date;

use super::reason::{Period, Reason};
use crate::job::Retention;

/// How many each rule has still to keep.
#[derive(Debug)]
pub(super) struct Rules {
    last: u32,
    left_of_last: u32,
    periods: [Rule; 4],
}

#[derive(Debug)]
struct Rule {
    period: Period,
    left: u32,
    /// The period that was kept last. Local dates can go back by an hour; what is not before it is the same again.
    taken: Option<(i16, i16)>,
}

impl Rules {
    pub(super) fn new(policy: &Retention) -> Self {
        let rule = |period, count: Option<u32>| Rule {
            period,
            left: count.unwrap_or(0),
            taken: None,
        };
        let last = policy.keep_last.unwrap_or(0);
        Rules {
            last,
            left_of_last: last,
            periods: [
                rule(Period::Day, policy.keep_daily),
                rule(Period::Week, policy.keep_weekly),
                rule(Period::Month, policy.keep_monthly),
                rule(Period::Year, policy.keep_yearly),
            ],
        }
    }

    /// Which rules keep a backup of this date, older than all before. Only one that counts takes their places.
    pub(super) fn judge(&mut self, date: Date, counts: bool) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.left_of_last > 0 {
            reasons.push(Reason::Last(self.last));
            self.left_of_last -= u32::from(counts);
        }
        for rule in &mut self.periods {
            if rule.left == 0 {
                continue;
            }
            let at = rule.period.of(date);
            if rule.taken.is_none_or(|taken| at < taken) {
                reasons.push(Reason::NewestOf(rule.period, date));
                if counts {
                    rule.left -= 1;
                    rule.taken = Some(at);
                }
            }
        }
        reasons
    }
}
