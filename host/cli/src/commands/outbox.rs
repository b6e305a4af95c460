//! Sends notifications beside a command that makes runs, where no service does it.

use std::path::PathBuf;
use std::time::Duration;

use backstay_engine::Engine;
use backstay_engine::metrics::Reporter;
use backstay_engine::notify::{Courier, Deadline, check_channels};
use backstay_model::diagnostic::Diagnostic;
use backstay_model::job::JobSpec;
use backstay_model::notify::NotificationSettings;
use backstay_model::settings::{MetricsSettings, Settings};
use backstay_model::{Code, Error, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::commands::serve::settings::SettingsFile;
use crate::output::Output;

/// How long a command waits at its end for messages to be taken. What isn't by then stays for the next process.
const LIMIT: Duration = Duration::from_secs(10);

/// How long what became of the last messages may take to be written down.
const WRITE: Duration = Duration::from_secs(3);

/// How often it is looked for something to send while a run goes on.
const LOOK: Duration = Duration::from_secs(1);

/// Tells the sending until when it may go on, and its end: whether all was sent.
type UnderWay = (watch::Sender<Option<Instant>>, JoinHandle<Result<bool>>);

/// Sends beside a command. Dropped, it stops, and what is left is sent by the next process.
#[derive(Debug)]
pub struct Outbox {
    under_way: Option<UnderWay>,
    metrics: MetricsSettings,
    output: Output,
}

impl Outbox {
    /// Begins to send what happens from now on, and what has waited. Settings that can't be used are said, and keep
    /// nothing else from being done.
    pub fn begin(engine: &Engine, output: Output) -> Self {
        let begun = read_settings(None).and_then(|settings| {
            refuse_wrong(engine, &settings.notifications)?;
            Ok((courier(engine, settings.notifications)?, settings.metrics))
        });
        match begun {
            Ok((courier, metrics)) => {
                let (stop, stopping) = watch::channel(None);
                let under_way = Some((stop, tokio::spawn(send(courier, stopping))));
                Outbox {
                    under_way,
                    metrics,
                    output,
                }
            }
            Err(error) => {
                output.note(&format!("warning: notifications wait: {}", error.report()));
                Outbox {
                    under_way: None,
                    metrics: MetricsSettings::default(),
                    output,
                }
            }
        }
    }

    /// Waits until what happened was told and the metrics are where they should be, but not for long.
    pub async fn end(self, engine: &Engine) {
        let Some((stop, task)) = self.under_way else {
            return;
        };
        stop.send_replace(Some(Instant::now() + LIMIT));
        // What is under way then is cut off, and that is written down.
        let said = match tokio::time::timeout(LIMIT + WRITE, task).await {
            // The service also takes care of the metrics.
            Ok(Ok(Ok(false))) => return,
            Ok(Ok(Ok(true))) => None,
            Ok(Ok(Err(error))) => Some(error.report()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it took too long".to_owned()),
        };
        if let Some(said) = said {
            self.output.note(&format!("warning: notifications wait: {said}"));
        }
        let report = async { Reporter::new()?.report(engine, &self.metrics).await };
        let said = match tokio::time::timeout(LIMIT, report).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.report(),
            Err(_) => "the metrics can't be pushed: it took too long".to_owned(),
        };
        self.output.note(&format!("warning: {said}"));
    }
}

/// False if the service does it.
async fn send(courier: Courier, mut stopping: Deadline) -> Result<bool> {
    loop {
        let is_last = stopping.borrow_and_update().is_some();
        // What can't be done now may be done after the next look.
        let is_ours = courier.finish(&stopping).await;
        if is_last {
            return is_ours;
        }
        tokio::select! {
            // Whoever could say stop is gone: the command has failed.
            changed = stopping.changed() => if changed.is_err() { return is_ours },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Sends what is due at once, for so long at most.
///
/// # Errors
/// The database can't be used.
pub async fn send_now(courier: &Courier, limit: Duration) -> Result<bool> {
    let (_stop, deadline) = watch::channel(Some(Instant::now() + limit));
    courier.finish(&deadline).await
}

/// The settings of the service, which commands follow as well: the file that was named, or that the variable
/// `BACKSTAY_CONFIG` names, or the usual one.
///
/// # Errors
/// They can't be read, or are wrong.
pub fn read_settings(named: Option<PathBuf>) -> Result<Settings> {
    let named = named.or_else(|| {
        let variable = std::env::var_os("BACKSTAY_CONFIG")?;
        (!variable.is_empty()).then(|| PathBuf::from(variable))
    });
    SettingsFile::find(named)?.read()
}

/// Who sends by these settings.
///
/// # Errors
/// The system's certificates can't be read.
pub fn courier(engine: &Engine, settings: NotificationSettings) -> Result<Courier> {
    Courier::new(engine, watch::channel(settings).1)
}

/// Refuses channels that can't be used.
///
/// # Errors
/// All that is wrong with them.
pub fn refuse_wrong(engine: &Engine, settings: &NotificationSettings) -> Result<()> {
    let wrong: Vec<String> = check_channels(engine, settings)
        .iter()
        .map(ToString::to_string)
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let text = format!("the settings can't be used\n  {}", wrong.join("\n  "));
    Err(Error::new(Code::Configuration, text))
}

/// What there is to say about the channels that a job names.
pub fn check_job(spec: &JobSpec) -> Vec<Diagnostic> {
    if spec.notify.as_ref().is_none_or(Vec::is_empty) {
        return Vec::new();
    }
    match read_settings(None) {
        Ok(settings) => settings.notifications.missing(spec.notify.as_deref()),
        Err(error) => {
            let message = format!("whether these channels exist can't be said: {}", error.report());
            vec![Diagnostic::warning("/notify", "unknown-channel", message)]
        }
    }
}
