//! Stored trees that come back as the tar stream of another program, which forgets most of what they were.

use std::fs;
use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use backstay_model::{Code, Error};
use backstay_stream::Context;
use backstay_stream::read::read;
use backstay_stream::recipe::TextRecipe;
use backstay_stream::tree::{CopyOptions, MendedRecipe, TreeCopy, TreeSpec};
use proptest::prelude::*;

use crate::support::{archive, assert_same, need_root, restore, run, scratch};
use crate::trees::hostile;

/// The index that the host writes for a program that copies a tree.
fn index(root: &Path, meanwhile: impl FnOnce()) -> Vec<u8> {
    let spec = TreeSpec::all(root).unwrap();
    let copy = TreeCopy::scan(spec, &CopyOptions::default(), None, &Context::default()).unwrap();
    meanwhile();
    let mut index = Vec::new();
    let mut copied = copy.finish(&[], &Context::default()).unwrap();
    copied.index.read_to_end(&mut index).unwrap();
    index
}

/// An archive without owners, modes, times, attributes, links between files, fifos and devices.
fn forgetful(root: &Path, more: &[&str]) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args([
        "--format=gnu",
        "-S",
        "--sort=name",
        "--hard-dereference",
        "--numeric-owner",
    ]);
    tar.args(["--owner=9", "--group=9", "--mode=a+rwx", "--mtime=@0"]);
    tar.args(["fifo", "null", "loop", "big"].map(|name| format!("--exclude=./{name}")));
    run(tar.args(more).arg("-C").arg(root).args(["-cf", "-", "."]))
}

fn mended(index: &[u8], tar: &[u8]) -> Result<Vec<u8>, Error> {
    let recipe = |bytes: &[u8]| Arc::new(TextRecipe::new(bytes));
    let recipe = MendedRecipe::new(recipe(index), recipe(tar), "/mnt/j/1/data");
    let mut reading = read(Arc::new(recipe), &Context::default()).unwrap();
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes).unwrap();
    reading.finish().map(|_| bytes)
}

#[track_caller]
fn damage(index: &[u8], tar: &[u8], says: &str) {
    let error = mended(index, tar).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Code::Verification, says)
    );
    assert!(error.hint_text().is_some());
}

#[test]
fn what_a_program_forgets_comes_from_the_index() {
    need_root();
    let (from, expected, to) = (scratch(), scratch(), scratch());
    hostile(from.path());
    fs::remove_file(from.path().join("hole-large")).unwrap();
    let index = index(from.path(), || ());
    restore(&archive(from.path()).bytes, expected.path());
    // Nobody has backed it up.
    fs::write(from.path().join("dir/later"), "later").unwrap();
    let tar = forgetful(from.path(), &[]);
    restore(&mended(&index, &tar).unwrap(), to.path());
    assert_same(expected.path(), to.path());
}

#[test]
fn what_is_not_as_it_was_is_named() {
    let from = scratch();
    for name in ["a/file", "b", "c"] {
        let path = from.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content").unwrap();
    }
    std::os::unix::fs::symlink("b", from.path().join("link")).unwrap();
    let index = index(from.path(), || ());
    let tar = |more: &[&str]| forgetful(from.path(), more);
    let whole = tar(&[]);
    assert!(mended(&index, &whole).is_ok());
    let damaged = |path: &str, what: &str| format!("/mnt/j/1/data is damaged: {path}: {what}");
    damage(
        &index,
        &tar(&["--exclude=./a/file"]),
        &damaged("a/file", "missing"),
    );
    damage(&index, &tar(&["--exclude=./link"]), &damaged("link", "missing"));
    damage(&index, &tar(&["--exclude=./a"]), &damaged("a", "missing"));
    let last = tar(&["--transform=s,^./b$,./z,"]);
    damage(
        &index,
        &last,
        "/mnt/j/1/data comes back with c after z, which is not sorted by name",
    );
    fs::write(from.path().join("b"), "another").unwrap();
    damage(&index, &tar(&[]), &damaged("b", "different content"));
    fs::write(from.path().join("b"), "longer than it was").unwrap();
    damage(&index, &tar(&[]), &damaged("b", "it has 18 bytes instead of 7"));
    fs::remove_file(from.path().join("b")).unwrap();
    fs::create_dir(from.path().join("b")).unwrap();
    damage(&index, &tar(&[]), &damaged("b", "different type"));
}

#[test]
fn of_what_is_uncertain_the_archive_decides() {
    let (from, to) = (scratch(), scratch());
    for name in ["gone", "changed", "stays"] {
        fs::write(from.path().join(name), name).unwrap();
    }
    let index = index(from.path(), || {
        fs::remove_file(from.path().join("gone")).unwrap();
        fs::write(from.path().join("changed"), "is another now").unwrap();
    });
    restore(&mended(&index, &forgetful(from.path(), &[])).unwrap(), to.path());
    let content = |name: &str| fs::read_to_string(to.path().join(name)).ok();
    assert_eq!(content("gone"), None);
    assert_eq!(content("changed").as_deref(), Some("is another now"));
    assert_eq!(content("stays").as_deref(), Some("stays"));
}

#[test]
fn what_came_into_a_directory_does_not_open_it_to_others() {
    need_root();
    let (from, to) = (scratch(), scratch());
    let at = |name: &str| from.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("changed"), "old").unwrap();
    for (name, mode) in [("", 0o700), ("d", 0o750), ("changed", 0o640)] {
        fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        chown(at(name), Some(1234), Some(1235)).unwrap();
        run(Command::new("setfattr")
            .args(["-n", "user.note", "-v", name])
            .arg(at(name)));
    }
    let index = index(from.path(), || {
        fs::write(at("new"), "").unwrap();
        fs::write(at("d/new"), "").unwrap();
        fs::write(at("changed"), "new").unwrap();
    });
    // Without the root, as restic gives it back, and without attributes.
    let tar = run(Command::new("tar")
        .args(["--format=gnu", "-cf", "-", "-C"])
        .arg(from.path())
        .args(["changed", "d"]));
    restore(&mended(&index, &tar).unwrap(), to.path());
    for name in ["d/new", "new"] {
        fs::remove_file(at(name)).unwrap();
    }
    assert_eq!(fs::read(to.path().join("changed")).unwrap(), b"new");
    for name in ["", "d", "changed"] {
        let [was, is] = [at(name), to.path().join(name)].map(|path| {
            let of = fs::metadata(&path).unwrap();
            let note = run(Command::new("getfattr")
                .args(["--only-values", "--absolute-names", "-n", "user.note"])
                .arg(path));
            (of.mode(), of.uid(), of.gid(), note)
        });
        assert_eq!(was, is, "{name}");
    }
}

#[test]
fn a_single_file_comes_back() {
    let (from, to) = (scratch(), scratch());
    let file = from.path().join("file");
    fs::write(&file, "content").unwrap();
    let index = index(&file, || ());
    let tar = run(Command::new("tar")
        .arg("-C")
        .arg(from.path())
        .args(["-cf", "-", "file"]));
    restore(&mended(&index, &tar).unwrap(), to.path());
    assert_eq!(fs::read_to_string(to.path().join("file")).unwrap(), "content");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn damage_anywhere_is_an_error_or_changes_nothing(at in 0.0..1.0_f64, bit in 0..8_u8, cut: bool) {
        let from = scratch();
        fs::create_dir(from.path().join("dir")).unwrap();
        fs::write(from.path().join("dir/file"), vec![b'x'; 1500]).unwrap();
        fs::write(from.path().join("other"), "content").unwrap();
        let index = index(from.path(), || ());
        let mut tar = forgetful(from.path(), &["--record-size=512"]);
        let whole = mended(&index, &tar).unwrap();
        let at = (at * tar.len() as f64) as usize;
        if cut {
            tar.truncate(at);
        } else {
            tar[at] ^= 1 << bit;
        }
        if let Ok(mended) = mended(&index, &tar) {
            prop_assert!(mended == whole);
        }
    }
}
