//! Reads what a program says of how far it is, on the way to whoever keeps its output.

use std::io::{self, Read};
use std::sync::Arc;

use crate::context::Meter;

/// Longest line that is looked at, in bytes; of a longer one its start.
const LINE_BYTES: usize = 4096;

/// A program's output, whose every line may say how many bytes it has copied by then.
#[derive(Debug)]
pub(super) struct Follow<R> {
    inner: R,
    /// What stands before the number; nothing if no line has one.
    mark: Option<String>,
    meter: Arc<Meter>,
    line: Vec<u8>,
    done_bytes: u64,
}

impl<R> Follow<R> {
    pub(super) fn new(inner: R, mark: Option<&str>, meter: Arc<Meter>) -> Self {
        Follow {
            inner,
            mark: mark.map(str::to_owned),
            meter,
            line: Vec::new(),
            done_bytes: 0,
        }
    }

    fn look(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                self.end_line();
            } else if self.line.len() < LINE_BYTES {
                self.line.push(*byte);
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let number = self.mark.as_deref().and_then(|mark| number_after(&line, mark));
        if let Some(done) = number.filter(|done| *done > self.done_bytes) {
            self.meter.add_bytes(done - self.done_bytes);
            self.done_bytes = done;
        }
        self.line.clear();
    }
}

/// The number that follows a mark; at the start of the line if the mark is empty.
fn number_after(line: &str, mark: &str) -> Option<u64> {
    let (_, rest) = line.split_once(mark)?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

impl<R: Read> Read for Follow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.meter.tick();
        self.look(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn followed(output: &str, mark: &str) -> u64 {
        let meter = Arc::<Meter>::default();
        let mut follow = Follow::new(output.as_bytes(), Some(mark), Arc::clone(&meter));
        io::copy(&mut follow, &mut io::sink()).unwrap();
        meter.bytes.load(Ordering::Relaxed)
    }

    #[test]
    fn the_newest_number_counts() {
        assert_eq!(
            followed("\r   32768  10% 1.00MB/s\r  65536  20% 2.00MB/s\n total 7\n", ""),
            65536
        );
        assert_eq!(
            followed(
                "{\"percent_done\":0.5,\"bytes_done\":700,\"x\":1}\n",
                "\"bytes_done\":"
            ),
            700
        );
        assert_eq!(followed("no number\n-5\n", ""), 0);
    }
}
