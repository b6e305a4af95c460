//! Each kind of difference is found and named; what isn't a difference is passed.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use backstay_testkit::compare::{self, Except};
use tempfile::TempDir;

/// Makes two trees alike, changes the second, and returns what the comparison says about it.
fn after(change: impl Fn(&Path)) -> Result<(), String> {
    let (original, copy) = (small_tree(), small_tree());
    compare::trees(original.path(), copy.path()).unwrap();
    change(copy.path());
    reset_times(copy.path());
    compare::trees(original.path(), copy.path())
}

#[track_caller]
fn found(change: impl Fn(&Path), expected: &str) {
    let said = after(change).expect_err("the difference was not found");
    assert!(said.contains(expected), "{said:?} doesn't say {expected:?}");
    assert!(!said.contains("and more"), "{said}");
}

fn small_tree() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("file"), "content").unwrap();
    fs::write(root.join("linked"), "linked").unwrap();
    fs::hard_link(root.join("linked"), root.join("sub/also")).unwrap();
    symlink("file", root.join("symlink")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 32 << 20).unwrap();
    reset_times(root);
    directory
}

fn reset_times(root: &Path) {
    for name in [".", "sub", "file", "linked", "sparse"] {
        let Ok(file) = File::open(root.join(name)) else {
            continue;
        };
        if name != "file" || file.metadata().unwrap().modified().unwrap() != odd_time() {
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
                .unwrap();
        }
    }
    let when = "2001-09-09 01:46:40 UTC";
    assert!(
        Command::new("touch")
            .args(["-h", "-d", when])
            .arg(root.join("symlink"))
            .status()
            .unwrap()
            .success()
    );
}

fn odd_time() -> std::time::SystemTime {
    UNIX_EPOCH + Duration::new(1_000_000_000, 1)
}

#[test]
fn a_changed_byte_is_found() {
    found(
        |copy| fs::write(copy.join("file"), "contenu").unwrap(),
        "b'file': content differs",
    );
}

#[test]
fn a_byte_deep_in_a_sparse_file_is_found() {
    let change = |copy: &Path| {
        let sparse = File::options().write(true).open(copy.join("sparse")).unwrap();
        sparse.write_all_at(b"x", 50 << 20).unwrap();
    };
    found(change, "b'sparse': content differs");
}

#[test]
fn a_wrong_size_is_found() {
    found(
        |copy| fs::write(copy.join("file"), "content+").unwrap(),
        "b'file': size 7 became 8",
    );
}

#[test]
fn missing_and_additional_names_are_found() {
    found(
        |copy| fs::remove_file(copy.join("file")).unwrap(),
        "b'file': is missing in the copy",
    );
    found(
        |copy| fs::write(copy.join("sub/new"), "").unwrap(),
        "b'sub/new': is only in the copy",
    );
}

#[test]
fn another_type_is_found() {
    let change = |copy: &Path| {
        fs::remove_file(copy.join("symlink")).unwrap();
        fs::write(copy.join("symlink"), "content").unwrap();
    };
    found(
        change,
        "b'symlink': is a symbolic link in the original, a file in the copy",
    );
}

#[test]
fn another_mode_is_found_also_of_a_directory() {
    let change = |name: &'static str| {
        move |copy: &Path| fs::set_permissions(copy.join(name), fs::Permissions::from_mode(0o4711)).unwrap()
    };
    found(change("file"), "b'file': mode 0o644 became 0o4711");
    found(change("sub"), "b'sub': mode 0o755 became 0o4711");
}

#[test]
fn another_owner_is_found() {
    found(
        |copy| chown(copy.join("file"), Some(1), None).unwrap(),
        "b'file': owner 0 became 1",
    );
    found(
        |copy| chown(copy.join("file"), None, Some(1)).unwrap(),
        "b'file': group 0 became 1",
    );
}

#[test]
fn a_nanosecond_is_found_unless_excepted() {
    let change = |copy: &Path| {
        File::open(copy.join("file"))
            .unwrap()
            .set_modified(odd_time())
            .unwrap()
    };
    found(
        change,
        "b'file': time 1000000000000000000 ns became 1000000000000000001 ns",
    );
    let (original, copy) = (small_tree(), small_tree());
    change(copy.path());
    compare::trees_except(original.path(), copy.path(), &[Except::Subseconds]).unwrap();
}

#[test]
fn an_extended_attribute_is_found() {
    let change = |copy: &Path| {
        let set = Command::new("setfattr")
            .args(["-n", "user.new", "-v", "1"])
            .arg(copy.join("sub"))
            .status();
        assert!(set.unwrap().success());
    };
    found(change, "b'sub': attribute 'user.new' None became b'1'");
}

#[test]
fn an_access_list_is_found() {
    let change = |copy: &Path| {
        let set = Command::new("setfacl")
            .args(["-m", "u:1234:r"])
            .arg(copy.join("file"))
            .status();
        assert!(set.unwrap().success());
    };
    found(change, "attribute 'system.posix_acl_access'");
}

#[test]
fn a_hard_link_that_became_a_copy_is_found() {
    let change = |copy: &Path| {
        fs::remove_file(copy.join("sub/also")).unwrap();
        fs::write(copy.join("sub/also"), "linked").unwrap();
        File::open(copy.join("sub/also"))
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
            .unwrap();
    };
    found(
        change,
        "hard links [b'linked', b'sub/also'] are one file in the original only",
    );
}

#[test]
fn another_link_target_is_found() {
    let change = |copy: &Path| {
        fs::remove_file(copy.join("symlink")).unwrap();
        symlink("elsewhere", copy.join("symlink")).unwrap();
    };
    found(change, "b'symlink': target b'file' became b'elsewhere'");
}

#[test]
fn a_written_zero_is_no_difference_but_a_filled_hole_is() {
    let fill = |bytes: usize| {
        move |copy: &Path| {
            let sparse = File::options().write(true).open(copy.join("sparse")).unwrap();
            sparse.write_all_at(&vec![0; bytes], 1 << 20).unwrap();
            sparse.sync_all().unwrap();
        }
    };
    after(fill(64 << 10)).unwrap();
    found(fill(8 << 20), "b'sparse': takes up");
}

#[test]
fn the_roots_count_unless_excepted() {
    let change = |copy: &Path| fs::set_permissions(copy, fs::Permissions::from_mode(0o711)).unwrap();
    found(change, "b'.': mode 0o755 became 0o711");
    let (original, copy) = (small_tree(), small_tree());
    change(copy.path());
    compare::trees_except(original.path(), copy.path(), &[Except::Root]).unwrap();
}

#[test]
fn only_the_first_differences_are_listed() {
    let (original, copy) = (small_tree(), small_tree());
    for number in 0..50 {
        fs::write(copy.path().join(number.to_string()), "").unwrap();
    }
    let said = compare::trees(original.path(), copy.path()).unwrap_err();
    assert_eq!(said.lines().count(), 21);
    assert!(said.contains("and more"));
}
