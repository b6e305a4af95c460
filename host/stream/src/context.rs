//! What moving bytes needs to know of the run it is part of: whether to stop, and whom to tell.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backstay_model::run::{MAX_WARNINGS, Warning};
use backstay_model::{Code, Error, Result};

use crate::throttle::Throttle;

/// Handed to everything that moves bytes. Cheap to clone; clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Whether to stop.
    pub cancel: Cancel,
    /// How far it is.
    pub meter: Arc<Meter>,
    /// What to tell people.
    pub notes: Notes,
    /// How fast bytes may go to a far end.
    pub throttle: Throttle,
}

impl Context {
    /// The same, for a stream within a stream: what it moves is counted by the outer one.
    pub fn uncounted(&self) -> Self {
        Context {
            meter: Arc::default(),
            ..self.clone()
        }
    }

    /// The same, where the outer stream gives nothing for as long as the inner one only gets ready to: that it moves is
    /// told to the outer one.
    pub fn uncounted_but_alive(&self) -> Self {
        Context {
            meter: Arc::new(Meter {
                outer: Some(Arc::clone(&self.meter)),
                ..Meter::default()
            }),
            ..self.clone()
        }
    }
}

/// How far a stream is. Written by the data plane, sampled by whoever shows progress.
#[derive(Debug, Default)]
pub struct Meter {
    /// Bytes read from the source.
    pub bytes: AtomicU64,
    /// Files, directories, links and devices.
    pub entries: AtomicU64,
    /// Changes whenever anything moves, also where nothing is counted above.
    pub ticks: AtomicU64,
    /// Streams that are moving now.
    pub active: AtomicU64,
    /// Streams that are being stored, from their first byte until they are committed.
    pub storing: AtomicU64,
    current: Mutex<Option<String>>,
    /// Of the stream that this one is in.
    outer: Option<Arc<Meter>>,
}

impl Meter {
    /// Counts bytes.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tick();
    }

    /// Counts an entry and names the file at hand.
    pub fn enter(&self, path: impl FnOnce() -> String) {
        // Naming each of a million files would cost more than reading them.
        if self.entries.fetch_add(1, Ordering::Relaxed).is_multiple_of(64)
            && let Ok(mut current) = self.current.try_lock()
        {
            *current = Some(path());
        }
        self.tick();
    }

    /// Says that something moved.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        if let Some(outer) = &self.outer {
            outer.tick();
        }
    }

    /// Counts a stream as being stored until the guard is dropped.
    pub fn store(self: &Arc<Self>) -> Storing {
        self.storing.fetch_add(1, Ordering::Relaxed);
        Storing(Arc::clone(self))
    }

    /// The file at hand, or one near it.
    pub fn current(&self) -> Option<String> {
        lock(&self.current).clone()
    }
}

/// A stream is being stored.
#[derive(Debug)]
pub struct Storing(Arc<Meter>);

impl Drop for Storing {
    fn drop(&mut self) {
        self.0.storing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Warnings that a stream collects on its way.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Collected>>);

#[derive(Debug, Default)]
struct Collected {
    warnings: Vec<Warning>,
    more: u64,
}

impl Notes {
    /// Records a warning; past [`MAX_WARNINGS`] it is only counted.
    pub fn warn(&self, code: &str, message: impl Into<String>, path: Option<String>) {
        let mut collected = lock(&self.0);
        if collected.warnings.len() < MAX_WARNINGS {
            collected.warnings.push(Warning {
                code: code.to_owned(),
                message: message.into(),
                path,
            });
        } else {
            collected.more += 1;
        }
    }

    /// Records what was collected elsewhere, and how many more there were.
    pub fn add(&self, warnings: Vec<Warning>, more: u64) {
        for warning in warnings {
            self.warn(&warning.code, warning.message, warning.path);
        }
        lock(&self.0).more += more;
    }

    /// Takes what was recorded since the last call, and how many more there were.
    pub fn take(&self) -> (Vec<Warning>, u64) {
        let collected = std::mem::take(&mut *lock(&self.0));
        (collected.warnings, collected.more)
    }
}

/// A switch that stops everything which moves bytes, with the reason.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<CancelState>);

#[derive(Debug, Default)]
struct CancelState {
    cancelled: AtomicBool,
    reason: Mutex<Option<(Code, String, Option<String>)>>,
    next: AtomicU64,
    hooks: Mutex<Vec<(u64, Hook)>>,
}

type HookFn = Box<dyn FnOnce() + Send>;

struct Hook(HookFn);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// Unregisters its hook when dropped.
#[derive(Debug)]
pub struct HookGuard {
    cancel: Cancel,
    id: u64,
}

impl Drop for HookGuard {
    fn drop(&mut self) {
        lock(&self.cancel.0.hooks).retain(|(id, _)| *id != self.id);
    }
}

impl Cancel {
    /// Stops everything. The first reason counts.
    pub fn cancel(&self, reason: &Error) {
        {
            let mut slot = lock(&self.0.reason);
            if slot.is_some() {
                return;
            }
            *slot = Some((
                reason.code(),
                reason.report(),
                reason.hint_text().map(str::to_owned),
            ));
        }
        self.0.cancelled.store(true, Ordering::SeqCst);
        let hooks = std::mem::take(&mut *lock(&self.0.hooks));
        for (_, hook) in hooks {
            (hook.0)();
        }
    }

    /// A switch of its own that this one throws as well, until the guard is dropped.
    pub fn link(&self) -> (Cancel, HookGuard) {
        let linked = Cancel::default();
        let guard = self.on_cancel({
            let (linked, reason) = (linked.clone(), self.clone());
            move || linked.cancel(&reason.reason())
        });
        (linked, guard)
    }

    /// Whether somebody stopped it.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// Fails with the reason if somebody stopped it.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            Err(self.reason())
        } else {
            Ok(())
        }
    }

    /// Why it was stopped.
    pub fn reason(&self) -> Error {
        match &*lock(&self.0.reason) {
            Some((code, message, hint)) => {
                let error = Error::new(*code, message.clone());
                match hint {
                    Some(hint) => error.hint(hint.clone()),
                    None => error,
                }
            }
            None => Error::new(Code::Cancelled, "cancelled"),
        }
    }

    /// Calls `hook` when it is stopped, at once if it has been, until the guard is dropped.
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> HookGuard {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.0.hooks).push((id, Hook(Box::new(hook))));
        if self.is_cancelled() {
            let mine = {
                let mut hooks = lock(&self.0.hooks);
                hooks
                    .iter()
                    .position(|(other, _)| *other == id)
                    .map(|at| hooks.swap_remove(at))
            };
            if let Some((_, hook)) = mine {
                (hook.0)();
            }
        }
        HookGuard {
            cancel: self.clone(),
            id,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
