//! The commands of PostgreSQL that this plugin runs, one function each. `plugin.json` asks for exactly these.

use backstay_sdk::Command;

use crate::config::{Config, SslMode};

/// The database that is connected to for what belongs to none; every server has it.
pub const MAINTENANCE: &str = "postgres";

/// What a tool says about the server.
pub const SERVER: &str = "SELECT jsonb_build_object('version', current_setting('server_version_num')::int, 'superuser', coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false), 'roles', (SELECT coalesce(jsonb_agg(rolname ORDER BY rolname), '[]') FROM pg_roles WHERE rolname !~ '^pg_' AND oid <> 10), 'tablespaces', (SELECT coalesce(jsonb_agg(spcname ORDER BY spcname), '[]') FROM pg_tablespace WHERE spcname !~ '^pg_'))";

/// A row for each database, with all that `CREATE DATABASE` and those after it need.
pub const DATABASES: &str = "SELECT to_jsonb(d) || jsonb_build_object('may_connect', has_database_privilege(d.oid, 'CONNECT'), 'encoding', pg_encoding_to_char(d.encoding), 'owner', pg_get_userbyid(d.datdba), 'comment', shobj_description(d.oid, 'pg_database'), 'settings', (SELECT coalesce(jsonb_agg(jsonb_build_array(r.rolname, s.setconfig)), '[]') FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = d.oid), 'grants', CASE WHEN d.datacl IS NOT NULL THEN (SELECT coalesce(jsonb_agg(jsonb_build_array(CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable)), '[]') FROM aclexplode(d.datacl) a) END) FROM pg_database d WHERE NOT d.datistemplate ORDER BY d.datname";

/// How many things of users are in the database.
pub const OBJECTS: &str = "SELECT (SELECT count(1) FROM pg_class WHERE oid >= 16384) + (SELECT count(1) FROM pg_proc WHERE oid >= 16384) + (SELECT count(1) FROM pg_type WHERE oid >= 16384) + (SELECT count(1) FROM pg_namespace WHERE oid >= 16384) + (SELECT count(1) FROM pg_largeobject_metadata)";

/// Seconds until a server that doesn't answer is given up.
const CONNECT_SECONDS: &str = "10";

/// A tool with the options and variables that all of them take.
fn tool(program: &str, config: &Config) -> Command {
    let options = [("--host", &config.host), ("--username", &config.username)];
    let mut command = Command::new(program).arg("--no-password");
    for (name, value) in options {
        if let Some(value) = value {
            command = command.arg(format!("{name}={value}"));
        }
    }
    if let Some(port) = config.port {
        command = command.arg(format!("--port={port}"));
    }
    command = command
        .env("PGCONNECT_TIMEOUT", CONNECT_SECONDS)
        .env("PGCLIENTENCODING", "UTF8");
    if let Some(mode) = config.ssl_mode {
        let mode = match mode {
            SslMode::Disable => "disable",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        };
        command = command.env("PGSSLMODE", mode);
    }
    if let Some(path) = &config.ssl_root_cert {
        command = command.env("PGSSLROOTCERT", path);
    }
    match &config.password_secret {
        Some(secret) => command.env_secret("PGPASSWORD", secret),
        None => command,
    }
}

fn psql(config: &Config, database: &str) -> Command {
    // A name on the command line could be read as a connection string, and lead elsewhere; this can't.
    tool("psql", config).env("PGDATABASE", database).args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
    ])
}

/// Asks one of the fixed questions.
pub fn ask(config: &Config, database: &str, question: &str) -> Command {
    psql(config, database).arg(format!("--command={question}"))
}

/// Runs statements, the first of which begins as `plugin.json` allows: all of them or none, but for those that make
/// or drop a database, which stand alone.
pub fn change(config: &Config, maintenance: &str, statements: &[String]) -> Command {
    // What comes in one piece is one transaction.
    psql(config, maintenance).arg(format!("--command={}", statements.join("; ")))
}

/// Runs a script from standard input and says each error with its SQLSTATE.
pub fn script(config: &Config) -> Command {
    psql(config, MAINTENANCE).args(["--set=VERBOSITY=verbose", "--file=-"])
}

/// Prints the version of the tool that is used for dumps.
pub fn version() -> Command {
    Command::new("pg_dump").arg("--version")
}

/// Writes a database to standard output. Compression is the host's business.
pub fn dump(config: &Config, database: &str) -> Command {
    let mut command = tool("pg_dump", config)
        .env("PGDATABASE", database)
        .args(["--format=custom", "--compress=0"]);
    if config.schema_only {
        command = command.arg("--schema-only");
    }
    let lists = [
        ("--schema", &config.schemas),
        ("--exclude-schema", &config.exclude_schemas),
        ("--exclude-table", &config.exclude_tables),
        ("--exclude-table-data", &config.exclude_table_data),
    ];
    for (option, patterns) in lists {
        command = command.args(patterns.iter().map(|pattern| format!("{option}={pattern}")));
    }
    command
}

/// Writes roles and tablespaces to standard output.
pub fn dump_globals(config: &Config, with_passwords: bool) -> Command {
    let command = tool("pg_dumpall", config).arg("--globals-only");
    if with_passwords {
        command
    } else {
        command.arg("--no-role-passwords")
    }
}

/// Reads a dump from standard input into a database that this plugin made. `replace` is for a dump that makes what
/// the new database has already.
pub fn restore(config: &Config, database: &str, replace: bool, drill: bool) -> Command {
    let mut command = tool("pg_restore", config).arg("--exit-on-error");
    if replace {
        command = command.args(["--clean", "--if-exists"]);
    }
    if drill {
        // They would have the slot of the original, and keep the database from being dropped.
        command = command.arg("--no-subscriptions");
    }
    command.arg(format!("--dbname={database}"))
}
