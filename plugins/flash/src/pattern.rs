//! Patterns of paths, in the one form that jobs use, told to git and to the host in their own forms.
//!
//! All of them match whatever the case of letters is: on a flash drive `SHADOW` and `shadow` are the same file.

/// What a pattern matches is left out with all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    body: String,
    anchored: bool,
    only_directories: bool,
}

impl Pattern {
    /// Reads a pattern in the manner of `.gitignore`: `*` within a name, `**` across directories, a leading `/` for
    /// the top, a `/` at the end for directories only.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.trim().is_empty() {
            return Err("is empty");
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character");
        }
        if text.starts_with('!') {
            return Err("begins with `!`: nothing can be taken back in");
        }
        if text.contains(['{', '}']) {
            return Err("holds braces: write one pattern for each");
        }
        let (body, only_directories) = match text.strip_suffix('/') {
            Some(body) => (body, true),
            None => (text, false),
        };
        let (body, anchored) = match body.strip_prefix('/') {
            Some(body) => (body, true),
            None => (body, false),
        };
        if body.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err("has an empty name, `.` or `..` in it");
        }
        check_brackets(body)?;
        Ok(Pattern {
            body: body.to_owned(),
            anchored,
            only_directories,
        })
    }

    /// As the host's trees take it.
    pub fn for_tree(&self) -> String {
        let top = if self.anchored { "/" } else { "" };
        let end = if self.only_directories { "/" } else { "" };
        format!("{top}{}{end}", any_case(&self.body))
    }

    /// As pathspecs of git, with `magic` in front, such as `exclude,`.
    pub fn pathspecs(&self, magic: &str) -> Vec<String> {
        let anywhere = if self.anchored { "" } else { "**/" };
        let itself = format!(":({magic}top,glob,icase){anywhere}{}", self.body);
        let below = format!("{itself}/**");
        if self.only_directories {
            vec![below]
        } else {
            vec![itself, below]
        }
    }

    /// As a line of `info/exclude`.
    pub fn ignore_line(&self) -> String {
        let top = match (self.anchored, self.body.contains('/')) {
            (true, _) => "/",
            (false, true) => "**/",
            (false, false) if self.body.starts_with('#') => "\\",
            (false, false) => "",
        };
        // Git drops spaces at the end of a line.
        let kept = self.body.trim_end_matches(' ');
        let spaces = "\\ ".repeat(self.body.len() - kept.len());
        let end = if self.only_directories { "/" } else { "" };
        format!("{top}{kept}{spaces}{end}")
    }
}

/// Reads what [`Config::check`](crate::config::Config::check) has found to be right; what isn't is none.
pub fn parse_all<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<Pattern> {
    texts
        .into_iter()
        .filter_map(|text| Pattern::parse(text).ok())
        .collect()
}

fn check_brackets(body: &str) -> Result<(), &'static str> {
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next().is_none() => return Err("ends with a backslash"),
            '[' => {
                let class: String = rest.by_ref().take_while(|c| *c != ']').collect();
                let members = class.trim_start_matches(['!', '^']);
                let is_open = rest.as_str().is_empty() && !body.ends_with(']');
                if members.is_empty() || members.contains(['[', '/', '\\']) || is_open {
                    return Err("has `[` without a plain list of characters and `]` after it");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Each letter as a class of both its forms.
fn any_case(body: &str) -> String {
    let mut pattern = String::new();
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                pattern.push(c);
                pattern.extend(rest.next());
            }
            '[' => {
                let class: String = rest.by_ref().take_while(|c| *c != ']').collect();
                let members = class.trim_start_matches(['!', '^']);
                let not = if members.len() < class.len() { "!" } else { "" };
                let (upper, lower) = (members.to_ascii_uppercase(), members.to_ascii_lowercase());
                let both = if upper == lower { upper } else { upper + &lower };
                pattern.push_str(&format!("[{not}{both}]"));
            }
            c if c.is_ascii_alphabetic() => {
                pattern.extend(['[', c.to_ascii_lowercase(), c.to_ascii_uppercase(), ']']);
            }
            c => pattern.push(c),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, tree: &str, pathspecs: &[&str], line: &str) {
        let pattern = Pattern::parse(text).expect(text);
        assert_eq!(pattern.for_tree(), tree, "{text}");
        assert_eq!(pattern.pathspecs(""), pathspecs, "{text}");
        assert_eq!(pattern.ignore_line(), line, "{text}");
    }

    #[test]
    fn one_pattern_has_three_forms() {
        check(
            "/a/b",
            "/[aA]/[bB]",
            &[":(top,glob,icase)a/b", ":(top,glob,icase)a/b/**"],
            "/a/b",
        );
        check(
            "*.z",
            "*.[zZ]",
            &[":(top,glob,icase)**/*.z", ":(top,glob,icase)**/*.z/**"],
            "*.z",
        );
        check("a/1/", "[aA]/1/", &[":(top,glob,icase)**/a/1/**"], "**/a/1/");
        check(
            "#[!a-c]",
            "#[!A-Ca-c]",
            &[":(top,glob,icase)**/#[!a-c]", ":(top,glob,icase)**/#[!a-c]/**"],
            "\\#[!a-c]",
        );
        check(
            "\\*1 ",
            "\\*1 ",
            &[":(top,glob,icase)**/\\*1 ", ":(top,glob,icase)**/\\*1 /**"],
            "\\*1\\ ",
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, fault) in [
            ("", "is empty"),
            (" ", "is empty"),
            ("a\nb", "holds a control character"),
            ("!a", "begins with `!`: nothing can be taken back in"),
            ("{a,b}", "holds braces: write one pattern for each"),
            ("a//b", "has an empty name, `.` or `..` in it"),
            ("/", "has an empty name, `.` or `..` in it"),
            ("../a", "has an empty name, `.` or `..` in it"),
            ("a\\", "ends with a backslash"),
            (
                "[a",
                "has `[` without a plain list of characters and `]` after it",
            ),
            (
                "[]a]",
                "has `[` without a plain list of characters and `]` after it",
            ),
        ] {
            assert_eq!(Pattern::parse(text), Err(fault), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_break_out_of_a_line(text in "[ -~\n\\[\\]!*/a]{0,12}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                prop_assert!(!pattern.ignore_line().contains('\n') && !pattern.ignore_line().starts_with(['!', '#']));
                prop_assert!(pattern.pathspecs("exclude,").iter().all(|p| p.starts_with(":(exclude,top,glob,icase)")));
                prop_assert!(!pattern.for_tree().starts_with('!'));
            }
        }
    }
}
