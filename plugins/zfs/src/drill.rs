//! What a drill restores to: a dataset below the place that a person names, under a name that only drills give. No other dataset
//! is ever destroyed.

use std::fmt;

use backstay_sdk::{Code, Failure, Result};
use serde::{Deserialize, Serialize};

use crate::command;
use crate::snapshot::{is_gone, is_uuid};

/// What its last name begins with; the run follows.
const START: &str = "backstay-drill-";

/// A dataset that goes when its drill ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scratch(String);

/// It in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    drilled: String,
}

impl Scratch {
    /// The one of a run below a dataset.
    pub fn below(dataset: &str, run_id: &str) -> Self {
        Scratch(format!("{dataset}/{START}{run_id}"))
    }

    /// Reads its name; nothing if a drill would not have given it.
    pub fn parse(text: &str) -> Option<Self> {
        let (dataset, name) = text.rsplit_once('/')?;
        let is_ours = name.strip_prefix(START).is_some_and(is_uuid)
            && !dataset.is_empty()
            && !dataset.starts_with('-')
            && !dataset.contains('@');
        is_ours.then(|| Scratch(text.to_owned()))
    }

    /// What the journal says of it.
    pub fn entry(&self) -> Entry {
        Entry {
            drilled: self.0.clone(),
        }
    }
}

impl fmt::Display for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Destroys it with all that was received into it. One that isn't there is gone already.
///
/// # Errors
/// The entry names something else, or it can't be destroyed.
pub fn undo(entry: &Entry) -> Result<()> {
    let scratch = Scratch::parse(&entry.drilled).ok_or_else(|| {
        Failure::internal(format!(
            "the journal names {}, which no drill made",
            entry.drilled
        ))
    })?;
    let output = command::destroy_scratch(&scratch).run()?;
    if output.is_success() || is_gone(&output.complaint()) {
        return Ok(());
    }
    Err(output.failure().with_code(Code::Storage).hint(format!(
        "is somebody using {scratch}? it can go: `zfs destroy -r {scratch}`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_drill_made_is_known_as_such() {
        let run = "0199a5b2-7c00-7000-8000-000000000001";
        let scratch = Scratch::below("tank/a", run);
        assert_eq!(Scratch::parse(&scratch.to_string()), Some(scratch));
        for name in [
            "tank".to_owned(),
            "tank/backstay-drill-".to_owned(),
            "tank/backstay-drill-x".to_owned(),
            format!("backstay-drill-{run}"),
            format!("/backstay-drill-{run}"),
            format!("-r/backstay-drill-{run}"),
            format!("tank/backstay-drill-{run}/below"),
            format!("tank/home@backstay-drill-{run}"),
            format!("tank@x/backstay-drill-{run}"),
        ] {
            assert_eq!(Scratch::parse(&name), None, "{name}");
            assert_eq!(
                undo(&Entry { drilled: name }).expect_err("not ours").code,
                Code::Internal
            );
        }
    }
}
