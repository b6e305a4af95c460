//! The commands about SQLite files that this plugin runs, one function each. `plugin.json` asks for exactly these.

use backstay_sdk::Command;

/// How long to wait for somebody else's lock.
const WAIT: &str = ".timeout 30000";

/// Prints the version.
pub fn version() -> Command {
    Command::new("sqlite3").arg("--version")
}

/// Prints the journal mode, and so that it is a database.
pub fn journal_mode(path: &str) -> Command {
    Command::new("sqlite3").args(["-readonly", "-bail", "-cmd", WAIT, path, "PRAGMA journal_mode"])
}

/// Prints owner, group and permissions.
pub fn owner(path: &str) -> Command {
    Command::new("stat").args(["--format=%u %g %a", "--", path])
}

/// Makes an empty file that only its owner can read.
pub fn make_private(copy: &str) -> Command {
    Command::new("install").args(["--mode=600", "-T", "--", "/dev/null", copy])
}

/// Copies a database. The read transaction that is open keeps the copy from starting again with each write of others.
pub fn back_up(path: &str, copy: &str) -> Command {
    let begin = ["BEGIN", "SELECT count(1) FROM sqlite_schema"];
    Command::new("sqlite3")
        .args(["-readonly", "-bail", "-cmd", WAIT, path])
        .args(begin)
        .arg(format!(".backup '{copy}'"))
}

/// Prints `ok`, or what is damaged.
pub fn check(copy: &str) -> Command {
    Command::new("sqlite3").args(["-readonly", "-bail", copy, "PRAGMA quick_check(3)"])
}

/// Writes a copy to standard output.
pub fn read(copy: &str) -> Command {
    Command::new("cat").args(["--", copy])
}

/// Writes standard input to a file that only its owner can read.
pub fn write(copy: &str) -> Command {
    Command::new("install").args(["--mode=600", "-T", "--", "/dev/stdin", copy])
}

/// Gives a file its owner.
pub fn change_owner(uid: u32, gid: u32, copy: &str) -> Command {
    Command::new("chown")
        .arg("--")
        .arg(format!("{uid}:{gid}"))
        .arg(copy)
}

/// Gives a file its permissions.
pub fn change_mode(mode: &str, copy: &str) -> Command {
    Command::new("chmod").args(["--", mode, copy])
}

/// Brings a file to the disk.
pub fn sync(copy: &str) -> Command {
    Command::new("sync").args(["--", copy])
}

/// Gives a file a second name, which must be free.
pub fn link(copy: &str, place: &str) -> Command {
    Command::new("ln").args(["-T", "--", copy, place])
}

/// Replaces the content of a database, as one transaction that others see or don't.
pub fn replace(place: &str, copy: &str) -> Command {
    Command::new("sqlite3")
        .args(["-bail", "-cmd", WAIT, place])
        .arg(format!(".restore '{copy}'"))
}

/// Removes a copy, and what SQLite keeps beside a database.
pub fn remove(copy: &str) -> Command {
    let files = ["", "-journal", "-wal", "-shm"].map(|ending| format!("{copy}{ending}"));
    Command::new("rm").args(["--force", "--"]).args(files)
}
