//! One destination of a run on its way: what goes there, and what is there by now.

use backstay_model::manifest::{Stage, StoredArtifact};
use backstay_model::{Error, Result};
use backstay_plugin::{Offered, RunScope};
use backstay_stream::context::Cancel;
use backstay_stream::{Context, Notes};
use uuid::Uuid;

use crate::Engine;
use crate::commit::{Goal, name_artifact};
use crate::copy::Way;
use crate::recorder::Recorder;

/// One destination, and what goes there.
pub(crate) struct Lane<'a> {
    pub(crate) goal: Goal<'a>,
    /// Of the backup.
    pub(crate) id: Uuid,
    pub(crate) way: Way<'a>,
    pub(crate) run: RunScope,
    /// With the bases that they have there.
    pub(crate) artifacts: Vec<Offered>,
}

impl Lane<'_> {
    pub(crate) fn is_optional(&self) -> bool {
        self.goal.spec.optional
    }

    /// For a person.
    pub(crate) fn name(&self) -> String {
        format!("destination {} ({})", self.goal.index, self.goal.spec.plugin)
    }

    /// Warnings of what is done for it alone.
    pub(crate) fn notes(&self) -> &Notes {
        &self.way.scope.context.notes
    }

    /// Says which artifact it was that failed.
    pub(crate) fn explain(&self, error: Error, artifact: usize) -> Error {
        match self.artifacts.get(artifact) {
            Some(of) => name_artifact(error, &of.name, self.artifacts.len()),
            None => error,
        }
    }
}

/// What of an artifact is at a destination.
#[derive(Debug, Default)]
pub(crate) enum Slot {
    #[default]
    Missing,
    /// It could not take part in a reading, and gets its own.
    Later,
    Stored(Box<StoredArtifact>),
}

/// What there is at a destination.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) slots: Vec<Slot>,
    /// Why there will be no backup.
    pub(crate) failed: Option<Error>,
    /// Ends what is under way there, if something is.
    pub(crate) busy: Option<Cancel>,
    /// Journal entries of what it began and didn't end.
    pub(crate) leftover: Vec<i64>,
    /// How long it took to store the artifacts.
    pub(crate) stage: Option<Stage>,
    pub(crate) is_sealed: bool,
    pub(crate) is_given_up: bool,
}

impl Holding {
    pub(crate) fn is_whole(&self) -> bool {
        self.slots.iter().all(|slot| matches!(slot, Slot::Stored(_)))
    }

    /// Whether it still needs the source.
    pub(crate) fn wants(&self) -> bool {
        self.busy.is_some() || !(self.is_whole() || self.is_given_up || self.failed.is_some())
    }
}

impl Engine {
    /// A destination that has nothing yet.
    ///
    /// # Errors
    /// It is the first, and can't have a backup.
    pub(crate) async fn lane<'a>(
        &self,
        goal: Goal<'a>,
        artifacts: &[Offered],
        context: &Context,
        recorder: &'a Recorder,
    ) -> Result<(Lane<'a>, Holding)> {
        let mut holding = Holding::default();
        let mut of_lane = Vec::new();
        for artifact in artifacts {
            let base = match artifact.base {
                Some(base) => self.base_at(base, goal.index).await.map(Some),
                None => Ok(None),
            };
            let base = match base {
                Ok(base) => base,
                Err(error) if goal.index == 0 => return Err(error),
                Err(error) => {
                    holding.failed = Some(error);
                    None
                }
            };
            of_lane.push(Offered {
                base,
                ..artifact.clone()
            });
            holding.slots.push(Slot::Missing);
        }
        let id = Uuid::now_v7();
        let run = RunScope {
            destination: Some(goal.index),
            ..goal.base.clone()
        };
        let context = Context {
            notes: Notes::default(),
            ..context.clone()
        };
        let spec = goal.spec;
        let listener = recorder.listener(&spec.plugin);
        let mut scope = self.scope(spec.config.clone(), Some(run.clone()), context, listener);
        scope.filters = goal.job.spec.filters.clone();
        let way = Way {
            plugin: goal.plugin,
            scope,
            prefix: format!("{}/{id}", goal.job.spec.name),
            retries: &goal.job.spec.retries,
            recorder,
        };
        let lane = Lane {
            goal,
            id,
            way,
            run,
            artifacts: of_lane,
        };
        Ok((lane, holding))
    }
}
