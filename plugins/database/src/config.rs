//! The configuration of a `database` source, and the rules that its schema can't say.

use backstay_sdk::{Diagnostic, Failure, Result};
use schemars::JsonSchema;
use serde::Deserialize;

/// Databases to back up: those of a server, or one SQLite file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// What holds the databases.
    pub engine: Engine,
    /// Server: a host name or address for TCP, or an absolute path for a Unix socket (PostgreSQL: its directory;
    /// MariaDB and MySQL: the socket itself). Without it, the socket that the tools know.
    #[serde(default)]
    pub host: Option<String>,
    /// Port of the server, if it isn't the usual one.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u32>,
    /// Account to connect as; without it, the name of the user that the host runs as.
    #[serde(default)]
    pub username: Option<String>,
    /// Name of the secret that holds the account's password.
    #[serde(default)]
    pub password_secret: Option<String>,
    /// Whether the connection is encrypted, and what is checked of the server. Without it, the tools decide.
    #[serde(default)]
    pub ssl_mode: Option<SslMode>,
    /// Absolute path of the certificates (PEM) that the server's is checked against.
    #[serde(default)]
    pub ssl_root_cert: Option<String>,
    /// Names of databases, or patterns: `*` stands for any characters and `?` for one.
    #[serde(default = "everything")]
    pub include: Vec<String>,
    /// Databases to leave out, in the same form.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Back up what belongs to no single database: roles and tablespaces of PostgreSQL, accounts of MariaDB.
    /// Without it, yes where the tool can.
    #[serde(default)]
    pub globals: Option<bool>,
    /// Take definitions only, no rows.
    #[serde(default)]
    pub schema_only: bool,
    /// PostgreSQL: only these schemas, as patterns of `pg_dump --schema`.
    #[serde(default)]
    pub schemas: Vec<String>,
    /// PostgreSQL: leave these schemas out, as patterns of `pg_dump --exclude-schema`.
    #[serde(default)]
    pub exclude_schemas: Vec<String>,
    /// Leave these tables out. PostgreSQL: patterns of `pg_dump --exclude-table`; MariaDB and MySQL:
    /// `DATABASE.TABLE`.
    #[serde(default)]
    pub exclude_tables: Vec<String>,
    /// Take only the definition of these tables. PostgreSQL: patterns of `pg_dump --exclude-table-data`;
    /// MariaDB: `DATABASE.TABLE`.
    #[serde(default)]
    pub exclude_table_data: Vec<String>,
    /// SQLite: absolute path of the database file.
    #[serde(default)]
    pub path: Option<String>,
}

/// What holds the databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL, by `pg_dump`.
    Postgres,
    /// MariaDB, by `mariadb-dump`.
    Mariadb,
    /// MySQL, by `mysqldump`.
    Mysql,
    /// One SQLite file, by `sqlite3`.
    Sqlite,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Not encrypted.
    Disable,
    /// Encrypted, or the connection fails. Says nothing of who answers.
    Require,
    /// Encrypted, and the server has a certificate that `sslRootCert` vouches for.
    VerifyCa,
    /// As `verify-ca`, and the certificate names the host.
    VerifyFull,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Engine {
    /// Its name, for a person.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Postgres => "PostgreSQL",
            Engine::Mariadb => "MariaDB",
            Engine::Mysql => "MySQL",
            Engine::Sqlite => "SQLite",
        }
    }
}

impl Config {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = self.misplaced();
        if self.engine == Engine::Sqlite {
            found.extend(self.check_path());
        } else {
            found.extend(self.check_connection());
            found.extend(self.check_patterns());
        }
        found
    }

    /// The path of an SQLite file; [`Config::check`] sees to it that there is one.
    ///
    /// # Errors
    /// There is none.
    pub fn sqlite_path(&self) -> Result<&str> {
        self.path
            .as_deref()
            .ok_or_else(|| Failure::configuration("SQLite needs `path`"))
    }

    /// Fields that mean nothing to this engine.
    fn misplaced(&self) -> Vec<Diagnostic> {
        use Engine::{Mariadb, Mysql, Postgres, Sqlite};
        const SERVERS: &[Engine] = &[Postgres, Mariadb, Mysql];
        let fields: [(&str, bool, &[Engine]); 15] = [
            ("host", self.host.is_some(), SERVERS),
            ("port", self.port.is_some(), SERVERS),
            ("username", self.username.is_some(), SERVERS),
            ("passwordSecret", self.password_secret.is_some(), SERVERS),
            ("sslMode", self.ssl_mode.is_some(), SERVERS),
            ("sslRootCert", self.ssl_root_cert.is_some(), SERVERS),
            ("include", self.include != everything(), SERVERS),
            ("exclude", !self.exclude.is_empty(), SERVERS),
            ("globals", self.globals == Some(true), &[Postgres, Mariadb]),
            ("schemaOnly", self.schema_only, SERVERS),
            ("schemas", !self.schemas.is_empty(), &[Postgres]),
            ("excludeSchemas", !self.exclude_schemas.is_empty(), &[Postgres]),
            ("excludeTables", !self.exclude_tables.is_empty(), SERVERS),
            (
                "excludeTableData",
                !self.exclude_table_data.is_empty(),
                &[Postgres, Mariadb],
            ),
            ("path", self.path.is_some(), &[Sqlite]),
        ];
        let mut found = Vec::new();
        for (field, is_set, engines) in fields {
            if is_set && !engines.contains(&self.engine) {
                let message = format!("`{field}` can't be used with {}", self.engine.name());
                let names: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
                found.push(
                    Diagnostic::error(format!("/{field}"), "misplaced", message)
                        .hint(format!("remove it; it is for {}", names.join(", "))),
                );
            }
        }
        found
    }

    fn check_path(&self) -> Option<Diagnostic> {
        let Some(path) = &self.path else {
            return Some(
                Diagnostic::error("/path", "missing-path", "SQLite needs `path`, the database file")
                    .hint("such as `path: /srv/app/app.db`"),
            );
        };
        let fault = fault_of_path(path)?;
        Some(Diagnostic::error(
            "/path",
            "bad-path",
            format!("`{path}` {fault}"),
        ))
    }

    fn check_connection(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut wrong = |field: &str, value: &str, fault: &str| {
            let message = format!("`{}` {fault}", value.escape_debug());
            found.push(Diagnostic::error(format!("/{field}"), "bad-value", message));
        };
        let is_word =
            |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace());
        if let Some(host) = self.host.as_deref().filter(|host| !is_word(host)) {
            wrong("host", host, "is no host name and no path");
        }
        if let Some(name) = self.username.as_deref()
            && (name.is_empty() || name.contains(char::is_control))
        {
            wrong("username", name, "is no name of an account");
        }
        if let Some(path) = self
            .ssl_root_cert
            .as_deref()
            .filter(|path| !path.starts_with('/'))
        {
            wrong("sslRootCert", path, "must be an absolute path");
        }
        found
    }

    fn check_patterns(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.include.is_empty() {
            found.push(
                Diagnostic::error("/include", "empty-list", "`include` names no database")
                    .hint("remove it to take every database"),
            );
        }
        let lists = [
            ("include", &self.include),
            ("exclude", &self.exclude),
            ("schemas", &self.schemas),
            ("excludeSchemas", &self.exclude_schemas),
            ("excludeTables", &self.exclude_tables),
            ("excludeTableData", &self.exclude_table_data),
        ];
        for (field, list) in lists {
            for (index, pattern) in list.iter().enumerate() {
                let pointer = format!("/{field}/{index}");
                if pattern.trim().is_empty() {
                    let message = format!("an entry in `{field}` is empty");
                    found.push(Diagnostic::error(pointer, "empty-pattern", message).hint("remove it"));
                } else if field.starts_with("excludeTable")
                    && self.engine != Engine::Postgres
                    && !is_table(pattern)
                {
                    let message = format!("`{pattern}` doesn't name a table");
                    found.push(
                        Diagnostic::error(pointer, "bad-table", message)
                            .hint("write `DATABASE.TABLE`, without patterns"),
                    );
                }
            }
        }
        found
    }
}

fn is_table(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(database, table)| !database.is_empty() && !table.is_empty() && !text.contains('*'))
}

/// What keeps a path from being given to `sqlite3`, which reads quotes and backslashes in its own way.
pub fn fault_of_path(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("must be an absolute path")
    } else if path.split('/').any(|name| name == "..") {
        Some("must not contain `..`")
    } else if path.ends_with('/') {
        Some("must name a file")
    } else if path.contains(|c: char| c.is_control() || "'\"\\".contains(c)) {
        Some("must not contain quotes, backslashes or control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every diagnostic as a line: where, what, and what to do.
    fn check(yaml: serde_json::Value) -> String {
        let config: Config = serde_json::from_value(yaml).expect("a configuration of the right shape");
        let lines = config.check().into_iter().map(|d| {
            let hint = d.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            format!("{} {}: {}{hint}", d.pointer, d.code, d.message)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_server_needs_nothing_but_its_engine() {
        for engine in ["postgres", "mariadb", "mysql"] {
            assert_eq!(check(serde_json::json!({ "engine": engine })), "");
        }
    }

    #[test]
    fn sqlite_needs_a_file() {
        assert_eq!(
            check(serde_json::json!({ "engine": "sqlite", "path": "/srv/a b.db" })),
            ""
        );
        insta::assert_snapshot!(check(serde_json::json!({ "engine": "sqlite" })), @"/path missing-path: SQLite needs `path`, the database file (such as `path: /srv/app/app.db`)");
    }

    #[test]
    fn fields_of_another_engine_are_named() {
        insta::assert_snapshot!(check(serde_json::json!({
            "engine": "sqlite", "path": "/a", "host": "h", "port": 1, "username": "u", "passwordSecret": "s", "sslMode": "require",
            "sslRootCert": "/c", "include": ["a"], "exclude": ["b"], "globals": true, "schemaOnly": true, "schemas": ["a"],
            "excludeSchemas": ["b"], "excludeTables": ["t"], "excludeTableData": ["t"],
        })));
        insta::assert_snapshot!(check(serde_json::json!({
            "engine": "mysql", "path": "/a", "globals": true, "schemas": ["a"], "excludeSchemas": ["b"], "excludeTableData": ["d.t"],
        })));
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        insta::assert_snapshot!(check(serde_json::json!({
            "engine": "mariadb", "host": "a b", "username": "", "passwordSecret": "../x", "sslRootCert": "ca.pem",
            "include": [], "exclude": [" "], "excludeTables": ["t", ".t", "d.*"], "excludeTableData": [""],
        })));
    }

    #[test]
    fn a_path_is_one_that_sqlite3_takes_as_it_is() {
        for path in [
            "app.db",
            "/srv/../app.db",
            "/srv/",
            "/srv/it's.db",
            "/a\"b",
            "/a\\b",
            "/a\nb",
            "",
        ] {
            assert!(fault_of_path(path).is_some(), "{path}");
        }
        assert_eq!(fault_of_path("/srv/my app/ä?#%.db"), None);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error =
            serde_json::from_str::<Config>(r#"{"engine":"postgres","password":"x"}"#).expect_err("unknown");
        assert!(error.to_string().contains("unknown field `password`"), "{error}");
    }
}
