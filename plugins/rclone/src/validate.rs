//! What a configuration names, looked for on this machine and at the remote.

use backstay_sdk::{Code, Diagnostic, Failure, secrets};

use crate::config::Config;
use crate::{answer, command, complaint};

/// Everything wrong with what the configuration names. What may be right later, such as a server that doesn't answer
/// now, is a warning.
pub fn look(config: &Config) -> Vec<Diagnostic> {
    if let Err(diagnostic) = program().and_then(|()| password(config)) {
        return vec![*diagnostic];
    }
    let kind = match remote(config) {
        Ok(kind) => kind,
        Err(diagnostic) => return vec![*diagnostic],
    };
    let mut diagnostics = Vec::new();
    match reachable(config) {
        Ok(()) => diagnostics.extend(streams(config)),
        Err(failure) => diagnostics.push(Diagnostic {
            hint: failure.hint,
            ..Diagnostic::warning("/remote", "unreachable", failure.message)
        }),
    }
    if kind == "s3" && config.s3_chunk_mebibytes.is_none() {
        let message = "rclone cuts a stream for S3 into at most 10,000 pieces, which is enough for 48 GiB unless the remote sets `chunk_size`";
        diagnostics.push(
            Diagnostic::info("/s3ChunkMebibytes", "stream-limit", message)
                .hint("set `s3ChunkMebibytes`, such as 64 for streams of up to 625 GiB, if a stream may grow larger"),
        );
    }
    diagnostics
}

type Looked<T> = Result<T, Box<Diagnostic>>;

/// Whether rclone is there, new enough and no broken release.
fn program() -> Looked<()> {
    let wrong = |code: &str, failure: Failure| Box::new(Diagnostic::from_failure("", code, failure));
    let output = command::version()
        .run()
        .map_err(|failure| wrong("no-rclone", failure))?;
    match answer::unfit(answer::version(&output.stdout)) {
        None => Ok(()),
        Some(failure) => Err(wrong("old-rclone", failure)),
    }
}

/// Whether the secret is there that the configuration names.
fn password(config: &Config) -> Looked<()> {
    let Some(name) = &config.config_password_secret else {
        return Ok(());
    };
    match secrets::missing("/configPasswordSecret", name) {
        None => Ok(()),
        Some(diagnostic) => Err(Box::new(diagnostic)),
    }
}

/// The type of the remote, if the configuration has it.
fn remote(config: &Config) -> Looked<String> {
    let wrong =
        |at: &str, code: &str, failure: Failure| Box::new(Diagnostic::from_failure(at, code, failure));
    let output = command::list_remotes(config)
        .run()
        .map_err(|failure| wrong("", "no-rclone", failure))?;
    if !output.is_success() {
        let failure = complaint::failure("list the remotes of", "the rclone configuration", &output);
        let at = match failure.code {
            Code::Encryption => "/configPasswordSecret",
            _ => "/configFile",
        };
        return Err(wrong(at, "unreadable-configuration", failure));
    }
    let remotes = answer::remotes(&output.stdout);
    if let Some((_, kind)) = remotes.iter().find(|(name, _)| *name == config.remote_name()) {
        return Ok((*kind).to_owned());
    }
    if remotes.is_empty() {
        let (at, which) = match &config.config_file {
            Some(file) => ("/configFile", format!("the rclone configuration {file}")),
            None => (
                "/remote",
                "the rclone configuration of the user that the host runs as".to_owned(),
            ),
        };
        let diagnostic = Diagnostic::error(
            at,
            "no-remotes",
            format!("{which} has no remotes, or is not there"),
        );
        return Err(Box::new(
            diagnostic.hint("`rclone config` makes one; `configFile` names another"),
        ));
    }
    let names: Vec<&str> = remotes.iter().map(|(name, _)| *name).collect();
    let message = format!(
        "the rclone configuration has no remote `{}`",
        config.remote_name()
    );
    let hint = format!("it has: {}", names.join(", "));
    Err(Box::new(
        Diagnostic::error("/remote", "unknown-remote", message).hint(hint),
    ))
}

/// Whether the place answers. It need not be there: the first backup makes it.
fn reachable(config: &Config) -> Result<(), Failure> {
    const DIRECTORY_NOT_FOUND: i32 = 3;
    let output = command::list_directories(config).run()?;
    if output.is_success() || output.status == DIRECTORY_NOT_FOUND {
        return Ok(());
    }
    Err(complaint::failure("list", &config.remote, &output))
}

/// Says so if streams wait in a file before they are sent.
fn streams(config: &Config) -> Option<Diagnostic> {
    // It has just answered; what it can't say of itself stops no job.
    let output = command::features(config).run().ok()?;
    if answer::takes_streams(&output.stdout).unwrap_or(true) {
        return None;
    }
    let message =
        "this kind of remote takes no streams: rclone first writes all of each to the data directory";
    Some(
        Diagnostic::warning("/remote", "no-streams", message)
            .hint("is there room in DATA_DIR/scratch? else choose another remote"),
    )
}
