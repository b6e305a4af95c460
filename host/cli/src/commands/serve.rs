//! `backstay serve`: the wiring of the service, its signals, its settings, and what it tells systemd.

mod first_token;
mod log;
mod rotation;
pub mod settings;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backstay_api::{App, Live, Server};
use backstay_engine::Engine;
use backstay_engine::daemon::{Daemon, Policy, Stop};
use backstay_engine::metrics::Reporter;
use backstay_engine::notify::Courier;
use backstay_model::notify::NotificationSettings;
use backstay_model::settings::{MetricsSettings, Settings};
use backstay_model::{Code, Error, Result};
use backstay_stream::codec::Identities;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::args::Serve;
use crate::commands::outbox;
use crate::output::Output;
use crate::wire;
use log::{Log, Logged};
use settings::SettingsFile;

/// How often the settings file is looked at, and systemd told that all is well.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is looked what is too old of who changed what, and which sessions have ended.
const FORGET: Duration = Duration::from_secs(3600);

/// The service by itself, as it is written down with what it changes.
const HOST: &str = "host";

/// How long the end waits for notifications to be taken.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the command. It ends when a signal says so.
///
/// # Errors
/// The settings are wrong, another service runs on the data directory, or the database can't be used.
pub async fn run(args: Serve, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    if args.print_unit {
        let program = std::env::current_exe()
            .map_err(|e| Error::new(Code::Environment, "cannot find this program").because(e))?;
        let unit = include_str!("serve/backstay.service").replace("BACKSTAY", &program.display().to_string());
        output.text(&unit)?;
        return Ok(0);
    }
    if args.print_config {
        output.text(include_str!("serve/config.yaml"))?;
        return Ok(0);
    }
    let mut file = SettingsFile::find(args.config)?;
    let settings = file.read()?;
    let policy = policy(&settings)?;
    let log = Log::begin(&settings.log, output.json)?;
    let mut signals = Signals::new()?;
    wire::allow_many_files();

    let engine = Arc::new(wire::engine(data_dir).await?);
    outbox::refuse_wrong(&engine, &settings.notifications)?;
    let (notifications, followed) = watch::channel(settings.notifications.clone());
    let courier = Courier::new(&engine, followed)?;
    let (metrics, metrics_followed) = watch::channel(settings.metrics.clone());
    let reporter = Reporter::new()?;
    let live = Arc::new(Live::new(Arc::new(Logged)));
    let daemon = Arc::new(Daemon::open(Arc::clone(&engine), policy, Arc::clone(&live) as _)?);
    // Before anything begins, what a crash left is undone. What that leaves when it is stopped is undone at the next
    // start, as after a crash.
    notify(&[NotifyState::Status("undoing what a crash left")]);
    let recovered = tokio::select! {
        recovered = Box::pin(engine.recover(Arc::new(Logged))) => recovered?,
        name = signals.end() => {
            tracing::warn!("{name}: what a crash left is undone at the next start");
            notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
            return Ok(0);
        }
    };
    for run in &recovered.interrupted {
        tracing::warn!(
            "run {} of job {} had been interrupted; what it left was undone",
            run.id,
            run.job_name
        );
    }
    for warning in &recovered.warnings {
        tracing::warn!("{}", warning.message);
    }

    let app = App::new(Arc::clone(&engine), Arc::clone(&daemon), live, settings.clone());
    let app = Arc::new(app);
    // Backups are made whether somebody can ask for them or not.
    let server = Server::open(Arc::clone(&app), &settings.api).await;
    if !settings.api.listen.is_none()
        && let Err(error) = first_token::offer(&engine).await
    {
        tracing::error!("{}; `backstay token add` makes a token", error.report());
    }
    let (ended, ending) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        let served = tokio::spawn(server.run(async {
            // It has ended too if nobody is left to say so.
            let _ = ending.await;
        }));
        if let Err(error) = served.await {
            tracing::error!("the HTTP interface ended badly: {error}");
        }
    });

    let (stop, stopping) = watch::channel(Stop::No);
    tracing::info!("backstay {} is ready", engine.version);
    notify(&[NotifyState::Ready, NotifyState::Status("ready")]);
    let attend = attend(
        Attended {
            engine: &engine,
            daemon: &daemon,
            app: &app,
            notifications,
            metrics,
            log,
        },
        stop,
        signals,
        file,
    );
    let (end, ending) = watch::channel(false);
    let work = async {
        tokio::select! {
            () = Box::pin(daemon.run(stopping)) => {}
            // They go on until the daemon has ended.
            () = attend => {}
            () = Box::pin(report(&reporter, &engine, metrics_followed.clone())) => {}
            () = Box::pin(forget_old(&engine, &app)) => {}
        }
        end.send_replace(true);
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        () = work => {}
        // How the last runs ended is told too; what can't be sent by then is sent after the next start.
        () = Box::pin(courier.run(ending)) => {}
    }
    let last = metrics_followed.borrow().clone();
    if let Ok(Err(error)) = tokio::time::timeout(LAST_WORDS, reporter.report(&engine, &last)).await {
        tracing::warn!("{}", error.report());
    }
    // While runs end, it can still be asked about them.
    let _ = ended.send(());
    if let Err(error) = serving.await {
        tracing::error!("the HTTP interface ended badly: {error}");
    }
    tracing::info!("ended");
    Ok(0)
}

/// What follows the settings.
struct Attended<'a> {
    engine: &'a Engine,
    daemon: &'a Daemon,
    app: &'a App,
    notifications: watch::Sender<NotificationSettings>,
    metrics: watch::Sender<MetricsSettings>,
    log: Log,
}

/// Heeds signals and edits of the settings for as long as the daemon runs.
async fn attend(
    attended: Attended<'_>,
    stop: watch::Sender<Stop>,
    mut signals: Signals,
    mut file: SettingsFile,
) {
    let mut turns = 0;
    let is_watched = sd_notify::watchdog_enabled().is_some();
    let mut trouble = None;
    loop {
        tokio::select! {
            heard = signals.heard() => match heard {
                Heard::Reload => reload(&attended, &mut file).await,
                Heard::End(name) => {
                    let how = if *stop.borrow() == Stop::No {
                        tracing::info!("{name}: no new runs, those under way may end");
                        Stop::Wait
                    } else {
                        tracing::warn!("{name} again: cancelling what runs");
                        Stop::Now
                    };
                    notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
                    attended.app.end();
                    stop.send_replace(how);
                }
            },
            () = tokio::time::sleep(LOOK) => {
                if file.has_changed() {
                    reload(&attended, &mut file).await;
                }
            }
        }
        let is_stopping = *stop.borrow() != Stop::No;
        let now = attended.daemon.trouble();
        if now != trouble && !is_stopping {
            notify(&[NotifyState::Status(now.as_deref().unwrap_or("ready"))]);
            trouble = now;
        }
        // A loop that stands still is for systemd to restart.
        let now = attended.daemon.turns();
        if is_watched && (now != turns || is_stopping) {
            turns = now;
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Goes on by what the settings say now, or by what they said before if that can't be used.
async fn reload(attended: &Attended<'_>, file: &mut SettingsFile) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    match file.read().and_then(|settings| {
        outbox::refuse_wrong(attended.engine, &settings.notifications)?;
        Ok((policy(&settings)?, settings))
    }) {
        Ok((policy, settings)) => {
            attended.daemon.set_policy(policy);
            attended.log.follow(&settings.log);
            attended
                .notifications
                .send_replace(settings.notifications.clone());
            attended.metrics.send_replace(settings.metrics.clone());
            attended.app.follow(settings).await;
            tracing::info!("the settings were read again");
        }
        Err(error) => {
            let hint = error.hint_text().map(|hint| format!("\n    {hint}"));
            tracing::error!(
                "the settings stay as they were: {}{}",
                error.report(),
                hint.unwrap_or_default()
            );
        }
    }
    notify(&[NotifyState::Ready]);
}

/// Takes the metrics to where the settings say, again and again.
async fn report(reporter: &Reporter, engine: &Engine, mut settings: watch::Receiver<MetricsSettings>) {
    let mut failure = None;
    loop {
        let now = settings.borrow_and_update().clone();
        let said = reporter
            .report(engine, &now)
            .await
            .err()
            .map(|error| error.report());
        if let Some(said) = said.as_ref().filter(|said| failure.as_ref() != Some(*said)) {
            tracing::warn!("{said}");
        }
        failure = said;
        tokio::select! {
            // Without a sender the service is about to end.
            changed = settings.changed() => if changed.is_err() { return std::future::pending().await },
            () = tokio::time::sleep(now.every.duration()) => {}
        }
    }
}

/// Removes what is too old of who changed what, and the sessions that have ended, again and again.
async fn forget_old(engine: &Engine, app: &App) {
    loop {
        let settings = app.settings();
        let keep = settings.audit.keep;
        match engine.store.expire_audit(HOST, keep).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!("removed {removed} entries of who changed what, older than {keep}"),
            Err(error) => tracing::warn!("{}", error.report()),
        }
        if let Err(error) = engine.store.remove_ended_sessions(&settings.api.sessions).await {
            tracing::warn!("{}", error.report());
        }
        tokio::time::sleep(FORGET).await;
    }
}

fn policy(settings: &Settings) -> Result<Policy> {
    Ok(Policy {
        max_runs: usize::try_from(settings.runs.max).unwrap_or(usize::MAX),
        max_runs_per_destination: usize::try_from(settings.runs.max_per_destination).unwrap_or(usize::MAX),
        shutdown_timeout: settings.runs.shutdown_timeout.duration(),
        identities: Identities::from_files(&settings.identities)?,
    })
}

/// Tells systemd, if it started this.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd can't be told: {error}");
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|e| Error::internal("cannot receive signals").because(e));
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            reload: listen(SignalKind::hangup())?,
        })
    }

    async fn heard(&mut self) -> Heard {
        tokio::select! {
            _ = self.interrupt.recv() => Heard::End("SIGINT"),
            _ = self.terminate.recv() => Heard::End("SIGTERM"),
            _ = self.reload.recv() => Heard::Reload,
        }
    }

    /// Waits for a signal to end, and returns its name. There is nothing to reload yet.
    async fn end(&mut self) -> &'static str {
        loop {
            if let Heard::End(name) = self.heard().await {
                return name;
            }
        }
    }
}

enum Heard {
    /// To end, by the signal of this name.
    End(&'static str),
    /// To read the settings again.
    Reload,
}
