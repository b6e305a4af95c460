//! Watches a run for people: a bar on a terminal, plain lines in a pipe.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use backstay_engine::Observer;
use backstay_model::event::Level;
use backstay_model::run::Progress;
use backstay_store::NewEvent;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use uuid::Uuid;

/// How often progress is said in a pipe.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Says what happens on standard error.
#[derive(Debug)]
pub struct Lines {
    bar: Option<ProgressBar>,
    quiet: bool,
    last: Mutex<Instant>,
}

impl Lines {
    /// A bar if standard error is a terminal, else plain lines.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            // The template is a constant; a wrong one only costs its looks.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Lines {
            bar,
            quiet: false,
            last: Mutex::new(Instant::now()),
        }
    }

    /// Only what is a warning or worse.
    pub fn quiet() -> Self {
        Lines {
            bar: None,
            quiet: true,
            last: Mutex::new(Instant::now()),
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // Nobody is left to tell if standard error is gone.
            None => drop(writeln!(std::io::stderr().lock(), "{text}")),
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Lines {
    fn event(&self, event: &NewEvent) {
        if event.level == Level::Debug || (self.quiet && event.level < Level::Warn) {
            return;
        }
        self.line(&event_line(event.at, event.level, &event.origin, &event.message));
    }

    fn progress(&self, _: Uuid, progress: &Progress) {
        if self.quiet {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.set_message(describe(progress));
            return;
        }
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.elapsed() >= PLAIN_EVERY {
            *last = Instant::now();
            self.line(&describe(progress));
        }
    }
}

/// One line of a run's log.
pub fn event_line(at: jiff::Timestamp, level: Level, origin: &str, message: &str) -> String {
    let level = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    format!(
        "{} {level:<5} {origin}: {message}",
        at.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
}

fn describe(progress: &Progress) -> String {
    let mut text = format!("{}  {}", progress.stage, HumanBytes(progress.bytes));
    if let Some(total) = progress.total_bytes {
        text.push_str(&format!(" of {}", HumanBytes(total)));
    }
    text.push_str(&format!("  {}/s", HumanBytes(progress.rate)));
    if progress.files > 0 {
        text.push_str(&format!("  {} entries", HumanCount(progress.files)));
    }
    if let Some(seconds) = progress.remaining_seconds {
        text.push_str(&format!("  {} left", HumanDuration(Duration::from_secs(seconds))));
    }
    if let Some(current) = &progress.current {
        text.push_str(&format!("  {current}"));
    }
    text
}
