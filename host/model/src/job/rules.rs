//! The host's own rules over a job that its schema can't say.

use crate::diagnostic::Diagnostic;
use crate::filters::check_compression;
use crate::job::{JobSpec, Retention};
use crate::span::Span;

/// Everything wrong with a job whose shape is right. What a plugin's configuration means is the plugin's to say.
pub fn check(job: &JobSpec) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(schedule) = &job.schedule {
        found.extend(schedule.check("/schedule"));
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
    if let Some(ping) = &job.ping {
        found.extend(ping.check("/ping"));
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
