//! Which containers a job means.

use backstay_sdk::{Failure, Result, log};

use crate::config::{Action, Config};
use crate::engine::Cli;
use crate::inspect::{Container, PROJECT};

/// What is wrong with the choice of a job, and in which field.
#[derive(Debug)]
pub struct Miss {
    /// JSON pointer of the field.
    pub pointer: String,
    /// The failure.
    pub failure: Failure,
}

/// The containers, by name, and what was named in vain.
///
/// # Errors
/// The engine doesn't answer.
pub fn find(cli: &Cli, config: &Config) -> Result<(Vec<Container>, Vec<Miss>)> {
    let mut found: Vec<Container> = Vec::new();
    let mut missing = Vec::new();
    for (index, name) in config.containers.iter().enumerate() {
        // Engines take the beginning of an id for a name, too.
        match cli.container(name)?.filter(|c| c.name == *name) {
            Some(container) => found.push(container),
            None => missing.push(Miss {
                pointer: format!("/containers/{index}"),
                failure: Failure::backup_failed(format!(
                    "{} has no container `{name}`",
                    cli.engine().program()
                ))
                .hint("correct `containers`, or make the container; `ps --all` lists what there is"),
            }),
        }
    }
    let project = config.project.iter().map(|name| format!("{PROJECT}={name}"));
    let labels: Vec<String> = config.labels.iter().cloned().chain(project).collect();
    if !labels.is_empty() {
        let ids = cli.ids(&cli.list(&labels))?;
        if ids.is_empty() {
            let pointer = if config.labels.is_empty() {
                "/project"
            } else {
                "/labels"
            };
            missing.push(Miss {
                pointer: pointer.to_owned(),
                failure: Failure::backup_failed(format!(
                    "{} has no container with {}",
                    cli.engine().program(),
                    labels.join(" and ")
                ))
                .hint("correct `labels` or `project`; `ps --all` lists what there is"),
            });
        }
        for id in ids {
            match cli.container(&id)? {
                Some(container) => found.push(container),
                None => log::info(format!("the container {id} was removed while it was looked at")),
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.id == b.id);
    Ok((found, missing))
}

/// Refuses to stop a container that its engine would then remove, with its unnamed volumes.
///
/// # Errors
/// There is one.
pub fn refuse_to_lose(config: &Config, containers: &[Container]) -> Result<()> {
    let lost = containers.iter().find(|c| {
        c.host_config.auto_remove
            && c.state.is_up()
            && config.action_for(&c.name, c.service()) == Action::Stop
    });
    match lost {
        None => Ok(()),
        Some(container) => Err(Failure::configuration(format!(
            "the container {} was started with `--rm`: it would be removed if it were stopped",
            container.name
        ))
        .hint(format!(
            "choose another action for it, such as `actions: {{ {}: pause }}`",
            container.name
        ))),
    }
}
