//! Which bad behaviour a test wants, and in which call.

use backstay_sdk::When;
use schemars::JsonSchema;
use serde::Deserialize;

/// What a test wants.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// What to do.
    #[serde(rename = "do")]
    pub act: Act,
    /// In which call to do it. In the others it behaves like `text`.
    #[serde(default)]
    pub when: Call,
    /// Script for `command`, `journaled-command` and `journal-then-trap`, as an argument of `sh -c`.
    #[serde(default)]
    pub script: String,
    /// Script that undoes a journal entry; without it undoing does nothing.
    #[serde(default)]
    pub undo_script: Option<String>,
    /// Script that gets a restored stream as its input; without it the stream is unpacked as tar.
    #[serde(default)]
    pub restore_script: Option<String>,
    /// Directory that may be read.
    #[serde(default)]
    pub root: String,
    /// Path below `root`, for `tree`, `escape-dotdot` and `escape-symlink`.
    #[serde(default)]
    pub inner: String,
    /// Content of a text stream.
    #[serde(default = "hello")]
    pub text: String,
    /// Name of a secret, for `secret`: put into the script's variable `LAB_SECRET`.
    #[serde(default)]
    pub secret: String,
    /// How many, for floods and `many-artifacts`.
    #[serde(default = "ten_thousand")]
    pub count: u32,
    /// When the entry of `journaled-command` is undone.
    #[serde(default)]
    pub undo_when: UndoWhen,
    /// Whether the failure of `fail` may pass.
    #[serde(default)]
    pub retry: bool,
}

fn hello() -> String {
    "hello\n".to_owned()
}

fn ten_thousand() -> u32 {
    10_000
}

/// A call of the contract that gets a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they are the contract's names")]
pub enum Call {
    Validate,
    #[default]
    Open,
    Restore,
    RecoveryCommand,
    Undo,
}

/// When a journal entry is undone.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they are the contract's names")]
pub enum UndoWhen {
    Always,
    #[default]
    OnAbort,
    OnCommit,
}

impl From<UndoWhen> for When {
    fn from(when: UndoWhen) -> Self {
        match when {
            UndoWhen::Always => When::Always,
            UndoWhen::OnAbort => When::OnAbort,
            UndoWhen::OnCommit => When::OnCommit,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Offer what `sh -c SCRIPT` writes.
    Command,
    /// Offer what `sh -c SCRIPT` writes with a secret in its environment.
    Secret,
    /// Say everywhere what `sh -c SCRIPT` prints with a secret in its environment, and fail with it.
    TellSecret,
    /// Offer a text.
    Text,
    /// Offer `ROOT/INNER` as a tree.
    Tree,
    /// Trap.
    Trap,
    /// Never end.
    Loop,
    /// Take memory without end.
    Allocate,
    /// Overflow the stack.
    Recurse,
    /// Give 100 MB of metadata.
    ReturnHuge,
    /// Fail with a message of 100 MB.
    FailHuge,
    /// Fail plainly; `retry` says whether it may pass.
    Fail,
    /// Fail in a way that may pass, the first time that the job runs it.
    FailOnce,
    /// Write a million lines.
    LogFlood,
    /// Give a warning and a text.
    Warn,
    /// Run a program without a grant.
    ExecUngranted,
    /// Run a granted program with other arguments.
    ExecUngrantedArgs,
    /// Run a granted program by a path.
    ExecPath,
    /// Run a granted program that isn't there.
    ExecMissing,
    /// Take `/etc/shadow` as a stream.
    ReadUngranted,
    /// Take `/etc` as a tree.
    ReadUngrantedTree,
    /// Take `ROOT/../INNER` as a stream.
    EscapeDotdot,
    /// Take `ROOT/INNER` as a stream.
    EscapeSymlink,
    /// Unpack into `ROOT/INNER` without a grant to write.
    WriteUngranted,
    /// Open a file by WASI.
    WasiOpen,
    /// Open a connection by WASI.
    WasiNet,
    /// Read the environment by WASI.
    WasiEnv,
    /// Sleep for an hour.
    Sleep,
    /// Make handles without end.
    TableFlood,
    /// Record COUNT journal entries of 16 KiB.
    JournalFlood,
    /// Write COUNT notes of 64 KiB.
    StateFlood,
    /// Record an entry, run the script, trap.
    JournalThenTrap,
    /// Record an entry, and offer what `sh -c SCRIPT` writes.
    JournaledCommand,
    /// Give metadata that isn't JSON.
    BadJson,
    /// Offer nothing.
    NoArtifacts,
    /// Offer COUNT texts.
    ManyArtifacts,
    /// Offer two of one name.
    DuplicateArtifacts,
    /// Offer one named `../x`.
    BadArtifactName,
    /// Say that it is an increment to a backup that doesn't exist.
    BadBase,
    /// Offer a scratch directory as a tree: a text at INNER, what `sh -c SCRIPT` writes as `said`, a copy of ROOT.
    Scratch,
    /// Link `link` in the scratch directory to ROOT, and write to `link/new`.
    ScratchLink,
    /// Link by a `..` in the argument out of the scratch directory.
    ScratchClimb,
    /// Ask for two scratch directories.
    ScratchTwice,
    /// Write COUNT files.
    ScratchFlood,
}
