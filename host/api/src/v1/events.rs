//! What happens, as it happens: server-sent events that can be resumed after any one of them.
//!
//! Each client reads the database at its own pace, a page at a time, so that a slow one takes no memory and holds up nobody;
//! one that doesn't read at all is cut off by the server, and goes on where it was when it comes again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use backstay_model::Error;
use backstay_model::access::Token;
use backstay_model::event::Event;
use futures::stream;
use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::Shared;
use crate::app::{App, Caller};
use crate::endpoint::unknown_caller;
use crate::query::{Id, Params};
use crate::view::RunView;
use crate::{Problem, live};

/// Events in one look.
const PAGE: u32 = 100;

/// How often something is sent if nothing happens, so that both ends know that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often progress is sent at most.
const PACE: Duration = Duration::from_secs(1);

/// How often it is looked whether who listens still may.
const CHECK: Duration = Duration::from_secs(3);

/// How soon a client is to come again after a break.
const COME_AGAIN: Duration = Duration::from_secs(2);

/// The header by which a client says how far it came.
pub const RESUME: &str = "Last-Event-ID";

/// Where to begin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct From {
    /// Only what comes after the event of this id. The header `Last-Event-ID` goes before it.
    #[schemars(range(min = 0))]
    after: Option<i64>,
}

/// One client that listens.
struct Listener {
    app: Arc<App>,
    token: Option<Token>,
    session: Option<Uuid>,
    next_check: Instant,
    run: Option<Uuid>,
    after: i64,
    ready: VecDeque<Sent>,
    newest: watch::Receiver<i64>,
    stopping: watch::Receiver<bool>,
    progress: u64,
    next_progress: Instant,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

pub async fn all(
    app: Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Params(from): Params<From>,
) -> Result<Response, Problem> {
    let after = match begin(&headers, &from)? {
        Some(after) => after,
        None => app.engine.store.newest_event().await?,
    };
    listen(app.0, caller, None, after)
}

pub async fn of_run(
    app: Shared,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    headers: HeaderMap,
    Params(from): Params<From>,
) -> Result<Response, Problem> {
    app.engine.store.run(id).await.map_err(Problem::absent)?;
    let after = begin(&headers, &from)?.unwrap_or(0);
    listen(app.0, caller, Some(id), after)
}

fn begin(headers: &HeaderMap, from: &From) -> Result<Option<i64>, Problem> {
    let Some(value) = headers.get(RESUME) else {
        return match from.after {
            Some(after) if after < 0 => Err(Problem::bad_request("`after` is negative")),
            after => Ok(after),
        };
    };
    let id = value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|id| *id >= 0);
    match id {
        Some(id) => Ok(Some(id)),
        None => Err(Problem::bad_request(format!(
            "{RESUME} is not the id of an event"
        ))),
    }
}

fn listen(app: Arc<App>, caller: Caller, run: Option<Uuid>, after: i64) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&app.listeners).try_acquire_owned() else {
        return Err(Problem::unavailable("too many clients listen to events already"));
    };
    let mut ready = VecDeque::new();
    ready.push_back(Sent::default().retry(COME_AGAIN).comment("it begins"));
    let listener = Listener {
        newest: app.newest.subscribe(),
        stopping: app.stopping.subscribe(),
        app,
        token: caller.token,
        session: caller.browser.map(|browser| browser.session.id),
        next_check: Instant::now() + CHECK,
        run,
        after,
        ready,
        progress: 0,
        next_progress: Instant::now(),
        is_over: false,
        _place: place,
    };
    let events = stream::unfold(listener, async |mut listener| {
        let sent = listener.next().await?;
        Some((Ok::<_, Infallible>(sent), listener))
    });
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(HEARTBEAT).text("all is well"))
        .into_response();
    // A proxy in between is not to collect what comes.
    response
        .headers_mut()
        .insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    Ok(response)
}

impl Listener {
    /// What is to be sent next; nothing at the end.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.ready.pop_front() {
                return Some(sent);
            }
            if self.is_over || *self.stopping.borrow() {
                return None;
            }
            if self.is_refused().await {
                self.is_over = true;
                return Some(sent("problem", &unknown_caller()));
            }
            // Before it is looked at, so that what comes meanwhile is not missed.
            self.newest.mark_unchanged();
            if let Err(error) = self.look().await {
                self.is_over = true;
                let problem = Problem::from(error);
                return Some(sent("problem", &problem));
            }
            if self.ready.is_empty() && !self.is_over {
                self.wait().await;
            }
        }
    }

    /// Whether the token of who listens has expired or was removed meanwhile, or their session has ended.
    async fn is_refused(&mut self) -> bool {
        let Some(token) = &self.token else { return false };
        let now = self.app.engine.clock.now();
        if token.expires_at.is_some_and(|at| at <= now) {
            return true;
        }
        if Instant::now() < self.next_check {
            return false;
        }
        let store = &self.app.engine.store;
        let is_there = match self.session {
            Some(id) => {
                let sessions = store.sessions(self.app.settings().api.sessions.idle).await;
                sessions.map(|known| known.iter().any(|known| known.id == id))
            }
            None => {
                let tokens = store.tokens().await;
                tokens.map(|known| known.iter().any(|known| known.id == token.id))
            }
        };
        self.next_check = Instant::now() + CHECK;
        // Who can't be told apart from somebody else for now comes again.
        !is_there.unwrap_or(false)
    }

    /// Collects what is new, a page of it.
    async fn look(&mut self) -> Result<(), Error> {
        let store = &self.app.engine.store;
        // Asked first: of a run that has ended then, all events are there.
        let ended = match self.run {
            Some(id) => Some(store.run(id).await?).filter(|run| run.status.is_final()),
            None => None,
        };
        let events = match self.run {
            Some(id) => store.events(id, self.after, PAGE).await?,
            None => store.all_events(self.after, PAGE).await?,
        };
        for event in &events {
            self.after = event.id;
            self.ready.push_back(numbered(event));
        }
        if !events.is_empty() {
            return Ok(());
        }
        if let Some(run) = ended {
            self.is_over = true;
            let view = RunView::load(store, run).await?;
            self.ready.push_back(sent("end", &view));
            return Ok(());
        }
        if Instant::now() >= self.next_progress {
            self.next_progress = Instant::now() + PACE;
            let (new, newest) = self.app.live.since(self.progress);
            self.progress = newest;
            let is_wanted = |of: &&live::RunProgress| self.run.is_none_or(|run| run == of.run_id);
            let new: Vec<Sent> = new
                .iter()
                .filter(is_wanted)
                .map(|of| sent("progress", of))
                .collect();
            self.ready.extend(new);
        }
        Ok(())
    }

    /// Waits until there may be something new.
    async fn wait(&mut self) {
        tokio::select! {
            // Whoever could say so is gone at the end.
            changed = self.newest.changed() => if changed.is_err() { self.is_over = true },
            _ = self.stopping.changed() => {}
            () = sleep_until(self.next_progress) => {}
        }
    }
}

fn numbered(event: &Event) -> Sent {
    let kind = if event.status.is_some() { "status" } else { "log" };
    sent(kind, event).id(event.id.to_string())
}

fn sent<T: Serialize>(kind: &str, data: &T) -> Sent {
    match Sent::default().event(kind).json_data(data) {
        Ok(sent) => sent,
        Err(error) => Sent::default()
            .event("problem")
            .data(error.to_string().replace(['\n', '\r'], " ")),
    }
}

/// Notices new events for all who listen, also those of other processes, until it is dropped.
pub async fn notice(app: Arc<App>) {
    const LOOK: Duration = Duration::from_millis(250);
    loop {
        tokio::time::sleep(LOOK).await;
        if app.newest.receiver_count() == 0 {
            continue;
        }
        match app.engine.store.newest_event().await {
            Ok(newest) => {
                app.newest
                    .send_if_modified(|known| std::mem::replace(known, newest) != newest);
            }
            // Who listens will hear of it from their own look.
            Err(_) => app.newest.send_modify(|_| {}),
        }
    }
}
