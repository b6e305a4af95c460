//! What to do about due times now: run, skip, or wait.

use jiff::Timestamp;

use super::{Missed, Timetable};

/// What is to be done at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before this instant; for ever if there is none.
    Wait(Option<Timestamp>),
    /// Run for this due time. It and all before it are then considered.
    Run {
        /// The newest due time that has passed.
        due: Timestamp,
        /// The oldest one that this run makes up for, if it comes late or others were missed before it.
        missed_since: Option<Timestamp>,
    },
    /// Don't run for this due time. It and all before it are then considered.
    Skip {
        /// The newest due time that has passed.
        due: Timestamp,
        /// The oldest one that was missed.
        missed_since: Timestamp,
    },
}

impl Timetable {
    /// What is to be done at `now`, if everything up to `considered` has been dealt with.
    ///
    /// It holds for any two instants. After a sleep, a power cut or a clock put forward, the newest due time in between
    /// decides: it is on time if no later than the grace, else missed; older ones are never run for on their own.
    ///
    /// Whoever notices that the clock was put back takes that instant for `considered`, else nothing is due before it
    /// is where it was. The due times that come again are the same ones, so a list of them tells which had their run.
    pub fn decide(&self, considered: Timestamp, now: Timestamp) -> Decision {
        let Some(first) = self.next_after(considered.min(now)) else {
            return Decision::Wait(None);
        };
        if self.start_of(first) > now {
            return Decision::Wait(Some(self.start_of(first)));
        }
        let due = self.last_started(first, now);
        let is_late = self.is_late(due, now);
        let missed_since = (is_late || due != first).then_some(first);
        if !is_late {
            return Decision::Run { due, missed_since };
        }
        match (self.missed, &self.window) {
            (Missed::Skip, _) => Decision::Skip {
                due,
                missed_since: first,
            },
            (Missed::Window, Some(window)) if !window.contains(now, &self.zone) => {
                let opens = window.opens_after(now, &self.zone);
                let next = self.next_after(now).map(|due| self.start_of(due));
                Decision::Wait(opens.into_iter().chain(next).min())
            }
            (Missed::RunOnce | Missed::Window, _) => Decision::Run { due, missed_since },
        }
    }

    /// Whether a run for `due` that was put into the queue may start at `now`: always, unless it has become late there
    /// and is to be made up for inside a window only.
    pub fn may_start(&self, due: Timestamp, now: Timestamp) -> bool {
        match (self.missed, &self.window) {
            (Missed::Window, Some(window)) => !self.is_late(due, now) || window.contains(now, &self.zone),
            _ => true,
        }
    }

    fn is_late(&self, due: Timestamp, now: Timestamp) -> bool {
        now.duration_since(self.start_of(due)) > self.grace
    }

    /// The newest due time that has started by `now`, if `first` is one that has.
    fn last_started(&self, first: Timestamp, now: Timestamp) -> Timestamp {
        let mut due = self.last_due(first, now);
        // Jitter may put off the newest one.
        while due > first && self.start_of(due) > now {
            let before = due.as_second() - 1;
            let Ok(before) = Timestamp::from_second(before) else {
                return first;
            };
            due = self.last_due(first, before);
        }
        due
    }

    /// The newest due time until `until`, if `first` is the oldest: halves the time in between until none is left.
    fn last_due(&self, first: Timestamp, until: Timestamp) -> Timestamp {
        let mut due = first;
        let mut end = until.as_second();
        while due.as_second() < end {
            let middle = due.as_second() + (end - due.as_second()) / 2;
            let next = Timestamp::from_second(middle)
                .ok()
                .and_then(|middle| self.next_after(middle));
            match next {
                Some(next) if next <= until => due = next,
                _ => end = middle,
            }
        }
        due
    }
}
