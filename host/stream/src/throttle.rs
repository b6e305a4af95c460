//! Holds bytes back, so that a run, or all runs of a host together, store no more than so many a second.
//!
//! A [`Bucket`] says when bytes may go: each take moves the moment at which the next may follow, and a stream that was
//! slower than it may be gets at most [`BURST`] of that back. The bucket of a host is eight bytes in a file that all
//! processes share, under a lock which the kernel takes from a process that dies; so each running transfer gets what the
//! others leave, nobody counts them, and a crash needs no repair.
//!
//! Bytes go in slices of at most [`SLICE`] each, so that a new limit holds at once and waits are short.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backstay_model::rate::Rate;
use backstay_model::{Code, Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};

use crate::context::Context;

/// What a stream that was slower than its limit may make up for.
pub const BURST: Duration = Duration::from_millis(100);

/// What goes at once, as time at the limit.
pub const SLICE: Duration = Duration::from_millis(50);

/// The largest slice in bytes, whatever the limit.
const MOST_SLICE_BYTES: u64 = 256 << 10;

/// Nobody waits for longer than this in a sensible queue: a moment further ahead is of another time since boot.
const FURTHEST_AHEAD: Duration = Duration::from_secs(60);

/// Says when bytes may go. Moments are nanoseconds of a clock that never goes back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// When all that was taken has been paid for.
    free_at: u64,
}

impl Bucket {
    /// Takes `bytes` at `rate`, and says how long to wait before they may go.
    pub fn take(&mut self, now: u64, bytes: u64, rate: Rate) -> Duration {
        if self.free_at > now.saturating_add(nanoseconds(FURTHEST_AHEAD)) {
            self.free_at = now;
        }
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(rate.bytes_per_second());
        let start = self.free_at.max(now.saturating_sub(nanoseconds(BURST)));
        self.free_at = start.saturating_add(u64::try_from(cost).unwrap_or(u64::MAX));
        Duration::from_nanos(self.free_at.saturating_sub(now))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The most that may go at once under a limit.
fn slice_bytes(rate: Rate) -> u64 {
    let bytes = u128::from(rate.bytes_per_second()) * SLICE.as_nanos() / 1_000_000_000;
    u64::try_from(bytes)
        .unwrap_or(u64::MAX)
        .clamp(1, MOST_SLICE_BYTES)
}

/// The limits that a run is under: its own, and that of the host. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Throttle(Arc<Limits>);

#[derive(Debug, Default)]
struct Limits {
    own: Mutex<Bucket>,
    /// Bytes per second; 0 is no limit.
    own_rate: AtomicU64,
    host: Option<Mutex<File>>,
    host_rate: AtomicU64,
}

impl Throttle {
    /// No limits yet, with the host's bucket in a file that is made if need be.
    ///
    /// # Errors
    /// The file can't be opened.
    pub fn shared(file: &Path) -> Result<Self> {
        let host = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(file)
            .map_err(|e| Error::io("open", file, e))?;
        Ok(Throttle(Arc::new(Limits {
            host: Some(Mutex::new(host)),
            ..Limits::default()
        })))
    }

    /// Changes the limits, for what is under way too.
    pub fn set(&self, own: Option<Rate>, host: Option<Rate>) {
        let number = |rate: Option<Rate>| rate.map_or(0, Rate::bytes_per_second);
        self.0.own_rate.store(number(own), Ordering::Relaxed);
        self.0.host_rate.store(number(host), Ordering::Relaxed);
    }

    /// The limits now: of the run, and of the host.
    pub fn limits(&self) -> (Option<Rate>, Option<Rate>) {
        let rate = |number: &AtomicU64| Rate::new(number.load(Ordering::Relaxed));
        (rate(&self.0.own_rate), rate(&self.0.host_rate))
    }

    /// How many of `bytes` may go next. They go when [`Throttle::wait`] has returned.
    pub fn slice(&self, bytes: usize) -> usize {
        let (own, host) = self.limits();
        let most = own.into_iter().chain(host).map(slice_bytes).min();
        most.and_then(|most| usize::try_from(most).ok())
            .map_or(bytes, |most| bytes.min(most))
    }

    /// Waits until `bytes` may go. Waiting counts as movement, and ends at once when the run is cancelled.
    ///
    /// # Errors
    /// It was cancelled, or the file that the host's limit is shared by can't be used.
    pub fn wait(&self, bytes: usize, context: &Context) -> Result<()> {
        let (own, host) = self.limits();
        if own.is_none() && host.is_none() {
            return Ok(());
        }
        let (now, bytes) = (since_boot(), bytes as u64);
        let mut wait = Duration::ZERO;
        if let Some(rate) = own {
            let mut bucket = self.0.own.lock().unwrap_or_else(PoisonError::into_inner);
            wait = bucket.take(now, bytes, rate);
        }
        if let (Some(rate), Some(file)) = (host, &self.0.host) {
            let file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let shared = take_shared(&file, now, bytes, rate).map_err(|e| {
                Error::new(
                    Code::Environment,
                    "the limit of the host can't be shared with other runs",
                )
                .because(e)
            })?;
            wait = wait.max(shared);
        }
        sleep(wait, context)
    }

    /// A reader that gives no more than what the limits allow.
    pub fn reader<'a, R: Read>(&self, inner: &'a mut R, context: &Context) -> Throttled<'a, R> {
        Throttled {
            inner,
            context: context.clone(),
        }
    }
}

/// Takes from the bucket in a file. What is no number there is an empty bucket.
fn take_shared(file: &File, now: u64, bytes: u64, rate: Rate) -> io::Result<Duration> {
    flock(file, FlockOperation::LockExclusive)?;
    let mut stored = [0; 8];
    let taken = (|| {
        let n = file.read_at(&mut stored, 0)?;
        let mut bucket = Bucket {
            free_at: if n == stored.len() {
                u64::from_le_bytes(stored)
            } else {
                0
            },
        };
        let wait = bucket.take(now, bytes, rate);
        file.write_all_at(&bucket.free_at.to_le_bytes(), 0)?;
        Ok(wait)
    })();
    flock(file, FlockOperation::Unlock)?;
    taken
}

/// Nanoseconds since the machine started, time asleep included: the same in every process.
fn since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|n| u64::try_from(n).unwrap_or(0));
    seconds * 1_000_000_000 + nanoseconds
}

fn sleep(wait: Duration, context: &Context) -> Result<()> {
    context.cancel.check()?;
    if wait.is_zero() {
        return Ok(());
    }
    let until = Instant::now() + wait;
    let thread = std::thread::current();
    let _waker = context.cancel.on_cancel(move || thread.unpark());
    loop {
        context.cancel.check()?;
        context.meter.tick();
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        // In steps, so that a long wait in a queue isn't taken for a stall.
        std::thread::park_timeout(left.min(Duration::from_secs(1)));
    }
}

/// Gives no more than what the limits of its context allow.
#[derive(Debug)]
pub struct Throttled<'a, R> {
    inner: &'a mut R,
    context: Context,
}

impl<R: Read> Read for Throttled<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let throttle = &self.context.throttle;
        let most = throttle.slice(buffer.len());
        let n = self.inner.read(&mut buffer[..most])?;
        throttle.wait(n, &self.context)?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(bytes_per_second: u64) -> Rate {
        Rate::new(bytes_per_second).unwrap()
    }

    /// Streams that each take a slice, wait as told, then spend some time on it, on a clock of their own. Gives the bytes
    /// that went until `end`.
    fn run(streams: usize, end: u64, rate_at: impl Fn(u64) -> Rate, busy: impl Fn(usize) -> u64) -> u64 {
        let mut bucket = Bucket::default();
        let start = 1_000 * SECOND;
        let mut at = vec![start; streams];
        let mut went = 0;
        let mut turn = 0;
        loop {
            let (next, now) = at.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap();
            let rate = rate_at(now - start);
            let bytes = slice_bytes(rate);
            let goes = now + nanoseconds(bucket.take(now, bytes, rate));
            if goes > start + end {
                return went;
            }
            went += bytes;
            turn += 1;
            at[next] = goes + busy(turn);
        }
    }

    #[track_caller]
    fn within_five_percent(went: u64, expected: u64) {
        assert!(
            went.abs_diff(expected) * 20 <= expected,
            "{went} instead of {expected}"
        );
    }

    #[test]
    fn ten_seconds_are_right_to_five_percent_at_any_rate_and_for_any_number_of_streams() {
        for bytes in [1_000, 64_000, 10_000_000, 10 << 20, 1 << 30, 20 << 30] {
            for streams in [1, 2, 7] {
                let went = run(streams, 10 * SECOND, |_| rate(bytes), |_| 0);
                within_five_percent(went, 10 * bytes);
            }
        }
    }

    #[test]
    fn ten_seconds_are_right_when_the_limit_changes_in_between() {
        for (before, after) in [(10_000_000, 2_000_000), (1_000_000, 50_000_000), (1_000, 1 << 30)] {
            let at = |now| rate(if now < 5 * SECOND { before } else { after });
            let went = run(3, 10 * SECOND, at, |_| 0);
            within_five_percent(went, 5 * (before + after));
        }
    }

    #[test]
    fn a_stream_that_stumbles_makes_up_for_it_but_never_for_more_than_a_burst() {
        // Twenty milliseconds of something else after each slice.
        let went = run(1, 10 * SECOND, |_| rate(1_000_000), |_| SECOND / 50);
        within_five_percent(went, 10_000_000);
        // Nine seconds of silence.
        let mut bucket = Bucket::default();
        let rate = rate(1_000_000);
        assert_eq!(bucket.take(9 * SECOND, 100_000, rate), Duration::ZERO);
        assert_eq!(bucket.take(9 * SECOND, 100_000, rate), Duration::from_millis(100));
    }

    #[test]
    fn what_was_taken_before_the_machine_started_again_is_forgotten() {
        let mut bucket = Bucket {
            free_at: 1_000_000 * SECOND,
        };
        assert!(bucket.take(5 * SECOND, 50_000, rate(1_000_000)) <= Duration::from_millis(50));
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_a_burst(
            takes in prop::collection::vec((0..SECOND / 4, 1..50_000u64), 1..300),
        ) {
            let rate = rate(1_000_000);
            let mut bucket = Bucket::default();
            let start = 1_000 * SECOND;
            let (mut now, mut went) = (start, 0);
            for (pause, bytes) in takes {
                now += pause;
                now += nanoseconds(bucket.take(now, bytes, rate));
                went += bytes;
                // A microsecond for what is rounded.
                let most = (now - start + nanoseconds(BURST)) / 1_000 + 301;
                prop_assert!(went <= most, "{} after {} ns", went, now - start);
            }
        }
    }

    #[test]
    fn two_processes_share_one_bucket_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bandwidth");
        let files = [(); 2].map(|()| {
            let throttle = Throttle::shared(&path).unwrap();
            Arc::try_unwrap(throttle.0)
                .unwrap()
                .host
                .unwrap()
                .into_inner()
                .unwrap()
        });
        let now = since_boot();
        let mut last = Duration::ZERO;
        for turn in 0..10 {
            last = take_shared(&files[turn % 2], now, 100_000, rate(1_000_000)).unwrap();
        }
        assert_eq!(last, Duration::from_secs(1) - BURST);
        // Half a number, as no crash can leave it, is no number.
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(
            take_shared(&files[0], now, 1, rate(1_000_000)).unwrap(),
            Duration::ZERO
        );
    }

    #[test]
    fn a_wait_ends_at_once_when_cancelled_and_counts_as_movement() {
        let context = Context::default();
        context.throttle.set(Rate::new(1_000), None);
        assert_eq!(context.throttle.slice(1 << 20), 50);
        let (cancel, ticks) = (context.cancel.clone(), Arc::clone(&context.meter));
        let waiting = std::thread::spawn(move || context.throttle.wait(1 << 30, &context));
        while ticks.ticks.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        cancel.cancel(&Error::new(Code::Cancelled, "enough"));
        assert_eq!(waiting.join().unwrap().unwrap_err().report(), "enough");
    }
}
