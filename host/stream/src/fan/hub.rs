//! What the ends of a reading share: how each of them stands, and the blocks that it has yet to take.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backstay_model::{Code, Error, Result};

use super::Member;
use crate::blocks::Block;
use crate::context::{Cancel, Context};
use crate::pump::Completed;

/// How far an optional place may be behind the slowest critical one, in blocks.
pub(super) const LAG_BLOCKS: usize = 32;

/// How often somebody who waits looks whether all was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// Why a reading went on without a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// It didn't ask for the bytes in time.
    Late,
    /// It took them too slowly.
    Slow,
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lag::Late => "it was not ready in time",
            Lag::Slow => "it is too slow to take part",
        })
    }
}

/// What comes next at one end.
pub(crate) enum Next {
    /// More bytes.
    Block(Arc<Block>),
    /// All is taken, everywhere that counts, and the source ended well.
    Commit(Arc<Completed>),
}

#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    changed: Condvar,
    /// Thrown when the reading failed, with the cause.
    failed: Cancel,
}

#[derive(Debug)]
struct State {
    ends: Vec<End>,
    /// Nothing more is read, and all of it was good.
    completed: Option<Arc<Completed>>,
    culprit: Option<usize>,
}

#[derive(Debug)]
struct End {
    member: Member,
    standing: Standing,
    queue: VecDeque<Arc<Block>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Awaited,
    Taking,
    /// Its sink took everything.
    Written,
    Behind(Lag),
    Out,
}

impl End {
    fn is_critical(&self, standing: Standing) -> bool {
        !self.member.optional && self.standing == standing
    }

    fn is_optional(&self, standing: Standing) -> bool {
        self.member.optional && self.standing == standing
    }

    /// The reading goes on without it. What stops it is to be thrown when nothing is locked.
    fn leave_behind(&mut self, lag: Lag) -> (Cancel, Lag) {
        self.standing = Standing::Behind(lag);
        self.queue.clear();
        (self.member.cancel.clone(), lag)
    }
}

impl State {
    /// Whether the ends may commit.
    fn verdict(&self) -> Option<&Arc<Completed>> {
        let all = self
            .ends
            .iter()
            .all(|end| end.member.optional || end.standing == Standing::Written);
        self.completed.as_ref().filter(|_| all)
    }

    /// Leaves behind who would hold the others up.
    fn shed(&mut self) -> Vec<(Cancel, Lag)> {
        if self.completed.is_some() {
            return Vec::new();
        }
        let critical = self.ends.iter().filter(|end| end.is_critical(Standing::Taking));
        let slowest = critical.map(|end| end.queue.len()).max().unwrap_or(0);
        self.ends
            .iter_mut()
            .filter(|end| end.is_optional(Standing::Taking) && end.queue.len() > slowest + LAG_BLOCKS)
            .map(|end| end.leave_behind(Lag::Slow))
            .collect()
    }
}

impl Hub {
    pub(super) fn new(members: Vec<Member>) -> Self {
        let end = |member| End {
            member,
            standing: Standing::Awaited,
            queue: VecDeque::new(),
        };
        Hub {
            state: Mutex::new(State {
                ends: members.into_iter().map(end).collect(),
                completed: None,
                culprit: None,
            }),
            changed: Condvar::new(),
            failed: Cancel::default(),
        }
    }

    /// How many blocks an optional end may keep from the others.
    pub(super) fn lag_blocks(&self) -> usize {
        let has_optional = self.lock().ends.iter().any(|end| end.member.optional);
        if has_optional { LAG_BLOCKS } else { 0 }
    }

    /// An end asks for the bytes.
    pub(super) fn join(&self, index: usize) -> Result<()> {
        self.failed.check()?;
        let mut state = self.lock();
        let end = state.end(index)?;
        match end.standing {
            Standing::Awaited => {
                end.standing = Standing::Taking;
                self.changed.notify_all();
                Ok(())
            }
            Standing::Behind(lag) => Err(behind(lag)),
            _ => Err(Error::internal("a stream was asked for twice")),
        }
    }

    /// Waits until every end has asked for the bytes, or is not waited for any more.
    pub(super) fn gather(&self, context: &Context, patience: Duration) -> Result<()> {
        let mut state = self.lock();
        let mut since = None;
        loop {
            context.cancel.check()?;
            self.failed.check()?;
            let is_awaited = |end: &End| end.standing == Standing::Awaited;
            if !state.ends.iter().any(is_awaited) {
                return Ok(());
            }
            if !state.ends.iter().any(|end| end.is_critical(Standing::Awaited))
                && since.get_or_insert_with(Instant::now).elapsed() >= patience
            {
                let late = state.ends.iter_mut().filter(|end| is_awaited(end));
                let late = late.map(|end| end.leave_behind(Lag::Late)).collect();
                drop(state);
                stop(late);
                return Ok(());
            }
            state = self.wait(state);
        }
    }

    /// Hands a block to all who take part.
    pub(super) fn push(&self, block: &Arc<Block>) -> Result<()> {
        let mut state = self.lock();
        self.failed.check()?;
        let taking = state
            .ends
            .iter_mut()
            .filter(|end| end.standing == Standing::Taking);
        taking.for_each(|end| end.queue.push_back(Arc::clone(block)));
        let behind = state.shed();
        drop(state);
        self.changed.notify_all();
        stop(behind);
        Ok(())
    }

    /// Nothing more comes, and all that came is good.
    pub(super) fn complete(&self, proof: &Completed) -> Result<()> {
        let mut state = self.lock();
        self.failed.check()?;
        state.completed = Some(proof.share());
        self.changed.notify_all();
        Ok(())
    }

    /// The reading fails, unless all was read.
    pub(super) fn fail(&self, cause: &Error) {
        let state = self.lock();
        if state.completed.is_none() {
            self.end(state, None, cause);
        }
    }

    /// What comes next at an end; waits for it.
    pub(super) fn next(&self, index: usize, context: &Context) -> Result<Next> {
        let mut state = self.lock();
        loop {
            context.cancel.check()?;
            self.failed.check()?;
            let is_read = state.completed.is_some();
            let end = state.end(index)?;
            match end.standing {
                Standing::Taking => {
                    if let Some(block) = end.queue.pop_front() {
                        let behind = state.shed();
                        drop(state);
                        stop(behind);
                        return Ok(Next::Block(block));
                    }
                    if is_read {
                        end.standing = Standing::Written;
                        self.changed.notify_all();
                        continue;
                    }
                }
                Standing::Written => {
                    if let Some(proof) = state.verdict() {
                        return Ok(Next::Commit(Arc::clone(proof)));
                    }
                }
                Standing::Behind(lag) => return Err(behind(lag)),
                Standing::Awaited | Standing::Out => {
                    return Err(Error::internal(
                        "a stream was read by somebody who doesn't take part",
                    ));
                }
            }
            state = self.wait(state);
        }
    }

    /// An end doesn't take any more.
    pub(super) fn leave(&self, index: usize, cause: &Error) {
        let mut state = self.lock();
        let is_decided = state.verdict().is_some();
        let Ok(end) = state.end(index) else { return };
        if matches!(end.standing, Standing::Out | Standing::Behind(_))
            || (is_decided && end.standing == Standing::Written)
        {
            return;
        }
        end.standing = Standing::Out;
        end.queue.clear();
        if end.member.optional {
            self.changed.notify_all();
        } else {
            self.end(state, Some(index), cause);
        }
    }

    pub(super) fn left_behind(&self, index: usize) -> Option<Lag> {
        match self.lock().end(index).ok()?.standing {
            Standing::Behind(lag) => Some(lag),
            _ => None,
        }
    }

    pub(super) fn culprit(&self) -> Option<usize> {
        self.lock().culprit
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    /// Ends the reading for all, once, and stops all but whoever is the cause and has more to say about it.
    fn end(&self, mut state: MutexGuard<'_, State>, culprit: Option<usize>, cause: &Error) {
        if self.failed.is_cancelled() {
            return;
        }
        self.failed.cancel(cause);
        state.culprit = culprit;
        let mut others = Vec::new();
        for (index, end) in state.ends.iter_mut().enumerate() {
            end.queue.clear();
            if Some(index) != culprit {
                others.push(end.member.cancel.clone());
            }
        }
        drop(state);
        self.changed.notify_all();
        for cancel in others {
            cancel.cancel(cause);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, LOOK);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl State {
    fn end(&mut self, index: usize) -> Result<&mut End> {
        self.ends
            .get_mut(index)
            .ok_or_else(|| Error::internal("a reading has no such end"))
    }
}

/// Stops what is done for those whom the reading goes on without.
fn stop(left: Vec<(Cancel, Lag)>) {
    for (cancel, lag) in left {
        cancel.cancel(&behind(lag));
    }
}

fn behind(lag: Lag) -> Error {
    Error::new(Code::Cancelled, lag.to_string())
}
