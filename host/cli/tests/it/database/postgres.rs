//! PostgreSQL: what comes back into an empty server is what was there.

use std::process::{Child, Stdio};
use std::time::Duration;

use backstay_testkit::postgres::Postgres;
use backstay_testkit::process::wait_until;
use serde_json::json;

use super::desk::{Desk, artifacts, postgres_source, warnings, with};

/// A name with all that could be taken for something else.
const ODD: &str = "host=evil \"dbname\" 'x' \\ é\n=";

/// Two accounts whose sum is always 1000, with something long between them, and a procedure that moves money.
const ACCOUNTS: &str = "
    CREATE TABLE a_account (id int PRIMARY KEY, amount bigint NOT NULL);
    CREATE TABLE m_padding AS SELECT n, repeat(md5(n::text), 60) AS text FROM generate_series(1, 15000) n;
    CREATE TABLE z_account (id int PRIMARY KEY, amount bigint NOT NULL);
    INSERT INTO a_account VALUES (1, 1000);
    INSERT INTO z_account VALUES (1, 0);";

const TRANSFERS: &str = "DO $$ BEGIN LOOP
    UPDATE a_account SET amount = amount - 1; UPDATE z_account SET amount = amount + 1; COMMIT;
    END LOOP; END $$";

const SUM: &str = "SELECT (SELECT sum(amount) FROM a_account) + (SELECT sum(amount) FROM z_account)";

fn fill(server: &Postgres) {
    server.sql(
        "postgres",
        "CREATE ROLE owner LOGIN PASSWORD 'hash me'; CREATE ROLE reader; GRANT reader TO owner;
         CREATE DATABASE app OWNER owner CONNECTION LIMIT 7;
         ALTER DATABASE app SET search_path TO \"$user\", extra, public; ALTER DATABASE app SET work_mem TO '5MB';
         ALTER ROLE reader IN DATABASE app SET statement_timeout TO '7s';
         COMMENT ON DATABASE app IS 'it''s \\ here'; REVOKE CONNECT ON DATABASE app FROM PUBLIC;
         GRANT CONNECT ON DATABASE app TO reader WITH GRANT OPTION;
         CREATE DATABASE empty_one;",
    );
    let quoted = ODD.replace('"', "\"\"");
    server.sql("postgres", &format!("CREATE DATABASE \"{quoted}\""));
    server.sql(ODD, "CREATE TABLE odd (x text); INSERT INTO odd VALUES ('found')");
    server.sql(
        "app",
        "CREATE SCHEMA extra AUTHORIZATION owner; SET ROLE owner; SET search_path TO extra;
         CREATE TYPE mood AS ENUM ('sad', 'glad');
         CREATE TABLE things (id bigserial PRIMARY KEY, t text, b bytea, n numeric, f float8, j jsonb, m mood, at timestamptz, l text[]);
         INSERT INTO things (t, b, n, f, j, m, at, l) VALUES
            (E'tab\\there\\nline \\\\ end', '\\x00ff', 12345678901234567890.123456789, 'NaN', '{\"a\": [1, null]}', 'glad', '1901-02-03 04:05:06.789+00', '{a,NULL,\"x,y\"}'),
            ('', NULL, '-0.1', '-Infinity', 'null', 'sad', 'infinity', '{}'), (NULL, '', 'NaN', 5e-324, NULL, NULL, NULL, NULL);
         INSERT INTO things (t) SELECT repeat(chr(64 + n % 50), n) FROM generate_series(1, 500) n;
         CREATE INDEX by_length ON things (length(t)) WHERE t IS NOT NULL;
         CREATE VIEW lengths AS SELECT id, length(t) FROM things;
         CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT x * 2';
         GRANT SELECT ON things TO reader;
         RESET ROLE; SELECT lo_from_bytea(4711, '\\x0001020304');",
    );
}

/// All that is in a server, row by row, by queries that share nothing with the dump.
fn contents(server: &Postgres) -> String {
    let mut all = server.sql(
        "postgres",
        "SELECT 'role', rolname, rolcanlogin, rolpassword, rolconnlimit FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 2;
         SELECT 'member', m.roleid::regrole, m.member::regrole FROM pg_auth_members m WHERE m.roleid::regrole::text !~ '^pg_' ORDER BY 2, 3;
         SELECT 'database', datname, datdba::regrole, encoding, datcollate, datctype, datconnlimit, (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(datacl) a), shobj_description(oid, 'pg_database') FROM pg_database ORDER BY 2;
         SELECT 'setting', d.datname, r.rolname, s.setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole ORDER BY 2, 3",
    );
    for database in ["app", ODD] {
        let tables = server.sql(database, "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'v', 'S') AND oid >= 16384 ORDER BY oid::regclass::text");
        for table in tables.lines() {
            all += &format!("\n{table}\n");
            // How many values a sequence has put by is of no account.
            let columns = if table.ends_with("_seq") {
                "last_value, is_called"
            } else {
                "*"
            };
            all += &server.sql(database, &format!("SELECT {columns} FROM {table} ORDER BY 1"));
        }
        all += &server.sql(
            database,
            "SELECT 'relation', c.oid::regclass, relkind, relowner::regrole, relacl, pg_get_indexdef(c.oid) FROM pg_class c WHERE relnamespace::regnamespace::text IN ('extra', 'public') ORDER BY c.oid::regclass::text;
             SELECT 'function', pg_get_functiondef(oid) FROM pg_proc WHERE oid >= 16384 ORDER BY 2;
             SELECT 'object', oid, encode(lo_get(oid), 'hex') FROM pg_largeobject_metadata ORDER BY 2",
        );
    }
    all
}

/// Somebody who moves money until dropped.
struct Writer(Child);

impl Writer {
    fn start(server: &Postgres, database: &str) -> Self {
        let mut psql = server.client("psql");
        psql.args(["-Xqc", TRANSFERS]).env("PGDATABASE", database);
        Writer(psql.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

/// Ends what a client that was killed left on the server.
fn disconnect(server: &Postgres, database: &str) {
    let others = format!("FROM pg_stat_activity WHERE datname = '{database}'");
    server.sql("postgres", &format!("SELECT pg_terminate_backend(pid) {others}"));
    let count = format!("SELECT count(1) {others}");
    wait_until("the end of a connection", Duration::from_secs(20), || {
        server.sql("postgres", &count) == "0"
    });
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn everything_comes_back_into_an_empty_server() {
    let mut server = Postgres::start();
    fill(&server);
    let before = contents(&server);
    assert!(before.contains("SCRAM-SHA-256") && before.contains("found") && before.contains("0001020304"));
    let desk = Desk::new();
    desk.apply(&postgres_source(&server));
    let backup = desk.back_up();
    assert_eq!(
        artifacts(&backup),
        [
            "globals.sql",
            "app.dump",
            "empty_one.dump",
            "host.3devil.20.22dbname.22.20.27x.27.20.5c.20.c3.a9.0a.3d.dump",
            "postgres.dump"
        ]
    );
    desk.backstay
        .run(&["verify", "latest:data", "--level", "checksum"])
        .ok();

    server.replace();
    let dry = desk.restore(&["--in-place", "--dry-run"]).ok();
    assert!(dry.stderr.contains("would create 2 roles"), "{}", dry.stderr);
    assert!(
        dry.stderr.contains("would create the database `app`"),
        "{}",
        dry.stderr
    );
    assert_eq!(server.sql("postgres", "SELECT count(1) FROM pg_database"), "3");
    desk.restore(&["--in-place"]).ok();
    assert_eq!(contents(&server), before);

    server.replace();
    let connection = [
        ("PGHOST", server.socket_dir().display().to_string()),
        ("PGPORT", server.port().to_string()),
        ("PGUSER", "postgres".to_owned()),
    ];
    desk.kit("postgres", &connection);
    assert_eq!(contents(&server), before);
}

#[test]
fn a_dump_is_one_moment_of_a_database_that_is_written_to() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE bank");
    server.sql("bank", ACCOUNTS);
    let desk = Desk::new();
    desk.apply(&with(
        &postgres_source(&server),
        json!({ "include": ["bank"], "globals": false }),
    ));
    let writer = Writer::start(&server, "bank");
    let moved = |database: &str| {
        server
            .sql(database, "SELECT amount FROM z_account")
            .parse::<u64>()
            .unwrap()
    };
    wait_until("a transfer", Duration::from_secs(20), || moved("bank") > 0);
    let before = moved("bank");
    desk.back_up();
    let after = moved("bank");
    drop(writer);
    disconnect(&server, "bank");
    desk.restore(&["--to", "bank_then"]).ok();
    assert_eq!(server.sql("bank_then", SUM), "1000");
    assert_eq!(server.sql("bank_then", "SELECT count(1) FROM m_padding"), "15000");
    let then = moved("bank_then");
    assert!(
        before <= then && then <= after && before < after,
        "{before} {then} {after}"
    );
}

#[test]
fn what_is_there_is_replaced_only_on_request_and_only_as_a_whole() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE app");
    server.sql("app", "CREATE TABLE t (x int); INSERT INTO t VALUES (1)");
    server.sql("postgres", "CREATE DATABASE other; CREATE ROLE someone");
    server.sql("other", "CREATE TABLE precious (x int)");
    let desk = Desk::new();
    desk.apply(&postgres_source(&server));
    desk.back_up();
    server.sql("app", "UPDATE t SET x = 2");

    let refused = desk.restore(&["--in-place"]).code(2);
    assert!(
        refused.stdout.contains("these roles exist already: someone"),
        "{}",
        refused.stdout
    );
    let refused = desk.restore(&["--in-place", "--artifact", "app.dump"]).code(2);
    assert!(
        refused.stdout.contains("the database `app` exists already"),
        "{}",
        refused.stdout
    );
    let refused = desk.restore(&["--to", "other", "--artifact", "app.dump"]).code(2);
    assert!(
        refused.stdout.contains("the database `other` exists already"),
        "{}",
        refused.stdout
    );
    let refused = desk.restore(&["--to", "one", "--overwrite"]).code(2);
    assert!(
        refused.stdout.contains("--to names one place"),
        "{}",
        refused.stdout
    );
    let refused = desk.restore(&["--to", "x", "--artifact", "globals.sql"]).code(2);
    assert!(
        refused.stdout.contains("belong to the server"),
        "{}",
        refused.stdout
    );
    let refused = desk
        .restore(&["--to", "x", "--artifact", "app.dump", "public.t"])
        .code(2);
    assert!(refused.stdout.contains("as a whole"), "{}", refused.stdout);
    assert_eq!(server.sql("app", "SELECT x FROM t"), "2");

    // Somebody is connected: nothing changes.
    let mut psql = server.client("psql");
    psql.args(["-Xqc", "SELECT pg_sleep(100)"])
        .env("PGDATABASE", "app")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let user = Writer(psql.spawn().unwrap());
    let sleeping =
        "SELECT count(1) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(100)%' AND datname = 'app'";
    wait_until("a user of the database", Duration::from_secs(20), || {
        server.sql("postgres", sleeping) == "1"
    });
    let busy = desk
        .restore(&["--in-place", "--overwrite", "--artifact", "app.dump"])
        .code(5);
    assert!(
        busy.stdout.contains("being accessed by other users"),
        "{}",
        busy.stdout
    );
    assert_eq!(server.sql("app", "SELECT x FROM t"), "2");
    drop(user);
    disconnect(&server, "app");

    desk.restore(&["--in-place", "--overwrite"]).ok();
    assert_eq!(server.sql("app", "SELECT x FROM t"), "1");
    let left = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(server.sql("postgres", left), "app other postgres");
}

#[test]
fn patterns_schemas_and_tables_choose_what_is_in_it() {
    let server = Postgres::start();
    for name in ["app_one", "app_two", "app_test", "shop"] {
        server.sql("postgres", &format!("CREATE DATABASE {name}"));
    }
    server.sql(
        "app_one",
        "CREATE SCHEMA s; CREATE SCHEMA t; CREATE TABLE s.kept AS SELECT 1 AS x; CREATE TABLE s.log AS SELECT 1 AS x;
         CREATE TABLE s.bulk AS SELECT 1 AS x; CREATE TABLE t.gone AS SELECT 1 AS x",
    );
    server.sql("postgres", "ALTER DATABASE shop ALLOW_CONNECTIONS false");
    let desk = Desk::new();
    desk.apply(&with(
        &postgres_source(&server),
        json!({ "include": ["app_*", "sh?p", "none*"], "exclude": ["*_test"], "globals": false, "schemas": ["s", "public"],
                "excludeTables": ["s.log"], "excludeTableData": ["s.bulk", "s.nothing"] }),
    ));
    let run = desk.run(1);
    assert_eq!(
        warnings(&run),
        [
            "no-match: no database matches `none*`",
            "skipped-database: the database `shop` is not in the backup: it allows no connections",
        ]
    );
    assert_eq!(run["backups"][0]["manifest"]["warnings"], run["warnings"]);
    assert_eq!(artifacts(&run["backups"][0]), ["app_one.dump", "app_two.dump"]);
    desk.restore(&["--to", "back", "--artifact", "app_one.dump"]).ok();
    let tables = "SELECT string_agg(oid::regclass::text, ' ' ORDER BY 1) FROM pg_class WHERE relkind = 'r' AND oid >= 16384";
    assert_eq!(server.sql("back", tables), "s.bulk s.kept");
    assert_eq!(server.sql("back", "SELECT count(1) FROM s.bulk"), "0");

    desk.apply(&with(
        &postgres_source(&server),
        json!({ "include": ["app_one"], "globals": false, "schemaOnly": true }),
    ));
    desk.back_up();
    desk.restore(&["--to", "shape"]).ok();
    assert_eq!(server.sql("shape", "SELECT count(1) FROM s.kept"), "0");
}

#[test]
fn roles_that_are_missing_are_named_with_the_way_to_get_them() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE ROLE gone; CREATE DATABASE app");
    server.sql("app", "CREATE TABLE t (x int); ALTER TABLE t OWNER TO gone");
    let desk = Desk::new();
    desk.apply(&with(&postgres_source(&server), json!({ "include": ["app"] })));
    desk.back_up();
    server.sql("postgres", "DROP DATABASE app; DROP ROLE gone");
    let output = desk.restore(&["--in-place", "--artifact", "app.dump"]).code(5);
    assert!(
        output.stdout.contains("role \"gone\" does not exist"),
        "{}",
        output.stdout
    );
    assert!(
        output.stdout.contains("--artifact globals.sql"),
        "{}",
        output.stdout
    );
    assert_eq!(
        server.sql(
            "postgres",
            "SELECT count(1) FROM pg_database WHERE NOT datistemplate"
        ),
        "1"
    );
    desk.restore(&["--in-place"]).ok();
    assert_eq!(
        server.sql(
            "app",
            "SELECT relowner::regrole FROM pg_class WHERE relname = 't'"
        ),
        "gone"
    );
}
