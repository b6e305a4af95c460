//! Which part of a tree is taken.

use std::fs;
use std::path::Path;
use std::process::Command;

use backstay_stream::tree::TreeSpec;

use crate::support::{archive_of, need_root, run, scratch};

fn tree(root: &Path) {
    for path in [
        "etc/ssh/key",
        "etc/hosts",
        "home/a/.cache/x",
        "home/a/doc.txt",
        "home/b/doc.tmp",
        "top.txt",
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
}

#[track_caller]
fn check(include: &[&str], exclude: &[&str], expect: &[&str]) {
    let from = scratch();
    tree(from.path());
    let spec = TreeSpec::new(from.path(), include, exclude, false).unwrap();
    let names = archive_of(spec).names();
    assert_eq!(names, expect);
}

#[test]
fn excluded_directories_take_all_below_them() {
    check(
        &[],
        &[".cache", "*.tmp", "/etc/ssh/"],
        &[
            "./",
            "etc/",
            "etc/hosts",
            "home/",
            "home/a/",
            "home/a/doc.txt",
            "home/b/",
            "top.txt",
        ],
    );
}

#[test]
fn only_what_is_included_and_what_leads_there_is_taken() {
    check(&["/etc/ssh"], &[], &["./", "etc/", "etc/ssh/", "etc/ssh/key"]);
    check(
        &["*.txt"],
        &[],
        &["./", "home/", "home/a/", "home/a/doc.txt", "top.txt"],
    );
    check(
        &["/home/*/"],
        &[".cache"],
        &[
            "./",
            "home/",
            "home/a/",
            "home/a/doc.txt",
            "home/b/",
            "home/b/doc.tmp",
        ],
    );
    check(&["nothing"], &[], &["./"]);
    check(
        &["/home", "key"],
        &["/home/a"],
        &[
            "./",
            "etc/",
            "etc/ssh/",
            "etc/ssh/key",
            "home/",
            "home/b/",
            "home/b/doc.tmp",
        ],
    );
}

#[test]
fn another_file_system_is_left_out_but_for_its_directory() {
    need_root();
    let from = scratch();
    tree(from.path());
    let mount = from.path().join("home");
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mount));
    fs::write(mount.join("other"), "").unwrap();
    let names = |one| archive_of(TreeSpec::new(from.path(), &[] as &[&str], &["/etc"], one).unwrap());
    let (one, all) = (names(true), names(false));
    run(Command::new("umount").arg(&mount));
    assert_eq!(one.names(), ["./", "home/", "top.txt"]);
    assert_eq!(one.codes(), [] as [&str; 0]);
    assert_eq!(all.names(), ["./", "home/", "home/other", "top.txt"]);
}
