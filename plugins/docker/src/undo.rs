//! Takes back what was done to containers: those that ran before a backup run after it.

use backstay_sdk::{Result, log};
use serde::{Deserialize, Serialize};

use crate::config::{Action, Config, Engine};
use crate::engine::{Cli, answered, explain, is_gone};
use crate::inspect::{Container, State};
use crate::quiet::now_millis;

/// Containers that were made quiet, in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The engine that has them.
    pub engine: Engine,
    /// What was done to them.
    pub action: Action,
    /// When, in milliseconds since 1970.
    pub at_millis: i64,
    /// For so many seconds from then an engine may still be in the middle of it.
    pub window_seconds: u64,
    /// The containers.
    pub containers: Vec<Mark>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mark {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Mark {
    /// A container.
    pub fn of(container: &Container) -> Self {
        Mark {
            id: container.id.clone(),
            name: container.name.clone(),
        }
    }
}

impl Entry {
    /// Whether an engine may still be in the middle of it.
    fn is_recent(&self, now_millis: i64) -> bool {
        let age_millis = now_millis.saturating_sub(self.at_millis);
        // A clock that went back doesn't say how long ago it was.
        age_millis < 0 || age_millis.unsigned_abs() / 1000 < self.window_seconds
    }

    /// Whether a container was started after this was done to it.
    fn is_before_start(&self, state: &State) -> bool {
        state
            .started()
            .is_some_and(|started| started.as_millisecond() > self.at_millis)
    }
}

/// What to do about a container that was stopped.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Start it.
    Start,
    /// A stop that outlived its host may yet end it: stop it first, then start it.
    FinishStop,
    /// It runs.
    Runs,
    /// Somebody started it, and it ended since: its state is theirs.
    Theirs,
}

/// Undoes an entry; what needs nothing is left alone.
///
/// # Errors
/// The engine doesn't answer, or a container can't be brought back. The others were.
pub fn undo(config: &Config, entry: &Entry) -> Result<()> {
    let cli = Cli::new(entry.engine, config);
    let mut present = Vec::new();
    for mark in &entry.containers {
        match cli.container(&mark.id)? {
            Some(container) => present.push((mark, container.state)),
            None => gone(&cli, mark)?,
        }
    }
    match entry.action {
        Action::Stop => start(&cli, entry, &present),
        Action::Pause => unpause(&cli, entry, &present),
        Action::Quiesce => resume(&cli, config, &present),
        Action::None => Ok(()),
    }
}

fn decide(entry: &Entry, state: &State, now_millis: i64) -> Step {
    let is_same = !entry.is_before_start(state);
    let is_recent = entry.is_recent(now_millis);
    if state.is_stopping() {
        Step::FinishStop
    } else if state.is_paused() || state.is_up() {
        if is_same && is_recent && !state.is_paused() {
            Step::FinishStop
        } else {
            Step::Runs
        }
    } else if is_same {
        Step::Start
    } else {
        Step::Theirs
    }
}

fn start(cli: &Cli, entry: &Entry, present: &[(&Mark, State)]) -> Result<()> {
    let now = now_millis();
    let steps: Vec<(&Mark, Step)> = present
        .iter()
        .map(|(mark, state)| (*mark, decide(entry, state, now)))
        .collect();
    let those = |wanted: &[Step]| -> Vec<&Mark> {
        let chosen = steps.iter().filter(|(_, step)| wanted.contains(step));
        chosen.map(|(mark, _)| *mark).collect()
    };
    for mark in those(&[Step::Theirs]) {
        log::warn(format!(
            "{} is left as it is: somebody started it after it was stopped for the backup, and it ended since",
            mark.name
        ));
    }
    let unfinished = those(&[Step::FinishStop]);
    if !unfinished.is_empty() {
        // Whether it worked shows below: what counts is that they run.
        let output = cli.stop(ids(&unfinished)).run()?;
        if !output.is_success() {
            log::debug(output.complaint());
        }
    }
    let wanted = those(&[Step::Start, Step::FinishStop]);
    if wanted.is_empty() {
        return Ok(());
    }
    let output = cli.start(ids(&wanted)).run()?;
    let mut failure = None;
    for mark in wanted {
        match cli.container(&mark.id)? {
            None => gone(cli, mark)?,
            Some(c) if c.state.is_up() || c.state.is_paused() => {
                let seconds = seconds_since(entry.at_millis);
                log::info(format!("{} runs again; it was down for {seconds} s", mark.name));
            }
            Some(c) if output.is_success() || entry.is_before_start(&c.state) => log::warning(
                "container-ended",
                format!(
                    "the container {} was started again after the backup and ended at once with status {}",
                    mark.name, c.state.exit_code
                ),
                None,
            ),
            Some(_) => {
                failure.get_or_insert_with(|| {
                    explain(&output)
                        .context(format!("the container {} can't be started again", mark.name))
                        .hint(format!(
                            "start it by hand: `{} start {}`",
                            cli.engine().program(),
                            mark.name
                        ))
                });
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

fn unpause(cli: &Cli, entry: &Entry, present: &[(&Mark, State)]) -> Result<()> {
    let is_recent = entry.is_recent(now_millis());
    let concerned =
        |state: &State| state.is_paused() || (is_recent && state.is_up() && !entry.is_before_start(state));
    let paused: Vec<&Mark> = present
        .iter()
        .filter(|(_, state)| concerned(state))
        .map(|(mark, _)| *mark)
        .collect();
    if paused.is_empty() {
        return Ok(());
    }
    if present.iter().any(|(_, state)| state.is_up()) {
        // A pause that outlived its host may come yet: after another one it can't.
        let output = cli.pause(ids(&paused)).run()?;
        if !output.is_success() {
            log::debug(output.complaint());
        }
    }
    let output = cli.unpause(ids(&paused)).run()?;
    for mark in paused {
        match cli.container(&mark.id)? {
            None => gone(cli, mark)?,
            Some(c) if c.state.is_paused() => {
                return Err(explain(&output)
                    .context(format!("the container {} is still paused", mark.name))
                    .hint(format!(
                        "let it go on by hand: `{} unpause {}`",
                        cli.engine().program(),
                        mark.name
                    )));
            }
            Some(_) => {
                let seconds = seconds_since(entry.at_millis);
                log::info(format!("{} goes on; it was paused for {seconds} s", mark.name));
            }
        }
    }
    Ok(())
}

fn resume(cli: &Cli, config: &Config, present: &[(&Mark, State)]) -> Result<()> {
    let command = config.resume.as_deref().unwrap_or_default();
    for (mark, state) in present {
        if !state.is_up() {
            let message = format!(
                "the container {} does not run any more, so the command `resume` can't be run in it",
                mark.name
            );
            log::warning("container-ended", message, None);
            continue;
        }
        let output = cli.exec(&mark.id, command).run()?;
        if !output.is_success() && is_gone(&output.stderr) && cli.container(&mark.id)?.is_none() {
            gone(cli, mark)?;
            continue;
        }
        answered(output).map_err(|failure| {
            failure
                .context(format!(
                    "the command `resume` failed in the container {}",
                    mark.name
                ))
                .hint("run it by hand, and correct it in the job")
        })?;
        log::info(format!("{} goes on", mark.name));
    }
    Ok(())
}

fn ids<'a>(marks: &'a [&Mark]) -> impl Iterator<Item = &'a str> {
    marks.iter().map(|mark| mark.id.as_str())
}

fn seconds_since(millis: i64) -> String {
    let tenths = now_millis().saturating_sub(millis).max(0) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Says what became of a container that isn't there any more.
fn gone(cli: &Cli, mark: &Mark) -> Result<()> {
    let after = match cli.container(&mark.name)? {
        Some(c) if c.state.is_up() => "another one of that name runs",
        Some(_) => "another one of that name is there and doesn't run: start it if it should",
        None => "make it again: the backup's manifest holds its definition",
    };
    let message = format!(
        "the container {} was removed during the backup and can't be brought back; {after}",
        mark.name
    );
    log::warning("container-gone", message, None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the containers were stopped: 2026-01-02T03:04:05Z.
    const AT_MILLIS: i64 = 1_767_323_045_000;

    fn check(status: &str, started_at: &str, age_seconds: i64, expected: Step) {
        let entry = Entry {
            engine: Engine::Docker,
            action: Action::Stop,
            at_millis: AT_MILLIS,
            window_seconds: 70,
            containers: Vec::new(),
        };
        let state = State {
            status: status.to_owned(),
            started_at: started_at.to_owned(),
            exit_code: 0,
        };
        let step = decide(&entry, &state, AT_MILLIS + age_seconds * 1000);
        assert_eq!(step, expected, "{status} {started_at} {age_seconds}");
    }

    const BEFORE: &str = "2026-01-02T03:04:04.999999999Z";
    const BEFORE_IN_BERLIN: &str = "2026-01-02T04:04:04.999999999+01:00";
    const SINCE: &str = "2026-01-02T03:04:06Z";

    #[test]
    fn what_was_stopped_is_started_however_late() {
        for status in ["exited", "stopped", "created", "configured", "dead"] {
            for before in [BEFORE, BEFORE_IN_BERLIN, "0001-01-01T00:00:00Z", ""] {
                check(status, before, 1, Step::Start);
                check(status, before, 1_000_000, Step::Start);
            }
        }
    }

    #[test]
    fn what_runs_is_left_alone_unless_a_stop_may_be_under_way() {
        check("running", BEFORE, 69, Step::FinishStop);
        check("running", BEFORE, -1, Step::FinishStop);
        check("running", BEFORE, 71, Step::Runs);
        check("stopping", BEFORE, 10_000, Step::FinishStop);
        check("running", SINCE, 1, Step::Runs);
        check("paused", BEFORE, 1, Step::Runs);
    }

    #[test]
    fn what_somebody_started_and_stopped_since_is_theirs() {
        check("exited", SINCE, 1, Step::Theirs);
    }
}
