//! Which paths of a tree are meant: globs in the manner of `.gitignore`, over bytes.

use backstay_model::{Code, Error, Result};
use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// Globs of which one may match.
#[derive(Debug, Clone)]
pub(crate) struct Patterns {
    any: GlobSet,
    directories: GlobSet,
    /// What may lead to a match; nothing if any directory may.
    leading: Option<GlobSet>,
    empty: bool,
}

impl Patterns {
    /// Compiles patterns; `list` is how the list is called in messages.
    pub(crate) fn new(patterns: &[impl AsRef<str>], list: &str) -> Result<Self> {
        let mut any = GlobSetBuilder::new();
        let mut directories = GlobSetBuilder::new();
        let mut leading = Some(GlobSetBuilder::new());
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let fault = |why: &str| {
                Error::new(Code::Configuration, format!("the {list} pattern `{pattern}` {why}"))
                    .hint("patterns are like those of .gitignore: `*.tmp`, `/var/cache`, `logs/`, `/home/**/.cache`")
            };
            let (body, only_directories) = match pattern.strip_suffix('/') {
                Some(body) => (body, true),
                None => (pattern, false),
            };
            let (body, anchored) = match body.strip_prefix("./").or_else(|| body.strip_prefix('/')) {
                Some(body) => (body, true),
                None => (body, false),
            };
            if body.starts_with('!') {
                return Err(fault(
                    "begins with `!`, which isn't supported; write `\\!` for a name that does",
                ));
            }
            if body.split('/').any(|name| matches!(name, "" | "." | "..")) {
                return Err(fault(
                    "can never match: it is empty or has an empty name, `.` or `..` in it",
                ));
            }
            let text = if anchored {
                body.to_owned()
            } else {
                format!("**/{body}")
            };
            let glob = compile(&text).map_err(|e| fault("can't be understood").because(e))?;
            if only_directories {
                directories.add(glob)
            } else {
                any.add(glob)
            };
            leading = leading.filter(|_| anchored);
            if let Some(leading) = &mut leading {
                for prefix in prefixes(body) {
                    leading.add(compile(&prefix).map_err(|e| fault("can't be understood").because(e))?);
                }
            }
        }
        let fault = |e| {
            Error::new(
                Code::Configuration,
                format!("the {list} patterns are too many or too large"),
            )
            .because(e)
        };
        Ok(Patterns {
            any: any.build().map_err(fault)?,
            directories: directories.build().map_err(fault)?,
            leading: leading.map(|l| l.build()).transpose().map_err(fault)?,
            empty: patterns.is_empty(),
        })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Whether one matches this path itself, not only a directory above it.
    pub(crate) fn matches(&self, path: &[u8], is_directory: bool) -> bool {
        if self.empty {
            return false;
        }
        let candidate = Candidate::from_bytes(path);
        self.any.is_match_candidate(&candidate)
            || (is_directory && self.directories.is_match_candidate(&candidate))
    }

    /// Whether something below this directory may match.
    pub(crate) fn may_match_below(&self, path: &[u8]) -> bool {
        match &self.leading {
            Some(leading) => leading.is_match_candidate(&Candidate::from_bytes(path)),
            None => true,
        }
    }
}

fn compile(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
}

/// Globs for the directories on the way to what an anchored pattern matches.
fn prefixes(body: &str) -> Vec<String> {
    let names: Vec<&str> = body.split('/').collect();
    let mut globs = Vec::new();
    for (depth, name) in names.iter().enumerate() {
        // A slash inside braces or brackets isn't one between names.
        if name.contains("**") || name.contains(['{', '[', '\\']) {
            let mut glob = names[..depth].to_vec();
            glob.push("**");
            globs.push(glob.join("/"));
            break;
        }
        if depth + 1 < names.len() {
            globs.push(names[..=depth].join("/"));
        }
    }
    globs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, path: &[u8], is_directory: bool, expect: bool) {
        let patterns = Patterns::new(&[pattern], "exclude").unwrap();
        assert_eq!(
            patterns.matches(path, is_directory),
            expect,
            "{pattern} on {path:?}"
        );
        if expect {
            for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
                assert!(
                    patterns.may_match_below(&path[..at]),
                    "{pattern} leads through {:?}",
                    &path[..at]
                );
            }
        }
    }

    #[test]
    fn patterns_match_as_a_gitignore_would() {
        check("*.tmp", b"a.tmp", false, true);
        check("*.tmp", b"x/y/.tmp", false, true);
        check("/*.tmp", b"x/a.tmp", false, false);
        check("/a/b", b"a/b", false, true);
        check("/a/b", b"x/a/b", false, false);
        check("a/b", b"x/a/b", false, true);
        check("logs/", b"logs", false, false);
        check("logs/", b"x/logs", true, true);
        check("/a/**/z", b"a/z", false, true);
        check("/a/**/z", b"a/b/c/z", false, true);
        check("/a/*/z", b"a/b/c/z", false, false);
        check("/a/**", b"a/b/c", false, true);
        check("/a/**", b"a", true, false);
        check("./a", b"a", false, true);
        check("foo.", b"x/foo.", false, true);
        check("...", b"...", false, true);
        check("\\!x", b"!x", false, true);
        check("/{a/b,c}/d", b"a/b/d", false, true);
        check("/a*c/d", b"abc/d", false, true);
        check("a?c", b"a/c", false, false);
        check("A", b"a", false, false);
    }

    #[test]
    fn names_of_any_bytes_are_matched() {
        check("*.tmp", b"\xff\xfe\n.tmp", false, true);
        check("/a/*/c", b"a/\xff/c", false, true);
        check("?", b"\n", false, true);
        check("*", b"-rf", false, true);
    }

    #[test]
    fn only_what_leads_to_a_match_is_entered() {
        let patterns = Patterns::new(&["/etc/ssh", "/home/*/.config/**/x"], "include").unwrap();
        for (path, expect) in [
            ("etc", true),
            ("usr", false),
            ("home", true),
            ("home/a", true),
            ("home/a/src", false),
            ("home/a/.config/b/c", true),
        ] {
            assert_eq!(patterns.may_match_below(path.as_bytes()), expect, "{path}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named() {
        for pattern in ["", "/", "a//b", "../x", "a/..", "[a", "{a", "!x"] {
            let error = Patterns::new(&[pattern], "exclude").unwrap_err();
            assert_eq!(error.code(), Code::Configuration);
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("the exclude pattern `{pattern}` ")),
                "{error}"
            );
        }
    }
}
