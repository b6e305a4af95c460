//! The calls at which a command is killed, one after the other.

/// Far more than it takes to get to the end.
const MOST_TURNS: u32 = 80;

/// Numbers of calls: the first, then later ones for as long as the command was killed.
///
/// Calls are counted for each thread, and it is chance which of a command's threads makes one. So it begins again at
/// the first until enough commands were killed.
#[derive(Debug)]
pub struct Turns {
    least: u32,
    step: u32,
    number: u32,
    killed: u32,
    turns: u32,
}

impl Turns {
    /// Ends when the command gets to its end and was killed at least so many times.
    pub fn of(least: u32) -> Turns {
        Turns {
            least,
            step: 1,
            number: 1,
            killed: 0,
            turns: 0,
        }
    }

    /// Takes only each so many-th call.
    #[must_use]
    pub fn every(self, step: u32) -> Turns {
        Turns { step, ..self }
    }

    /// How often it was killed.
    pub fn killed(&self) -> u32 {
        self.killed
    }

    /// Notes whether the command was killed, and returns that.
    pub fn note(&mut self, killed: bool) -> bool {
        self.killed += u32::from(killed);
        self.number = match killed {
            true => self.number + self.step,
            false if self.killed < self.least => 1,
            false => 0,
        };
        killed
    }
}

impl Iterator for Turns {
    type Item = u32;

    /// The number of the call to kill the command at, until [`Turns::note`] has heard enough.
    ///
    /// # Panics
    /// It never gets to its end, or can't be killed so often.
    fn next(&mut self) -> Option<u32> {
        self.turns += 1;
        assert!(
            self.turns <= MOST_TURNS,
            "no end after {MOST_TURNS} times, {} of them killed",
            self.killed
        );
        (self.number > 0).then_some(self.number)
    }
}
