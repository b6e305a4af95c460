//! Rights without which a dump leaves something out and says nothing.

use serde::Deserialize;

/// A right of the account.
#[derive(Debug, Deserialize)]
pub struct Right {
    /// A pattern of `LIKE` for databases; `%` for all.
    on: String,
    /// Such as `SELECT`.
    right: String,
}

/// Without these, tables or triggers are missing from a dump. Without others, such as `EVENT`, the tools fail.
const NEEDED: [&str; 2] = ["SELECT", "TRIGGER"];

/// Needed rights that the account hasn't got on a database.
pub fn missing(rights: &[Right], database: &str, schema_only: bool) -> Vec<&'static str> {
    let has = |wanted: &str| rights.iter().any(|r| r.right == wanted && like(&r.on, database));
    let needed = NEEDED
        .into_iter()
        .filter(|right| !(schema_only && *right == "SELECT"));
    needed.filter(|right| !has(right)).collect()
}

/// Whether no procedure or function is hidden from the account.
pub fn sees_routines(rights: &[Right]) -> bool {
    rights.iter().any(|r| r.right == "SELECT" && like(&r.on, "mysql"))
}

/// Whether no database is hidden from the account.
pub fn sees_all(rights: &[Right]) -> bool {
    let all = ["SHOW DATABASES", "SELECT"];
    rights
        .iter()
        .any(|r| r.on == "%" && all.contains(&r.right.as_str()))
}

/// `LIKE`: `%` for any characters, `_` for one, `\` before one that stands for itself.
fn like(pattern: &str, name: &str) -> bool {
    fn rest(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, left) => left.is_none(),
            (Some(('%', after)), _) => (0..=name.len()).any(|at| rest(after, &name[at..])),
            (Some(('\\', after)), Some((c, name))) if !after.is_empty() => {
                after[0] == *c && rest(&after[1..], name)
            }
            (Some((p, after)), Some((c, name))) => (*p == '_' || p == c) && rest(after, name),
            (Some(_), None) => false,
        }
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    rest(&pattern, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(list: &[(&str, &str)]) -> Vec<Right> {
        let owned = list.iter().map(|(on, right)| Right {
            on: (*on).to_owned(),
            right: (*right).to_owned(),
        });
        owned.collect()
    }

    #[test]
    fn rights_count_where_they_are_given() {
        let some = rights(&[
            ("%", "SELECT"),
            ("shop\\_%", "TRIGGER"),
            ("shop_a", "EVENT"),
            ("%", "SHOW VIEW"),
        ]);
        assert_eq!(missing(&some, "shop_a", false), Vec::<&str>::new());
        assert_eq!(missing(&some, "shopXa", false), ["TRIGGER"]);
        assert_eq!(missing(&[], "a", true), ["TRIGGER"]);
        assert!(sees_routines(&some) && !sees_routines(&rights(&[("shop", "SELECT"), ("%", "EVENT")])));
        assert!(sees_all(&some) && !sees_all(&rights(&[("a", "SELECT"), ("%", "USAGE")])));
    }

    #[test]
    fn patterns_of_databases_are_those_of_like() {
        assert!(like("a%c", "abbc") && like("a_c", "abc") && like("a\\_c", "a_c") && like("%", ""));
        assert!(!like("a\\_c", "abc") && !like("a%c", "abd") && !like("", "a"));
    }
}
