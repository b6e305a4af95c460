//! Reads what a child says to its end and keeps a part of it.

use std::io::Read;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay_model::{Code, Error, Result};

/// How long to wait for the end of what an ended child said. Only a process that left the child's
/// group and kept its pipe open makes it longer than no time at all.
const END: Duration = Duration::from_secs(1);

/// Which part is kept.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// The first so many bytes.
    First(usize),
    /// The last so many bytes.
    Last(usize),
}

/// What is being kept.
#[derive(Debug)]
pub struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    done: Receiver<()>,
}

/// Starts to read on a thread of its own.
///
/// # Errors
/// The thread can't be started.
pub fn keep(mut from: impl Read + Send + 'static, part: Part) -> Result<Kept> {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (ended, done) = sync_channel(1);
    let kept = Arc::clone(&bytes);
    std::thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(n) = from.read(&mut buffer) {
                if n == 0 {
                    break;
                }
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                match part {
                    Part::First(most) => {
                        let room = most.saturating_sub(kept.len());
                        kept.extend_from_slice(&buffer[..n.min(room)]);
                    }
                    Part::Last(most) => {
                        kept.extend_from_slice(&buffer[..n]);
                        let surplus = kept.len().saturating_sub(most);
                        kept.drain(..surplus);
                    }
                }
            }
            // Nobody waits any more if this fails.
            let _ = ended.send(());
        })
        .map_err(|e| {
            Error::new(Code::Environment, "cannot start a thread")
                .because(e)
                .retryable()
        })?;
    Ok(Kept { bytes, done })
}

impl Kept {
    /// What was kept, once the child has ended.
    pub fn take(self) -> Vec<u8> {
        // A timeout is fine: what came by then is what there is.
        let _ = self.done.recv_timeout(END);
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
