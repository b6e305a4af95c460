//! Parts of what was backed up, and the places that they are given back to.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use backstay_testkit::compare::{self, Except};
use backstay_testkit::tools;
use backstay_testkit::tree::{self, Size};

use super::{AGE, Desk, ZSTD};

/// Paths below a directory, with a `/` after directories.
fn names(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if entry.file_type().unwrap().is_dir() {
                found.insert(name + "/");
                open.push(path);
            } else {
                found.insert(name);
            }
        }
    }
    found
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `a`, `sub/b`, `sub/dir/c` and `sub/dir/d`, each with its name as content.
fn small_tree(root: &Path) {
    fs::create_dir_all(root.join("sub/dir")).unwrap();
    for name in ["a", "sub/b", "sub/dir/c", "sub/dir/d"] {
        fs::write(root.join(name), name).unwrap();
    }
    fs::set_permissions(root.join("sub/b"), fs::Permissions::from_mode(0o640)).unwrap();
}

#[test]
fn single_paths() {
    let desk = Desk::new();
    let source = desk.directory("source");
    small_tree(&source);
    for (job, options, filters) in [
        ("stream", "", format!("{ZSTD}, {AGE}")),
        ("files", ", stream: false", String::new()),
    ] {
        desk.backup(job, &source, options, &filters);
        for (number, (paths, expected)) in [
            (
                &["sub/dir"][..],
                &["sub/", "sub/dir/", "sub/dir/c", "sub/dir/d"][..],
            ),
            (&["./sub/dir/c", "a"], &["a", "sub/", "sub/dir/", "sub/dir/c"]),
            (&["sub/b/"], &["sub/", "sub/b"]),
        ]
        .into_iter()
        .enumerate()
        {
            let target = desk.at(&format!("{job}-{number}"));
            let to = ["--to", target.to_str().unwrap()];
            desk.restore(job, &[&to, paths].concat()).ok();
            assert_eq!(names(&target), set(expected), "{paths:?}");
            for name in expected.iter().filter(|name| !name.ends_with('/')) {
                assert_eq!(fs::read(target.join(name)).unwrap(), name.as_bytes());
            }
        }
        // What isn't in it is named, and nothing stays behind.
        let target = desk.at(&format!("{job}-missing"));
        for path in ["sub/no", "su", "../source/a"] {
            let output = desk
                .restore(job, &["--to", target.to_str().unwrap(), "a", path])
                .code(2);
            assert!(output.stdout.contains(path), "{}", output.stdout);
            assert!(!target.exists());
        }
    }
}

#[test]
fn a_restore_to_standard_output() {
    let desk = Desk::new();
    let source = desk.directory("source");
    tree::hostile(&source, Size::default().small_files(300));
    for (job, options, filters) in [
        ("plain", "", String::new()),
        ("secret", "", format!("{ZSTD}, {AGE}")),
    ] {
        desk.backup(job, &source, options, &filters);
        let output = desk.restore(job, &["--to", "-"]).ok();
        let target = desk.directory(&format!("{job}-target"));
        let mut tar = Command::new("tar")
            .args([
                "--xattrs",
                "--xattrs-include=*",
                "--numeric-owner",
                "--same-owner",
                "-xpf",
                "-",
                "-C",
            ])
            .arg(&target)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&output.stdout_bytes).unwrap();
        assert!(tar.wait().unwrap().success());
        compare::trees(&source, &target).unwrap();
        fs::remove_dir_all(target).unwrap();
    }
    let small = desk.directory("small");
    small_tree(&small);
    desk.backup("files", &small, ", stream: false", "");
    let output = desk.restore("files", &["--to", "-"]).ok();
    fs::write(desk.at("files.tar"), &output.stdout_bytes).unwrap();
    let target = desk.directory("files-target");
    let done = Command::new("tar")
        .arg("-xpf")
        .arg(desk.at("files.tar"))
        .arg("-C")
        .arg(&target)
        .status()
        .unwrap();
    assert!(done.success());
    compare::trees(&small, &target).unwrap();
    let refused = desk.restore("files", &["--to", "-", "--dry-run"]).code(2);
    assert!(refused.stdout.is_empty(), "{}", refused.stdout);
    desk.restore("files", &["--to", "-", "a"]).code(2);
}

#[test]
fn in_place() {
    let desk = Desk::new();
    let source = desk.directory("source");
    for (job, options) in [("stream", ""), ("files", ", stream: false")] {
        fs::remove_dir_all(&source).unwrap();
        fs::create_dir(&source).unwrap();
        small_tree(&source);
        desk.backup(job, &source, options, "");
        let before = desk.restored(job, &format!("{job}-before"));
        // All is gone.
        fs::remove_dir_all(&source).unwrap();
        desk.restore(job, &["--in-place"]).ok();
        compare::trees(&before, &source).unwrap();
        // A part is gone, a part is changed, a part is new.
        fs::remove_file(source.join("sub/dir/c")).unwrap();
        fs::write(source.join("sub/b"), "changed").unwrap();
        fs::write(source.join("new"), "new").unwrap();
        let refused = desk.restore(job, &["--in-place"]).code(2);
        assert!(refused.stdout.contains("exists already"), "{}", refused.stdout);
        assert_eq!(fs::read(source.join("sub/b")).unwrap(), b"changed");
        desk.restore(job, &["--in-place", "sub/dir/c"]).ok();
        assert_eq!(fs::read(source.join("sub/dir/c")).unwrap(), b"sub/dir/c");
        assert_eq!(fs::read(source.join("sub/b")).unwrap(), b"changed");
        desk.restore(job, &["--in-place", "--overwrite"]).ok();
        assert_eq!(fs::read(source.join("new")).unwrap(), b"new");
        fs::remove_file(source.join("new")).unwrap();
        compare::trees_except(&before, &source, &[Except::Root]).unwrap();
    }
}

#[test]
fn what_is_there_is_never_written_over_unasked() {
    let desk = Desk::new();
    let source = desk.directory("source");
    small_tree(&source);
    desk.backup("j", &source, "", "");
    let victim = desk.at("victim");
    let target = desk.at("target");
    let to = ["--to", target.to_str().unwrap()];
    for name in ["a", "sub/b", "sub/dir"] {
        fs::create_dir_all(target.join("sub")).unwrap();
        fs::write(target.join("mine"), "mine").unwrap();
        // A file where a file or a directory belongs.
        fs::write(target.join(name), "old").unwrap();
        let refused = desk.restore("j", &to).code(2);
        let sentence = format!("{} exists already", target.join(name).display());
        assert!(refused.stdout.contains(&sentence), "{}", refused.stdout);
        assert_eq!(fs::read(target.join(name)).unwrap(), b"old");
        // Nor is it written through a link.
        fs::remove_file(target.join(name)).unwrap();
        fs::write(&victim, "victim").unwrap();
        std::os::unix::fs::symlink(&victim, target.join(name)).unwrap();
        fs::remove_file(target.join("a")).ok();
        if name == "a" {
            std::os::unix::fs::symlink(&victim, target.join(name)).unwrap();
        }
        desk.restore("j", &[&to[..], &[name]].concat()).code(2);
        desk.restore("j", &[&to[..], &["--overwrite"]].concat()).ok();
        assert_eq!(fs::read(&victim).unwrap(), b"victim");
        assert_eq!(fs::read(target.join("mine")).unwrap(), b"mine");
        fs::remove_file(target.join("mine")).unwrap();
        compare::trees_except(&source, &target, &[Except::Root]).unwrap();
        fs::remove_dir_all(&target).unwrap();
    }
    // A directory with something in it is nothing that a file may replace.
    fs::create_dir_all(target.join("a")).unwrap();
    fs::write(target.join("a/mine"), "mine").unwrap();
    desk.restore("j", &[&to[..], &["--overwrite"]].concat()).code(2);
    assert_eq!(fs::read(target.join("a/mine")).unwrap(), b"mine");
    // A target that is a file.
    desk.restore("j", &["--to", victim.to_str().unwrap(), "--overwrite"])
        .code(5);
    assert_eq!(fs::read(&victim).unwrap(), b"victim");
}

#[test]
fn a_dry_run_lists_and_writes_nothing() {
    let desk = Desk::new();
    let source = desk.directory("source");
    small_tree(&source);
    for (job, options) in [("stream", ""), ("files", ", stream: false")] {
        desk.backup(job, &source, options, "");
        let target = desk.at("target");
        let to = target.to_str().unwrap();
        for (args, listed, not) in [
            (
                &["--to", to, "--dry-run"][..],
                &["a", "sub", "sub/b", "sub/dir", "sub/dir/c"][..],
                &[][..],
            ),
            (
                &["--to", to, "--dry-run", "sub/dir"],
                &["sub/dir", "sub/dir/c"],
                &["a", "sub/b"],
            ),
            (&["--in-place", "--dry-run"], &["a", "sub/dir/d"], &[]),
            (
                &["--in-place", "--dry-run", "--overwrite"],
                &["a", "sub/dir/d"],
                &[],
            ),
        ] {
            fs::write(source.join("a"), "changed").unwrap();
            let before = fs::metadata(&source).unwrap().modified().unwrap();
            let output = desk.restore(job, args).ok();
            let lines: BTreeSet<&str> = output
                .stderr
                .lines()
                .filter_map(|line| line.rsplit(": ").next())
                .collect();
            for name in listed {
                assert!(lines.contains(name), "{name} is missing: {}", output.stderr);
            }
            for name in not {
                assert!(
                    !lines.contains(name),
                    "{name} was not asked for: {}",
                    output.stderr
                );
            }
            assert!(output.stderr.contains("would restore"), "{}", output.stderr);
            assert!(!target.exists());
            assert_eq!(fs::read(source.join("a")).unwrap(), b"changed");
            assert_eq!(fs::metadata(&source).unwrap().modified().unwrap(), before);
        }
        desk.restore(job, &["--to", to, "--dry-run", "nothing-like-it"])
            .code(2);
        fs::write(source.join("a"), "a").unwrap();
    }
}

#[test]
fn patterns_choose_what_is_taken() {
    let desk = Desk::new();
    let source = desk.directory("source");
    for name in ["docs/private", "docs/deep/er", "cache"] {
        fs::create_dir_all(source.join(name)).unwrap();
    }
    for name in [
        "read.txt",
        "read.tmp",
        "other",
        "docs/a",
        "docs/b.tmp",
        "docs/private/key",
        "docs/deep/er/c",
        "cache/x.txt",
    ] {
        fs::write(source.join(name), name).unwrap();
    }
    for (number, (config, expected)) in [
        (
            "exclude: [\"*.tmp\", /cache, docs/private/]",
            &[
                "docs/",
                "docs/a",
                "docs/deep/",
                "docs/deep/er/",
                "docs/deep/er/c",
                "other",
                "read.txt",
            ][..],
        ),
        (
            "include: [\"*.txt\", /docs/deep/], exclude: [/cache]",
            &[
                "docs/",
                "docs/deep/",
                "docs/deep/er/",
                "docs/deep/er/c",
                "read.txt",
            ],
        ),
        (
            "include: [\"docs/**/c\"]",
            &["docs/", "docs/deep/", "docs/deep/er/", "docs/deep/er/c"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        for (form, options) in [("stream", ""), ("files", ", stream: false")] {
            let job = format!("{form}-{number}");
            desk.backup(&job, &source, &format!(", {config}{options}"), "");
            let target = desk.restored(&job, &format!("{job}-target"));
            assert_eq!(names(&target), set(expected), "{config} as {form}");
            desk.verify(&job, &["restore"]);
        }
    }
}

#[test]
fn another_file_system_is_left_out_on_request() {
    tools::require(&["mount", "umount"]);
    tools::require_root("to mount a file system");
    let desk = Desk::new();
    let source = desk.directory("source");
    fs::create_dir(source.join("mounted")).unwrap();
    fs::write(source.join("here"), "here").unwrap();
    let mounted = source.join("mounted");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "backstay-test"])
        .arg(&mounted)
        .status()
        .unwrap();
    assert!(mount.success());
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fs::write(mounted.join("there"), "there").unwrap();
        for (job, options, expected) in [
            ("all", "", &["here", "mounted/", "mounted/there"][..]),
            ("one", ", oneFileSystem: true", &["here", "mounted/"]),
            (
                "one-files",
                ", oneFileSystem: true, stream: false",
                &["here", "mounted/"],
            ),
        ] {
            desk.backup(job, &source, options, "");
            let target = desk.restored(job, &format!("{job}-target"));
            assert_eq!(names(&target), set(expected), "{job}");
        }
    }));
    let unmounted = Command::new("umount")
        .arg("--lazy")
        .arg(&mounted)
        .status()
        .unwrap();
    if let Err(cause) = result {
        std::panic::resume_unwind(cause);
    }
    assert!(unmounted.success());
}
