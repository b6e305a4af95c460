//! What all requests share.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use backstay_engine::Engine;
use backstay_engine::daemon::Daemon;
use backstay_model::access::Role;
use backstay_model::settings::Settings;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use crate::live::Live;
use crate::logins::Logins;
use crate::{openapi, v1};

/// A scheduler that has done nothing for this long stands still.
const STANDSTILL: Duration = Duration::from_secs(15);

/// So many clients may listen to events at once.
const MOST_LISTENERS: usize = 64;

/// What all requests share.
#[derive(Debug)]
pub struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) daemon: Arc<Daemon>,
    pub(crate) started_at: Timestamp,
    pub(crate) logins: Logins,
    pub(crate) document: Value,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) live: Arc<Live>,
    /// The number of the newest event, while somebody listens.
    pub(crate) newest: watch::Sender<i64>,
    pub(crate) listeners: Arc<Semaphore>,
    settings: RwLock<Arc<Settings>>,
    seen: Mutex<(u64, Instant)>,
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// As it is written down: `token:NAME` or `user:UID`.
    pub(crate) actor: String,
    pub(crate) role: Role,
}

impl App {
    /// On top of a daemon that tells `live` what happens, with the settings that it goes by.
    pub fn new(engine: Arc<Engine>, daemon: Arc<Daemon>, live: Arc<Live>, settings: Settings) -> Self {
        App {
            started_at: engine.clock.now(),
            document: openapi::document(&v1::endpoints(), engine.version),
            engine,
            daemon,
            logins: Logins::default(),
            stopping: watch::Sender::new(false),
            live,
            newest: watch::Sender::new(0),
            listeners: Arc::new(Semaphore::new(MOST_LISTENERS)),
            settings: RwLock::new(Arc::new(settings)),
            seen: Mutex::new((0, Instant::now())),
        }
    }

    /// What the daemon goes by now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what may change while it runs, and says what may not.
    pub fn follow(&self, settings: Settings) {
        let before = self.settings();
        if (&before.api.listen, &before.api.tls) != (&settings.api.listen, &settings.api.tls) {
            tracing::warn!("api.listen and api.tls change with the next start");
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Whether the scheduler has done nothing for longer than it ever should.
    pub(crate) fn stands_still(&self) -> bool {
        let turns = self.daemon.turns();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if turns != seen.0 {
            *seen = (turns, Instant::now());
        }
        seen.1.elapsed() > STANDSTILL
    }
}
