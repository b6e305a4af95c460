//! A source that behaves badly in the way that its configuration names, for tests of the host.
//!
//! `do` says what and `when` in which call; see [`config`]. Where the host should refuse something, its
//! failure is passed on as it is; if the host lets it through, the run goes on and the test sees that.

mod abuse;
pub mod config;

use backstay_sdk::{
    Artifact, ByteStream, Code, Command, Diagnostic, Failure, Previous, Restored, Result, RunInfo, Scratch,
    Source, Target, Tree, TreeOptions, When, journal, log, progress, schema_of, state,
};

use backstay_sdk::scratch::{Bounds, Copied, Recorded};

use crate::config::{Act, Call, Config};

/// The plugin.
#[derive(Debug)]
pub struct Lab;

backstay_sdk::source!(Lab, "plugin.json");

impl Source for Lab {
    type Config = Config;

    fn config_schema() -> String {
        if cfg!(feature = "describe-trap") {
            abuse::trap();
        } else if cfg!(feature = "describe-loop") {
            abuse::spin();
        } else if cfg!(feature = "describe-bad-json") {
            return "{ this is no JSON".to_owned();
        }
        schema_of::<Config>()
    }

    fn validate(config: &Config) -> Vec<Diagnostic> {
        match act_if(config, Call::Validate) {
            Ok(Act::ReturnHuge) => vec![Diagnostic::error(abuse::huge(), "huge", abuse::huge())],
            Ok(Act::Fail) => {
                vec![Diagnostic::error("/do", "lab", "refused, as the test wished").hint("change `do`")]
            }
            Ok(Act::Warn) => vec![Diagnostic::warning("/do", "lab", "accepted, but look at it")],
            Ok(Act::ManyArtifacts) => (0..config.count)
                .map(|n| Diagnostic::info("/do", "lab", format!("note {n}")))
                .collect(),
            Ok(_) => Vec::new(),
            Err(failure) => vec![Diagnostic::from_failure("", "lab", failure)],
        }
    }

    fn open(config: &Config, _: &RunInfo, _: &[Previous]) -> Result<Vec<Artifact>> {
        let act = act_if(config, Call::Open)?;
        offer(config, act)
    }

    fn restore(config: &Config, _: &RunInfo, artifact: Artifact, target: &Target) -> Result<Restored> {
        act_if(config, Call::Restore)?;
        let place = target.place.clone().unwrap_or_else(|| config.root.clone());
        if let Some(script) = &config.restore_script {
            sh(script).run_with(artifact.content.into_stream()?)?.check()?;
            return Ok(Restored {
                place,
                entries: 0,
                bytes: 0,
            });
        }
        let report = artifact.content.unpack(&place, &target.unpack_options())?;
        Ok(Restored {
            place,
            entries: report.entries,
            bytes: report.bytes,
        })
    }

    fn recovery_command(config: &Config, _: &str, _: &str) -> Result<String> {
        match act_if(config, Call::RecoveryCommand)? {
            Act::ReturnHuge => Ok(abuse::huge()),
            _ => Ok("cat > \"$TARGET\"".to_owned()),
        }
    }

    fn undo(config: &Config, _: &str) -> Result<()> {
        act_if(config, Call::Undo)?;
        match &config.undo_script {
            Some(script) => sh(script).run_ok().map(drop),
            None => Ok(()),
        }
    }
}

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

/// Does at once what has an effect of its own, if this is the call for it. Returns what is left to do.
fn act_if(config: &Config, call: Call) -> Result<Act> {
    if config.when != call {
        return Ok(Act::Text);
    }
    match config.act {
        Act::Trap => abuse::trap(),
        Act::Loop => abuse::spin(),
        Act::Allocate => abuse::allocate(),
        Act::TableFlood => abuse::flood_table(),
        Act::Recurse => drop(std::hint::black_box(abuse::recurse(0))),
        Act::LogFlood => abuse::flood_log(),
        Act::Sleep => abuse::sleep(),
        Act::WasiOpen => abuse::wasi_open()?,
        Act::WasiNet => abuse::wasi_net()?,
        Act::WasiEnv => abuse::wasi_env()?,
        Act::Warn => log::warning("lab", "something looks wrong, as the test wished", Some("a/file")),
        Act::FailHuge => return Err(Failure::backup_failed(abuse::huge())),
        Act::TellSecret => {
            let heard = sh(&config.script)
                .env_secret("LAB_SECRET", &config.secret)
                .run()?
                .stdout;
            progress::stage(&heard);
            log::info(&heard);
            log::warning(&heard, &heard, Some(&heard));
            let told = format!("{heard}, {} characters", heard.len());
            return Err(Failure::new(Code::BackupFailed, told).hint(heard));
        }
        Act::Fail if call != Call::Validate => {
            let failure = Failure::new(Code::BackupFailed, "failed, as the test wished").hint("change `do`");
            return Err(if config.retry { failure.retry() } else { failure });
        }
        Act::FailOnce if state::get("attempted")?.is_none() => {
            state::set("attempted", "yes")?;
            return Err(Failure::new(Code::Network, "failed once, as the test wished").retry());
        }
        Act::Scratch if call == Call::Validate => drop(Scratch::make()?),
        Act::ExecUngranted => drop(Command::new("id").run()?),
        Act::ExecUngrantedArgs => drop(sh("id").run()?),
        Act::ExecPath => drop(Command::new("/bin/sh").args(["-c", &config.script]).run()?),
        Act::ExecMissing => drop(Command::new("lab-program-that-does-not-exist").run()?),
        Act::WriteUngranted => {
            let content = backstay_sdk::Content::Bytes(ByteStream::text(""));
            let options = backstay_sdk::UnpackOptions {
                paths: Vec::new(),
                overwrite: true,
                dry_run: false,
            };
            content.unpack(&inner(config), &options)?;
        }
        Act::JournalFlood => {
            for n in 0..config.count {
                journal::record(&format!("{n}{}", "x".repeat(16_000)), When::OnCommit)?;
            }
        }
        Act::StateFlood => {
            for n in 0..config.count {
                state::set(&format!("note-{n}"), &"x".repeat(64 << 10))?;
            }
        }
        Act::JournalThenTrap => {
            journal::record(&1, When::OnAbort)?;
            sh(&config.script).run_ok()?;
            abuse::trap();
        }
        _ => {}
    }
    Ok(config.act)
}

/// What is offered.
fn offer(config: &Config, act: Act) -> Result<Vec<Artifact>> {
    let text = |name: &str| Artifact::stream(name, "text/plain", ByteStream::text(&config.text));
    let stream = |stream| Artifact::stream("data", "application/octet-stream", stream);
    Ok(vec![match act {
        Act::Command => stream(sh(&config.script).pipe()?),
        Act::JournaledCommand => {
            journal::record(&1, config.undo_when.into())?;
            stream(sh(&config.script).pipe()?)
        }
        Act::Secret => stream(
            sh(&config.script)
                .env_secret("LAB_SECRET", &config.secret)
                .pipe()?,
        ),
        Act::Tree => Artifact::tree("data", Tree::open(&inner(config), &TreeOptions::default())?),
        Act::ReadUngranted => stream(ByteStream::file("/etc/shadow")?),
        Act::ReadUngrantedTree => Artifact::tree("data", Tree::open("/etc", &TreeOptions::default())?),
        Act::EscapeDotdot => stream(ByteStream::file(&format!("{}/../{}", config.root, config.inner))?),
        Act::EscapeSymlink => stream(ByteStream::file(&inner(config))?),
        Act::ReturnHuge => Artifact {
            metadata: format!("{{\"x\":\"{}\"}}", abuse::huge()),
            ..text("data")
        },
        Act::BadJson => Artifact {
            metadata: "{ this is no JSON".to_owned(),
            ..text("data")
        },
        Act::NoArtifacts => return Ok(Vec::new()),
        Act::ManyArtifacts => return Ok((0..config.count).map(|n| text(&format!("data-{n}"))).collect()),
        Act::DuplicateArtifacts => return Ok(vec![text("data"), text("data")]),
        Act::BadArtifactName => text("../x"),
        Act::Scratch => scratch(config)?,
        Act::ScratchLink => {
            let scratch = Scratch::make()?;
            link(config, &format!("{}/link", scratch.path()))?;
            scratch.write("link/new", "x")?;
            text("data")
        }
        Act::ScratchClimb => {
            link(config, &format!("{}/../link", Scratch::make()?.path()))?;
            text("data")
        }
        Act::ScratchTwice => {
            let _first = Scratch::make()?;
            Artifact::tree("data", Scratch::make()?.tree(&TreeOptions::default())?)
        }
        Act::ScratchFlood => {
            let scratch = Scratch::make()?;
            for n in 0..config.count {
                scratch.write(&n.to_string(), "")?;
            }
            text("data")
        }
        Act::BadBase => text("data").based_on("0199a5b2-7c00-7000-8000-000000000000"),
        _ => text("data"),
    }])
}

/// A scratch directory with a bit of everything, as a tree.
fn scratch(config: &Config) -> Result<Artifact> {
    let scratch = Scratch::make()?;
    if !config.inner.is_empty() {
        scratch.write(&config.inner, &config.text)?;
    }
    if !config.script.is_empty() {
        let bounds = Bounds {
            seconds: 2,
            bytes: 1 << 20,
        };
        let said = scratch.record("said", &sh(&config.script), bounds)?;
        let Recorded {
            status,
            bytes,
            stderr,
            timed_out,
            truncated,
        } = said;
        scratch.write(
            "how",
            &format!("{status} {bytes} {timed_out} {truncated} {stderr}"),
        )?;
    }
    if !config.root.is_empty() {
        let copied = scratch.copy(&config.root, "copy", &TreeOptions::default())?;
        let Copied {
            files,
            directories,
            bytes,
            failed,
        } = copied;
        scratch.write("copied", &format!("{files} {directories} {bytes} {failed}"))?;
    }
    Ok(Artifact::tree("data", scratch.tree(&TreeOptions::default())?))
}

/// Makes a symbolic link to ROOT.
fn link(config: &Config, at: &str) -> Result<()> {
    Command::new("ln")
        .args(["-s", &config.root, at])
        .run_ok()
        .map(drop)
}

fn inner(config: &Config) -> String {
    if config.inner.is_empty() {
        config.root.clone()
    } else {
        format!("{}/{}", config.root, config.inner)
    }
}
