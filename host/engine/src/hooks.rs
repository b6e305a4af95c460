//! The scripts that a job runs before and after: `before`, `after` and `onFailure`.

use backstay_confine::Limits;
use backstay_model::event::Level;
use backstay_model::job::{Job, JobSpec, ScriptSpec};
use backstay_model::run::{Run, RunStatus, Warning};
use backstay_model::{Diagnostic, Result};
use backstay_plugin::{Moment, RunScope, ScriptRequest};
use backstay_stream::Context;

use crate::Engine;
use crate::recorder::Recorder;

impl Engine {
    /// Runs the job's `before`, if it has one.
    ///
    /// # Errors
    /// It failed, and so does the run.
    pub(crate) async fn run_before(
        &self,
        job: &Job,
        base: &RunScope,
        context: &Context,
        recorder: &Recorder,
    ) -> Result<()> {
        let Some(script) = &job.spec.before else {
            return Ok(());
        };
        self.run_hook("before", script, Moment::of("before", base), context, recorder)
            .await
    }

    /// Runs the script that goes with the end of a run, and gives what it warns of. Its own failure is a warning as
    /// well: what was done is done.
    pub(crate) async fn run_after(
        &self,
        job: &Job,
        run: &Run,
        base: &RunScope,
        context: &Context,
        recorder: &Recorder,
    ) -> Vec<Warning> {
        let (name, script, context) = match (run.status, &job.spec.after, &job.spec.on_failure) {
            (RunStatus::Succeeded | RunStatus::Warning, Some(script), _) => {
                ("after", script, context.clone())
            }
            // What failed may have stopped everything else.
            (RunStatus::Failed, _, Some(script)) => ("onFailure", script, Context::default()),
            _ => return Vec::new(),
        };
        let mut moment = Moment::of(name, base).with("BACKSTAY_STATUS", run.status.name());
        if let Some(error) = &run.error {
            let message = backstay_model::error::show_bytes(error.message.as_bytes());
            moment = moment.with("BACKSTAY_ERROR", message);
            moment = moment.with("BACKSTAY_EXIT_CODE", error.code.exit_code().to_string());
        }
        let result = self.run_hook(name, script, moment, &context, recorder).await;
        let (mut warnings, _) = context.notes.take();
        if let Err(error) = result {
            let message = format!("`{name}` failed: {}", error.report());
            recorder.say(Level::Warn, "host", message.clone());
            let code = "hook-failed".to_owned();
            warnings.push(Warning {
                code,
                message,
                path: None,
            });
        }
        warnings
    }

    async fn run_hook(
        &self,
        name: &str,
        script: &ScriptSpec,
        moment: Moment,
        context: &Context,
        recorder: &Recorder,
    ) -> Result<()> {
        recorder.say(
            Level::Info,
            "host",
            format!("running `{name}`: {}", script.script_path),
        );
        let mut readable: Vec<_> = script.read.iter().map(std::path::PathBuf::from).collect();
        let directory = script.working_directory.as_ref().map(std::path::PathBuf::from);
        readable.extend(directory.clone().filter(|path| is_own(path)));
        let request = ScriptRequest {
            path: script.script_path.clone().into(),
            args: script.script_args.clone(),
            directory,
            readable,
            output: None,
            network: script.network,
            env: script.environment.clone().into_iter().collect(),
            env_secrets: script.secret_environment.clone().into_iter().collect(),
            limits: Limits {
                time: script.timeout.duration(),
                memory_bytes: script.max_memory_bytes,
                processes: script.max_processes,
                ..Limits::default()
            },
        };
        let voice = recorder.listener_as(&format!("script:{name}"));
        let scope = self.scope(serde_json::Map::new(), None, context.clone(), voice);
        self.plugins.run_script(request, &moment, &scope).await.map(drop)
    }
}

/// Whether a directory must be granted, because scripts have none of this name by themselves.
fn is_own(path: &std::path::Path) -> bool {
    path != std::path::Path::new("/") && !["/tmp", "/usr"].iter().any(|seen| path.starts_with(seen))
}

/// What is wrong with a job's scripts on this machine.
pub(crate) fn check(spec: &JobSpec) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, script) in spec.scripts() {
        let path = std::path::Path::new(&script.script_path);
        if path.is_absolute() && !path.is_file() {
            let message = format!("there is no file {}", script.script_path);
            found.push(
                Diagnostic::error(format!("/{name}/scriptPath"), "missing-script", message)
                    .hint("correct the path; scripts are read anew for each run"),
            );
        }
    }
    let native = spec.scripts().find(|(_, script)| !script.is_wasm());
    if let Some((name, _)) = native
        && let Err(error) = backstay_confine::probe::probe()
    {
        let diagnostic = Diagnostic::error(format!("/{name}"), "cannot-confine", error.report());
        found.push(match error.hint_text() {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        });
    }
    found
}
