//! Builds everything, once, from the command line and the environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_engine::Engine;
use backstay_engine::recover::Unrecorded;
use backstay_model::clock::{Clock, SystemClock};
use backstay_model::{Error, Result};
use backstay_plugin::{Bundled, Plugins, Runtime};
use backstay_store::{CREDENTIAL_NAME, Store};
use backstay_stream::Context;

use crate::output::{Lines, Output};

/// The plugins in this file, built by the build script.
const BUNDLED: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Opens the database and sets up the engine.
///
/// # Errors
/// The data directory or the database can't be used.
pub async fn engine(data_dir: Option<PathBuf>) -> Result<Engine> {
    let data_dir = self::data_dir(data_dir)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open_with_key(&data_dir, Arc::clone(&clock), credential()).await?;
    let plugins = Plugins::new(Runtime::new()?, BUNDLED.to_vec(), store.clone(), &data_dir);
    Ok(Engine {
        store,
        plugins,
        clock,
        device: device(),
        data_dir,
        unrecorded: Unrecorded::default(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// The data directory: the one that was named, or else the one of this user.
///
/// # Errors
/// This user has no home directory.
pub fn data_dir(named: Option<PathBuf>) -> Result<PathBuf> {
    let data_dir = match named {
        Some(given) => given,
        None => default_data_dir()?,
    };
    std::path::absolute(&data_dir).map_err(|e| Error::io("find", &data_dir, e))
}

/// Like [`engine`], and first undoes what a crash left behind.
///
/// # Errors
/// As for [`engine`]. What can't be undone now is said on standard error and tried again next time.
pub async fn recovered(data_dir: Option<PathBuf>, output: Output) -> Result<Engine> {
    let engine = engine(data_dir).await?;
    let recovered = engine.recover(Arc::new(Lines::quiet())).await?;
    for run in &recovered.interrupted {
        output.note(&format!(
            "run {} of job {} had been interrupted; what it left was undone",
            run.id, run.job_name
        ));
    }
    for warning in &recovered.warnings {
        output.note(&format!("warning: {}", warning.message));
    }
    Ok(engine)
}

/// A context that the first SIGINT or SIGTERM cancels, and the second ends at once.
///
/// # Errors
/// Signals can't be received.
pub fn cancellable() -> Result<Context> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e| Error::internal("cannot receive signals").because(e);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let context = Context::default();
    let cancel = context.cancel.clone();
    tokio::spawn(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked {
                std::process::exit(130);
            }
            asked = true;
            cancel.cancel(&Error::new(
                backstay_model::Code::Cancelled,
                "cancelled by a signal",
            ));
        }
    });
    Ok(context)
}

/// The key of the secrets, if the service manager holds it.
fn credential() -> Option<PathBuf> {
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let file = PathBuf::from(directory).join(CREDENTIAL_NAME);
    file.is_file().then_some(file)
}

/// Has no memory written to disk when this process or one that it starts breaks down: there may be secrets in it.
pub fn keep_no_cores() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // To lower a limit needs no right.
    let _ = setrlimit(Resource::Core, none);
}

/// Raises how many files this process may have open, as far as it may: each client of the HTTP interface takes one. Programs that
/// it starts may have as many.
pub fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const WANTED: u64 = 8_192;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED, |most| most.min(WANTED));
    if limit.current.is_some_and(|current| current < wanted) {
        let more = Rlimit {
            current: Some(wanted),
            ..limit
        };
        // Without it fewer clients are let in at once.
        let _ = setrlimit(Resource::Nofile, more);
    }
}

fn default_data_dir() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/backstay"));
    }
    let from = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    from("XDG_DATA_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("backstay"))
        .ok_or_else(|| {
            Error::new(
                backstay_model::Code::Configuration,
                "there is no home directory to keep data in",
            )
            .hint("name one: --data-dir DIR")
        })
}

/// Where the settings of the service are, whether there are any or not.
///
/// # Errors
/// This user has no home directory.
pub fn default_config_file() -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/etc/backstay/config.yaml"));
    }
    let from = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute())
    };
    from("XDG_CONFIG_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".config")))
        .map(|base| base.join("backstay/config.yaml"))
        .ok_or_else(|| {
            Error::new(
                backstay_model::Code::Configuration,
                "there is no home directory to look for settings in",
            )
            .hint("name a settings file: --config FILE")
        })
}

fn device() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Makes a path that a user gave absolute, so that it means the same everywhere.
///
/// # Errors
/// The working directory can't be found.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("find", path, e))
}
