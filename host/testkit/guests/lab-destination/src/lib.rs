//! A destination that behaves badly in the way that its configuration names, for tests of the host.
//!
//! `do` says what and `when` in which call; in the others it stores objects in a directory as it should.

#[path = "../../lab-source/src/abuse.rs"]
#[expect(dead_code, reason = "shared with the other guest, which uses all of it")]
mod abuse;

use backstay_sdk::{
    Artifact, ByteStream, Command, Content, Destination, Diagnostic, Failure, Object, Result, Room, RunInfo,
    Store, Stored, When, journal,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin.
#[derive(Debug)]
pub struct Lab;

backstay_sdk::destination!(Lab, "plugin.json");

/// What a test wants.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// What to do.
    #[serde(rename = "do", default)]
    pub act: Act,
    /// In which call to do it.
    #[serde(default)]
    pub when: Call,
    /// Directory to store in.
    #[serde(default)]
    pub path: String,
    /// Script for `process`, as an argument of `sh -c`; it gets the stream as its input, and prints how many bytes it
    /// has kept.
    #[serde(default)]
    pub script: String,
    /// Script that writes the stream of `process` again.
    #[serde(default)]
    pub open_script: String,
    /// Take the script's bad end for a good one.
    #[serde(default)]
    pub ignore_status: bool,
    /// Whether the failure of `process`, `fail` and `fail-after-put` may pass.
    #[serde(default)]
    pub retry: bool,
}

/// A call of the contract that gets a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they are the contract's names")]
pub enum Call {
    Validate,
    #[default]
    Put,
    Open,
    Find,
    Remove,
    Check,
    Usage,
    RecoveryCommand,
    Undo,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Behave.
    #[default]
    Ok,
    /// Say that it is stored, and move nothing.
    StoreNothing,
    /// Move the content twice.
    StoreTwice,
    /// Store under `../../etc/x`.
    BadKey,
    /// Store under `/etc/x`.
    AbsoluteKey,
    /// Store in another directory than the one that was granted.
    WriteUngranted,
    /// Run `sh -c SCRIPT` with the stream as its input.
    Process,
    /// Say another size than what is stored.
    LieSize,
    /// Say that nothing is stored.
    LieMissing,
    /// Give another text back than what was stored.
    LieContent,
    /// Give a receipt of 100 MB.
    HugeReceipt,
    /// Store, then trap.
    TrapAfterPut,
    /// Store, then fail.
    FailAfterPut,
    /// Fail plainly.
    Fail,
    /// Trap.
    Trap,
    /// Never end.
    Loop,
    /// Take memory without end.
    Allocate,
    /// Sleep for an hour.
    Sleep,
}

/// What the receipt of a script begins with; the size follows.
const PROCESS: &str = "process ";

impl Destination for Lab {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let failure = act_if(config, Call::Validate).err();
        failure
            .map(|failure| Diagnostic::from_failure("", "lab", failure))
            .into_iter()
            .collect()
    }

    fn put(config: &Config, _: &RunInfo, artifact: Artifact) -> Result<Stored> {
        let act = act_if(config, Call::Put)?;
        let key = match act {
            Act::BadKey => "../../etc/x".to_owned(),
            Act::AbsoluteKey => "/etc/x".to_owned(),
            _ => artifact.name.clone(),
        };
        match (act, artifact.content) {
            (Act::StoreNothing, content) => drop(content),
            (Act::Process, Content::Bytes(stream)) => {
                let output = sh(&config.script).run_with(stream)?;
                if !config.ignore_status && !output.is_success() {
                    return Err(may_pass(config, output.failure()));
                }
                return Ok(Stored {
                    receipt: format!("{PROCESS}{}", output.stdout.trim()),
                    location: "a script".to_owned(),
                });
            }
            (_, content) => move_to(config, act, &key, content)?,
        }
        match act {
            Act::TrapAfterPut => abuse::trap(),
            Act::FailAfterPut => {
                let failure =
                    Failure::storage("failed after storing, as the test wished").hint("change `do`");
                return Err(may_pass(config, failure));
            }
            _ => {}
        }
        let receipt = if act == Act::HugeReceipt {
            abuse::huge()
        } else {
            key.clone()
        };
        Ok(Stored {
            receipt,
            location: format!("{}/{key}", config.path),
        })
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        let act = act_if(config, Call::Open)?;
        if act == Act::LieContent {
            return Ok(Content::Bytes(ByteStream::text("not what was stored")));
        }
        if receipt.starts_with(PROCESS) {
            return Ok(Content::Bytes(sh(&config.open_script).pipe()?));
        }
        let store = Store::directory(&config.path)?;
        match store.stat(receipt)? {
            Some(info) if info.is_tree => Ok(Content::Files(store.get_tree(receipt)?)),
            _ => Ok(Content::Bytes(store.get(receipt)?)),
        }
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        act_if(config, Call::Find)?;
        Ok(Store::directory(&config.path)?
            .find(suffix)?
            .into_iter()
            .map(|info| info.key)
            .collect())
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        act_if(config, Call::Remove)?;
        let store = Store::directory(&config.path)?;
        receipts.iter().try_for_each(|receipt| store.delete(receipt))
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        let act = act_if(config, Call::Check)?;
        if let Some(size) = receipt.strip_prefix(PROCESS) {
            let size = size.parse();
            return Ok(Object {
                found: size.is_ok(),
                size: size.unwrap_or(0),
            });
        }
        let info = Store::directory(&config.path)?.stat(receipt)?;
        let size = info.as_ref().map_or(0, |info| info.size);
        Ok(match act {
            Act::LieSize => Object {
                found: true,
                size: size + 1,
            },
            Act::LieMissing => Object {
                found: false,
                size: 0,
            },
            _ => Object {
                found: info.is_some(),
                size,
            },
        })
    }

    fn usage(config: &Config) -> Result<Room> {
        act_if(config, Call::Usage)?;
        let space = Store::directory(&config.path)?.space()?;
        Ok(Room {
            total: Some(space.total),
            available: Some(space.available),
        })
    }

    fn recovery_command(config: &Config, receipt: &str) -> Result<String> {
        act_if(config, Call::RecoveryCommand)?;
        Ok(format!(
            "cat {}",
            backstay_sdk::shell::quote(&format!("{}/{receipt}", config.path))
        ))
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        act_if(config, Call::Undo)?;
        Store::directory(&config.path)?.delete(&journal::read::<String>(entry)?)
    }
}

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

/// Does at once what has an effect of its own, if this is the call for it. Returns what is left to do.
fn act_if(config: &Config, call: Call) -> Result<Act> {
    // What concerns the stored thing itself holds wherever it can be seen.
    if matches!(config.act, Act::LieSize | Act::LieMissing | Act::LieContent) {
        return Ok(config.act);
    }
    if config.when != call {
        return Ok(Act::Ok);
    }
    match config.act {
        Act::Trap => abuse::trap(),
        Act::Loop => abuse::spin(),
        Act::Allocate => abuse::allocate(),
        Act::Sleep => abuse::sleep(),
        Act::Fail => {
            let failure = Failure::storage("failed, as the test wished").hint("change `do`");
            return Err(may_pass(config, failure));
        }
        _ => {}
    }
    Ok(config.act)
}

fn may_pass(config: &Config, failure: Failure) -> Failure {
    if config.retry { failure.retry() } else { failure }
}

fn move_to(config: &Config, act: Act, key: &str, content: Content) -> Result<()> {
    let path = if act == Act::WriteUngranted {
        "/etc"
    } else {
        &config.path
    };
    let store = Store::directory(path)?;
    // The journal would have what is there removed.
    if store.stat(key)?.is_some() {
        return Err(Failure::storage(format!("{key} exists already")));
    }
    journal::record(&key, When::OnAbort)?;
    match content {
        Content::Bytes(stream) => {
            if act == Act::StoreTwice {
                stream.read_text(1 << 20)?;
            }
            store.put(key, stream)?;
        }
        Content::Files(tree) => {
            if act == Act::StoreTwice {
                store.put(&format!("{key}.tar"), tree.tar())?;
            }
            store.put_tree(key, tree)?;
        }
    }
    Ok(())
}
