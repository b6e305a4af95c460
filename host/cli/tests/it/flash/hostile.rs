//! Neither a repository nor a file on the drive can make a run do anything but back up.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backstay_testkit::cli::Backstay;
use backstay_testkit::flash;
use serde_json::json;

use super::lab::{BINARY, GitData, Lab, contains, git, objects, try_git, warnings};

fn script(path: &Path, mark: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\ntouch {}\ncat\n", mark.display())).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn no_hook_monitor_filter_or_alias_runs() {
    let home = tempfile::tempdir().unwrap();
    let mark = home.path().join("ran");
    let evil = home.path().join("evil");
    script(&evil, &mark);
    let evil = evil.to_str().unwrap();
    fs::write(
        home.path().join(".gitconfig"),
        format!(
            "[core]\n\tfsmonitor = {evil}\n\thooksPath = {}\n[alias]\n\tadd = !{evil}\n",
            home.path().display()
        ),
    )
    .unwrap();
    let backstay = Backstay::new(BINARY)
        .env("HOME", home.path().to_str().unwrap())
        .env("XDG_CONFIG_HOME", home.path().to_str().unwrap())
        .env(
            "GIT_CONFIG_GLOBAL",
            home.path().join(".gitconfig").to_str().unwrap(),
        )
        .env("GIT_EXTERNAL_DIFF", evil);
    let drive = backstay.scratch_dir().join("drive");
    fs::create_dir(&drive).unwrap();
    flash::fill(&drive);
    let lab = Lab::of(backstay, drive, GitData::OnTheDrive);
    lab.apply(json!({}));
    lab.back_up();
    for hook in [
        "pre-commit",
        "commit-msg",
        "post-commit",
        "reference-transaction",
        "post-index-change",
        "pre-auto-gc",
    ] {
        script(&lab.git_dir.join("hooks").join(hook), &mark);
    }
    for (name, value) in [
        ("core.fsmonitor", evil),
        ("core.hooksPath", home.path().to_str().unwrap()),
        ("core.editor", evil),
        ("core.pager", evil),
        ("core.sshCommand", evil),
        ("diff.external", evil),
        ("diff.evil.textconv", evil),
        ("gpg.program", evil),
        ("commit.gpgSign", "true"),
        ("log.showSignature", "true"),
        ("credential.helper", evil),
        ("alias.add", &format!("!{evil}")),
        ("core.alternateRefsCommand", evil),
        ("uploadpack.packObjectsHook", evil),
        ("gc.recentObjectsHook", evil),
        ("remote.origin.url", &format!("ext::{evil}")),
        ("remote.origin.promisor", "true"),
        ("protocol.ext.allow", "always"),
        ("core.autocrlf", "true"),
    ] {
        lab.git(&["config", name, value]);
    }
    flash::write(
        &lab.drive,
        ".gitattributes",
        b"* diff=evil filter=evil working-tree-encoding=UTF-16 text eol=lf\n",
    );
    fs::create_dir_all(lab.git_dir.join("info")).unwrap();
    fs::write(lab.git_dir.join("info/attributes"), "* filter=evil diff=evil\n").unwrap();
    // A repository on the drive, with a monitor of its own.
    let nested = lab.drive.join("config/plugins/nested");
    fs::create_dir_all(&nested).unwrap();
    let nested_git = nested.join(".git");
    git(&nested_git, &nested, &["init", "--quiet", "--template="]);
    flash::write(&nested, "file", b"1");
    git(&nested_git, &nested, &["add", "file"]);
    git(&nested_git, &nested, &["commit", "--quiet", "-m", "x"]);
    git(&nested_git, &nested, &["config", "core.fsmonitor", evil]);
    git(&nested_git, &nested, &["config", "filter.evil.clean", evil]);
    flash::write(&nested, ".gitattributes", b"* filter=evil\n");
    let _ = fs::remove_file(&mark);

    let run = lab.run(1);
    assert_eq!(warnings(&run), ["embedded-repository"]);
    flash::write(&nested, "file", b"2");
    flash::write(&lab.drive, "config/disk.cfg", b"startArray=\"no\"\r\n");
    lab.run(0);
    assert!(!mark.exists(), "a program of the repository ran");
    // What was committed is what is on the drive, byte for byte.
    let committed = try_git(
        &lab.git_dir,
        &lab.drive,
        &["cat-file", "blob", "HEAD:config/disk.cfg"],
    )
    .stdout;
    assert_eq!(committed, b"startArray=\"no\"\r\n");
    let (restored, output) = lab.restore(&["config/plugins/nested"]);
    output.ok();
    assert_eq!(
        fs::read(restored.join("config/plugins/nested/file")).unwrap(),
        b"2"
    );
    assert!(!mark.exists());
}

#[test]
fn a_repository_that_filters_through_a_program_is_refused() {
    let lab = Lab::new(GitData::OnTheDrive);
    lab.apply(json!({}));
    lab.back_up();
    lab.git(&["config", "filter.noprivatekeys.clean", "/usr/local/bin/clean"]);
    let (code, message, hint) = lab.fails();
    assert_eq!(code, 2);
    assert_eq!(
        message,
        format!(
            "the repository at {} filters files through a program (`filter.noprivatekeys.clean` in its configuration)",
            lab.git_dir.display()
        )
    );
    assert!(
        hint.contains("gitPath") && hint.contains("git config --unset"),
        "{hint}"
    );
    assert_eq!(lab.commits(), 1);
}

#[test]
fn no_file_on_the_drive_can_bring_a_secret_in() {
    let lab = Lab::new(GitData::OnTheDrive);
    lab.apply(json!({}));
    flash::write(&lab.drive, ".gitignore", b"!config/shadow\n!*\n");
    flash::write(&lab.drive, "config/.gitignore", b"!shadow\n");
    flash::write(&lab.drive, "config/SHADOW-", b"sEcReT-in-capitals");
    lab.back_up();
    assert!(!contains(&objects(&lab.git_dir), "sEcReT"));
    let (restored, output) = lab.restore(&["config"]);
    output.ok();
    assert!(!restored.join("config/shadow").exists() && !restored.join("config/SHADOW-").exists());
}

#[test]
fn any_file_name_is_only_a_name() {
    let lab = Lab::empty(GitData::Elsewhere);
    let names: [&[u8]; 9] = [
        b"-rf",
        b"--force",
        b":(exclude)config",
        b":(top)x",
        b"new\nline",
        b"not-utf8-\xff",
        b"quote'\"$(touch x)`",
        b" ",
        b"config/*",
    ];
    for name in names {
        let path = lab.drive.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    lab.apply(json!({}));
    lab.back_up();
    let listing = try_git(
        &lab.git_dir,
        &lab.drive,
        &["ls-tree", "-r", "-z", "--name-only", "HEAD"],
    )
    .stdout;
    let found: Vec<&[u8]> = listing.split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
    for name in names {
        assert!(
            found.contains(&name),
            "{} is not tracked",
            String::from_utf8_lossy(name)
        );
    }
    // They are dropped as safely as they were added.
    flash::write(&lab.drive, ".gitignore", b"*\n");
    flash::write(&lab.drive, "config/kept", b"1");
    lab.git(&["add", "--force", "config/kept"]);
    let (code, message, _) = lab.fails();
    assert_eq!(
        (code, message),
        (
            4,
            format!("git finds no file to track in {}", lab.drive.display())
        )
    );
    fs::remove_file(lab.drive.join(".gitignore")).unwrap();
    lab.back_up();
    let (restored, output) = lab.restore(&[]);
    output.ok();
    for name in names {
        assert_eq!(fs::read(restored.join(OsStr::from_bytes(name))).unwrap(), name);
    }
}

#[test]
fn a_file_that_git_refuses_is_a_warning_and_is_backed_up() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({}));
    flash::write(&lab.drive, "config/git~1/x", b"odd");
    let run = lab.run(1);
    assert_eq!(warnings(&run), ["not-in-git"]);
    assert_eq!(
        run["warnings"][0]["message"],
        "git can't keep a file: invalid path 'config/git~1/x'"
    );
    assert!(lab.tracked().contains(&"config/ident.cfg".to_owned()));
    let (restored, output) = lab.restore(&["config/git~1"]);
    output.ok();
    assert_eq!(fs::read(restored.join("config/git~1/x")).unwrap(), b"odd");
}

#[test]
fn a_repository_of_another_user_is_used_without_asking() {
    backstay_testkit::tools::require_root("to give files away");
    let lab = Lab::new(GitData::OnTheDrive);
    let given = std::process::Command::new("chown")
        .args(["-R", "1234:1234"])
        .arg(&lab.drive)
        .status()
        .unwrap();
    assert!(given.success());
    lab.apply(json!({}));
    lab.back_up();
    let given = std::process::Command::new("chown")
        .args(["-R", "1234:1234"])
        .arg(&lab.drive)
        .status()
        .unwrap();
    assert!(given.success());
    flash::write(&lab.drive, "config/go", b"2\n");
    lab.back_up();
    assert_eq!(lab.commits(), 2);
}
