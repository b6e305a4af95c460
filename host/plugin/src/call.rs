//! One call into a fresh instance, held to its limits, and whatever goes wrong turned into words.

use std::future::Future;
use std::time::{Duration, Instant};

use backstay_model::{Code, Error, Result};
use backstay_stream::context::Cancel;
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::host::Host;
use crate::limits::TICK;
use crate::plugins::Plugin;
use crate::scope::Scope;

/// How often a waiting call is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long a cancelled call may take to undo what it is in the middle of.
const CANCEL_GRACE: Duration = Duration::from_secs(15);

/// A store with limits for one call.
pub(crate) fn store(plugin: &Plugin, scope: &Scope) -> Store<Host> {
    let mut store = Store::new(&plugin.runtime.engine, Host::new(plugin, scope.clone()));
    store.limiter(|host| &mut host.memory);
    store.set_hostcall_fuel(scope.limits.copied_bytes);
    let most_ticks = u64::try_from(scope.limits.cpu.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
    store.epoch_deadline_callback(move |mut context| {
        let used = &mut context.data_mut().used;
        used.cpu_ticks += 1;
        if used.cpu_ticks > most_ticks {
            return Err(wasmtime::Error::new(Overrun));
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store.set_epoch_deadline(1);
    store
}

/// Ends what a call has left behind, such as threads that read files for it, on a thread that may wait for them: a file
/// system may hang. After a while nobody waits any more.
pub(crate) async fn release(store: &mut Store<Host>) {
    let left = std::mem::take(&mut store.data_mut().table);
    let ending = tokio::task::spawn_blocking(move || drop(left));
    // It says nothing, and goes on by itself.
    let _ = tokio::time::timeout(CANCEL_GRACE, ending).await;
}

/// The guest computed for too long.
#[derive(Debug)]
struct Overrun;

impl std::fmt::Display for Overrun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it used up its processor time")
    }
}

impl std::error::Error for Overrun {}

/// A guest broke a limit. Ends the instance.
#[derive(Debug)]
pub(crate) struct Flood(String);

impl Flood {
    /// The error for wasmtime; `what` completes the sentence "it was stopped: ".
    pub(crate) fn error(what: impl Into<String>) -> wasmtime::Error {
        wasmtime::Error::new(Flood(what.into()))
    }
}

impl std::fmt::Display for Flood {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Flood {}

/// Waits for a call, but not for ever: neither for a guest that sleeps nor past a cancellation. What a call outside of
/// a run has begun, such as a program, also ends when nobody waits for the call any more.
pub(crate) async fn watch<T>(
    plugin: &Plugin,
    verb: &str,
    scope: &Scope,
    busy: crate::host::Busy,
    call: impl Future<Output = T>,
) -> Result<T> {
    let waiting = Waiting::begin(scope.run.is_none().then_some(&scope.context.cancel));
    let result = wait(plugin, verb, scope, busy, call).await;
    waiting.end();
    result
}

/// Somebody waits for a call. Dropped before its end, it stops what the call has begun: that goes on by itself on threads
/// of its own, and nobody else would.
struct Waiting<'a>(Option<&'a Cancel>);

impl<'a> Waiting<'a> {
    fn begin(cancel: Option<&'a Cancel>) -> Self {
        Waiting(cancel)
    }

    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(cancel) = self.0 {
            cancel.cancel(&Error::new(Code::Cancelled, "nobody waits for it any more"));
        }
    }
}

async fn wait<T>(
    plugin: &Plugin,
    verb: &str,
    scope: &Scope,
    busy: crate::host::Busy,
    call: impl Future<Output = T>,
) -> Result<T> {
    let _running = plugin.runtime.running();
    let mut call = std::pin::pin!(call);
    let mut idle = Duration::ZERO;
    let mut cancelled = Duration::ZERO;
    let limit = match verb {
        "undo" => Some(scope.limits.undo),
        _ => scope.run.is_none().then_some(scope.limits.look),
    };
    let started = Instant::now();
    loop {
        match tokio::time::timeout(LOOK, call.as_mut()).await {
            Ok(value) => return Ok(value),
            Err(_) if scope.context.cancel.is_cancelled() => {
                cancelled += LOOK;
                if cancelled > CANCEL_GRACE || !busy.is_busy() {
                    return Err(scope.context.cancel.reason());
                }
            }
            Err(_) if limit.is_some_and(|limit| started.elapsed() > limit) => {
                // What it is waiting for must end as well.
                scope.context.cancel.cancel(&Error::new(
                    Code::Security,
                    format!(
                        "plugin {} took longer than {} s for `{verb}` and was stopped",
                        plugin.manifest().id,
                        limit.unwrap_or_default().as_secs()
                    ),
                ));
            }
            Err(_) if busy.is_busy() => idle = Duration::ZERO,
            Err(_) => {
                idle += LOOK;
                if idle > scope.limits.idle {
                    let id = &plugin.manifest().id;
                    let limit = scope.limits.idle.as_secs();
                    return Err(Error::new(
                        Code::Security,
                        format!("plugin {id} did nothing in `{verb}` for {limit} s and was stopped"),
                    ));
                }
            }
        }
    }
}

/// Says in words why an instance ended.
pub(crate) fn trapped(plugin: &Plugin, verb: &str, error: &wasmtime::Error, store: &Store<Host>) -> Error {
    let id = &plugin.manifest().id;
    let limits = &store.data().scope.limits;
    // Without the backtrace, in which the guest chose the names.
    let text = crate::guest_error::printable(&error.root_cause().to_string());
    let broke = |what: String| {
        Error::new(
            Code::Security,
            format!("plugin {id} was stopped in `{verb}`: {what}"),
        )
    };
    if error.downcast_ref::<Overrun>().is_some() {
        return broke(format!("it computed for more than {} s", limits.cpu.as_secs()));
    }
    if let Some(flood) = error.downcast_ref::<Flood>() {
        return broke(flood.0.clone());
    }
    if text.contains("fuel") {
        return broke(format!(
            "it handed over more than {} MiB at once",
            limits.copied_bytes >> 20
        ));
    }
    if text.contains("table has no free keys") || text.contains("resource table is full") {
        return broke(format!("it opened more than {} handles", limits.handles));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => broke("it called itself without end".to_owned()),
        Some(trap) => {
            let said = store.data().stderr.contents();
            let said = String::from_utf8_lossy(&said);
            let words = store.data().words(said.trim());
            let cause = if words.is_empty() { trap.to_string() } else { words };
            Error::new(
                Code::Internal,
                format!("plugin {id} crashed in `{verb}`: {cause}"),
            )
            .hint("this is a defect of the plugin; nothing else was affected")
        }
        None => Error::new(Code::Internal, format!("plugin {id} failed in `{verb}`")).because(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_began_is_stopped_when_nobody_waits_for_it_any_more() {
        let ended = Cancel::default();
        Waiting::begin(Some(&ended)).end();
        assert!(!ended.is_cancelled(), "what comes after it is stopped too");
        let given_up = Cancel::default();
        drop(Waiting::begin(Some(&given_up)));
        assert!(given_up.is_cancelled());
        assert_eq!(given_up.reason().code(), Code::Cancelled);
    }
}
