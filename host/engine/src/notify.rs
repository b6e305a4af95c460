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
use std::sync::{Arc, Mutex};
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
use send::{Sender, Sending, is_reached};

/// Name of the file in the data directory that whoever sends has locked.
pub const LOCK_FILE: &str = "notify.lock";

/// How often the service looks whether there is something to tell.
const LOOK: Duration = Duration::from_millis(500);

/// How long the service goes on sending when it is told to stop; less than it is then waited for.
const LAST: Duration = Duration::from_secs(4);

/// Old messages are forgotten so often.
const FORGET: Duration = Duration::from_secs(3_600);

/// What the lock says while the service has it.
const SERVICE: &str = "service";

/// When sending must have ended; nothing as long as nobody says so. If whoever could is gone, at once.
pub type Deadline = watch::Receiver<Option<Instant>>;

/// Makes messages and sends them.
#[derive(Debug)]
pub struct Courier {
    store: Store,
    clock: Arc<dyn Clock>,
    device: String,
    lock: PathBuf,
    http: Http,
    settings: watch::Receiver<NotificationSettings>,
    forgot: Mutex<Option<Instant>>,
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
            forgot: Mutex::default(),
        })
    }

    /// Does its work until it is told to stop, and what there is to do then: that of the service. Dropped before, it may have
    /// sent something without a note of it.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let (end, deadline) = watch::channel(None);
        let mut held = None;
        let mut failure = None;
        let mut sending = Sending::default();
        loop {
            if *stop.borrow_and_update() {
                end.send_replace(Some(Instant::now() + LAST));
                if held.is_some() {
                    note_of(self.work(&mut sending, &deadline).await, &mut failure);
                }
                return;
            }
            note_of(
                self.turn_of_service(&mut held, &mut sending, &deadline).await,
                &mut failure,
            );
            tokio::select! {
                // Whoever could say stop is gone: so is the reason to go on.
                changed = stop.changed() => if changed.is_err() { return },
                Some(ended) = sending.ended() => if ended.is_err() { note_of(ended, &mut failure) },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    async fn turn_of_service(
        &self,
        held: &mut Option<File>,
        sending: &mut Sending,
        deadline: &Deadline,
    ) -> Result<()> {
        if held.is_none() {
            *held = self.try_lock(SERVICE)?;
        }
        // A command has it, and will soon let go.
        if held.is_none() {
            return Ok(());
        }
        self.turn(sending, deadline).await.map(drop)
    }

    /// Does what is to be done now, for a command that is about to end. What isn't done at the deadline, or is to be tried
    /// again later, stays for the next process. False if the service runs: it does it.
    ///
    /// # Errors
    /// The database can't be used.
    pub async fn finish(&self, deadline: &Deadline) -> Result<bool> {
        loop {
            match self.try_lock("")? {
                Some(_held) => {
                    self.work(&mut Sending::default(), deadline).await?;
                    return Ok(true);
                }
                None if self.is_of_service()? => return Ok(false),
                None if is_reached(deadline) => return Ok(true),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Turns until nothing is left to do now, or the deadline is reached.
    async fn work(&self, sending: &mut Sending, deadline: &Deadline) -> Result<()> {
        let done = loop {
            let done = self.turn(sending, deadline).await;
            let ended = tokio::select! {
                ended = sending.ended() => ended,
                // A slow channel keeps nothing waiting that happens meanwhile.
                () = tokio::time::sleep(LOOK) => Some(Ok(())),
            };
            match (done, ended) {
                (Err(error), _) | (Ok(_), Some(Err(error))) => break Err(error),
                (Ok(false), None) => break Ok(()),
                _ => {}
            }
        };
        // Nothing is cut off without a note of it.
        while sending.ended().await.is_some() {}
        done
    }

    /// Settles what happened and begins to send what is due. Whether anything was done.
    async fn turn(&self, sending: &mut Sending, deadline: &Deadline) -> Result<bool> {
        let (has_notices, next) = self.store.outbox_state().await?;
        if !has_notices && next.is_none() {
            return Ok(false);
        }
        let settings = self.settings.borrow().clone();
        let settled = if has_notices {
            self.settle(&settings).await
        } else {
            Ok(false)
        };
        // What can't be settled keeps nothing from being sent.
        let begun = self.send_due(&settings, sending, deadline).await?;
        Ok(settled? || begun)
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
        self.sender().send_to(channel, Uuid::now_v7(), &message).await
    }

    fn sender(&self) -> Sender {
        Sender {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            http: self.http.clone(),
        }
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

/// Says what keeps messages from being sent once, and that it is over.
fn note_of(done: Result<()>, failure: &mut Option<String>) {
    match done {
        Ok(()) => {
            if failure.take().is_some() {
                tracing::info!("notifications can be sent again");
            }
        }
        Err(error) => {
            let said = error.report();
            if failure.as_ref() != Some(&said) {
                tracing::error!("notifications can't be sent for now: {said}");
                *failure = Some(said);
            }
        }
    }
}

/// What is wrong with the channels that only who sends can say. The pointers are those of a settings file.
pub fn check_channels(engine: &Engine, settings: &NotificationSettings) -> Vec<Diagnostic> {
    let trials = Message::trials(&engine.device, engine.clock.now());
    let channels = settings.channels.iter();
    channels
        .flat_map(|(name, channel)| {
            backstay_notify::check(channel, &format!("/notifications/channels/{name}"), &trials)
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
