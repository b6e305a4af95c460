//! What all requests share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use backstay_engine::Engine;
use backstay_engine::daemon::Daemon;
use backstay_model::Error;
use backstay_model::access::{Role, Session, Token};
use backstay_model::settings::Settings;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::Problem;
use crate::feed::Feed;
use crate::limit::Limiter;
use crate::live::Live;
use crate::still::Still;
use crate::{openapi, v1};

/// A scheduler that has done nothing for this long stands still.
const STANDSTILL: Duration = Duration::from_secs(15);

/// So many clients may listen to events at once. Each takes a connection and some 20 KiB; what they hear is read once for all.
const MOST_LISTENERS: usize = 512;

/// So many requests that only look are answered at once, and so many that change something; others wait. Each has its
/// answer in memory.
const MOST_REQUESTS: usize = 16;

/// So many requests at once for which a whole source is walked.
const MOST_WALKS: usize = 2;

/// So many requests at once with which somebody logs in.
const MOST_LOGINS: usize = 16;

/// So many requests at once for which plugins are asked, each of which may start programs.
const MOST_CHECKS: usize = 4;

/// So many wrong tokens an address may send in a minute.
const MOST_WRONG_TOKENS: u32 = 10;

/// So many cookies of no session. Pages that were left open go on asking with theirs when that has ended.
const MOST_OLD_COOKIES: u32 = 100;

/// So many browsers may log in with one token in a minute. Each is written down, and kept for long.
const MOST_BEGUN: u32 = 20;

/// How often it is written down that a session is used.
const SEEN: Duration = Duration::from_secs(60);

/// What all requests share.
#[derive(Debug)]
pub struct App {
    pub(crate) engine: Arc<Engine>,
    pub(crate) daemon: Arc<Daemon>,
    pub(crate) started_at: Timestamp,
    /// Wrong tokens, by the address that they come from.
    pub(crate) wrong_tokens: Limiter<IpAddr>,
    /// Cookies of no session, by the address that they come from.
    pub(crate) old_cookies: Limiter<IpAddr>,
    /// Log-ins, by the token.
    pub(crate) begun: Limiter<Uuid>,
    pub(crate) document: Value,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) live: Arc<Live>,
    pub(crate) feed: Feed,
    pub(crate) still_tokens: Still,
    pub(crate) still_logged_in: Still,
    pub(crate) listeners: Arc<Semaphore>,
    pub(crate) looks: Semaphore,
    pub(crate) edits: Semaphore,
    pub(crate) entrances: Semaphore,
    pub(crate) checks: Semaphore,
    pub(crate) walks: Semaphore,
    ending: AtomicBool,
    settings: RwLock<Arc<Settings>>,
    unopened: Mutex<BTreeMap<&'static str, String>>,
    seen: Mutex<(u64, Instant)>,
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// As it is written down: `token:NAME` or `user:UID`.
    pub(crate) actor: String,
    pub(crate) role: Role,
    /// The token that it came with, or that its session was begun with, if there is one.
    pub(crate) token: Option<Token>,
    /// The browser that sends it, if one is logged in.
    pub(crate) browser: Option<Browser>,
}

/// A browser that is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) session: Session,
    /// What it must send with changes.
    pub(crate) csrf: String,
}

impl Caller {
    /// Who sends a token.
    pub(crate) fn with_token(token: Token) -> Self {
        Caller {
            actor: format!("token:{}", token.name),
            role: token.role,
            token: Some(token),
            browser: None,
        }
    }
}

impl App {
    /// On top of a daemon that tells `live` what happens, with the settings that it goes by.
    pub fn new(engine: Arc<Engine>, daemon: Arc<Daemon>, live: Arc<Live>, settings: Settings) -> Self {
        App {
            started_at: engine.clock.now(),
            document: openapi::document(&v1::endpoints(), engine.version),
            engine,
            daemon,
            wrong_tokens: Limiter::new(MOST_WRONG_TOKENS),
            old_cookies: Limiter::new(MOST_OLD_COOKIES),
            begun: Limiter::new(MOST_BEGUN),
            stopping: watch::Sender::new(false),
            live,
            feed: Feed::new(),
            still_tokens: Still::default(),
            still_logged_in: Still::default(),
            listeners: Arc::new(Semaphore::new(MOST_LISTENERS)),
            looks: Semaphore::new(MOST_REQUESTS),
            edits: Semaphore::new(MOST_REQUESTS),
            entrances: Semaphore::new(MOST_LOGINS),
            checks: Semaphore::new(MOST_CHECKS),
            walks: Semaphore::new(MOST_WALKS),
            ending: AtomicBool::new(false),
            settings: RwLock::new(Arc::new(settings)),
            unopened: Mutex::default(),
            seen: Mutex::new((0, Instant::now())),
        }
    }

    /// Makes a change to its end, also if its client hangs up or has waited too long meanwhile, and writes down what came of it.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        caller: &Caller,
        action: &'static str,
        subject: &str,
        change: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let (app, actor, subject) = (Arc::clone(self), caller.actor.clone(), subject.to_owned());
        let change = tokio::spawn(async move { app.engine.audited(&actor, action, &subject, change).await });
        change
            .await
            .map_err(|e| Error::internal(format!("{action} ended in the middle")).because(e))?
    }

    /// Takes nothing new from now on: the service is about to end.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether the service is about to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Writes down from time to time that a session is used, without keeping anybody waiting.
    pub(crate) fn see(&self, session: &Session) {
        let idle = self.settings().api.sessions.idle.duration();
        let age = self.engine.clock.now().duration_since(session.seen_at);
        if age.unsigned_abs() < SEEN.min(idle / 4) {
            return;
        }
        let (engine, id) = (Arc::clone(&self.engine), session.id);
        tokio::spawn(async move {
            if let Err(error) = engine.store.see_session(id).await {
                tracing::debug!("{}", error.report());
            }
        });
    }

    /// What the daemon goes by now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what may change while it runs, and says what may not.
    pub async fn follow(&self, mut settings: Settings) {
        let before = self.settings();
        if (&before.api.listen, &before.api.tls) != (&settings.api.listen, &settings.api.tls) {
            tracing::warn!("api.listen and api.tls change with the next start");
        }
        settings.api.listen.clone_from(&before.api.listen);
        settings.api.tls.clone_from(&before.api.tls);
        // By what held until now; afterwards they would seem to go on.
        if before.api.sessions != settings.api.sessions
            && let Err(error) = self
                .engine
                .store
                .remove_ended_sessions(&before.api.sessions)
                .await
        {
            tracing::warn!("{}", error.report());
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Takes note whether a way in is open, and says what is new about it.
    pub(crate) fn note<T>(&self, way: &'static str, opened: Result<T, Error>) -> Option<T> {
        let mut unopened = self.unopened.lock().unwrap_or_else(PoisonError::into_inner);
        match opened {
            Ok(opened) => {
                if unopened.remove(way).is_some() {
                    tracing::info!("the HTTP interface can be used by {way} now");
                }
                Some(opened)
            }
            Err(error) => {
                let hint = error.hint_text().map(|hint| format!("; {hint}"));
                let why = format!("{}{}", error.report(), hint.unwrap_or_default());
                let said = format!("the HTTP interface can't be used by {way} for now: {why}");
                if unopened.get(way) != Some(&said) {
                    tracing::error!("{said}");
                    unopened.insert(way, said);
                }
                None
            }
        }
    }

    /// What there is to say about ways in that are not open.
    pub(crate) fn unopened(&self) -> Vec<String> {
        let unopened = self.unopened.lock().unwrap_or_else(PoisonError::into_inner);
        unopened.values().cloned().collect()
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
