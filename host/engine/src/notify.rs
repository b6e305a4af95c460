//! Tells people and services what happened: makes messages of what the database noted, and sends them.
//!
//! What happened is noted by the database itself, in the transaction in which it happens. [`Courier`] turns each note into
//! messages for the channels of the settings, once, and sends them until they are taken or too old. One process does so
//! at a time: the service as long as it runs, else the command that made a run, at its end. No run waits for any of it.

mod make;
mod send;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backstay_model::clock::Clock;
use backstay_model::notify::{Message, NotificationSettings};
use backstay_model::{Code, Diagnostic, Error, Result};
use backstay_notify::Http;
use backstay_store::Store;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Engine;

/// Name of the file in the data directory that whoever sends has locked.
pub const LOCK_FILE: &str = "notify.lock";

/// How often the service looks whether there is something to tell.
const LOOK: Duration = Duration::from_millis(500);

/// What the lock says while the service has it.
const SERVICE: &str = "service";

/// Makes messages and sends them.
#[derive(Debug)]
pub struct Courier {
    store: Store,
    clock: Arc<dyn Clock>,
    device: String,
    lock: PathBuf,
    http: Http,
    settings: watch::Receiver<NotificationSettings>,
}

impl Courier {
    /// One for the database of an engine. It follows changes of the settings.
    ///
    /// # Errors
    /// The system's certificates can't be read.
    pub fn new(engine: &Engine, settings: watch::Receiver<NotificationSettings>) -> Result<Self> {
        Ok(Courier {
            store: engine.store.clone(),
            clock: Arc::clone(&engine.clock),
            device: engine.device.clone(),
            lock: engine.data_dir.join(LOCK_FILE),
            http: Http::new()?,
            settings,
        })
    }

    /// Does its work until it is told to stop, and what there is to do then: that of the service. Dropped before, it may have
    /// sent something without a note of it.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut held = None;
        let mut failure = None;
        loop {
            let is_last = *stop.borrow_and_update();
            match self.turn_of_service(&mut held).await {
                Ok(()) => {
                    if failure.take().is_some() {
                        tracing::info!("notifications can be sent again");
                    }
                }
                Err(error) => {
                    let said = error.report();
                    if failure.as_ref() != Some(&said) {
                        tracing::error!("notifications can't be sent for now: {said}");
                        failure = Some(said);
                    }
                }
            }
            if is_last {
                return;
            }
            tokio::select! {
                // Whoever could say stop is gone: so is the reason to go on.
                changed = stop.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn turn_of_service(&self, held: &mut Option<File>) -> Result<()> {
        if held.is_none() {
            *held = self.try_lock(SERVICE)?;
        }
        // A command has it, and will soon let go.
        if held.is_none() {
            return Ok(());
        }
        self.turn().await.map(drop)
    }

    /// Does what is to be done now, for a command that is about to end. What takes longer than `limit`, or is to be tried
    /// again later, stays for the next process. False if the service runs: it does it.
    ///
    /// # Errors
    /// The database can't be used.
    pub async fn finish(&self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            match self.try_lock("")? {
                Some(_held) => {
                    let work = async {
                        while self.turn().await? {}
                        Ok(true)
                    };
                    return match tokio::time::timeout_at(deadline, work).await {
                        Ok(done) => done,
                        // What was cut off is sent again; who gets it twice can tell by its id.
                        Err(_) => Ok(true),
                    };
                }
                None if self.is_of_service()? => return Ok(false),
                None if Instant::now() >= deadline => return Ok(true),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Settles what happened and sends what is due. Whether anything was done.
    async fn turn(&self) -> Result<bool> {
        let (has_notices, next) = self.store.outbox_state().await?;
        if !has_notices && next.is_none() {
            return Ok(false);
        }
        let settings = self.settings.borrow().clone();
        let settled = if has_notices {
            self.settle(&settings).await?
        } else {
            false
        };
        let sent = self.send_due(&settings).await?;
        Ok(settled || sent)
    }

    /// Sends a test message to a channel, at once and once.
    ///
    /// # Errors
    /// There is no such channel; or the message wasn't taken, and why.
    pub async fn test(&self, channel: &str) -> Result<()> {
        let settings = self.settings.borrow().clone();
        let channel = settings
            .channels
            .get(channel)
            .ok_or_else(|| no_channel(channel, &settings))?;
        let message = Message::sample(&self.device, self.clock.now());
        self.send_to(channel, Uuid::now_v7(), &message).await
    }

    fn try_lock(&self, who: &str) -> Result<Option<File>> {
        let failed = |e| Error::io("use the lock", &self.lock, e);
        let mut options = OpenOptions::new();
        options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600);
        let mut file = options.open(&self.lock).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(failed(e.into())),
        }
        let mut write = || {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(who.as_bytes())
        };
        write().map_err(failed)?;
        Ok(Some(file))
    }

    fn is_of_service(&self) -> Result<bool> {
        let mut said = String::new();
        File::open(&self.lock)
            .and_then(|mut file| file.read_to_string(&mut said))
            .map_err(|e| Error::io("read the lock", &self.lock, e))?;
        Ok(said == SERVICE)
    }
}

/// What is wrong with the channels that only who sends can say. The pointers are those of a settings file.
pub fn check_channels(engine: &Engine, settings: &NotificationSettings) -> Vec<Diagnostic> {
    let sample = Message::sample(&engine.device, engine.clock.now());
    let channels = settings.channels.iter();
    channels
        .flat_map(|(name, channel)| {
            backstay_notify::check(channel, &format!("/notifications/channels/{name}"), &sample)
        })
        .collect()
}

fn no_channel(name: &str, settings: &NotificationSettings) -> Error {
    let names: Vec<&str> = settings.channels.keys().map(String::as_str).collect();
    let hint = if names.is_empty() {
        "the settings have none: `notifications.channels`".to_owned()
    } else {
        format!("the settings have: {}", names.join(", "))
    };
    Error::new(Code::Configuration, format!("there is no channel `{name}`")).hint(hint)
}
