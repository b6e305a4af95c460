//! A message: what happened, in words and as data. It is made when something happened and kept until it was sent, so that
//! it says the same however late that is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Event;
use crate::run::{Run, RunError, RunKind, RunReason, RunStatus, Stats};

/// Longest part of a message that comes from elsewhere, in characters.
const MAX_PART_CHARS: usize = 1_000;

/// Longest text, in characters. What a channel takes may be less.
pub const MAX_TEXT_CHARS: usize = 8_000;

/// So many warnings are listed.
const MAX_LISTED: usize = 10;

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// What it tells of; the first is the one that its title is about.
    pub events: Vec<Event>,
    /// In one line, without control characters.
    pub title: String,
    /// For people.
    pub text: String,
    /// Name of the machine.
    pub device: String,
    /// Name of the job.
    pub job: String,
    /// Its id; nothing for one that can't be read.
    pub job_id: Option<Uuid>,
    /// When it happened.
    pub at: Timestamp,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Subject>,
}

/// The run that a message is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// Its id.
    pub id: Uuid,
    /// What it did.
    pub kind: RunKind,
    /// How it ended.
    pub status: RunStatus,
    /// Why it was asked for.
    pub reason: RunReason,
    /// The due time of the schedule that it was for.
    pub due_at: Option<Timestamp>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<RunError>,
    /// The exit code that a command would have ended with.
    pub exit_code: u8,
    /// The first warnings.
    pub warnings: Vec<String>,
    /// How many there are in all.
    pub warning_count: usize,
    /// What it moved.
    pub stats: Stats,
}

impl Message {
    /// What the end of a run tells; nothing if it is nothing to tell: a restore has somebody who waits for it.
    ///
    /// `was` is the status that it had before, `since` when something went wrong that is over now.
    pub fn of_run(
        device: &str,
        run: &Run,
        was: Option<RunStatus>,
        since: Option<Timestamp>,
    ) -> Option<Message> {
        let events = events(run, was, since.is_some());
        let first = *events.first()?;
        let job = &run.job_name;
        let what = match first {
            Event::Success => format!("Backup of {job} succeeded"),
            Event::Warning => format!("Backup of {job} succeeded with warnings"),
            Event::FailedToStart => format!("{} of {job} failed to start", noun(run.kind)),
            Event::Failure if run.status == RunStatus::Interrupted => {
                format!("{} of {job} was interrupted", noun(run.kind))
            }
            Event::Failure => format!("{} of {job} failed", noun(run.kind)),
            Event::Missed => format!("Backup of {job} was missed"),
            Event::Recovered => format!("Backup of {job} works again"),
            Event::Cancelled => format!("{} of {job} was cancelled", noun(run.kind)),
            Event::VerificationFailed => format!("Verification of a backup of {job} failed"),
            Event::DrillFailed => format!("Restore drill of {job} failed"),
        };
        let subject = Subject::of(run);
        let mut text = subject.text();
        if let Some(since) = since {
            text = format!("Something was wrong since {}.\n{text}", show(since));
        }
        Some(Message {
            title: line(&format!("{what} on {device}")),
            text: limited(&text, MAX_TEXT_CHARS),
            events,
            device: device.to_owned(),
            job: job.clone(),
            job_id: Some(run.job_id),
            at: run.finished_at.unwrap_or(run.started_at),
            run: Some(subject),
        })
    }

    /// A job can't be started at all, or can be again (`why` is nothing then).
    pub fn of_job(device: &str, job: &str, why: Option<&str>, at: Timestamp) -> Message {
        let (event, what, text) = match why {
            Some(why) => (
                Event::FailedToStart,
                "can't run by itself",
                limited(why, MAX_PART_CHARS),
            ),
            None => (
                Event::Recovered,
                "can run by itself again",
                "What kept it from running is over.".to_owned(),
            ),
        };
        Message {
            events: vec![event],
            title: line(&format!("{job} {what} on {device}")),
            text,
            device: device.to_owned(),
            job: job.to_owned(),
            job_id: None,
            at,
            run: None,
        }
    }

    /// Those to try templates with: one that has all that a message can have, and characters that mean something in JSON; and
    /// one without a run.
    pub fn trials(device: &str, at: Timestamp) -> [Message; 2] {
        const HARD: &str = "a \"quote\", a \\ backslash\nand {another} line";
        let mut full = Message::sample(device, at);
        full.title = line(HARD);
        full.text = HARD.to_owned();
        if let Some(run) = &mut full.run {
            run.warnings = vec![HARD.to_owned()];
            if let Some(error) = &mut run.error {
                error.message = HARD.to_owned();
                error.hint = Some(HARD.to_owned());
            }
        }
        [full, Message::of_job(device, "example", Some(HARD), at)]
    }

    /// One to try a channel with, which has all that a message can have.
    pub fn sample(device: &str, at: Timestamp) -> Message {
        Message {
            events: vec![Event::Warning],
            title: line(&format!("Test message from Backstay on {device}")),
            text: "If you can read this, the channel works.".to_owned(),
            device: device.to_owned(),
            job: "example".to_owned(),
            job_id: Some(Uuid::nil()),
            at,
            run: Some(Subject {
                id: Uuid::nil(),
                kind: RunKind::Backup,
                status: RunStatus::Warning,
                reason: RunReason::Manual,
                due_at: Some(at),
                started_at: at,
                finished_at: Some(at),
                error: Some(RunError {
                    code: crate::Code::Warning,
                    message: "an example of an error".to_owned(),
                    hint: Some("nothing is to be done".to_owned()),
                }),
                exit_code: 1,
                warnings: vec!["an example of a warning".to_owned()],
                warning_count: 1,
                stats: Stats::default(),
            }),
        }
    }
}

fn events(run: &Run, was: Option<RunStatus>, is_over: bool) -> Vec<Event> {
    let mut events = Vec::new();
    if is_over {
        events.push(Event::Recovered);
    }
    let has_failed = matches!(run.status, RunStatus::Failed | RunStatus::Interrupted);
    match (run.kind, run.status) {
        (RunKind::Restore, _) => {}
        (RunKind::Verify, _) if has_failed => events.push(Event::VerificationFailed),
        (RunKind::Drill, _) if has_failed => events.push(Event::DrillFailed),
        (RunKind::Backup | RunKind::Prune, _) if has_failed => {
            if run.status == RunStatus::Failed
                && run.kind == RunKind::Backup
                && matches!(was, Some(RunStatus::Preparing | RunStatus::Queued))
            {
                events.push(Event::FailedToStart);
            }
            events.push(Event::Failure);
        }
        (RunKind::Backup, RunStatus::Succeeded) => events.push(Event::Success),
        (RunKind::Backup, RunStatus::Warning) => events.push(Event::Warning),
        (RunKind::Backup, RunStatus::Skipped) if run.due_at.is_some() => events.push(Event::Missed),
        (RunKind::Backup, RunStatus::Cancelled) => events.push(Event::Cancelled),
        _ => {}
    }
    events
}

impl Subject {
    fn of(run: &Run) -> Subject {
        Subject {
            id: run.id,
            kind: run.kind,
            status: run.status,
            reason: run.reason,
            due_at: run.due_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            error: run.error.as_ref().map(|error| RunError {
                code: error.code,
                message: limited(&error.message, MAX_PART_CHARS),
                hint: error.hint.as_deref().map(|hint| limited(hint, MAX_PART_CHARS)),
            }),
            exit_code: run.exit_code(),
            warnings: run
                .warnings
                .iter()
                .take(MAX_LISTED)
                .map(|warning| limited(&warning.message, MAX_PART_CHARS))
                .collect(),
            warning_count: run.warnings.len(),
            stats: run.stats.clone(),
        }
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        if let Some(error) = &self.error {
            lines.push(error.message.clone());
            lines.extend(error.hint.as_ref().map(|hint| format!("What to do: {hint}")));
        }
        lines.extend(self.warnings.iter().map(|warning| format!("Warning: {warning}")));
        if self.warning_count > self.warnings.len() {
            lines.push(format!(
                "and {} more warnings",
                self.warning_count - self.warnings.len()
            ));
        }
        if self.kind == RunKind::Backup && self.stats.source_bytes > 0 {
            lines.push(format!(
                "{} read, {} stored, {} entries",
                bytes(self.stats.source_bytes),
                bytes(self.stats.stored_bytes),
                self.stats.entries
            ));
        }
        lines.extend(self.due_at.map(|due| format!("Due: {}", show(due))));
        lines.push(format!("Began: {}", show(self.started_at)));
        lines.extend(self.finished_at.map(|end| format!("Ended: {}", show(end))));
        lines.push(format!("More: backstay logs {}", self.id));
        lines.join("\n")
    }
}

fn noun(kind: RunKind) -> &'static str {
    match kind {
        RunKind::Prune => "Prune",
        _ => "Backup",
    }
}

fn show(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A text in one line: what controls a terminal or ends a header is a blank.
fn line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    limited(&text, 200)
}

/// A text with at most so many characters, and without control characters but line ends and tabs.
fn limited(text: &str, most: usize) -> String {
    let plain = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    let mut text: String = text.chars().filter(plain).take(most + 1).collect();
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
        text.pop();
        text.push('…');
    }
    text
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = (count.max(1).ilog2() / 10) as usize;
    if power == 0 {
        return format!("{count} B");
    }
    let tenths = (u128::from(count) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power])
}
