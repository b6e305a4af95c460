//! Trees that change while they are read.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_model::Code;
use backstay_stream::Context;
use backstay_stream::read::read;
use backstay_stream::tree::{TarRecipe, TreeSpec, UnpackOptions, unpack, walk};

use crate::support::{Archive, archive, need_root, restore, run, scratch};

/// Larger than all that is read ahead, so that the reader waits in the middle of it.
const LARGE: u64 = 64 << 20;

/// Reads the first bytes of an archive, lets something happen, and reads the rest.
fn archive_while(root: &Path, happen: impl FnOnce()) -> Archive {
    let context = Context::default();
    let mut reading = read(Arc::new(TarRecipe::new(TreeSpec::all(root).unwrap())), &context).unwrap();
    let mut bytes = vec![0; 4096];
    reading.read_exact(&mut bytes).unwrap();
    happen();
    reading.read_to_end(&mut bytes).unwrap();
    let produced = reading.finish().unwrap();
    Archive {
        bytes,
        produced,
        warnings: context.notes.take().0,
    }
}

fn large(root: &Path) -> File {
    let file = File::create(root.join("large")).unwrap();
    for at in 0..LARGE >> 20 {
        file.write_all_at(&[b'L'; 1 << 20], at << 20).unwrap();
    }
    file
}

#[test]
fn a_file_that_shrinks_is_filled_with_zeros_and_told() {
    let (from, to) = (scratch(), scratch());
    let file = large(from.path());
    fs::write(from.path().join("later"), "later").unwrap();
    let archive = archive_while(from.path(), || file.set_len(LARGE / 2).unwrap());
    assert_eq!(archive.codes(), ["changed-while-read"]);
    assert_eq!(
        archive.warnings[0].path.as_deref(),
        from.path().join("large").to_str()
    );
    restore(&archive.bytes, to.path());
    let bytes = fs::read(to.path().join("large")).unwrap();
    assert_eq!(bytes.len() as u64, LARGE);
    assert!(
        bytes[..1 << 20].iter().all(|b| *b == b'L') && bytes[LARGE as usize - 4096..].iter().all(|b| *b == 0)
    );
    assert_eq!(fs::read(to.path().join("later")).unwrap(), b"later");
}

#[test]
fn a_file_that_grows_is_kept_in_its_first_size_and_told() {
    let (from, to) = (scratch(), scratch());
    let file = large(from.path());
    let archive = archive_while(from.path(), || file.write_all_at(b"more", LARGE).unwrap());
    assert_eq!(archive.codes(), ["changed-while-read"]);
    restore(&archive.bytes, to.path());
    assert_eq!(fs::metadata(to.path().join("large")).unwrap().len(), LARGE);
}

#[test]
fn what_vanishes_is_told() {
    let from = scratch();
    large(from.path());
    fs::write(from.path().join("vanishing"), "").unwrap();
    fs::create_dir(from.path().join("zz")).unwrap();
    let archive = archive_while(from.path(), || {
        fs::remove_file(from.path().join("vanishing")).unwrap();
        fs::remove_dir(from.path().join("zz")).unwrap();
    });
    assert_eq!(archive.codes(), ["vanished", "vanished"]);
    assert_eq!(archive.names(), ["./", "large"]);
}

#[test]
fn what_is_replaced_by_a_link_is_not_followed() {
    let (from, outside) = (scratch(), scratch());
    fs::write(outside.path().join("secret"), "secret").unwrap();
    large(from.path());
    fs::write(from.path().join("m"), "").unwrap();
    fs::create_dir(from.path().join("n")).unwrap();
    let archive = archive_while(from.path(), || {
        fs::remove_file(from.path().join("m")).unwrap();
        fs::remove_dir(from.path().join("n")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), from.path().join("m")).unwrap();
        std::os::unix::fs::symlink(outside.path(), from.path().join("n")).unwrap();
    });
    assert_eq!(archive.codes(), ["vanished", "vanished"]);
    assert_eq!(archive.names(), ["./", "large"]);
}

#[test]
fn sockets_are_left_out_and_told() {
    let from = scratch();
    let _listener = UnixListener::bind(from.path().join("socket")).unwrap();
    let archive = archive(from.path());
    assert_eq!(archive.codes(), ["socket-skipped"]);
    assert_eq!(archive.names(), ["./"]);
}

#[test]
fn a_root_that_is_missing_is_an_error_with_a_hint() {
    let dir = scratch();
    fs::write(dir.path().join("file"), "").unwrap();
    for path in ["missing", "file/below"] {
        let recipe = TarRecipe::new(TreeSpec::all(dir.path().join(path)).unwrap());
        let mut reading = read(Arc::new(recipe), &Context::default()).unwrap();
        reading.read_to_end(&mut Vec::new()).unwrap();
        let error = reading.finish().unwrap_err();
        assert_eq!(error.code(), Code::BackupFailed);
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn a_cancelled_archive_is_an_error() {
    let from = scratch();
    large(from.path());
    let context = Context::default();
    let mut reading = read(
        Arc::new(TarRecipe::new(TreeSpec::all(from.path()).unwrap())),
        &context,
    )
    .unwrap();
    reading.read_exact(&mut [0; 4096]).unwrap();
    context
        .cancel
        .cancel(&backstay_model::Error::new(Code::Cancelled, "enough"));
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes).unwrap();
    assert_eq!(reading.finish().unwrap_err().to_string(), "enough");
    assert!(walk(bytes.as_slice(), &Context::default()).is_err());
}

/// Runs a test again as a user without rights, in a directory that is theirs.
fn as_nobody(test: &str, dir: &Path) {
    need_root();
    let program = dir.join("test-binary");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    run(std::process::Command::new("chown")
        .arg("-R")
        .arg("65534:65534")
        .arg(dir));
    run(std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&program)
        .args(["--exact", test, "--nocapture"])
        .env("AS_NOBODY", dir)
        .env("TMPDIR", dir));
}

/// The directory, when the test runs as that user.
fn nobodys_place() -> Option<PathBuf> {
    std::env::var_os("AS_NOBODY").map(PathBuf::from)
}

#[test]
fn without_rights_what_is_closed_is_told() {
    if let Some(dir) = nobodys_place() {
        return nobody_archives(&dir);
    }
    let dir = scratch();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("closed/inner")).unwrap();
    fs::write(tree.join("open"), "open").unwrap();
    fs::write(tree.join("secret"), "secret").unwrap();
    run(std::process::Command::new("chmod")
        .arg("0")
        .arg(tree.join("closed"))
        .arg(tree.join("secret")));
    as_nobody("changes::without_rights_what_is_closed_is_told", dir.path());
}

fn nobody_archives(dir: &Path) {
    let archive = archive(&dir.join("tree"));
    assert_eq!(archive.codes(), ["unreadable", "unreadable"]);
    assert_eq!(archive.names(), ["./", "closed/", "open"]);
}

#[test]
fn without_rights_owners_are_told_once_and_set_user_id_is_left_out() {
    if let Some(dir) = nobodys_place() {
        return nobody_unpacks(&dir);
    }
    let dir = scratch();
    let tree = scratch();
    for name in ["a", "b"] {
        fs::write(tree.path().join(name), name).unwrap();
        run(std::process::Command::new("chmod")
            .arg("6755")
            .arg(tree.path().join(name)));
    }
    run(std::process::Command::new("mknod")
        .arg(tree.path().join("device"))
        .args(["c", "1", "3"]));
    fs::create_dir(tree.path().join("closed")).unwrap();
    fs::write(tree.path().join("closed/file"), "").unwrap();
    run(std::process::Command::new("chmod")
        .arg("555")
        .arg(tree.path().join("closed")));
    fs::write(dir.path().join("archive"), archive(tree.path()).bytes).unwrap();
    as_nobody(
        "changes::without_rights_owners_are_told_once_and_set_user_id_is_left_out",
        dir.path(),
    );
}

fn nobody_unpacks(dir: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let bytes = fs::read(dir.join("archive")).unwrap();
    let target = dir.join("target");
    let context = Context::default();
    unpack(
        bytes.as_slice(),
        &target,
        &UnpackOptions::default(),
        &context,
        None,
    )
    .unwrap();
    let mut codes: Vec<String> = context.notes.take().0.into_iter().map(|w| w.code).collect();
    codes.sort();
    assert_eq!(codes, ["device-not-restored", "owner-not-restored"]);
    for name in ["a", "b"] {
        assert_eq!(
            fs::metadata(target.join(name)).unwrap().permissions().mode() & 0o7777,
            0o755
        );
    }
    assert!(target.join("closed/file").exists());
    backstay_stream::tree::empty_directory(&target).unwrap();
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
}
