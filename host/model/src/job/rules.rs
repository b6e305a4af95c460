//! The host's own rules over a job that its schema can't say.

use crate::diagnostic::Diagnostic;
use crate::filters::check_compression;
use crate::job::{JobSpec, Retention, Schedule};
use crate::span::Span;

/// Everything wrong with a job whose shape is right. What a plugin's configuration means is the plugin's to say.
pub fn check(job: &JobSpec) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(schedule) = &job.schedule {
        check_schedule(schedule, &mut found);
    }
    let prepare = job.timeouts.prepare;
    if prepare < Span::seconds(1) || prepare > Span::seconds(3600) {
        found.push(
            Diagnostic::error(
                "/timeouts/prepare",
                "out-of-range",
                format!("{prepare} is not between 1s and 3600s"),
            )
            .hint("the default is 300s"),
        );
    }
    if job.timeouts.stall.limit().is_none() {
        found.push(
            Diagnostic::error(
                "/timeouts/stall",
                "out-of-range",
                "a stream that stalls for ever would never be noticed",
            )
            .hint("the default is 30s; a run fails after ten times this"),
        );
    }
    if job.retries.max_delay < job.retries.first_delay {
        found.push(Diagnostic::error(
            "/retries/maxDelay",
            "out-of-range",
            "maxDelay is shorter than firstDelay",
        ));
    }
    if job.destinations.first().is_some_and(|d| d.optional) {
        found.push(
            Diagnostic::error(
                "/destinations/0/optional",
                "first-is-critical",
                "the first destination can't be optional",
            )
            .hint("a run whose only good destination is optional would be a backup nowhere: reorder them"),
        );
    }
    if let Some(compression) = &job.filters.compression {
        found.extend(check_compression(compression));
    }
    if let Some(encryption) = &job.filters.encryption
        && encryption.recipients.is_empty()
    {
        found.push(
            Diagnostic::error(
                "/filters/encryption/recipients",
                "empty",
                "encryption needs at least one recipient",
            )
            .hint("make a key with `age-keygen -o key.txt` and name its public key (age1…) here"),
        );
    }
    if job.guards.max_shrink_percent > 100 {
        found.push(
            Diagnostic::error(
                "/guards/maxShrinkPercent",
                "out-of-range",
                "a backup can't shrink by more than 100 %",
            )
            .hint("100 turns the guard off"),
        );
    }
    if let Some(retention) = &job.retention {
        check_retention(retention, job, &mut found);
    }
    for (name, script) in job.scripts() {
        found.extend(script.check(&format!("/{name}")));
    }
    if !job.cleanup_on_failure {
        found.push(
            Diagnostic::warning(
                "/cleanupOnFailure",
                "no-effect",
                "what a failed run leaves is always undone",
            )
            .hint("remove it, or set it to true"),
        );
    }
    found
}

fn check_retention(retention: &Retention, job: &JobSpec, found: &mut Vec<Diagnostic>) {
    /// Shorter than this it is a mistake: a plain number is one of seconds.
    const LEAST_AGE: Span = Span::seconds(86_400);
    if !retention.has_rule() {
        found.push(
            Diagnostic::warning(
                "/retention",
                "no-effect",
                "it has no rule that keeps anything, so nothing is ever deleted",
            )
            .hint("add one, such as `keepLast: 7`, or leave `retention` out"),
        );
    }
    if let Some(age) = retention.max_age.filter(|age| *age < LEAST_AGE) {
        let hint = "write days as 30d; a plain number is one of seconds";
        found.push(
            Diagnostic::error(
                "/retention/maxAge",
                "out-of-range",
                format!("{age} is less than a day"),
            )
            .hint(hint),
        );
    }
    if retention.has_rule() && job.verify.is_asked_for() && !job.verify.after_run {
        found.push(
            Diagnostic::warning(
                "/verify/afterRun",
                "not-counted",
                "no new backup counts as kept before it is verified, and this job doesn't verify by itself",
            )
            .hint("set `afterRun: true`, or run `backstay verify` on each"),
        );
    }
}

fn check_schedule(schedule: &Schedule, found: &mut Vec<Diagnostic>) {
    match (&schedule.cron, &schedule.every) {
        (Some(_), Some(_)) => {
            found.push(Diagnostic::error(
                "/schedule",
                "ambiguous",
                "a schedule has either `cron` or `every`, not both",
            ));
        }
        (None, None) => found.push(
            Diagnostic::error("/schedule", "missing", "a schedule needs `cron` or `every`")
                .hint("leave `schedule` out for a job that only runs by hand"),
        ),
        (None, Some(every)) if every.limit().is_none() => {
            found.push(Diagnostic::error(
                "/schedule/every",
                "out-of-range",
                "`every` must be longer than 0",
            ));
        }
        (Some(cron), None) => {
            if let Err(problem) = parses_as_cron(cron) {
                found.push(
                    Diagnostic::error("/schedule/cron", "cron", format!("`{cron}` is not a crontab expression: {problem}"))
                        .hint("five fields: minute hour day-of-month month day-of-week, such as `0 3 * * *` for 03:00 each day"),
                );
            }
        }
        _ => {}
    }
    if let Some(zone) = &schedule.timezone
        && jiff::tz::TimeZone::get(zone).is_err()
    {
        found.push(
            Diagnostic::error(
                "/schedule/timezone",
                "timezone",
                format!("there is no time zone `{zone}`"),
            )
            .hint("use a name such as Europe/Berlin or UTC"),
        );
    }
}

/// The shape of a crontab expression: five fields, six with seconds first, or a nickname.
fn parses_as_cron(text: &str) -> Result<(), String> {
    let text = text.trim();
    if text.starts_with('@') {
        let known = [
            "@yearly",
            "@annually",
            "@monthly",
            "@weekly",
            "@daily",
            "@midnight",
            "@hourly",
        ];
        return if known.contains(&text) {
            Ok(())
        } else {
            Err(format!("the nicknames are {}", known.join(" ")))
        };
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let (seconds, rest) = match fields.len() {
        5 => ("0", fields.as_slice()),
        6 => (fields[0], &fields[1..]),
        n => return Err(format!("it has {n} fields")),
    };
    // The crate counts days of the week from 1; only the shape is checked here, so 0 becomes 7.
    let weekday = rest[4]
        .split(',')
        .map(zero_is_seven)
        .collect::<Vec<_>>()
        .join(",");
    let normal = format!(
        "{seconds} {} {} {} {} {weekday}",
        rest[0], rest[1], rest[2], rest[3]
    );
    normal
        .parse::<cron::Schedule>()
        .map(drop)
        .map_err(|e| e.to_string())
}

fn zero_is_seven(part: &str) -> String {
    match part.strip_prefix('0') {
        Some("") => "7".to_owned(),
        Some(rest) if rest.starts_with('-') || rest.starts_with('/') => format!("1{rest}"),
        _ => part.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_crontab_lines_are_accepted() {
        for line in [
            "*/5 * * * *",
            "0 3 * * *",
            "0 0 * * 0",
            "0 0 * * 7",
            "0 0 * * sun",
            "30 4 1,15 * 5",
            "@daily",
            "0 0 3 * * *",
            "0-30/10 9-17 * jan-mar mon-fri",
        ] {
            assert_eq!(parses_as_cron(line), Ok(()), "{line}");
        }
        for line in ["", "* * * *", "61 * * * *", "0 3 * * bogus", "@sometimes"] {
            assert!(parses_as_cron(line).is_err(), "{line}");
        }
    }
}
