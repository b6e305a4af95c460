//! Compression: the formats, their levels, and what each mode means for each of them.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;

/// How a stream is compressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compression {
    /// The format.
    pub algorithm: Algorithm,
    /// A preset, instead of `level`; `standard` if neither is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The format's own level, instead of `mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
    /// For xz: much more time for a little less size, with `level`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extreme: bool,
    /// For zstd: finds what is repeated within 128 MiB, with any level or mode.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub long: bool,
    /// Worker threads; 0 is one for each processor.
    #[serde(default)]
    #[schemars(range(max = 256))]
    pub threads: u32,
}

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// The bytes as they are.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The format of `xz`.
    Xz,
    /// The format of `bzip2`.
    Bzip2,
    /// The frame format of LZ4.
    Lz4,
}

/// What matters more, time or size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The least time.
    Fast,
    /// What the format's own tool does unasked.
    Standard,
    /// Small, whatever time it takes.
    Maximum,
    /// The smallest that the format can do, whatever time and memory it takes.
    Ultra,
}

/// What an encoder is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The format's own level; 1 where it has only one.
    pub level: i32,
    /// For xz: its `--extreme`.
    pub extreme: bool,
}

impl Compression {
    /// What the encoder is set to: by the level, or by what the mode stands for.
    pub fn settings(&self) -> Settings {
        let preset = self.algorithm.preset(self.mode.unwrap_or(Mode::Standard));
        match self.level {
            Some(level) => Settings {
                level,
                extreme: self.extreme,
            },
            None => Settings {
                extreme: preset.extreme || self.extreme,
                ..preset
            },
        }
    }
}

impl Mode {
    /// All modes, the quickest first.
    pub const ALL: [Mode; 4] = [Mode::Fast, Mode::Standard, Mode::Maximum, Mode::Ultra];

    /// The word used in jobs.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Fast => "fast",
            Mode::Standard => "standard",
            Mode::Maximum => "maximum",
            Mode::Ultra => "ultra",
        }
    }
}

impl Algorithm {
    /// All formats.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::None,
        Algorithm::Gzip,
        Algorithm::Zstd,
        Algorithm::Xz,
        Algorithm::Bzip2,
        Algorithm::Lz4,
    ];

    /// The word used in jobs.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::None => "none",
            Algorithm::Gzip => "gzip",
            Algorithm::Zstd => "zstd",
            Algorithm::Xz => "xz",
            Algorithm::Bzip2 => "bzip2",
            Algorithm::Lz4 => "lz4",
        }
    }

    /// The levels that there are, if there is a choice.
    pub const fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Algorithm::None | Algorithm::Lz4 => None,
            Algorithm::Gzip | Algorithm::Bzip2 => Some(1..=9),
            Algorithm::Zstd => Some(1..=22),
            Algorithm::Xz => Some(0..=9),
        }
    }

    /// What a file name ends with, by which people and tools know the format.
    pub const fn suffix(self) -> &'static str {
        match self {
            Algorithm::None => "",
            Algorithm::Gzip => ".gz",
            Algorithm::Zstd => ".zst",
            Algorithm::Xz => ".xz",
            Algorithm::Bzip2 => ".bz2",
            Algorithm::Lz4 => ".lz4",
        }
    }

    /// The format's own tool, reading standard input and writing what was compressed to standard output.
    pub const fn plain_command(self) -> Option<&'static str> {
        match self {
            Algorithm::None => None,
            Algorithm::Gzip => Some("gzip --decompress --stdout"),
            Algorithm::Zstd => Some("zstd --decompress --stdout --long=31"),
            Algorithm::Xz => Some("xz --decompress --stdout"),
            Algorithm::Bzip2 => Some("bzip2 --decompress --stdout"),
            Algorithm::Lz4 => Some("lz4 --decompress --stdout"),
        }
    }

    /// What a mode stands for. `standard` is what the format's own tool does unasked; where a format has nothing beyond
    /// `maximum`, `ultra` is the same.
    pub const fn preset(self, mode: Mode) -> Settings {
        let [fast, standard, maximum, ultra] = match self {
            Algorithm::None | Algorithm::Lz4 => [1, 1, 1, 1],
            Algorithm::Gzip => [1, 6, 9, 9],
            Algorithm::Zstd => [1, 3, 19, 22],
            Algorithm::Xz => [1, 6, 9, 9],
            Algorithm::Bzip2 => [1, 9, 9, 9],
        };
        Settings {
            level: match mode {
                Mode::Fast => fast,
                Mode::Standard => standard,
                Mode::Maximum => maximum,
                Mode::Ultra => ultra,
            },
            extreme: matches!((self, mode), (Algorithm::Xz, Mode::Ultra)),
        }
    }
}

const AT: &str = "/filters/compression";

/// Everything in a compression that contradicts itself or has no effect.
pub fn check(compression: &Compression) -> Vec<Diagnostic> {
    let Compression {
        algorithm,
        mode,
        level,
        extreme,
        long,
        threads: _,
    } = *compression;
    let name = algorithm.name();
    let mut found = Vec::new();
    match (level, algorithm.levels()) {
        (Some(level), Some(range)) if !range.contains(&level) => found.push(
            Diagnostic::error(
                format!("{AT}/level"),
                "out-of-range",
                format!(
                    "{name} has levels {} to {}, not {level}",
                    range.start(),
                    range.end()
                ),
            )
            .hint(format!(
                "leave it out for {name}'s own default, or choose a `mode`: {}",
                modes()
            )),
        ),
        (Some(_), None) => found.push(
            Diagnostic::error(
                format!("{AT}/level"),
                "no-effect",
                format!("`{name}` has no levels"),
            )
            .hint("remove `level`"),
        ),
        _ => {}
    }
    if let (Some(mode), Some(level), Some(_)) = (mode, level, algorithm.levels()) {
        let stands_for = algorithm.preset(mode).level;
        found.push(
            Diagnostic::error(
                format!("{AT}/mode"),
                "ambiguous",
                "a compression has either `mode` or `level`, not both",
            )
            .hint(format!(
                "`mode: {}` stands for level {stands_for} of {name}: remove it, or `level: {level}`",
                mode.name()
            )),
        );
    }
    if algorithm == Algorithm::None && mode.is_some() {
        found.push(
            Diagnostic::error(format!("{AT}/mode"), "no-effect", "`none` has no modes").hint("remove `mode`"),
        );
    }
    if extreme && algorithm != Algorithm::Xz {
        found.push(
            Diagnostic::error(
                format!("{AT}/extreme"),
                "no-effect",
                format!("only xz has `extreme`, not {name}"),
            )
            .hint("remove it, or choose `algorithm: xz`"),
        );
    } else if extreme && mode.is_some() {
        found.push(
            Diagnostic::error(
                format!("{AT}/extreme"),
                "ambiguous",
                "`extreme` goes with `level`; a `mode` says by itself whether it is meant",
            )
            .hint("`mode: ultra` is level 9 with `extreme`"),
        );
    }
    if long && algorithm != Algorithm::Zstd {
        found.push(
            Diagnostic::error(
                format!("{AT}/long"),
                "no-effect",
                format!("only zstd has `long`, not {name}"),
            )
            .hint("remove it, or choose `algorithm: zstd`"),
        );
    }
    found
}

fn modes() -> String {
    Mode::ALL.map(Mode::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compression(algorithm: Algorithm) -> Compression {
        Compression {
            algorithm,
            mode: None,
            level: None,
            extreme: false,
            long: false,
            threads: 0,
        }
    }

    #[test]
    fn every_mode_of_every_format_is_a_level_that_it_has() {
        for algorithm in Algorithm::ALL {
            let presets = Mode::ALL.map(|mode| algorithm.preset(mode));
            assert!(presets.is_sorted_by_key(|preset| preset.level), "{presets:?}");
            for preset in presets {
                let range = algorithm.levels().unwrap_or(1..=1);
                assert!(range.contains(&preset.level), "{algorithm:?}: {preset:?}");
            }
        }
    }

    #[test]
    fn neither_level_nor_mode_is_standard_and_a_level_is_itself() {
        for algorithm in Algorithm::ALL {
            assert_eq!(
                compression(algorithm).settings(),
                algorithm.preset(Mode::Standard)
            );
        }
        let xz = Compression {
            level: Some(0),
            extreme: true,
            ..compression(Algorithm::Xz)
        };
        assert_eq!(
            xz.settings(),
            Settings {
                level: 0,
                extreme: true
            }
        );
    }

    #[test]
    fn all_that_is_wrong_with_a_compression_is_said_with_its_place() {
        let said = |compression: Compression| {
            let found = check(&compression);
            assert!(
                found.iter().all(|d| d.is_error() && d.hint.is_some()),
                "{found:?}"
            );
            found
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let mut all = String::new();
        for algorithm in Algorithm::ALL {
            let plain = compression(algorithm);
            assert_eq!(said(plain.clone()), "");
            let range = algorithm.levels().unwrap_or(1..=1);
            for level in [range.start() - 1, *range.end() + 1] {
                let level = Compression {
                    level: Some(level),
                    ..plain.clone()
                };
                all += &format!("{}\n\n", said(level));
            }
            let much = Compression {
                mode: Some(Mode::Maximum),
                level: Some(1),
                extreme: true,
                long: true,
                threads: 4,
                ..plain
            };
            all += &format!("{}\n\n", said(much));
        }
        insta::assert_snapshot!(all);
    }

    /// The table of modes in the documentation is made of the one in the code.
    #[test]
    fn the_documentation_says_what_the_modes_are() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/filters.md");
        let text = std::fs::read_to_string(path).unwrap();
        for algorithm in Algorithm::ALL {
            if algorithm == Algorithm::None {
                continue;
            }
            let levels = match algorithm.levels() {
                Some(range) => format!("{}–{}", range.start(), range.end()),
                None => "one".to_owned(),
            };
            let presets = Mode::ALL.map(|mode| {
                let Settings { level, extreme } = algorithm.preset(mode);
                format!("{level}{}", if extreme { " extreme" } else { "" })
            });
            let row = format!(
                "| `{}` | `{}` | {levels} | {} |",
                algorithm.name(),
                algorithm.suffix(),
                presets.join(" | ")
            );
            assert!(text.contains(&row), "{path} lacks\n{row}");
        }
    }
}
