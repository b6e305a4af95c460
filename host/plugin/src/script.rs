//! Runs scripts of users, natively or in the sandbox of plugins, for plugins and for the host's own use cases.

mod wasi;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backstay_confine::lines::{Hear, Said, Stream};
use backstay_confine::output::Size;
use backstay_confine::{Ended, Limits, Script};
use backstay_model::event::Level;
use backstay_model::secrets::Secrets;
use backstay_model::{Error, Result};
use backstay_store::Store;

use crate::runtime::Runtime;
use crate::scope::{RunScope, Scope};

/// A script to run, as a job names it.
#[derive(Debug, Clone)]
pub struct ScriptRequest {
    /// Its absolute path; one that ends in `.wasm` is a WASI command.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it starts.
    pub directory: Option<PathBuf>,
    /// What it may read.
    pub readable: Vec<PathBuf>,
    /// The directory that it may write to.
    pub output: Option<PathBuf>,
    /// Whether it has the host's network.
    pub network: bool,
    /// Variables for its environment.
    pub env: Vec<(String, String)>,
    /// Variables whose value is the secret of that name. What the script says is kept without their texts.
    pub env_secrets: Vec<(String, String)>,
    /// Its limits.
    pub limits: Limits,
}

/// A script that ended well.
#[derive(Debug, Clone)]
pub struct ScriptDone {
    /// What it said for the manifest.
    pub metadata: BTreeMap<String, String>,
    /// What it left behind.
    pub size: Size,
    /// BLAKE3 of the script, hexadecimal.
    pub digest: String,
}

/// When in a run a script runs: it is told by its environment.
#[derive(Debug, Clone)]
pub struct Moment(Vec<(String, String)>);

impl Moment {
    /// `event` is `source`, `before`, `after` or `onFailure`.
    pub fn of(event: &str, run: &RunScope) -> Self {
        let all = [
            ("BACKSTAY_EVENT", event.to_owned()),
            ("BACKSTAY_JOB", run.job_name.clone()),
            ("BACKSTAY_JOB_ID", run.job_id.to_string()),
            ("BACKSTAY_RUN_ID", run.run_id.to_string()),
            ("BACKSTAY_DEVICE", run.device.clone()),
            ("BACKSTAY_STARTED_AT", run.started_at.to_string()),
        ];
        Moment(all.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }
}

/// Runs a script to its end, with all that it starts. Its lines go to the scope's listener, its warnings to the
/// context's notes.
///
/// # Errors
/// It can't be confined, was cancelled, broke a limit, or didn't end well.
pub async fn run(
    runtime: &Runtime,
    store: &Store,
    request: ScriptRequest,
    moment: &Moment,
    scope: &Scope,
) -> Result<ScriptDone> {
    scope.context.cancel.check()?;
    let content = {
        let path = request.path.clone();
        blocking(move || backstay_confine::script::read(&path)).await?
    };
    let mut secrets = Vec::new();
    let mut env = request.env;
    for (name, secret) in request.env_secrets {
        let text = store.secret(&secret).await?;
        secrets.push(text.clone());
        env.push((name, text));
    }
    let secrets = Secrets::new(secrets.iter().map(String::as_str));
    let digest = blake3::hash(&content).to_hex().to_string();
    let is_wasm = request.path.extension().is_some_and(|ending| ending == "wasm");
    let script = Script {
        path: request.path,
        content,
        args: request.args,
        directory: request.directory,
        readable: request.readable,
        hidden: vec![scope.data_dir.clone()],
        output: request.output,
        network: request.network,
        env: env.into_iter().chain(moment.0.iter().cloned()).collect(),
        limits: request.limits,
    };
    let (name, limits) = (script.name(), script.limits.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let _hook = scope.context.cancel.on_cancel({
        let stop = Arc::clone(&stop);
        move || stop.store(true, Ordering::SeqCst)
    });
    let hear = hear(scope, secrets.clone());
    let mut ended = if is_wasm {
        let cache = scope.data_dir.join("cache").join("scripts");
        wasi::run(runtime, script, (digest.clone(), cache), stop, hear).await?
    } else {
        blocking(move || backstay_confine::run(&script, &stop, &hear)).await?
    };
    redact(&secrets, &mut ended.said);
    note(&ended, scope);
    scope.context.cancel.check()?;
    ended.success(&name, &limits)?;
    Ok(ScriptDone {
        metadata: ended.said.metadata,
        size: ended.output.size,
        digest,
    })
}

fn redact(secrets: &Secrets, said: &mut Said) {
    let texts = said
        .metadata
        .values_mut()
        .chain(&mut said.warnings)
        .chain([&mut said.last]);
    for text in texts {
        *text = secrets.redact(text);
    }
}

fn hear(scope: &Scope, secrets: Secrets) -> Hear {
    let listener = Arc::clone(&scope.listener);
    Arc::new(move |stream, line: &str| {
        let level = match stream {
            Stream::Output => Level::Info,
            Stream::Error => Level::Warn,
        };
        listener.log(level, secrets.redact(line));
    })
}

/// Hands on what the run should warn of.
fn note(ended: &Ended, scope: &Scope) {
    let notes = &scope.context.notes;
    for warning in &ended.said.warnings {
        notes.warn("script", warning.clone(), None);
    }
    for removed in &ended.output.removed {
        let message = format!(
            "{}: the script's output can't hold {}",
            removed.path, removed.what
        );
        notes.warn("script-output", message, Some(removed.path.clone()));
    }
    if ended.output.more > 0 {
        notes.warn(
            "script-output",
            format!("{} more were taken out of the script's output", ended.output.more),
            None,
        );
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::internal("a worker thread panicked")))
}
