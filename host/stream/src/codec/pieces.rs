//! Compresses a stream in pieces, on several threads, and writes them in their order.
//!
//! For formats in which a piece doesn't need what came before it. Memory: for each thread and two more, a piece as it was
//! and as it became.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Appends one compressed piece to a buffer. Each thread has one of its own.
pub(super) type Step = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> io::Result<()> + Send>;

/// Pieces under way beyond one for each thread, so that no thread waits for the far end.
const AHEAD: usize = 2;

/// A stream that is compressed in pieces.
pub(super) struct Pieces<W: Write> {
    out: W,
    piece_bytes: usize,
    filling: Vec<u8>,
    sent_any: bool,
    most: usize,
    waiting: VecDeque<Receiver<Done>>,
    spare: Vec<(Vec<u8>, Vec<u8>)>,
    next_output: Vec<u8>,
    workers: Workers,
}

struct Piece {
    input: Vec<u8>,
    output: Vec<u8>,
    done: SyncSender<Done>,
}

struct Done {
    input: Vec<u8>,
    output: Vec<u8>,
    result: io::Result<()>,
}

/// Ends its threads when dropped; a piece under way is finished first.
struct Workers {
    pieces: Option<Sender<Piece>>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.pieces = None;
        for thread in self.threads.drain(..) {
            // What it was at is not wanted any more.
            let _ = thread.join();
        }
    }
}

impl<W: Write> Pieces<W> {
    /// Compresses pieces of `piece_bytes` on `threads` threads, each with a `step` of its own.
    ///
    /// # Errors
    /// A thread can't be started.
    pub(super) fn new(out: W, piece_bytes: usize, threads: u32, step: impl Fn() -> Step) -> io::Result<Self> {
        let (pieces, queue) = channel::<Piece>();
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = Workers {
            pieces: Some(pieces),
            threads: Vec::new(),
        };
        for _ in 0..threads.max(1) {
            let (queue, step) = (Arc::clone(&queue), step());
            let thread = std::thread::Builder::new()
                .name("compress".to_owned())
                .spawn(move || work(&queue, step))?;
            workers.threads.push(thread);
        }
        Ok(Pieces {
            out,
            piece_bytes,
            filling: Vec::new(),
            sent_any: false,
            most: workers.threads.len() + AHEAD,
            waiting: VecDeque::new(),
            spare: Vec::new(),
            next_output: Vec::new(),
            workers,
        })
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.filling.capacity() == 0 {
                self.filling.reserve_exact(self.piece_bytes);
            }
            let n = bytes.len().min(self.piece_bytes - self.filling.len());
            self.filling.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.filling.len() == self.piece_bytes {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Compresses what is left, and an empty piece if there was nothing at all.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.filling.is_empty() || !self.sent_any {
            self.send()?;
        }
        while let Some(first) = self.waiting.pop_front() {
            self.take(&first)?;
        }
        Ok(self.out)
    }

    fn send(&mut self) -> io::Result<()> {
        while self.waiting.len() >= self.most
            && let Some(first) = self.waiting.pop_front()
        {
            self.take(&first)?;
        }
        let (next_input, next_output) = self.spare.pop().unwrap_or_default();
        let (done, result) = sync_channel(1);
        let piece = Piece {
            input: std::mem::replace(&mut self.filling, next_input),
            output: std::mem::replace(&mut self.next_output, next_output),
            done,
        };
        let sent = self.workers.pieces.as_ref().map(|pieces| pieces.send(piece));
        if !matches!(sent, Some(Ok(()))) {
            return Err(io::Error::other("a thread that compresses is gone"));
        }
        self.sent_any = true;
        self.waiting.push_back(result);
        Ok(())
    }

    fn take(&mut self, piece: &Receiver<Done>) -> io::Result<()> {
        let Done {
            mut input,
            mut output,
            result,
        } = piece
            .recv()
            .map_err(|_| io::Error::other("a thread that compresses is gone"))?;
        result?;
        self.out.write_all(&output)?;
        input.clear();
        output.clear();
        self.spare.push((input, output));
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Piece>>, mut step: Step) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Piece {
            input,
            mut output,
            done,
        }) = next
        else {
            return;
        };
        let result = step(&input, &mut output);
        // Who no longer waits for it has failed already.
        let _ = done.send(Done {
            input,
            output,
            result,
        });
    }
}
