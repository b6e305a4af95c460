//! Looks at a run from outside: shows how far it is, saves its events, and ends it when it stalls, takes too long, or
//! somebody wants it to end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use backstay_model::event::Level;
use backstay_model::job::Timeouts;
use backstay_model::run::Progress;
use backstay_model::{Code, Error};
use backstay_stream::Context;

use crate::recorder::Recorder;

/// How often progress is shown.
const LOOK: Duration = Duration::from_millis(250);

/// How often events are saved while nothing else saves them.
const SAVE: Duration = Duration::from_secs(2);

/// A stalled stream fails after this many times the time that counts as a stall.
const STALL_FACTOR: u32 = 10;

/// Ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch(tokio::task::JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts to look at a run.
pub(crate) fn watch(recorder: Recorder, context: Context, timeouts: Timeouts) -> Watch {
    Watch(tokio::spawn(async move {
        let mut eye = Eye::new();
        let mut saved = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            eye.look(&recorder, &context, &timeouts);
            // If the database stays away, the run itself fails and says so.
            if let Ok(true) = recorder.is_cancel_asked().await {
                context
                    .cancel
                    .cancel(&Error::new(Code::Cancelled, "somebody cancelled it"));
            }
            if saved.elapsed() >= SAVE {
                saved = Instant::now();
                if let Err(error) = recorder.flush().await {
                    recorder.say(
                        Level::Warn,
                        "host",
                        format!("events can't be saved for now: {}", error.report()),
                    );
                }
            }
        }
    }))
}

struct Eye {
    ticks: u64,
    moved_at: Instant,
    reported: bool,
    looked_at: Instant,
    stored_for: Duration,
    rate: Rate,
}

impl Eye {
    fn new() -> Self {
        Eye {
            ticks: 0,
            moved_at: Instant::now(),
            reported: false,
            looked_at: Instant::now(),
            stored_for: Duration::ZERO,
            rate: Rate::default(),
        }
    }

    fn look(&mut self, recorder: &Recorder, context: &Context, timeouts: &Timeouts) {
        let meter = &context.meter;
        let now = Instant::now();
        let bytes = meter.bytes.load(Ordering::Relaxed);
        let (stage, done, total) = recorder.stage();
        let rate = self.rate.update(now, bytes);
        let total_bytes = total.filter(|_| done <= bytes);
        recorder.show(&Progress {
            stage,
            bytes,
            total_bytes,
            rate,
            files: meter.entries.load(Ordering::Relaxed),
            current: meter.current(),
            remaining_seconds: total_bytes.and_then(|t| t.saturating_sub(bytes).checked_div(rate)),
        });
        let ticks = meter.ticks.load(Ordering::Relaxed);
        let active = meter.active.load(Ordering::Relaxed) > 0;
        if ticks != self.ticks || !active {
            self.ticks = ticks;
            self.moved_at = now;
            self.reported = false;
        }
        // Until it is committed: a destination that takes all and then never ends counts too.
        if meter.storing.load(Ordering::Relaxed) > 0 {
            self.stored_for += now - self.looked_at;
        }
        self.looked_at = now;
        self.judge_stall(now, recorder, context, timeouts.stall.duration());
        if let Some(limit) = timeouts.transfer.limit()
            && self.stored_for > limit
        {
            context.cancel.cancel(
                &Error::new(
                    Code::BackupFailed,
                    format!(
                        "moving the data took longer than timeouts.transfer allows ({} s)",
                        limit.as_secs()
                    ),
                )
                .hint("raise `timeouts.transfer`, or set it to 0 for no limit"),
            );
        }
    }

    fn judge_stall(&mut self, now: Instant, recorder: &Recorder, context: &Context, stall: Duration) {
        let still = now - self.moved_at;
        if stall.is_zero() || still < stall {
            return;
        }
        if !self.reported {
            self.reported = true;
            recorder.say(
                Level::Warn,
                "host",
                format!("stalled: no byte for {} s", still.as_secs().max(1)),
            );
        }
        if still >= stall * STALL_FACTOR {
            context.cancel.cancel(
                &Error::new(Code::BackupFailed, format!("the stream stalled: not a byte for {} s", still.as_secs()))
                    .hint("look at the source and the destination; `timeouts.stall` says how long is too long, times ten"),
            );
        }
    }
}

/// Bytes per second over the last few seconds.
#[derive(Default)]
struct Rate {
    smooth: f64,
    last: Option<(Instant, u64)>,
}

impl Rate {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    fn update(&mut self, now: Instant, bytes: u64) -> u64 {
        if let Some((then, before)) = self.last {
            let seconds = (now - then).as_secs_f64().max(0.001);
            let rate = bytes.saturating_sub(before) as f64 / seconds;
            self.smooth = if self.smooth == 0.0 {
                rate
            } else {
                self.smooth * 0.8 + rate * 0.2
            };
        }
        self.last = Some((now, bytes));
        self.smooth as u64
    }
}
