//! Stores what a run has at its destinations: in which order, and when it counts.
//!
//! Destinations that take an artifact as a stream get it from one reading ([`crate::fan`]). Those that keep it as files, or
//! could not take part, get it afterwards, one after the other, from the recipe. A critical backup counts as soon as it
//! is whole: it waits for no optional one. The source is released when nothing more is to be read.

use std::pin::pin;
use std::time::Duration;

use backstay_model::event::Level;
use backstay_model::manifest::StoredArtifact;
use backstay_model::run::Warning;
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Content, Offered};
use backstay_stream::Context;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;

use crate::Engine;
use crate::backup::Gathered;
use crate::commit::{Goal, Told};
use crate::fan::{Ended, Missed};
use crate::lanes::{Holding, Lane, Slot};
use crate::recorder::Recorder;
use crate::undo::Committed;

/// A destination that takes this many times `timeouts.stall` without a byte has failed.
const STALLS: u32 = 10;

/// What is being done for the destinations of a run.
pub(crate) struct Delivery<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) lanes: &'a [Lane<'a>],
    pub(crate) recorder: &'a Recorder,
    /// Of readings for several.
    pub(crate) context: &'a Context,
    /// How long an optional destination is waited for at a time.
    pub(crate) patience: Duration,
    pub(crate) holdings: Vec<Holding>,
    pub(crate) under_way: FuturesUnordered<BoxFuture<'a, Ended>>,
    gathered: &'a mut Gathered,
    started: Timestamp,
    is_released: bool,
    /// Of what was read for several.
    shared: (Vec<Warning>, u64),
    /// Of releasing the source.
    released: Vec<Warning>,
}

impl Engine {
    /// Stores all artifacts and their manifests at all destinations, and puts the backups into the catalogue.
    pub(crate) async fn store_everywhere(
        &self,
        goals: Vec<Goal<'_>>,
        artifacts: &[Offered],
        context: &Context,
        recorder: &Recorder,
        gathered: &mut Gathered,
    ) -> Result<()> {
        let Some(patience) = goals.first().map(|goal| goal.job.spec.timeouts.stall.duration()) else {
            return Ok(());
        };
        let (cancel, _link) = context.cancel.link();
        let context = Context {
            cancel,
            ..context.clone()
        };
        let (mut lanes, mut holdings) = (Vec::new(), Vec::new());
        for goal in goals {
            let (lane, holding) = self.lane(goal, artifacts, &context, recorder).await?;
            lanes.push(lane);
            holdings.push(holding);
        }
        let mut delivery = Delivery {
            engine: self,
            lanes: &lanes,
            recorder,
            context: &context,
            patience,
            holdings,
            under_way: FuturesUnordered::new(),
            gathered,
            started: self.clock.now(),
            is_released: false,
            shared: (Vec::new(), 0),
            released: Vec::new(),
        };
        let result = Box::pin(delivery.store()).await;
        if let Err(error) = &result {
            // What is still under way must have ended before any of it is undone.
            context.cancel.cancel(error);
            while delivery.under_way.next().await.is_some() {}
            for lane in &lanes {
                let (warnings, more) = lane.notes().take();
                context.notes.add(warnings, more);
            }
        }
        result
    }
}

impl<'a> Delivery<'a> {
    async fn store(&mut self) -> Result<()> {
        self.store_first().await?;
        self.shared = self.context.notes.take();
        self.tell(&self.shared.0.clone());
        self.release().await?;
        let mut failed = None;
        for index in self.unsealed(|lane, holding| !lane.is_optional() && holding.is_whole()) {
            if let Err(error) = Box::pin(self.seal(index)).await {
                self.context.cancel.check()?;
                if index == 0 {
                    return Err(error);
                }
                failed.get_or_insert(error);
            }
        }
        self.end_optional().await;
        self.release().await?;
        // What is whole needs nothing more; what isn't may need long.
        for index in self.unsealed(|_, holding| holding.is_whole()) {
            let sealed = Box::pin(self.seal(index)).await;
            self.excuse(index, sealed)?;
        }
        let mut rest = self.unsealed(|_, _| true);
        rest.sort_by_key(|index| self.lanes[*index].is_optional());
        for index in rest {
            let stored = self.store_rest(index).await;
            self.holdings[index].is_given_up = stored.is_err();
            self.release().await?;
            let sealed = match stored {
                Ok(()) => Box::pin(self.seal(index)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = self.excuse(index, sealed) {
                self.context.cancel.check()?;
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Waits for optional destinations that are under way still. One that doesn't end is ended: nobody else would notice,
    /// because nothing is read any more.
    async fn end_optional(&mut self) {
        let limit = self.patience * STALLS;
        loop {
            match tokio::time::timeout(limit, self.under_way.next()).await {
                Ok(Some(ended)) => self.note(ended),
                Ok(None) => return,
                Err(_) => {
                    let message = format!("it did not end within {} s after its last byte", limit.as_secs());
                    let error = Error::new(Code::Storage, message)
                        .hint("raise `timeouts.stall`, a tenth of that time, or find out what it waits for");
                    for cancel in self.holdings.iter().filter_map(|holding| holding.busy.as_ref()) {
                        cancel.cancel(&error);
                    }
                }
            }
        }
    }

    /// Stores each artifact at the first destination, and at all that can take it from the same reading.
    async fn store_first(&mut self) -> Result<()> {
        let lanes = self.lanes;
        let Some(first) = lanes.first() else {
            return Ok(());
        };
        for (artifact, offered) in first.artifacts.iter().enumerate() {
            let members = self.members(artifact)?;
            if members.len() > 1 {
                self.read_for(members, artifact).await?;
                continue;
            }
            let copied = self.engine.copy(&first.way, offered);
            let copied = self.meanwhile(copied).await;
            let stored = copied.map_err(|error| first.explain(error, artifact))?;
            self.keep(0, artifact, stored);
        }
        Ok(())
    }

    /// The destinations that can take an artifact as the same stream as the first, which is among them.
    fn members(&mut self, artifact: usize) -> Result<Vec<usize>> {
        let mut members = Vec::new();
        for (index, (lane, holding)) in self.lanes.iter().zip(&mut self.holdings).enumerate() {
            let Some(offered) = lane.artifacts.get(artifact) else {
                continue;
            };
            let shape = match lane.way.shape(offered) {
                Ok(shape) => shape,
                Err(error) if index == 0 => return Err(lane.explain(error, artifact)),
                Err(error) => {
                    holding.failed.get_or_insert(lane.explain(error, artifact));
                    continue;
                }
            };
            match shape.content {
                Content::Tree(_) if index == 0 => return Ok(vec![0]),
                Content::Stream(_) if holding.busy.is_some() => {
                    holding.slots[artifact] = Slot::Later;
                    let what = format!("{} is not done with the one before", lane.name());
                    self.recorder.say(Level::Info, "host", later(&what));
                }
                Content::Stream(_) if holding.failed.is_none() => members.push(index),
                _ => {}
            }
        }
        Ok(members)
    }

    /// Stores at a destination what isn't there yet, each artifact from a reading of its own.
    async fn store_rest(&mut self, index: usize) -> Result<()> {
        let lanes = self.lanes;
        let lane = &lanes[index];
        if let Some(error) = self.holdings[index].failed.take() {
            return Err(error);
        }
        let leftover = std::mem::take(&mut self.holdings[index].leftover);
        if !leftover.is_empty() {
            let mut entries = self.engine.store.entries(lane.run.run_id).await?;
            entries.retain(|entry| leftover.contains(&entry.id));
            // What can't be undone stays, and is said when the run ends.
            self.engine
                .settle_entries(&lane.run, entries, &Committed::default(), self.recorder)
                .await?;
        }
        self.started = self.engine.clock.now();
        for (artifact, offered) in lane.artifacts.iter().enumerate() {
            if matches!(self.holdings[index].slots[artifact], Slot::Stored(_)) {
                continue;
            }
            let copied = self.engine.copy(&lane.way, offered).await;
            let stored = copied.map_err(|error| lane.explain(error, artifact))?;
            self.keep(index, artifact, stored);
        }
        Ok(())
    }

    fn keep(&mut self, index: usize, artifact: usize, stored: StoredArtifact) {
        self.holdings[index].slots[artifact] = Slot::Stored(Box::new(stored));
        if self.holdings[index].is_whole() {
            let plugin = &self.lanes[index].goal.spec.plugin;
            let stage = self.engine.stage(&format!("store at {plugin}"), self.started);
            self.holdings[index].stage = Some(stage);
        }
    }

    /// Takes note of what ended.
    pub(crate) fn note(&mut self, ended: Ended) {
        let Ended {
            lane: index,
            artifact,
            result,
            leftover,
        } = ended;
        let lane = &self.lanes[index];
        self.holdings[index].busy = None;
        match result {
            Ok(stored) => self.keep(index, artifact, stored),
            Err(Missed::Failed(error)) => self.holdings[index].failed = Some(error),
            Err(Missed::Cut) => {}
            Err(Missed::Later(why)) => {
                self.recorder
                    .say(Level::Warn, "host", later(&format!("{}: {why}", lane.name())));
                self.holdings[index].slots[artifact] = Slot::Later;
            }
        }
        self.holdings[index].leftover.extend(leftover);
    }

    /// Does something while what is under way goes on.
    pub(crate) async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                Some(ended) = self.under_way.next() => self.note(ended),
            }
        }
    }

    /// Makes a whole backup count.
    async fn seal(&mut self, index: usize) -> Result<()> {
        let lanes = self.lanes;
        let lane = &lanes[index];
        let (mut warnings, mut more_warnings) = self.shared.clone();
        let (own, more) = lane.notes().take();
        self.tell(&own);
        warnings.extend(own.into_iter().filter(|w| !self.shared.0.contains(w)));
        more_warnings += more;
        warnings.extend(self.released.iter().cloned());
        self.gathered.stages.extend(self.holdings[index].stage.take());
        self.gathered.stages.sort_by_key(|stage| stage.started_at);
        let stored = self.holdings[index].slots.iter_mut();
        let stored = stored.filter_map(|slot| match std::mem::take(slot) {
            Slot::Stored(stored) => Some(*stored),
            _ => None,
        });
        let stored = stored.collect();
        self.holdings[index].is_sealed = true;
        let told = Told {
            warnings,
            more_warnings,
            stages: self.gathered.stages.clone(),
        };
        let sealing = self.engine.seal(lane, stored, told);
        let backup = Box::pin(self.meanwhile(sealing)).await?;
        // What is warned of while the manifest is stored comes too late for that, and not for the run.
        let (late, _) = lane.notes().take();
        self.tell(&late);
        self.gathered.backups.push(backup);
        self.gathered
            .backups
            .sort_by_key(|backup| backup.destination_index);
        Ok(())
    }

    /// Warns of an optional destination that has no backup, unless somebody cancelled.
    fn excuse(&mut self, index: usize, result: Result<()>) -> Result<()> {
        let lane = &self.lanes[index];
        self.holdings[index].is_sealed = true;
        let Err(error) = result else { return Ok(()) };
        if !lane.is_optional() || self.context.cancel.is_cancelled() {
            return Err(error);
        }
        let message = format!(
            "the optional {} has no backup of this run: {}",
            lane.name(),
            error.report()
        );
        self.recorder.say(Level::Warn, "host", message.clone());
        self.gathered.warnings.push(Warning {
            code: "optional-destination".to_owned(),
            message,
            path: None,
        });
        Ok(())
    }

    /// Undoes what the source did to make its data quiet, once nothing more is to be read.
    async fn release(&mut self) -> Result<()> {
        if self.is_released || self.holdings.iter().any(Holding::wants) {
            return Ok(());
        }
        self.is_released = true;
        let lanes = self.lanes;
        let Some(base) = lanes.first().map(|lane| lane.goal.base) else {
            return Ok(());
        };
        let started = self.engine.clock.now();
        let releasing = self.engine.release_source(base, self.recorder);
        self.released = Box::pin(self.meanwhile(releasing)).await?;
        self.gathered.stages.push(self.engine.stage("release", started));
        self.gathered.warnings.extend(self.released.iter().cloned());
        Ok(())
    }

    /// Says warnings, and keeps them for the run, each once.
    fn tell(&mut self, warnings: &[Warning]) {
        for warning in warnings {
            if !self.gathered.warnings.contains(warning) {
                self.recorder.say(Level::Warn, "host", warning.message.clone());
                self.gathered.warnings.push(warning.clone());
            }
        }
    }

    fn unsealed(&self, which: impl Fn(&Lane<'_>, &Holding) -> bool) -> Vec<usize> {
        let all = self.lanes.iter().zip(&self.holdings).enumerate();
        let unsealed = all.filter(|(_, (lane, holding))| !holding.is_sealed && which(lane, holding));
        unsealed.map(|(index, _)| index).collect()
    }
}

fn later(what: &str) -> String {
    format!("{what}; it is stored on its own afterwards")
}
