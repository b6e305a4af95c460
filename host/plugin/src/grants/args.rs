//! Patterns for the arguments of a program.

use std::collections::BTreeSet;
use std::ops::Range;

use backstay_model::plugin::ArgPattern;
use serde_json::Value;

use super::Values;

/// A compiled pattern for a whole list of arguments.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    steps: Vec<Step>,
    open_ended: bool,
}

#[derive(Debug, Clone)]
enum Step {
    One(Option<Token>),
    Optional(Option<Vec<Token>>),
    /// Any number of these groups, in any order.
    Repeated(Vec<Vec<Token>>),
}

/// Literal pieces with stars between them. Values from the configuration are always literal.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    pieces: Vec<String>,
    /// What each star stands for.
    stars: Vec<Star>,
}

/// What a star stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Star {
    /// Anything.
    Any,
    /// It is between quotes, and so is what it stands for: it never ends them, and what follows is never read as a
    /// statement of its own.
    Within(char),
}

impl Star {
    /// The stars of a pattern.
    fn all(pattern: &str) -> Vec<Star> {
        let mut quote = None;
        let mut stars = Vec::new();
        for c in pattern.chars() {
            match (c, quote) {
                ('*', None) => stars.push(Star::Any),
                ('*', Some(quote)) => stars.push(Star::Within(quote)),
                (c, Some(open)) if c == open => quote = None,
                ('"' | '\'' | '`', None) => quote = Some(c),
                _ => {}
            }
        }
        stars
    }

    fn may_be(self, text: &str) -> bool {
        match self {
            Star::Any => true,
            // A backslash before the end of a text would make it go on.
            Star::Within('\'') if text.contains('\\') => false,
            Star::Within(quote) => !text.replace(&format!("{quote}{quote}"), "").contains(quote),
        }
    }

    /// Whether what it stands for is a path that leads elsewhere, by itself or with what is around it, up to the next
    /// slash or the quotes that it is between.
    fn leads_elsewhere(self, arg: &str, range: Range<usize>) -> bool {
        let plain = |text: &str| match self {
            Star::Any => text.to_owned(),
            // For a shell nothing is where quotes end and begin again.
            Star::Within(quote) => text.replace(&format!("{quote}{quote}"), ""),
        };
        let is_end = |c: char| c == '/' || matches!(self, Star::Within(quote) if c == quote);
        let (before, text, after) = (&arg[..range.start], &arg[range.clone()], &arg[range.end..]);
        let before = before.rsplit(is_end).next().unwrap_or_default();
        let after = after.split(is_end).next().unwrap_or_default();
        is_dots(&plain(text)) || is_dots(&plain(&format!("{before}{text}{after}")))
    }
}

impl Pattern {
    /// Compiles the patterns of a manifest. What has a placeholder without a value matches nothing.
    pub(super) fn new(args: &[ArgPattern], values: Values<'_>) -> Self {
        let open_ended = matches!(args.last(), Some(ArgPattern::One(last)) if last == "**");
        let args = if open_ended { &args[..args.len() - 1] } else { args };
        let steps = args
            .iter()
            .map(|arg| match arg {
                ArgPattern::One(one) => Step::One(Token::new(one, values)),
                ArgPattern::Optional(group) => match list_in(group, values) {
                    None => Step::Optional(Token::group(group, values)),
                    Some((field, list)) => Step::Repeated(for_each_value(group, values, field, list)),
                },
            })
            .collect();
        Pattern { steps, open_ended }
    }

    pub(super) fn matches(&self, args: &[String]) -> bool {
        // Each optional group doubles the ways to read a list, so what is kept is where any of them may end.
        let mut ends = BTreeSet::from([0]);
        for step in &self.steps {
            ends = match step {
                Step::Repeated(groups) => repeated(groups, args, ends),
                _ => ends
                    .into_iter()
                    .flat_map(|at| step.takes(&args[at..]).into_iter().flatten().map(move |n| at + n))
                    .collect(),
            };
        }
        if self.open_ended {
            !ends.is_empty()
        } else {
            ends.contains(&args.len())
        }
    }
}

impl Step {
    /// How many arguments it may take from the front.
    fn takes(&self, args: &[String]) -> [Option<usize>; 2] {
        match self {
            Step::One(token) => {
                let is_match = token
                    .as_ref()
                    .zip(args.first())
                    .is_some_and(|(t, arg)| t.matches(arg));
                [is_match.then_some(1), None]
            }
            Step::Optional(group) => {
                let whole = group.as_ref().filter(|group| begins_with(args, group));
                [Some(0), whole.map(Vec::len)]
            }
            Step::Repeated(_) => [Some(0), None],
        }
    }
}

fn begins_with(args: &[String], group: &[Token]) -> bool {
    args.len() >= group.len() && group.iter().zip(args).all(|(token, arg)| token.matches(arg))
}

/// Where any number of the groups may end, after any of the ends before them.
fn repeated(groups: &[Vec<Token>], args: &[String], mut ends: BTreeSet<usize>) -> BTreeSet<usize> {
    let mut open: Vec<usize> = ends.iter().copied().collect();
    while let Some(at) = open.pop() {
        for group in groups.iter().filter(|group| begins_with(&args[at..], group)) {
            if ends.insert(at + group.len()) {
                open.push(at + group.len());
            }
        }
    }
    ends
}

/// The field that a group names and whose value is a list.
fn list_in<'a>(group: &[String], values: Values<'a>) -> Option<(&'a String, &'a Vec<Value>)> {
    values.config.iter().find_map(|(field, value)| {
        let placeholder = format!("{{config.{field}}}");
        let list = value.as_array()?;
        let is_named = group.iter().any(|one| one.contains(&placeholder));
        is_named.then_some((field, list))
    })
}

fn for_each_value(group: &[String], values: Values<'_>, field: &str, list: &[Value]) -> Vec<Vec<Token>> {
    let with = |value: &Value| {
        let mut config = values.config.clone();
        config.insert(field.to_owned(), value.clone());
        Token::group(
            group,
            Values {
                config: &config,
                ..values
            },
        )
    };
    list.iter().filter_map(with).collect()
}

impl Token {
    fn new(text: &str, values: Values<'_>) -> Option<Self> {
        text.split('*')
            .map(|piece| values.fill(piece))
            .collect::<Option<Vec<_>>>()
            .map(|pieces| Token {
                pieces,
                stars: Star::all(text),
            })
    }

    fn group(group: &[String], values: Values<'_>) -> Option<Vec<Self>> {
        group.iter().map(|one| Token::new(one, values)).collect()
    }

    fn matches(&self, arg: &str) -> bool {
        let [first, middle @ ..] = self.pieces.as_slice() else {
            return false;
        };
        let Some((last, middle)) = middle.split_last() else {
            return arg == first;
        };
        // A value must not become an option of the program.
        if first.is_empty() && arg.starts_with('-') {
            return false;
        }
        let Some(mut rest) = arg
            .strip_prefix(first.as_str())
            .and_then(|a| a.strip_suffix(last.as_str()))
        else {
            return false;
        };
        if is_dotted(arg, first.len()..first.len() + rest.len()) {
            return false;
        }
        let end = arg.len() - last.len();
        let mut stars = self.stars.iter();
        for (piece, star) in middle.iter().zip(stars.by_ref()) {
            let start = end - rest.len();
            let mut ends = rest.match_indices(piece.as_str());
            match ends.find(|(at, _)| star.may_be(&rest[..*at])) {
                Some((at, _)) if !star.leads_elsewhere(arg, start..start + at) => {
                    rest = &rest[at + piece.len()..];
                }
                _ => return false,
            }
        }
        stars.all(|star| star.may_be(rest) && !star.leads_elsewhere(arg, end - rest.len()..end))
    }
}

/// Whether the part of an argument that stars stand for leads elsewhere as a path: `.` or `..` is a component of it, or
/// becomes one together with the literal pieces around it.
fn is_dotted(arg: &str, stars: Range<usize>) -> bool {
    let start = arg[..stars.start].rfind('/').map_or(0, |slash| slash + 1);
    let end = arg[stars.end..].find('/').map_or(arg.len(), |n| stars.end + n);
    is_dots(&arg[start..end]) || is_dots(&arg[stars])
}

fn is_dots(path: &str) -> bool {
    path.split('/').any(|name| name == "." || name == "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    fn pattern(args: Value, config: Value) -> Pattern {
        let args: Vec<ArgPattern> = serde_json::from_value(args).unwrap();
        let config: Map<String, Value> = serde_json::from_value(config).unwrap();
        Pattern::new(
            &args,
            Values {
                config: &config,
                target: Some("tank/new"),
                scratch: Some("/var/scratch/1"),
            },
        )
    }

    fn matches(pattern: &Pattern, line: &str) -> bool {
        pattern.matches(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_plugin_may_send_its_own_dataset_and_no_other() {
        let send = pattern(
            json!([
                "send",
                ["-R"],
                ["-i", "{config.poolName}@*"],
                "{config.poolName}@backstay-*"
            ]),
            json!({ "poolName": "tank/data" }),
        );
        assert!(matches(&send, "send tank/data@backstay-1"));
        assert!(matches(&send, "send -R -i tank/data@old tank/data@backstay-1"));
        for line in [
            "send tank/other@backstay-1",
            "send tank/data@mine",
            "send -D tank/data@backstay-1",
            "send -i tank/data@backstay-1",
            "send tank/data@backstay-1 more",
            "destroy tank/data@backstay-1",
        ] {
            assert!(!matches(&send, line), "{line}");
        }
    }

    #[test]
    fn a_star_in_front_never_stands_for_an_option() {
        let rm = pattern(json!(["*"]), json!({}));
        assert!(matches(&rm, "file"));
        assert!(!matches(&rm, "-rf"));
    }

    #[test]
    fn a_star_in_a_value_is_only_a_star() {
        let list = pattern(json!(["list", "{config.poolName}"]), json!({ "poolName": "*" }));
        assert!(!matches(&list, "list tank"));
        assert!(matches(&list, "list *"));
    }

    #[test]
    fn a_placeholder_without_a_value_grants_nothing() {
        let list = pattern(json!(["list", "{config.absent}"]), json!({}));
        assert!(!matches(&list, "list x") && !list.matches(&["list".to_owned(), String::new()]));
    }

    #[test]
    fn a_field_that_the_job_does_not_name_may_have_a_default() {
        let args = json!(["cat", "{config.root:-}/etc/os-release"]);
        assert!(matches(&pattern(args.clone(), json!({})), "cat /etc/os-release"));
        let named = pattern(args, json!({ "root": "/mnt" }));
        assert!(matches(&named, "cat /mnt/etc/os-release"));
        assert!(!matches(&named, "cat /etc/os-release"));
    }

    #[test]
    fn a_field_may_be_in_an_object() {
        let copy = pattern(
            json!(["copy", ["--class={config.to.class}"], "{config.to.remote}/*"]),
            json!({ "to": { "remote": "s3:b", "more": { "x": "y" } }, "to.remote": "other:" }),
        );
        assert!(matches(&copy, "copy s3:b/x"));
        for line in ["copy --class= s3:b/x", "copy other:/x", "copy s3:c/x"] {
            assert!(!matches(&copy, line), "{line}");
        }
        let object = pattern(
            json!(["{config.to.more}"]),
            json!({ "to": { "more": { "x": "y" } } }),
        );
        assert!(!matches(&object, "y"));
    }

    #[test]
    fn a_star_in_a_path_never_leads_out_of_it() {
        let scratch = pattern(json!(["{scratch}/*"]), json!({}));
        assert!(matches(&scratch, "/var/scratch/1/a/b..c"));
        for path in ["/var/scratch/1/../2", "/var/scratch/1/a/..", "/var/scratch/10"] {
            assert!(!matches(&scratch, path), "{path}");
        }
        let remote = json!({ "remote": "nas:/mnt/../backups" });
        let object = pattern(json!(["rcat", "{config.remote}/*"]), remote);
        for key in ["x", "a/...", "a/b..c", "..a/.b/c."] {
            assert!(
                matches(&object, &format!("rcat nas:/mnt/../backups/{key}")),
                "{key}"
            );
        }
        for key in ["..", "../../etc/x", "a/../../x", "a/..", "./x", "a/./x", "."] {
            assert!(
                !matches(&object, &format!("rcat nas:/mnt/../backups/{key}")),
                "{key}"
            );
        }
        let any = pattern(json!(["*"]), json!({}));
        let option = pattern(json!(["--file=*"]), json!({}));
        assert!(matches(&any, "a..b") && matches(&option, "--file=/etc/x"));
        assert!(!matches(&any, "..") && !matches(&any, "../x") && !matches(&option, "--file=../x"));
    }

    #[test]
    fn a_star_never_makes_dots_of_the_text_around_it() {
        let around = pattern(json!(["/a/.*/b", "/c/*.d/*"]), json!({}));
        assert!(matches(&around, "/a/.x/b /c/x.d/y"));
        for line in [
            "/a/./b /c/x.d/y",
            "/a/../b /c/x.d/y",
            "/a/.x/b /c/../x.d/y",
            "/a/.x/b /c/x.d/..",
        ] {
            assert!(!matches(&around, line), "{line}");
        }
    }

    #[test]
    fn names_with_dots_in_them_are_only_names() {
        let zfs = pattern(
            json!(["destroy", "{config.poolName}/*@*"]),
            json!({ "poolName": "tank" }),
        );
        assert!(matches(&zfs, "destroy tank/a.b/..c@1..2"));
        let sqlite = pattern(
            json!([".backup '{config.path}.backstay-*'"]),
            json!({ "path": "/a/../b.db" }),
        );
        assert!(sqlite.matches(&[".backup '/a/../b.db.backstay-1'".to_owned()]));
        assert!(!sqlite.matches(&[".backup '/a/../b.db.backstay-1/../x'".to_owned()]));
        let git = pattern(json!(["log", "*"]), json!({}));
        assert!(matches(&git, "log v1.0..v1.1") && matches(&git, "log main...x/y"));
    }

    #[test]
    fn a_star_between_quotes_stays_there() {
        let drop = pattern(json!(["DROP \"backstay-*\""]), json!({}));
        let (name, text) = (
            pattern(json!(["`*`.`x_*` END"]), json!({})),
            pattern(json!(["SET '*' TO *"]), json!({})),
        );
        let is_match = |pattern: &Pattern, arg: &str| pattern.matches(&[arg.to_owned()]);
        assert!(is_match(&drop, "DROP \"backstay-1\"") && is_match(&drop, "DROP \"backstay-a\"\"b\""));
        assert!(is_match(&name, "`a`.`x_b` END") && is_match(&name, "`a``.`.`x_``` END"));
        assert!(is_match(&text, "SET 'it''s' TO 'a' or b"));
        for (pattern, arg) in [
            (&drop, "DROP \"backstay-1\"; DROP \"mine\""),
            (&drop, "DROP \"backstay-1\"\"\"; DROP \"mine\""),
            (&name, "`a`; DROP `b`.`x_b` END"),
            (&name, "`a`.`x_b`; DROP `c` END"),
            (&text, "SET 'a\\'' TO b; --' TO x"),
        ] {
            assert!(!is_match(pattern, arg), "{arg}");
        }
        // What a value of the configuration holds quotes nothing.
        let quoted = pattern(json!(["{config.path}.*"]), json!({ "path": "/it's" }));
        assert!(is_match(&quoted, "/it's.'x"));
    }

    #[test]
    fn a_star_between_quotes_never_leads_out_of_its_directory() {
        let config = json!({ "root": "/my backups" });
        let is_match = |pattern: &Pattern, arg: &str| pattern.matches(&[arg.to_owned()]);
        let copy = pattern(
            json!(["copy --to='{config.root}/*' -- '{config.root}/*' './*'"]),
            config.clone(),
        );
        let of = |one: &str, two: &str, three: &str| {
            format!("copy --to='/my backups/{one}' -- '/my backups/{two}' './{three}'")
        };
        assert!(is_match(&copy, &of("a.b/..c", "x/.y/", "...")));
        for out in ["..", ".", "x/..", "../x", "x/../y", "../", ".''.", "x/..''"] {
            assert!(!is_match(&copy, &of(out, "x", "y")), "{out}");
            assert!(!is_match(&copy, &of("x", out, "y")), "{out}");
            assert!(!is_match(&copy, &of("x", "y", out)), "{out}");
        }
        let link = pattern(
            json!(["cd '{config.root}/*' && ln -s -- './*' x && mv x latest"]),
            config,
        );
        assert!(is_match(
            &link,
            "cd '/my backups/j' && ln -s -- './1' x && mv x latest"
        ));
        for out in ["..", "../../etc", "''../x"] {
            let line = format!("cd '/my backups/j' && ln -s -- './{out}' x && mv x latest");
            assert!(!is_match(&link, &line), "{out}");
        }
        assert!(!is_match(
            &link,
            "cd '/my backups/j' && ln -s -- '/etc' x && mv x latest"
        ));
    }

    #[test]
    fn each_value_of_a_list_may_come_and_nothing_else() {
        let dump = pattern(
            json!(["dump", ["--skip={config.skip}"], ["-t", "{config.tables}"], "x"]),
            json!({ "skip": ["a", "b*"], "tables": [] }),
        );
        for line in ["dump x", "dump --skip=a x", "dump --skip=b* --skip=a --skip=a x"] {
            assert!(matches(&dump, line), "{line}");
        }
        for line in [
            "dump --skip=c x",
            "dump --skip=bb x",
            "dump --skip={config.skip} x",
            "dump -t  x",
            "dump --skip=a",
        ] {
            assert!(!matches(&dump, line), "{line}");
        }
    }

    #[test]
    fn many_optional_groups_take_no_time() {
        let groups: Vec<Value> = (0..200).map(|_| json!(["a"])).collect();
        let many = pattern(Value::Array(groups), json!({}));
        let args = |n: usize, last: &str| {
            let mut args = vec!["a".to_owned(); n];
            args.push(last.to_owned());
            args
        };
        assert!(many.matches(&args(100, "a")));
        assert!(!many.matches(&args(100, "b")) && !many.matches(&args(200, "a")));
    }

    #[test]
    fn the_target_of_a_restore_can_be_named() {
        assert!(matches(
            &pattern(json!(["receive", "{target}"]), json!({})),
            "receive tank/new"
        ));
    }

    proptest! {
        #[test]
        fn what_matches_has_the_literal_ends(arg in ".{0,20}", inside in "[ab./]{0,8}") {
            let token = Token { pieces: vec!["a@".to_owned(), "-z".to_owned()], stars: vec![Star::Any] };
            let has_ends = arg.len() >= 4 && arg.starts_with("a@") && arg.ends_with("-z");
            prop_assert!(has_ends || !token.matches(&arg));
            let is_plain = !inside.split('/').any(|name| name == "." || name == "..");
            prop_assert_eq!(token.matches(&format!("a@{inside}-z")), is_plain);
        }
    }
}
