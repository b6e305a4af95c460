//! Archives to and from GNU tar.

use std::process::Command;

use crate::support::{archive, assert_same, feed, restore, run, scratch};
use crate::trees::hostile;

#[test]
fn gnu_tar_gives_back_what_we_archived() {
    let (from, to) = (scratch(), scratch());
    hostile(from.path());
    let bytes = archive(from.path()).bytes;
    let mut tar = Command::new("tar");
    tar.args([
        "--xattrs",
        "--xattrs-include=*",
        "--numeric-owner",
        "--same-owner",
        "--warning=no-timestamp",
        "--delay-directory-restore",
        "-xpf",
        "-",
        "-C",
    ]);
    feed(tar.arg(to.path()), &bytes);
    assert_same(from.path(), to.path());
}

#[test]
fn we_give_back_what_gnu_tar_archived_as_pax() {
    let (from, to) = (scratch(), scratch());
    hostile(from.path());
    for version in ["1.0", "0.1", "0.0"] {
        let mut tar = Command::new("tar");
        tar.args([
            "--format=pax",
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "--sparse",
        ]);
        tar.arg(format!("--sparse-version={version}"))
            .arg("-cf")
            .arg("-")
            .arg("-C")
            .arg(from.path())
            .arg(".");
        let bytes = run(&mut tar);
        let target = to.path().join(version);
        restore(&bytes, &target);
        assert_same(from.path(), &target);
    }
}

#[test]
fn we_give_back_what_gnu_tar_archived_in_its_own_format() {
    let (from, to) = (scratch(), scratch());
    hostile(from.path());
    // This format has neither attributes nor fractions of a second.
    run(Command::new("find").arg(from.path()).args([
        "-depth",
        "-exec",
        "touch",
        "-h",
        "-d",
        "@1234567890",
        "{}",
        "+",
    ]));
    std::fs::remove_dir_all(from.path().join("attributes")).unwrap();
    std::fs::remove_file(from.path().join("attributes-link")).unwrap();
    std::fs::remove_file(from.path().join("fifo")).unwrap();
    crate::trees::set_time(from.path(), -5, 0);
    let mut tar = Command::new("tar");
    tar.args(["--format=gnu", "--numeric-owner", "--sparse", "-cf", "-", "-C"])
        .arg(from.path())
        .arg(".");
    let bytes = run(&mut tar);
    restore(&bytes, to.path());
    assert_same(from.path(), to.path());
}
