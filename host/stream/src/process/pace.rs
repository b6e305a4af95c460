//! How eagerly a pipe is read.
//!
//! Many tools write 4 KiB at a time. A reader that waits in the kernel is woken for each of these, which costs the tool
//! more than the writing. So when little came several times in a row, the reader lets the pipe fill for a moment: the
//! tool never waits for room in it, and each read takes many writes at once.

use std::os::fd::AsFd;
use std::time::Duration;

use super::child::PIPE_BYTES;

/// A read of fewer bytes than this is little: what a tool writes in a moment at 500 MB/s.
const LITTLE_BYTES: usize = 256 << 10;

/// How many such reads in a row make a habit. A tool that writes now and then isn't kept waiting.
const IN_A_ROW: u32 = 8;

/// How long the pipe may fill. A tool that writes less than 2 GB/s doesn't fill it in this time.
const MOMENT: Duration = Duration::from_micros(500);

/// The pace at which one pipe is read.
#[derive(Debug)]
pub(super) struct Pace {
    /// Whether the pipe has the room that a moment needs: the system may have refused it.
    is_roomy: bool,
    little_in_a_row: u32,
}

impl Pace {
    pub(super) fn of(pipe: impl AsFd) -> Self {
        Pace {
            is_roomy: rustix::pipe::fcntl_getpipe_size(pipe).is_ok_and(|bytes| bytes >= PIPE_BYTES),
            little_in_a_row: 0,
        }
    }

    /// After a read that gave so much.
    pub(super) fn after(&mut self, bytes: usize) {
        if bytes >= LITTLE_BYTES {
            self.little_in_a_row = 0;
            return;
        }
        self.little_in_a_row += 1;
        if self.is_roomy && self.little_in_a_row >= IN_A_ROW {
            std::thread::sleep(MOMENT);
        }
    }
}
