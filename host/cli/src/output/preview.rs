//! What a run would change, for people.

use std::fmt::Write as _;

use backstay_engine::preview::{Kept, Preview};
use backstay_model::manifest::Form;
use backstay_stream::tree::{Amount, Change, Fate};
use indicatif::{HumanBytes, HumanCount};

/// Changes that are shown for each artifact.
const SHOWN: usize = 100;

/// A preview for people.
pub fn preview_text(preview: &Preview) -> String {
    let mut text = format!("preview of {}: nothing was changed\n", preview.job);
    for kept in &preview.destinations {
        add(&mut text, kept);
    }
    for warning in &preview.warnings {
        line(&mut text, format_args!("  warning      {}", warning.message));
    }
    text
}

fn add(text: &mut String, kept: &Kept) {
    let form = match kept.form {
        Form::Tree => "as files",
        Form::Tar => "as a tar stream",
        Form::Stream => "as a stream",
    };
    line(
        text,
        format_args!(
            "\n{} at destination {} ({}), {form}",
            kept.artifact,
            kept.destination + 1,
            kept.plugin
        ),
    );
    let Some(amounts) = &kept.amounts else {
        line(text, format_args!("  how much it is shows when it is made"));
        return;
    };
    match (kept.compared_with, kept.form) {
        (Some(backup), _) => line(text, format_args!("  compared with {backup}")),
        (None, Form::Tree) => line(text, format_args!("  there is no backup to compare with")),
        (None, _) => line(text, format_args!("  a stream is stored as a whole each time")),
    }
    for change in kept.changes.iter().take(SHOWN) {
        line(text, format_args!("  {}", Shown(change)));
    }
    let hidden = kept.changes.len().saturating_sub(SHOWN) as u64 + kept.more;
    if hidden > 0 {
        line(text, format_args!("  and {} more", HumanCount(hidden)));
    }
    let all = [
        ("new", &amounts.new),
        ("changed", &amounts.changed),
        ("deleted", &amounts.deleted),
        ("carried over", &amounts.carried),
        ("unchanged", &amounts.unchanged),
    ];
    for (word, Amount { entries, bytes }) in all {
        line(
            text,
            format_args!(
                "  {word:<12} {} entries, {}",
                HumanCount(*entries),
                HumanBytes(*bytes)
            ),
        );
    }
}

struct Shown<'a>(&'a Change);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = match self.0.change {
            Fate::New => "new",
            Fate::Changed => "changed",
            Fate::Deleted => "deleted",
            Fate::Carried => "carried over",
        };
        write!(f, "{word:<12} {}", self.0.path)?;
        if !self.0.what.is_empty() {
            write!(f, " ({})", self.0.what.join(", "))?;
        }
        Ok(())
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{line}");
}
