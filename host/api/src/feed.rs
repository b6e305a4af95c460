//! What is new, read from the database once for all who listen: the newest events, and how far runs are.
//!
//! One task reads; each client takes from here what comes after what it has. Who is further behind than this reaches reads the
//! database at its own pace, so that a slow client takes no memory and holds up nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::sse::Event as Sent;
use backstay_model::event::Event;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::app::App;

/// How soon an event is noticed, also one of another process.
const LOOK: Duration = Duration::from_millis(250);

/// How often progress is sent at most.
const PACE: Duration = Duration::from_secs(1);

/// Events in one look.
pub const PAGE: u32 = 100;

/// A page ends with the event with which it is this large, in bytes: each of many slow listeners keeps one.
pub const PAGE_BYTES: usize = 32 << 10;

/// So many events are kept here at most.
const MOST_LINES: usize = 1_000;

/// Room for what is kept here, in bytes of text.
const MOST_BYTES: usize = 1 << 20;

/// What is new.
#[derive(Debug)]
pub struct Feed {
    recent: Mutex<Recent>,
    /// Grows with each change.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Recent {
    /// All events after this one are here; nothing while nobody listens.
    start: Option<i64>,
    newest: i64,
    lines: VecDeque<Line>,
    bytes: usize,
    /// The last word on runs that went on, and its number.
    progress: Vec<(Uuid, Sent)>,
    tick: u64,
}

/// An event as it is sent.
#[derive(Debug)]
struct Line {
    id: i64,
    run: Uuid,
    is_end: bool,
    bytes: usize,
    sent: Sent,
}

/// What comes after an event.
#[derive(Debug, Default)]
pub struct News {
    /// To be sent, in this order.
    pub sent: Vec<Sent>,
    /// The event that was looked at last.
    pub after: i64,
    /// Whether a run ended.
    pub has_end: bool,
}

impl Feed {
    /// Empty, with nobody who listens.
    pub fn new() -> Self {
        Feed {
            recent: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Listens: changes whenever there may be something new.
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The event that all later ones of are here; nothing while they are not kept here.
    pub fn start(&self) -> Option<i64> {
        self.lock().start
    }

    /// The events after one, of all runs or of one, a page of them; nothing if some of them are not here any more.
    pub fn since(&self, after: i64, run: Option<Uuid>) -> Option<News> {
        let recent = self.lock();
        if recent.start? > after {
            return None;
        }
        let first = recent.lines.partition_point(|line| line.id <= after);
        let mut news = News {
            after: after.max(recent.newest),
            ..News::default()
        };
        let mut bytes = 0;
        for line in recent.lines.range(first..) {
            if run.is_some_and(|run| run != line.run) {
                continue;
            }
            news.sent.push(line.sent.clone());
            news.has_end |= line.is_end;
            bytes += line.bytes;
            if news.sent.len() == PAGE as usize || bytes >= PAGE_BYTES {
                news.after = line.id;
                break;
            }
        }
        Some(news)
    }

    /// The last word on runs, of all or of one, if it is newer than the one of this number; and its number.
    pub fn progress(&self, seen: u64, run: Option<Uuid>) -> (Vec<(Uuid, Sent)>, u64) {
        let recent = self.lock();
        if recent.tick <= seen {
            return (Vec::new(), recent.tick);
        }
        let wanted = recent
            .progress
            .iter()
            .filter(|(of, _)| run.is_none_or(|run| run == *of));
        (wanted.cloned().collect(), recent.tick)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn add(&mut self, event: &Event) {
        let line = Line {
            id: event.id,
            run: event.run_id,
            is_end: event.status.is_some_and(|status| status.is_final()),
            bytes: event.message.len() + size_of::<Line>(),
            sent: numbered(event),
        };
        self.newest = line.id;
        self.bytes += line.bytes;
        self.lines.push_back(line);
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
            self.start = Some(oldest.id);
        }
    }
}

/// Reads what is new for all who listen, until it is dropped.
pub async fn follow(app: Arc<App>) {
    let feed = &app.feed;
    let mut next_progress = Instant::now();
    let mut seen = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        if feed.changed.receiver_count() == 0 {
            rest(feed);
            continue;
        }
        match read(&app).await {
            Ok(false) => {}
            Ok(true) => feed.tell(),
            // Who listens will hear of it from their own look.
            Err(_) => {
                rest(feed);
                feed.tell();
            }
        }
        if Instant::now() < next_progress {
            continue;
        }
        next_progress = Instant::now() + PACE;
        let (new, newest) = app.live.since(seen);
        seen = newest;
        if !new.is_empty() {
            let mut recent = feed.lock();
            recent.progress = new.iter().map(|of| (of.run_id, sent("progress", of))).collect();
            recent.tick += 1;
            drop(recent);
            feed.tell();
        }
    }
}

fn rest(feed: &Feed) {
    let mut recent = feed.lock();
    let tick = recent.tick;
    *recent = Recent {
        tick,
        ..Recent::default()
    };
}

/// Takes over what is new. Whether there was something.
async fn read(app: &App) -> backstay_model::Result<bool> {
    let (feed, store) = (&app.feed, &app.engine.store);
    let newest = {
        let recent = feed.lock();
        recent.start.map(|_| recent.newest)
    };
    let Some(mut newest) = newest else {
        let newest = store.newest_event().await?;
        let mut recent = feed.lock();
        recent.start = Some(newest);
        recent.newest = newest;
        return Ok(true);
    };
    let mut is_new = false;
    loop {
        let events = store.all_events(newest, PAGE).await?;
        let Some(last) = events.last() else {
            return Ok(is_new);
        };
        is_new = true;
        newest = last.id;
        let mut recent = feed.lock();
        for event in &events {
            recent.add(event);
        }
        if events.len() < PAGE as usize {
            return Ok(true);
        }
    }
}

/// An event of the database, as it is sent.
pub fn numbered(event: &Event) -> Sent {
    let kind = if event.status.is_some() { "status" } else { "log" };
    sent(kind, event).id(event.id.to_string())
}

/// Anything, as it is sent.
pub fn sent<T: Serialize>(kind: &str, data: &T) -> Sent {
    match Sent::default().event(kind).json_data(data) {
        Ok(sent) => sent,
        Err(error) => Sent::default()
            .event("problem")
            .data(error.to_string().replace(['\n', '\r'], " ")),
    }
}

#[cfg(test)]
mod tests {
    use backstay_model::event::Level;
    use backstay_model::run::RunStatus;

    use super::*;

    fn event(id: i64, run: Uuid, status: Option<RunStatus>, bytes: usize) -> Event {
        Event {
            id,
            at: "2026-05-01T03:00:00Z".parse().unwrap(),
            run_id: run,
            level: Level::Info,
            origin: "host".to_owned(),
            message: "x".repeat(bytes),
            status,
        }
    }

    fn begun_after(newest: i64) -> Feed {
        let feed = Feed::new();
        let mut recent = feed.lock();
        (recent.start, recent.newest) = (Some(newest), newest);
        drop(recent);
        feed
    }

    #[test]
    fn what_comes_after_an_event_is_there_once_for_all_or_for_a_run() {
        let feed = begun_after(7);
        let [one, other] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        for id in 8..=250 {
            let run = if id % 2 == 0 { one } else { other };
            let status = (id == 250).then_some(RunStatus::Succeeded);
            feed.lock().add(&event(id, run, status, 1));
        }
        assert!(feed.since(6, None).is_none(), "the database has it");
        for (run, expected) in [(None, 243), (Some(one), 122), (Some(other), 121)] {
            let (mut after, mut count, mut has_end) = (7, 0, false);
            loop {
                let news = feed.since(after, run).unwrap();
                count += news.sent.len();
                has_end |= news.has_end;
                after = news.after;
                if news.sent.len() < PAGE as usize {
                    break;
                }
            }
            assert_eq!((after, count, has_end), (250, expected, run != Some(other)));
        }
        assert_eq!(
            feed.since(9_000, None).unwrap().after,
            9_000,
            "it never goes back"
        );
    }

    #[test]
    fn it_keeps_a_bounded_part_and_knows_where_that_begins() {
        let feed = begun_after(0);
        let run = Uuid::from_u128(1);
        for id in 1..=3_000 {
            feed.lock().add(&event(id, run, None, 1));
        }
        assert_eq!(feed.start(), Some(2_000));
        assert!(feed.since(1_999, None).is_none());
        assert_eq!(feed.since(2_999, None).unwrap().sent.len(), 1);
        for id in 3_001..=3_020 {
            feed.lock().add(&event(id, run, None, 200_000));
        }
        assert!(feed.lock().bytes <= MOST_BYTES);
        assert_eq!(feed.start(), Some(3_015));
        rest(&feed);
        assert!(feed.since(9_000, None).is_none(), "nobody reads for it");
    }
}
