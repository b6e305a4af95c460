//! What happens, as it happens: server-sent events that can be resumed after any one of them.
//!
//! A client takes what is new from the [feed](crate::feed); one that is further behind reads the database at its own pace, a
//! page at a time, so that a slow one takes no memory and holds up nobody. One that doesn't read at all is cut off by the
//! server, and goes on where it was when it comes again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use backstay_model::Error;
use backstay_model::access::Token;
use futures::stream;
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::Shared;
use crate::Problem;
use crate::app::{App, Caller};
use crate::endpoint::unknown_caller;
use crate::feed::{PAGE, PAGE_BYTES, numbered, sent};
use crate::query::{Id, Params};
use crate::view::RunView;

/// How often something is sent if nothing happens, so that both ends know that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often it is looked whether who listens still may, and whether a run has ended in silence.
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
    changed: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// The number of the last progress that was sent; nothing before the first.
    progress: Option<u64>,
    /// The run may have ended.
    may_have_ended: bool,
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
        changed: app.feed.listen(),
        stopping: app.stopping.subscribe(),
        app,
        token: caller.token,
        session: caller.browser.map(|browser| browser.session.id),
        next_check: Instant::now() + CHECK,
        run,
        after,
        ready,
        progress: None,
        may_have_ended: true,
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
            self.changed.mark_unchanged();
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
        let now = Instant::now();
        let is_due = now >= self.next_check;
        if is_due {
            self.next_check = now + CHECK;
            self.may_have_ended = true;
        }
        let Some(token) = &self.token else { return false };
        if token
            .expires_at
            .is_some_and(|at| at <= self.app.engine.clock.now())
        {
            return true;
        }
        if !is_due {
            return false;
        }
        let store = &self.app.engine.store;
        let is_there = match self.session {
            Some(id) => {
                let settings = self.app.settings();
                let limits = &settings.api.sessions;
                let ask = async { Ok(store.sessions(limits).await?.into_iter().map(|s| s.id).collect()) };
                self.app.still_logged_in.has(id, ask).await
            }
            None => {
                let ask = async { Ok(store.tokens().await?.into_iter().map(|t| t.id).collect()) };
                self.app.still_tokens.has(token.id, ask).await
            }
        };
        // Who can't be told apart from somebody else for now comes again.
        !is_there.unwrap_or(false)
    }

    /// Collects what is new, a page of it.
    async fn look(&mut self) -> Result<(), Error> {
        let store = &self.app.engine.store;
        // Asked first: of a run that has ended then, all events are in the database.
        let ended = match self.run {
            Some(id) if self.may_have_ended => Some(store.run(id).await?).filter(|run| run.status.is_final()),
            _ => None,
        };
        self.may_have_ended = ended.is_some();
        let start = self.app.feed.start();
        let news = match ended {
            Some(_) => None,
            None => self.app.feed.since(self.after, self.run),
        };
        match news {
            Some(news) => {
                self.after = news.after;
                self.may_have_ended |= news.has_end;
                self.ready.extend(news.sent);
            }
            None => {
                let events = match self.run {
                    Some(id) => store.events(id, self.after, PAGE).await?,
                    None => store.all_events(self.after, PAGE).await?,
                };
                let mut bytes = 0;
                for event in &events {
                    self.after = event.id;
                    self.ready.push_back(numbered(event));
                    bytes += event.message.len();
                    if bytes >= PAGE_BYTES {
                        break;
                    }
                }
                if events.is_empty() {
                    // Up to there it has seen all.
                    self.after = self.after.max(start.unwrap_or(0));
                }
            }
        }
        if !self.ready.is_empty() {
            return Ok(());
        }
        if let Some(run) = ended {
            self.is_over = true;
            let view = RunView::load(store, run).await?;
            self.ready.push_back(sent("end", &view));
            return Ok(());
        }
        self.add_progress();
        Ok(())
    }

    /// Adds how far runs are, if that is new.
    fn add_progress(&mut self) {
        let (new, number) = match self.progress {
            Some(seen) => self.app.feed.progress(seen, self.run),
            None => {
                let (_, number) = self.app.feed.progress(u64::MAX, None);
                let (all, _) = self.app.live.since(0);
                let wanted = all
                    .iter()
                    .filter(|of| self.run.is_none_or(|run| run == of.run_id));
                (
                    wanted.map(|of| (of.run_id, sent("progress", of))).collect(),
                    number,
                )
            }
        };
        self.progress = Some(number);
        // Of a run that has ended meanwhile, the end was the last word.
        let under_way = new
            .into_iter()
            .filter(|(run, _)| self.app.live.of(*run).is_some());
        self.ready.extend(under_way.map(|(_, sent)| sent));
    }

    /// Waits until there may be something new.
    async fn wait(&mut self) {
        tokio::select! {
            // Whoever could say so is gone at the end.
            changed = self.changed.changed() => if changed.is_err() { self.is_over = true },
            _ = self.stopping.changed() => {}
            () = sleep_until(self.next_check) => {}
        }
    }
}
