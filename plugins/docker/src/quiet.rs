//! Makes containers quiet while their data is read. The journal is told of each step before it is taken.

use std::time::{SystemTime, UNIX_EPOCH};

use backstay_sdk::{Command, Failure, Output, Result, When, journal, log, progress};

use crate::config::{Action, Config};
use crate::engine::{Cli, MOST_AT_ONCE, answered, explain};
use crate::inspect::Container;
use crate::undo::{Entry, Mark};

/// Seconds that an engine may take for a stop beyond what it gives the container.
const MARGIN_SECONDS: u64 = 60;

/// The exit code of a container that the engine killed because it didn't stop.
const KILLED: i64 = 137;

/// Stops, pauses or quiesces containers, in groups of which the first depends on the others.
///
/// # Errors
/// One can't be made quiet. What was done to the others is in the journal.
pub fn make_quiet(cli: &Cli, config: &Config, groups: &[Vec<Container>]) -> Result<()> {
    for group in groups {
        for action in [Action::Quiesce, Action::Pause, Action::Stop] {
            let concerned: Vec<&Container> = group
                .iter()
                .filter(|c| c.state.is_up() && config.action_for(&c.name, c.service()) == action)
                .collect();
            for some in concerned.chunks(MOST_AT_ONCE) {
                match action {
                    Action::Stop => stop(cli, config, some)?,
                    Action::Pause => pause(cli, some)?,
                    Action::Quiesce => quiesce(cli, config, some)?,
                    Action::None => {}
                }
            }
        }
    }
    Ok(())
}

fn names(containers: &[&Container]) -> String {
    let names: Vec<&str> = containers.iter().map(|c| c.name.as_str()).collect();
    names.join(", ")
}

fn record(cli: &Cli, action: Action, containers: &[&Container], window_seconds: u64) -> Result<()> {
    let entry = Entry {
        engine: cli.engine(),
        action,
        at_millis: now_millis(),
        window_seconds,
        containers: containers.iter().map(|c| Mark::of(c)).collect(),
    };
    journal::record(&entry, When::Always)
}

/// Milliseconds since 1970.
pub fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn stop(cli: &Cli, config: &Config, containers: &[&Container]) -> Result<()> {
    progress::stage("stopping containers");
    log::info(format!("stopping {}", names(containers)));
    let longest = containers.iter().map(|c| c.stop_seconds()).max().unwrap_or(0);
    let seconds = config.stop_timeout.map_or(longest, u64::from);
    record(cli, Action::Stop, containers, seconds + MARGIN_SECONDS)?;
    let (output, present) = run_on(cli, containers, |ids| cli.stop(ids))?;
    for (container, now) in present {
        if now.state.is_up() || now.state.is_stopping() || now.state.is_paused() {
            return Err(if output.is_success() {
                Failure::backup_failed(format!(
                    "the container {} runs although it was stopped",
                    container.name
                ))
                .hint("something else starts it again: find out what, or choose another action for it")
            } else {
                explain(&output)
            });
        }
        if now.state.exit_code == KILLED {
            let message = format!(
                "the container {} did not stop within {seconds} s and was killed: its data is as after a power loss",
                container.name
            );
            log::warning("container-killed", message, None);
        }
    }
    Ok(())
}

fn pause(cli: &Cli, containers: &[&Container]) -> Result<()> {
    progress::stage("pausing containers");
    log::info(format!("pausing {}", names(containers)));
    record(cli, Action::Pause, containers, MARGIN_SECONDS)?;
    let (output, present) = run_on(cli, containers, |ids| cli.pause(ids))?;
    if present.iter().any(|(_, now)| now.state.is_up()) {
        return Err(explain(&output));
    }
    Ok(())
}

/// Runs a command on containers, and says how those are that are still there. An engine may do nothing at all
/// when one of them is gone.
fn run_on<'a>(
    cli: &Cli,
    containers: &[&'a Container],
    command: impl Fn(Vec<&'a str>) -> Command,
) -> Result<(Output, Vec<(&'a Container, Container)>)> {
    let mut left = containers.to_vec();
    loop {
        let output = command(left.iter().map(|c| c.id.as_str()).collect()).run()?;
        let mut present = Vec::new();
        for container in &left {
            match cli.container(&container.id)? {
                Some(now) => present.push((*container, now)),
                None => gone(container),
            }
        }
        if output.is_success() || present.len() == left.len() || present.is_empty() {
            return Ok((output, present));
        }
        left = present.into_iter().map(|(container, _)| container).collect();
    }
}

fn quiesce(cli: &Cli, config: &Config, containers: &[&Container]) -> Result<()> {
    progress::stage("quiescing containers");
    let command = config.quiesce.as_deref().unwrap_or_default();
    for container in containers {
        log::info(format!("quiescing {}", container.name));
        record(cli, Action::Quiesce, &[*container], 0)?;
        let output = cli.exec(&container.id, command).run()?;
        if !output.is_success() && cli.container(&container.id)?.is_none() {
            gone(container);
            continue;
        }
        answered(output).map_err(|failure| {
            failure
                .context(format!(
                    "the command `quiesce` failed in the container {}",
                    container.name
                ))
                .hint("correct the command in the job, or choose another action for this container")
        })?;
    }
    Ok(())
}

fn gone(container: &Container) {
    let message = format!(
        "the container {} was removed while the backup began; its volumes are backed up if they are still there",
        container.name
    );
    log::warning("container-gone", message, None);
}
