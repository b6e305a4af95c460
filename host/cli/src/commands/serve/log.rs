//! What the service says: to standard error or to a file of each day, as text or JSON.

use std::sync::Arc;

use backstay_engine::Observer;
use backstay_model::clock::SystemClock;
use backstay_model::event::Level;
use backstay_model::run::Progress;
use backstay_model::settings::{LogFormat, LogSettings};
use backstay_model::{Code, Error, Result};
use backstay_store::NewEvent;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};
use uuid::Uuid;

use super::rotation::DailyFiles;

/// The log of the service, whose level may be changed.
#[derive(Debug)]
pub struct Log {
    filter: Handle<EnvFilter, Registry>,
    begun: LogSettings,
}

impl Log {
    /// Begins to log.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn begin(settings: &LogSettings, json: bool) -> Result<Self> {
        let (filter, handle) = tracing_subscriber::reload::Layer::new(filter(settings));
        let to_file = settings.file.is_some();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(writer(settings)?)
            .with_target(false)
            .with_ansi(!to_file && std::io::IsTerminal::is_terminal(&std::io::stderr()));
        let registry = tracing_subscriber::registry().with(filter);
        let begun = if json || settings.format == LogFormat::Json {
            registry.with(layer.json()).try_init()
        } else {
            registry.with(layer).try_init()
        };
        begun.map_err(|e| Error::internal("the log can't begin").because(e))?;
        Ok(Log {
            filter: handle,
            begun: settings.clone(),
        })
    }

    /// Takes over what may change while it runs, and says what may not.
    pub fn follow(&self, settings: &LogSettings) {
        if let Err(error) = self.filter.reload(filter(settings)) {
            tracing::error!("the level of the log stays as it was: {error}");
        }
        let fixed = |s: &LogSettings| (s.format, s.file.clone(), s.keep);
        if fixed(settings) != fixed(&self.begun) {
            tracing::warn!("log.format, log.file and log.keep change with the next start");
        }
    }
}

/// The level of Backstay; libraries say what went wrong. `BACKSTAY_LOG` overrides it.
fn filter(settings: &LogSettings) -> EnvFilter {
    EnvFilter::try_from_env("BACKSTAY_LOG").unwrap_or_else(|_| {
        let level = settings.level.name();
        EnvFilter::new(format!(
            "error,backstay={level},backstay_api={level},backstay_engine={level},backstay_plugin={level},backstay_stream={level}"
        ))
    })
}

fn writer(settings: &LogSettings) -> Result<BoxMakeWriter> {
    let Some(file) = &settings.file else {
        return Ok(BoxMakeWriter::new(std::io::stderr));
    };
    let wrong = || {
        Error::new(
            Code::Configuration,
            format!("the log can't be written to {}", file.display()),
        )
        .hint("log.file is a file in a directory that this user may write to")
    };
    let (Some(directory), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str()))
    else {
        return Err(wrong());
    };
    let keep = usize::try_from(settings.keep).unwrap_or(usize::MAX);
    let files = DailyFiles::open(directory.to_owned(), name, keep, Arc::new(SystemClock))
        .map_err(|e| wrong().because(e))?;
    Ok(BoxMakeWriter::new(files))
}

/// Logs what happens in runs.
#[derive(Debug, Clone, Copy)]
pub struct Logged;

impl Observer for Logged {
    fn event(&self, event: &NewEvent) {
        let NewEvent {
            run_id,
            origin,
            message,
            ..
        } = event;
        match event.level {
            Level::Error => tracing::error!(run = %run_id, "{origin}: {message}"),
            Level::Warn => tracing::warn!(run = %run_id, "{origin}: {message}"),
            Level::Info => tracing::info!(run = %run_id, "{origin}: {message}"),
            Level::Debug => tracing::debug!(run = %run_id, "{origin}: {message}"),
        }
    }

    fn progress(&self, _: Uuid, _: &Progress) {}
}
