//! Which databases of a server are backed up, and what is said of those that aren't.

use backstay_sdk::{Failure, Result, log};

/// A database as the server lists it.
pub trait Listed {
    /// Its name.
    fn name(&self) -> &str;

    /// Why it can't be read, if it can't.
    fn obstacle(&self) -> Option<&'static str>;
}

/// At most this many databases are named to a person who misspelt one.
const MAX_NAMED: usize = 10;

/// What was chosen, and what somebody should know of the rest.
#[derive(Debug)]
pub struct Chosen<D> {
    /// Databases to back up, as the server orders them.
    pub databases: Vec<D>,
    /// Code and sentence of each warning.
    pub warnings: Vec<(&'static str, String)>,
}

impl<D> Chosen<D> {
    /// The databases, once the warnings are in the run.
    pub fn with_warnings(self) -> Vec<D> {
        for (code, message) in self.warnings {
            log::warning(code, message, None);
        }
        self.databases
    }
}

/// Chooses by the job's patterns.
///
/// # Errors
/// A database that is named plainly isn't there or can't be read, or nothing is left to back up.
pub fn choose<D: Listed>(listed: Vec<D>, include: &[String], exclude: &[String]) -> Result<Chosen<D>> {
    let mut warnings = Vec::new();
    for pattern in include {
        if listed.iter().any(|d| matches(pattern, d.name())) {
            continue;
        }
        if is_plain(pattern) {
            return Err(missing(pattern, &listed));
        }
        warnings.push(("no-match", format!("no database matches `{pattern}`")));
    }
    let mut databases = Vec::new();
    for database in listed {
        let name = database.name();
        let wanted = include.iter().any(|pattern| matches(pattern, name));
        if !wanted || exclude.iter().any(|pattern| matches(pattern, name)) {
            continue;
        }
        match database.obstacle() {
            None => databases.push(database),
            Some(obstacle) if include.iter().any(|pattern| pattern == name) => {
                return Err(Failure::new(
                    backstay_sdk::Code::Permission,
                    format!("the database `{name}` can't be backed up: {obstacle}"),
                )
                .hint("give the account the right to read it, or exclude it"));
            }
            Some(obstacle) => warnings.push((
                "skipped-database",
                format!("the database `{name}` is not in the backup: {obstacle}"),
            )),
        }
    }
    if databases.is_empty() {
        let skipped: Vec<&str> = warnings.iter().map(|(_, message)| message.as_str()).collect();
        let why = if skipped.is_empty() {
            "`exclude` leaves none".to_owned()
        } else {
            skipped.join("; ")
        };
        return Err(
            Failure::backup_failed(format!("there is no database to back up: {why}"))
                .hint("correct `include` and `exclude`, or the rights of the account"),
        );
    }
    Ok(Chosen { databases, warnings })
}

fn missing<D: Listed>(name: &str, listed: &[D]) -> Failure {
    let failure = Failure::configuration(format!("there is no database `{name}`"));
    let named: Vec<&str> = listed.iter().take(MAX_NAMED).map(Listed::name).collect();
    match listed.len() {
        0 => failure.hint("the account sees no database at all"),
        n if n > MAX_NAMED => failure.hint(format!(
            "there are {} and {} more",
            named.join(", "),
            n - MAX_NAMED
        )),
        _ => failure.hint(format!("there are {}", named.join(", "))),
    }
}

/// Whether it is a name and not a pattern.
pub fn is_plain(pattern: &str) -> bool {
    !pattern.contains(['*', '?'])
}

/// Whether a name matches: `*` stands for any characters, `?` for one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on if the last `*` has to take one more character.
    let mut again: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                again = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match again {
                Some((star, from)) => {
                    again = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug)]
    struct Fake(&'static str, Option<&'static str>);

    impl Listed for Fake {
        fn name(&self) -> &str {
            self.0
        }

        fn obstacle(&self) -> Option<&'static str> {
            self.1
        }
    }

    const LOCKED: Option<&str> = Some("no right");

    fn server() -> Vec<Fake> {
        vec![
            Fake("app", None),
            Fake("app_test", None),
            Fake("hr", LOCKED),
            Fake("shop", None),
        ]
    }

    fn lists(include: &[&str], exclude: &[&str]) -> Result<(Vec<&'static str>, Vec<String>)> {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let chosen = choose(server(), &owned(include), &owned(exclude))?;
        let names = chosen.databases.iter().map(|d| d.0).collect();
        Ok((
            names,
            chosen
                .warnings
                .into_iter()
                .map(|(code, m)| format!("{code}: {m}"))
                .collect(),
        ))
    }

    #[test]
    fn patterns_take_and_leave_out() {
        let (names, warnings) = lists(&["app*", "shop"], &["*_test"]).expect("chosen");
        assert_eq!((names, warnings), (vec!["app", "shop"], vec![]));
    }

    #[test]
    fn what_a_pattern_takes_and_nobody_may_read_is_a_warning() {
        let (names, warnings) = lists(&["*"], &[]).expect("chosen");
        assert_eq!(names, ["app", "app_test", "shop"]);
        assert_eq!(
            warnings,
            ["skipped-database: the database `hr` is not in the backup: no right"]
        );
        assert_eq!(lists(&["*"], &["hr"]).expect("chosen").1, Vec::<String>::new());
    }

    #[test]
    fn what_is_named_and_can_t_be_read_is_a_failure() {
        let failure = lists(&["*", "hr"], &[]).expect_err("locked");
        assert_eq!(failure.message, "the database `hr` can't be backed up: no right");
    }

    #[test]
    fn a_name_that_is_not_there_is_a_failure_that_lists_what_is() {
        let failure = lists(&["ap"], &[]).expect_err("missing");
        assert_eq!(failure.message, "there is no database `ap`");
        assert_eq!(failure.hint.as_deref(), Some("there are app, app_test, hr, shop"));
    }

    #[test]
    fn a_pattern_without_a_match_is_a_warning_and_nothing_at_all_a_failure() {
        let (_, warnings) = lists(&["app", "x*"], &[]).expect("chosen");
        assert_eq!(warnings, ["no-match: no database matches `x*`"]);
        let failure = lists(&["x*"], &[]).expect_err("nothing");
        assert_eq!(
            failure.message,
            "there is no database to back up: no database matches `x*`"
        );
        assert!(lists(&["app"], &["*"]).is_err());
        assert!(lists(&["hr*"], &[]).is_err());
    }

    /// The same question, asked in the slow and plain way.
    fn plainly(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, rest) => rest.is_none(),
            (Some(('*', rest)), None) => plainly(rest, name),
            (Some(('*', rest)), Some((_, shorter))) => plainly(rest, name) || plainly(pattern, shorter),
            (Some((c, rest)), Some((d, shorter))) => (*c == '?' || c == d) && plainly(rest, shorter),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_mean_what_they_say(pattern in "[ab*?é]{0,8}", name in "[abé]{0,10}") {
            let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(matches(&pattern, &name), plainly(&p, &n));
        }

        #[test]
        fn a_plain_name_matches_itself_alone(name in "\\PC{0,12}", other in "\\PC{0,12}") {
            if is_plain(&name) {
                prop_assert!(matches(&name, &name));
                prop_assert_eq!(matches(&name, &other), name == other);
            }
        }
    }
}
