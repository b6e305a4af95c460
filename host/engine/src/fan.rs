//! Stores one artifact at several destinations from one reading, trying again what may pass next time.

use std::sync::Arc;
use std::time::Duration;

use backstay_model::event::Level;
use backstay_model::filters::Filters;
use backstay_model::journal::{Entry, Owner};
use backstay_model::manifest::StoredArtifact;
use backstay_model::{Error, Result};
use backstay_plugin::{Content, Scope, StoreRequest};
use backstay_stream::context::{Cancel, HookGuard};
use backstay_stream::fan::{Fan, Member, Tap};
use backstay_stream::{Context, Recipe};
use futures::StreamExt as _;

use crate::Engine;
use crate::attempts::Attempts;
use crate::copy::{Shape, is_all_there, stored_stream};
use crate::delivery::Delivery;
use crate::lanes::{Lane, Slot};

/// How long optional destinations may take after the others before they miss the next artifact's reading.
const BREATH: Duration = Duration::from_secs(2);

/// One destination's part in a reading.
struct Part<'a> {
    lane: &'a Lane<'a>,
    artifact: usize,
    shape: Shape,
    tap: Arc<Tap>,
    cancel: Cancel,
    _link: HookGuard,
    /// The last journal entry that isn't of it.
    since: i64,
}

/// How a destination's part in a reading ended.
pub(crate) struct Ended {
    pub(crate) lane: usize,
    pub(crate) artifact: usize,
    pub(crate) result: Result<StoredArtifact, Missed>,
    /// Journal entries of what it began and didn't end.
    pub(crate) leftover: Vec<i64>,
}

/// Why a reading came to nothing.
struct Broken {
    error: Error,
    /// The destination whose fault it is; nothing if it is the source's.
    culprit: Option<usize>,
}

/// Why a destination has nothing of a reading.
pub(crate) enum Missed {
    /// It failed.
    Failed(Error),
    /// It is to be tried again on its own, for this reason.
    Later(String),
    /// The reading failed.
    Cut,
}

impl<'a> Delivery<'a> {
    /// Reads an artifact once for several destinations, from its start each time, as often as the job allows. Optional
    /// ones may be under way still when it returns, or have to be stored later. One that isn't optional and failed for
    /// good fails the run in the end; the others get theirs from a reading without it, unless it is the first.
    ///
    /// # Errors
    /// The source or the first destination failed for good.
    pub(crate) async fn read_for(&mut self, mut members: Vec<usize>, artifact: usize) -> Result<()> {
        let (engine, lanes, context) = (self.engine, self.lanes, self.context);
        let Some(first) = members.first().map(|index| &lanes[*index]) else {
            return Ok(());
        };
        let retries = first.way.retries;
        let mut attempts = Attempts::new(&first.run, retries, &context.cancel, self.recorder);
        loop {
            self.meanwhile(attempts.begin(engine)).await?;
            let read = self.read_once(&members, artifact, attempts.since()).await;
            let Err(Broken { error, culprit }) = read else {
                return Ok(());
            };
            // Who has something of an earlier try is stored on its own.
            members.retain(|index| {
                let holding = &self.holdings[*index];
                holding.failed.is_none() && matches!(holding.slots[artifact], Slot::Missing)
            });
            attempts.limit_to(&members);
            let Err(error) = self.meanwhile(attempts.failed(engine, error)).await else {
                continue;
            };
            let Some(culprit) = culprit.filter(|index| *index > 0) else {
                return Err(error);
            };
            context.cancel.check()?;
            let what = format!(
                "{} failed, the others go on: {}",
                lanes[culprit].name(),
                error.report()
            );
            self.recorder.say(Level::Error, "host", what);
            self.meanwhile(attempts.undo(engine)).await?;
            self.holdings[culprit].failed = Some(error);
            members.retain(|index| *index != culprit);
            attempts = Attempts::new(&first.run, retries, &context.cancel, self.recorder);
        }
    }

    async fn read_once(&mut self, members: &[usize], artifact: usize, since: i64) -> Result<(), Broken> {
        let fan = self.start(members, artifact, since);
        let fan = fan.map_err(|error| Broken { error, culprit: None })?;
        let (fan, recipe, filters) = fan;
        let mut reading = tokio::task::spawn_blocking({
            let (fan, context) = (Arc::clone(&fan), self.context.clone());
            move || fan.read(recipe, &filters, &context)
        });
        let mut read = None;
        while read.is_none() || self.has_busy(members, |lane| !lane.is_optional()) {
            tokio::select! {
                done = &mut reading, if read.is_none() => {
                    let panicked = |_| Err(Error::internal("the thread of a reading panicked"));
                    read = Some(done.unwrap_or_else(panicked));
                }
                Some(ended) = self.under_way.next() => self.note(ended),
                else => break,
            }
        }
        let mut failed = Vec::new();
        for index in members.iter().filter(|index| !self.lanes[**index].is_optional()) {
            let error = self.holdings[*index].failed.take();
            failed.extend(error.map(|error| (*index, error)));
        }
        let culprit = fan.culprit().and_then(|at| members.get(at));
        let at = failed.iter().position(|(index, _)| Some(index) == culprit);
        let broken = match (at, read.and_then(Result::err)) {
            (None, Some(error)) => Some(Broken { error, culprit: None }),
            (at, _) => (!failed.is_empty())
                .then(|| failed.swap_remove(at.unwrap_or(0)))
                .map(|(index, error)| Broken {
                    error,
                    culprit: Some(index),
                }),
        };
        let Some(Broken { error, culprit }) = broken else {
            let is_last = artifact + 1 == self.lanes[0].artifacts.len();
            if !is_last {
                // So that they can take part in the next reading.
                let waited = tokio::time::timeout(BREATH.min(self.patience), self.settle(members)).await;
                drop(waited);
            }
            return Ok(());
        };
        // All must have ended before anything is undone. What is under way still is optional: it is no fault of theirs.
        for index in members {
            let holding = &mut self.holdings[*index];
            let Some(cancel) = holding.busy.clone() else {
                continue;
            };
            cancel.cancel(&error);
            self.settle(&[*index]).await;
            self.holdings[*index].failed = None;
        }
        for index in members {
            let slot = &mut self.holdings[*index].slots[artifact];
            if matches!(slot, Slot::Stored(_)) {
                *slot = Slot::Missing;
            }
        }
        Err(Broken {
            error: self.lanes[members[0]].explain(error, artifact),
            culprit,
        })
    }

    /// Starts every destination's part, which waits for the reading.
    fn start(
        &mut self,
        members: &[usize],
        artifact: usize,
        since: i64,
    ) -> Result<(Arc<Fan>, Arc<dyn Recipe>, Filters)> {
        let (engine, lanes) = (self.engine, self.lanes);
        let links: Vec<_> = members.iter().map(|_| self.context.cancel.link()).collect();
        let ends = members.iter().zip(&links).map(|(index, (cancel, _))| Member {
            optional: lanes[*index].is_optional(),
            cancel: cancel.clone(),
        });
        let (fan, taps) = Fan::new(ends.collect(), self.patience);
        let mut source = None;
        let mut parts = Vec::new();
        for ((index, tap), (cancel, link)) in members.iter().zip(taps).zip(links) {
            let lane = &lanes[*index];
            let shape = lane.way.shape(&lane.artifacts[artifact])?;
            if let Content::Stream(recipe) = &shape.content {
                source.get_or_insert_with(|| (Arc::clone(recipe), lane.way.scope.filters.clone()));
            }
            parts.push(Part {
                lane,
                artifact,
                shape,
                tap,
                cancel,
                _link: link,
                since,
            });
        }
        let (recipe, filters) = source.ok_or_else(|| Error::internal("a tree was to be read as a stream"))?;
        for part in parts {
            self.holdings[part.lane.goal.index].busy = Some(part.cancel.clone());
            self.under_way.push(Box::pin(engine.take_part(part)));
        }
        Ok((Arc::new(fan), recipe, filters))
    }

    fn has_busy(&self, members: &[usize], which: impl Fn(&Lane<'_>) -> bool) -> bool {
        let mut members = members.iter();
        members.any(|index| self.holdings[*index].busy.is_some() && which(&self.lanes[*index]))
    }

    /// Waits until all of them have ended.
    async fn settle(&mut self, members: &[usize]) {
        while self.has_busy(members, |_| true)
            && let Some(ended) = self.under_way.next().await
        {
            self.note(ended);
        }
    }
}

impl Engine {
    async fn take_part(&self, part: Part<'_>) -> Ended {
        let (lane, artifact) = (part.lane, part.artifact);
        let index = lane.goal.index;
        let result = self.store_part(&part).await;
        let (result, leftover) = match result {
            Ok(stored) => (Ok(stored), Ok(Vec::new())),
            Err(error) => {
                part.tap.leave(&error);
                let missed = missed(&part, error);
                let leftover = match missed {
                    Missed::Cut => Ok(Vec::new()),
                    _ => self.entries_of(lane, part.since).await,
                };
                (Err(missed), leftover)
            }
        };
        match leftover {
            Ok(leftover) => Ended {
                lane: index,
                artifact,
                result,
                leftover,
            },
            Err(error) => Ended {
                lane: index,
                artifact,
                result: Err(Missed::Failed(error)),
                leftover: Vec::new(),
            },
        }
    }

    async fn store_part(&self, part: &Part<'_>) -> Result<StoredArtifact> {
        let lane = part.lane;
        let Some(offered) = lane.artifacts.get(part.artifact) else {
            return Err(Error::internal("there is no such artifact"));
        };
        let scope = Scope {
            context: Context {
                cancel: part.cancel.clone(),
                ..lane.way.scope.context.clone()
            },
            // They are the reading's.
            filters: Filters::default(),
            ..lane.way.scope.clone()
        };
        let request = StoreRequest {
            name: part.shape.object.clone(),
            media_type: offered.media_type.clone(),
            content: Content::Stream(Arc::<Tap>::clone(&part.tap)),
        };
        let stored = lane.way.plugin.store(&scope, request).await?;
        let stored = is_all_there(&lane.way, stored).await?;
        stored_stream(offered, part.shape.form, part.shape.object.clone(), stored)
    }

    /// The journal entries of a destination after that one.
    async fn entries_of(&self, lane: &Lane<'_>, since: i64) -> Result<Vec<i64>> {
        let is_its = |entry: &Entry| match &entry.owner {
            Owner::Plugin { destination, .. } => *destination == Some(lane.goal.index),
            Owner::Host => false,
        };
        let mut entries = self.store.entries(lane.run.run_id).await?;
        entries.retain(|entry| entry.id > since && is_its(entry));
        Ok(entries.into_iter().map(|entry| entry.id).collect())
    }
}

/// What is to be done about a failure.
fn missed(part: &Part<'_>, error: Error) -> Missed {
    let lane = part.lane;
    if !lane.is_optional() {
        return Missed::Failed(error);
    }
    if let Some(lag) = part.tap.left_behind() {
        return Missed::Later(lag.to_string());
    }
    if part.tap.is_cut_off() {
        return Missed::Cut;
    }
    // What broke because it was ended isn't the cause.
    let error = match part.cancel.is_cancelled() {
        true => part.cancel.reason(),
        false => error,
    };
    if error.is_retryable() && lane.way.retries.attempts > 1 {
        return Missed::Later(error.report());
    }
    Missed::Failed(lane.explain(error, part.artifact))
}
