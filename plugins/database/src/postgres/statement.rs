//! SQL that makes a database as it was, and puts it in its place.

use super::Properties;

/// Settings whose value is a list of names that the server keeps quoted already.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// A name in SQL, whatever is in it.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL, whatever is in it and however the server reads backslashes.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Makes an empty database with the same encoding and locale.
pub fn create(name: &str, properties: &Properties) -> String {
    let Properties {
        encoding,
        collate,
        ctype,
        locale_provider,
        locale,
        ..
    } = properties;
    let mut sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        identifier(name),
        literal(encoding),
        literal(collate),
        literal(ctype)
    );
    if let (Some(provider), Some(locale)) = (locale_provider, locale) {
        match provider.as_str() {
            "i" => sql.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", literal(locale))),
            "b" => sql.push_str(&format!(
                " LOCALE_PROVIDER builtin BUILTIN_LOCALE {}",
                literal(locale)
            )),
            _ => {}
        }
    }
    sql
}

/// Sets up what a dump doesn't hold. Every statement begins with `ALTER DATABASE`, `ALTER ROLE`, `REVOKE`,
/// `GRANT` or `COMMENT ON DATABASE`.
pub fn set_up(name: &str, properties: &Properties) -> Vec<String> {
    let database = identifier(name);
    let mut sql = vec![format!(
        "ALTER DATABASE {database} OWNER TO {}",
        identifier(&properties.owner)
    )];
    if properties.connection_limit >= 0 {
        sql.push(format!(
            "ALTER DATABASE {database} CONNECTION LIMIT {}",
            properties.connection_limit
        ));
    }
    for (role, settings) in &properties.settings {
        let whose = match role {
            Some(role) => format!("ALTER ROLE {} IN DATABASE {database}", identifier(role)),
            None => format!("ALTER DATABASE {database}"),
        };
        for (setting, value) in settings.iter().filter_map(|s| s.split_once('=')) {
            sql.push(format!(
                "{whose} SET {} TO {}",
                setting_name(setting),
                setting_value(setting, value)
            ));
        }
    }
    if let Some(comment) = &properties.comment {
        sql.push(format!("COMMENT ON DATABASE {database} IS {}", literal(comment)));
    }
    if let Some(grants) = &properties.grants {
        let owner = identifier(&properties.owner);
        sql.push(format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"));
        sql.push(format!("REVOKE ALL ON DATABASE {database} FROM {owner}"));
        for (role, privilege, can_pass_on) in grants {
            let role = role.as_deref().map_or_else(|| "PUBLIC".to_owned(), identifier);
            let option = if *can_pass_on { " WITH GRANT OPTION" } else { "" };
            sql.push(format!(
                "GRANT {} ON DATABASE {database} TO {role}{option}",
                word(privilege)
            ));
        }
    }
    sql
}

/// Gives a database another name.
pub fn rename(from: &str, to: &str) -> String {
    format!("ALTER DATABASE {} RENAME TO {}", identifier(from), identifier(to))
}

/// Drops a database, if it is there.
pub fn drop(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {}", identifier(name))
}

/// `extension.setting` has two names.
fn setting_name(name: &str) -> String {
    name.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

fn setting_value(name: &str, value: &str) -> String {
    let is_list = LISTS.iter().any(|list| list.eq_ignore_ascii_case(name));
    if is_list && !value.is_empty() {
        list(value)
    } else {
        literal(value)
    }
}

/// Each element of a list as a text: `"$user", public` as `'$user', 'public'`.
fn list(value: &str) -> String {
    let mut elements = Vec::new();
    let mut element = String::new();
    let mut is_quoted = false;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                element.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => elements.push(std::mem::take(&mut element)),
            c if c.is_whitespace() && !is_quoted => {}
            c => element.push(c),
        }
    }
    elements.push(element);
    elements.iter().map(|e| literal(e)).collect::<Vec<_>>().join(", ")
}

/// A keyword: letters only, whatever a manifest says.
fn word(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphabetic() || *c == ' ')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> Properties {
        Properties {
            owner: "o\"wner".to_owned(),
            encoding: "UTF8".to_owned(),
            collate: "C".to_owned(),
            ctype: "C.UTF-8".to_owned(),
            locale_provider: Some("i".to_owned()),
            locale: Some("de-DE".to_owned()),
            connection_limit: 5,
            comment: Some("it's \\ here".to_owned()),
            settings: vec![
                (
                    None,
                    vec![
                        "search_path=\"$user\", \"a, \"\"b\", public".to_owned(),
                        "work_mem=64MB".to_owned(),
                    ],
                ),
                (
                    Some("app".to_owned()),
                    vec!["my.setting=x=y".to_owned(), "search_path=".to_owned()],
                ),
            ],
            grants: Some(vec![
                (None, "CONNECT".to_owned(), false),
                (Some("app".to_owned()), "CREATE".to_owned(), true),
            ]),
        }
    }

    #[test]
    fn a_database_is_made_as_it_was() {
        insta::assert_snapshot!(create("backstay-restore-1", &properties()));
        insta::assert_snapshot!(set_up("a\"b", &properties()).join("\n"));
    }

    #[test]
    fn what_is_usual_needs_only_an_owner() {
        let plain = Properties {
            owner: "postgres".to_owned(),
            connection_limit: -1,
            comment: None,
            settings: Vec::new(),
            grants: None,
            locale_provider: Some("c".to_owned()),
            ..properties()
        };
        assert_eq!(
            set_up("a", &plain),
            ["ALTER DATABASE \"a\" OWNER TO \"postgres\""]
        );
        assert!(!create("a", &plain).contains("LOCALE_PROVIDER"));
    }

    #[test]
    fn a_hostile_manifest_adds_no_statement() {
        assert_eq!(word("CONNECT; DROP TABLE x"), "CONNECT DROP TABLE x");
        assert_eq!(literal("a'; b\\'"), "E'a''; b\\\\'''");
    }
}
