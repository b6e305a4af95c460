//! SQLite: a file that is written to all the time comes back sound, and never half.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use backstay_testkit::process::wait_until;
use backstay_testkit::tools;
use serde_json::{Value, json};

use super::desk::{Desk, artifacts, assert_failed};

pub fn sql(file: &Path, sql: &str) -> String {
    tools::require(&["sqlite3"]);
    let output = Command::new("sqlite3")
        .args(["-bail", "-cmd", ".timeout 20000"])
        .arg(file)
        .arg(sql)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{sql}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub fn source(file: &Path) -> Value {
    json!({ "engine": "sqlite", "path": file })
}

/// A database with what `.dump` would lose: texts with a NUL, tiny numbers, versions, row ids.
pub fn fill(file: &Path) {
    sql(
        file,
        "PRAGMA page_size=8192; PRAGMA encoding='UTF-16le'; PRAGMA journal_mode=WAL; PRAGMA user_version=7; PRAGMA application_id=99;
         CREATE TABLE t (a, b); INSERT INTO t (rowid, a, b) VALUES (5, 'nul', 'x' || char(0) || 'y'), (9, 5e-324, -9e999), (10, x'00ff', -0.0);
         CREATE TABLE account (id INTEGER PRIMARY KEY, amount INT); INSERT INTO account VALUES (1, 1000), (2, 0);
         CREATE TABLE padding (x); INSERT INTO padding SELECT randomblob(3000) FROM generate_series(1, 3000);
         CREATE VIRTUAL TABLE words USING fts5 (x); INSERT INTO words VALUES ('hello world')",
    );
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// All rows and settings.
fn contents(file: &Path) -> String {
    sql(
        file,
        "SELECT rowid, quote(a), hex(a), hex(b), typeof(b) FROM t; SELECT * FROM account; SELECT sum(length(x)), hex(substr(max(x), 1, 50)) FROM padding;
         SELECT rowid, x FROM words WHERE words MATCH 'hello'; PRAGMA user_version; PRAGMA application_id; PRAGMA page_size; PRAGMA encoding; PRAGMA journal_mode; PRAGMA integrity_check",
    )
}

fn directory(desk: &Desk) -> PathBuf {
    let directory = desk.file("app data");
    fs::create_dir(&directory).unwrap();
    directory
}

#[test]
fn a_file_that_is_written_to_comes_back_as_it_was_at_one_moment() {
    let desk = Desk::new();
    let directory = directory(&desk);
    let file = directory.join("app.db");
    fill(&file);
    let transfers = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1],timeout=30,isolation_level=None)\nn=0\nwhile True:\n  c.execute('begin immediate'); c.execute('update account set amount=amount-1 where id=1'); c.execute('update padding set x=randomblob(3000) where rowid=?',(n%3000+1,)); c.execute('update account set amount=amount+1 where id=2'); c.execute('commit'); n+=1\n";
    let mut python = Command::new("python3");
    let mut writer = python
        .args(["-c", transfers])
        .arg(&file)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let moved = |file: &Path| {
        sql(file, "SELECT amount FROM account WHERE id = 2")
            .parse::<u64>()
            .unwrap()
    };
    wait_until("a transfer", Duration::from_secs(20), || moved(&file) > 0);
    desk.apply(&source(&file));
    let before = moved(&file);
    let backup = desk.back_up();
    let after = moved(&file);
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(artifacts(&backup), ["app.db"]);
    assert!(
        !files(&directory).iter().any(|name| name.contains("backstay")),
        "{:?}",
        files(&directory)
    );

    let restored = desk.file("restored.db");
    desk.restore(&["--to", restored.to_str().unwrap()]).ok();
    assert_eq!(
        sql(
            &restored,
            "SELECT sum(amount) FROM account; PRAGMA integrity_check"
        ),
        "1000\nok"
    );
    let then = moved(&restored);
    assert!(
        before <= then && then <= after && before < after,
        "{before} {then} {after}"
    );
}

#[test]
fn every_value_and_setting_comes_back_with_its_owner_by_each_way() {
    let desk = Desk::new();
    let directory = directory(&desk);
    let file = directory.join("app.db");
    fill(&file);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    chown(&file, Some(1234), Some(5678)).unwrap();
    let before = contents(&file);
    assert!(
        before.contains("780000007900") && before.ends_with("wal\nok"),
        "{before}"
    );
    desk.apply(&source(&file));
    desk.back_up();

    let target = desk.file("restored.db");
    let to = target.to_str().unwrap();
    let dry = desk.restore(&["--to", to, "--dry-run"]).ok();
    assert!(
        dry.stderr.contains(&format!("would create {to}")),
        "{}",
        dry.stderr
    );
    assert!(!target.exists());
    desk.restore(&["--to", to]).ok();
    assert_eq!(contents(&target), before);
    let meta = fs::metadata(&target).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (1234, 5678, 0o640)
    );

    let by_kit = desk.file("kit.db");
    desk.kit(by_kit.to_str().unwrap(), &[]);
    assert_eq!(contents(&by_kit), before);

    // What is there stays, unless somebody says otherwise; then those who have it open see the new rows.
    sql(&file, "UPDATE account SET amount = 77; DELETE FROM words");
    let refused = desk.restore(&["--in-place"]).code(2);
    assert!(refused.stdout.contains("exists already"), "{}", refused.stdout);
    desk.restore(&["--in-place", "--overwrite"]).ok();
    assert_eq!(contents(&file), before);
    fs::remove_file(&file).unwrap();
    desk.restore(&["--in-place"]).ok();
    assert_eq!(contents(&file), before);
    let refused = desk.restore(&["--to", directory.to_str().unwrap()]).code(2);
    assert!(refused.stdout.contains("is no file"), "{}", refused.stdout);
    let refused = desk.restore(&["--to", "relative.db"]).code(2);
    assert!(
        refused.stdout.contains("must be an absolute path"),
        "{}",
        refused.stdout
    );
    assert!(
        !files(&directory).iter().any(|name| name.contains("backstay")),
        "{:?}",
        files(&directory)
    );
    let scratch = files(desk.backstay.scratch_dir());
    assert!(
        !scratch.iter().any(|name| name.contains("backstay-0")),
        "{scratch:?}"
    );
}

#[test]
fn a_damaged_or_missing_file_fails_the_run_and_leaves_nothing() {
    let desk = Desk::new();
    let directory = directory(&desk);
    let file = directory.join("app.db");
    fill(&file);
    sql(&file, "PRAGMA journal_mode=DELETE");
    desk.apply(&source(&file));
    desk.back_up();
    let sound = fs::read(&file).unwrap();
    let mut damaged = sound.clone();
    damaged[8192 * 40..8192 * 44].fill(0xff);
    fs::write(&file, &damaged).unwrap();
    desk.fails(4, "is damaged: ");
    fs::write(
        &file,
        "this is not a database, and long enough to be looked at as one",
    )
    .unwrap();
    desk.fails(4, "file is not a database");
    fs::remove_file(&file).unwrap();
    desk.fails(4, "does not exist");
    fs::write(&file, &sound).unwrap();
    assert_eq!(files(&directory), ["app.db"]);

    // Somebody who never lets go of it.
    let mut sqlite = Command::new("sqlite3");
    sqlite
        .arg(&file)
        .args(["BEGIN EXCLUSIVE", ".shell touch locked; sleep 1000"]);
    let mut hog = sqlite
        .current_dir(&directory)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("a lock", Duration::from_secs(20), || {
        directory.join("locked").exists()
    });
    let mut running = desk.backstay.spawn(&["run", "data", "--json"]);
    wait_until("sqlite3 to wait", Duration::from_secs(20), || {
        !super::desk::processes(&format!(".backup '{}", file.display())).is_empty()
    });
    assert!(running.is_running());
    running.terminate();
    let run = running.wait().code(4).json();
    assert_eq!(run["status"], "cancelled", "{run:#}");
    backstay_testkit::process::kill_tree(hog.id());
    hog.wait().unwrap();
    fs::remove_file(directory.join("locked")).unwrap();
    assert_eq!(files(&directory), ["app.db"]);
}

#[test]
fn stored_damage_never_becomes_a_file() {
    let desk = Desk::new();
    let file = directory(&desk).join("app.db");
    fill(&file);
    desk.apply(&source(&file));
    let backup = desk.back_up();
    let object = backup["manifest"]["artifacts"][0]["location"].as_str().unwrap();
    let mut bytes = fs::read(object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(object, bytes).unwrap();
    let target = desk.file("restored.db");
    let run = desk
        .backstay
        .run_json(&["restore", "latest:data", "--to", target.to_str().unwrap()])
        .code(8)
        .json();
    assert_failed(&run, "app.db");
    let left = files(desk.backstay.scratch_dir());
    assert!(
        !left.iter().any(|name| name.starts_with("restored.db")),
        "{left:?}"
    );
}
