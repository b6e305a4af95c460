//! What is wrong with a schedule, with its place and what to do.

use crate::diagnostic::Diagnostic;
use crate::span::Span;

use super::{Missed, Rule, Schedule, signed};

const SECOND: Span = Span::seconds(1);

/// Longer than this a jitter is a mistake: a whole day is the most that spreading starts needs.
const MAX_JITTER: Span = Span::seconds(86_400);

/// A century. Longer than this nothing is repeated.
const MAX_SPAN: Span = Span::seconds(100 * 366 * 86_400);

impl Schedule {
    /// Everything wrong with it. Pointers start with `at`.
    pub fn check(&self, at: &str) -> Vec<Diagnostic> {
        let mut found: Vec<_> = self.rule(at).err().into_iter().collect();
        found.extend(self.check_beside_rule(at));
        found
    }

    /// Everything wrong with it but its rule.
    pub(super) fn check_beside_rule(&self, at: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if let Some(zone) = &self.timezone
            && jiff::tz::TimeZone::get(zone).is_err()
        {
            found.push(
                Diagnostic::error(
                    format!("{at}/timezone"),
                    "timezone",
                    format!("there is no time zone `{zone}`"),
                )
                .hint("use a name such as Europe/Berlin or UTC; the names come from the machine's tzdata"),
            );
        }
        self.check_missed(at, &mut found);
        found
    }

    /// What its due times follow, or what is wrong with that.
    pub(super) fn rule(&self, at: &str) -> Result<Rule, Diagnostic> {
        match (&self.cron, self.every) {
            (Some(_), Some(_)) => Err(Diagnostic::error(
                at,
                "ambiguous",
                "a schedule has either `cron` or `every`, not both",
            )
            .hint("remove one of them")),
            (None, None) => Err(
                Diagnostic::error(at, "missing", "a schedule needs `cron` or `every`")
                    .hint("leave `schedule` out for a job that only runs by hand"),
            ),
            (None, Some(every)) => {
                let whole = every.duration().subsec_nanos() == 0;
                if every < SECOND || every > MAX_SPAN || !whole {
                    return Err(Diagnostic::error(
                        format!("{at}/every"),
                        "out-of-range",
                        format!("`every` is in whole seconds from 1s to a century, not {every}"),
                    )
                    .hint("write 15m, 6h or 7d; a plain number is one of seconds"));
                }
                Ok(Rule::Every {
                    seconds: signed(every).as_secs(),
                })
            }
            (Some(cron), None) => cron.parse().map(|cron| Rule::Cron(Box::new(cron))).map_err(|problem: String| {
                Diagnostic::error(
                    format!("{at}/cron"),
                    "cron",
                    format!("`{cron}` is not a crontab expression: {problem}"),
                )
                .hint("five fields: minute hour day-of-month month day-of-week, such as `0 3 * * *` for 03:00 each day")
            }),
        }
    }

    fn check_missed(&self, at: &str, found: &mut Vec<Diagnostic>) {
        if self.grace < SECOND || self.grace > MAX_SPAN {
            found.push(
                Diagnostic::error(
                    format!("{at}/grace"),
                    "out-of-range",
                    format!(
                        "{} is not between 1s and a century: no start is exact to the moment",
                        self.grace
                    ),
                )
                .hint("the default is 5m"),
            );
        }
        let most = self.every.unwrap_or(MAX_JITTER).min(MAX_JITTER);
        if self.jitter > most {
            found.push(
                Diagnostic::error(
                    format!("{at}/jitter"),
                    "out-of-range",
                    format!("{} is more than {most}", self.jitter),
                )
                .hint("at most 24h, and at most the distance between two starts"),
            );
        }
        match (self.missed, &self.window) {
            (Missed::Window, None) => found.push(
                Diagnostic::error(
                    format!("{at}/window"),
                    "missing",
                    "`missed: window` needs a window",
                )
                .hint("add one, such as `window: { from: \"22:00\", to: \"06:00\" }`"),
            ),
            (Missed::Window, Some(window)) if window.from == window.to => found.push(
                Diagnostic::error(
                    format!("{at}/window"),
                    "out-of-range",
                    format!("the window closes at {} as it opens", window.to),
                )
                .hint("for the whole day use `missed: run-once` without a window"),
            ),
            (Missed::RunOnce | Missed::Skip, Some(_)) => found.push(
                Diagnostic::error(
                    format!("{at}/window"),
                    "no-effect",
                    "a window is only for `missed: window`",
                )
                .hint("set `missed: window`, or remove the window"),
            ),
            _ => {}
        }
    }
}
