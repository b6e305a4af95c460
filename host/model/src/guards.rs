//! Rules that refuse a backup which is too small to be believed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// When a backup is too small to be believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Guards {
    /// The least number of bytes of content; 0 allows an empty source.
    pub min_bytes: u64,
    /// By how much the content may shrink since the last good backup, in percent; 100 turns it off.
    #[schemars(range(max = 100))]
    pub max_shrink_percent: u8,
}

impl Default for Guards {
    fn default() -> Self {
        Guards {
            min_bytes: 1,
            max_shrink_percent: 50,
        }
    }
}

/// Which guard a backup did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Fewer bytes than `minBytes`.
    TooSmall {
        /// What was seen.
        bytes: u64,
        /// What was asked for.
        min_bytes: u64,
    },
    /// It shrank too much. Retention must stop.
    Shrunk {
        /// What was seen.
        bytes: u64,
        /// What the last good backup had.
        before_bytes: u64,
        /// What was allowed.
        max_shrink_percent: u8,
    },
}

impl Guards {
    /// Judges a backup of `bytes` of content against the last good one, if there was one.
    ///
    /// # Errors
    /// The guard that it doesn't pass.
    pub fn judge(&self, bytes: u64, before: Option<u64>) -> Result<(), Refusal> {
        if bytes < self.min_bytes {
            return Err(Refusal::TooSmall {
                bytes,
                min_bytes: self.min_bytes,
            });
        }
        let max_shrink_percent = self.max_shrink_percent;
        match before {
            Some(before_bytes) if max_shrink_percent < 100 => {
                let least = u128::from(before_bytes) * u128::from(100 - max_shrink_percent);
                if u128::from(bytes) * 100 < least {
                    return Err(Refusal::Shrunk {
                        bytes,
                        before_bytes,
                        max_shrink_percent,
                    });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooSmall { bytes: 0, .. } => Error::new(Code::BackupFailed, "the source is empty: it has no byte of content")
                .hint("check that it is mounted and the path is right; if it may be empty, set `guards: { minBytes: 0 }`"),
            Refusal::TooSmall { bytes, min_bytes } => Error::new(
                Code::BackupFailed,
                format!("the source has {bytes} bytes of content, fewer than the {min_bytes} that guards.minBytes asks for"),
            )
            .hint("check that it is mounted and complete, or lower `guards.minBytes`"),
            Refusal::Shrunk { bytes, before_bytes, max_shrink_percent } => Error::new(
                Code::BackupFailed,
                format!(
                    "the source shrank from {before_bytes} to {bytes} bytes since the last good backup, more than the {max_shrink_percent} % that guards.maxShrinkPercent allows"
                ),
            )
            .hint("nothing of this job is deleted until you decide: if the shrink is right, run it once with --accept-shrink"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_limit_itself_passes() {
        let guards = Guards::default();
        assert!(guards.judge(50, Some(100)).is_ok());
        assert!(matches!(guards.judge(49, Some(100)), Err(Refusal::Shrunk { .. })));
        assert!(matches!(guards.judge(0, None), Err(Refusal::TooSmall { .. })));
        assert!(
            Guards {
                min_bytes: 0,
                ..guards
            }
            .judge(0, None)
            .is_ok()
        );
    }

    proptest! {
        #[test]
        fn growth_never_fails(before in 0u64.., more in 0u64.., percent in 0u8..=100) {
            let guards = Guards { min_bytes: 0, max_shrink_percent: percent };
            prop_assert!(guards.judge(before.saturating_add(more), Some(before)).is_ok());
        }

        #[test]
        fn a_hundred_percent_turns_it_off(before in 0u64.., bytes in 0u64..) {
            let guards = Guards { min_bytes: 0, max_shrink_percent: 100 };
            prop_assert!(guards.judge(bytes, Some(before)).is_ok());
        }
    }
}
