//! The commands of MariaDB and MySQL that this plugin runs, one function each. `plugin.json` asks for exactly these.

use backstay_sdk::Command;

use crate::config::{Config, Engine, SslMode};

/// A row for each database, with what `CREATE DATABASE` needs.
pub const DATABASES: &str = "SELECT JSON_OBJECT('name', schema_name, 'characterSet', default_character_set_name, 'collation', default_collation_name) FROM information_schema.schemata WHERE schema_name NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') ORDER BY schema_name";

/// A row for each database with tables whose engine has no transactions.
pub const WITHOUT_TRANSACTIONS: &str = "SELECT JSON_OBJECT('name', table_schema, 'tables', COUNT(1), 'example', MIN(table_name), 'engine', MIN(engine)) FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND engine NOT IN ('InnoDB', 'ROCKSDB', 'TokuDB') AND table_schema NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') GROUP BY table_schema";

/// A row for each right of the account: on everything, or on the databases that a pattern of `LIKE` names.
pub const RIGHTS: &str = "SELECT JSON_OBJECT('on', rights.db, 'right', rights.privilege_type) FROM (SELECT '%' AS db, grantee, privilege_type FROM information_schema.user_privileges UNION ALL SELECT table_schema, grantee, privilege_type FROM information_schema.schema_privileges) rights WHERE rights.grantee = CONCAT('''', LEFT(CURRENT_USER(), CHAR_LENGTH(CURRENT_USER()) - CHAR_LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)) - 1), '''@''', SUBSTRING_INDEX(CURRENT_USER(), '@', -1), '''')";

/// Version of the server.
pub const VERSION: &str = "SELECT VERSION()";

/// Databases that hold a restore that isn't complete.
pub const UNFINISHED: &str = "SELECT JSON_OBJECT('name', table_schema, 'table', table_name) FROM information_schema.tables WHERE table_name LIKE 'backstay\\_restore\\_%'";

/// A row for each database that holds anything.
pub const IN_USE: &str = "SELECT JSON_OBJECT('name', table_schema) FROM information_schema.tables UNION SELECT JSON_OBJECT('name', routine_schema) FROM information_schema.routines UNION SELECT JSON_OBJECT('name', event_schema) FROM information_schema.events";

/// The client that comes with this engine.
pub fn client_name(engine: Engine) -> &'static str {
    if engine == Engine::Mysql {
        "mysql"
    } else {
        "mariadb"
    }
}

fn dump_name(engine: Engine) -> &'static str {
    if engine == Engine::Mysql {
        "mysqldump"
    } else {
        "mariadb-dump"
    }
}

/// A tool with the options that all of them take. Option files are left out: what they say could change a dump.
fn tool(program: &str, config: &Config) -> Command {
    let mut command = Command::new(program).arg("--no-defaults");
    match config.host.as_deref() {
        Some(path) if path.starts_with('/') => command = command.arg(format!("--socket={path}")),
        // Without it, `localhost` would be another word for the usual socket.
        Some(host) => command = command.arg(format!("--host={host}")).arg("--protocol=TCP"),
        None => {}
    }
    if let Some(port) = config.port {
        command = command.arg(format!("--port={port}"));
    }
    if let Some(name) = &config.username {
        command = command.arg(format!("--user={name}"));
    }
    if let Some(mode) = config.ssl_mode {
        command = command.arg(ssl_option(config.engine, mode));
    }
    if let Some(path) = &config.ssl_root_cert {
        command = command.arg(format!("--ssl-ca={path}"));
    }
    command = command.arg("--default-character-set=utf8mb4");
    match &config.password_secret {
        Some(secret) => command.env_secret("MYSQL_PWD", secret),
        None => command,
    }
}

fn ssl_option(engine: Engine, mode: SslMode) -> &'static str {
    match (engine, mode) {
        (Engine::Mysql, SslMode::Disable) => "--ssl-mode=DISABLED",
        (Engine::Mysql, SslMode::Require) => "--ssl-mode=REQUIRED",
        (Engine::Mysql, SslMode::VerifyCa) => "--ssl-mode=VERIFY_CA",
        (Engine::Mysql, SslMode::VerifyFull) => "--ssl-mode=VERIFY_IDENTITY",
        (_, SslMode::Disable) => "--skip-ssl",
        (_, SslMode::Require) => "--ssl",
        // MariaDB's client checks both or nothing.
        (_, SslMode::VerifyCa | SslMode::VerifyFull) => "--ssl-verify-server-cert",
    }
}

fn client(config: &Config) -> Command {
    tool(client_name(config.engine), config).arg("--connect-timeout=10")
}

/// Asks one of the fixed questions, or runs statements that begin with what `plugin.json` allows.
pub fn execute(config: &Config, statements: &str) -> Command {
    client(config)
        .args(["--batch", "--skip-column-names", "--raw"])
        .arg(format!("--execute={statements}"))
}

/// Runs a script from standard input. `--binary-mode` keeps the client from obeying commands of its own in it.
pub fn script(config: &Config, database: Option<&str>) -> Command {
    let command = client(config).args(["--batch", "--binary-mode", "--max-allowed-packet=1G"]);
    match database {
        Some(name) => command.arg(format!("--database={name}")),
        None => command,
    }
}

/// Prints the version of the tool that is used for dumps.
pub fn version(engine: Engine) -> Command {
    Command::new(dump_name(engine)).arg("--version")
}

/// Writes a database to standard output, as it was at one moment.
pub fn dump(config: &Config, database: &str) -> Command {
    let mut command = tool(dump_name(config.engine), config).args([
        "--single-transaction",
        "--quick",
        "--routines",
        "--triggers",
        "--events",
        "--hex-blob",
        "--no-tablespaces",
        "--max-allowed-packet=1G",
    ]);
    if config.engine == Engine::Mysql {
        // Other servers than MySQL's don't know it, and say so.
        command = command.arg("--loose-set-gtid-purged=OFF");
    }
    if config.schema_only {
        command = command.arg("--no-data");
    }
    let lists = [
        ("--ignore-table", &config.exclude_tables),
        ("--ignore-table-data", &config.exclude_table_data),
    ];
    for (option, tables) in lists {
        command = command.args(tables.iter().map(|table| format!("{option}={table}")));
    }
    command.args(["--", database])
}

/// Writes accounts and their rights to standard output.
pub fn dump_accounts(config: &Config) -> Command {
    tool(dump_name(config.engine), config).args(["--system=users", "--insert-ignore"])
}
