//! The hostile tree holds what it promises, and a good copy of it compares as alike.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use backstay_testkit::compare::{self, Except};
use backstay_testkit::tools;
use backstay_testkit::tree::{Size, hostile};

fn tar_copy(from: &Path, to: &Path) {
    tools::require(&["tar"]);
    let script = "set -o pipefail; tar -C \"$1\" --sparse --xattrs --xattrs-include='*' --acls --numeric-owner -cf - . \
                  | tar -C \"$2\" --xattrs --xattrs-include='*' --acls --numeric-owner -pxf -";
    let result = Command::new("bash")
        .args(["-c", script, "copy"])
        .args([from, to])
        .output()
        .unwrap();
    assert!(
        result.status.success(),
        "{}",
        String::from_utf8_lossy(&result.stderr)
    );
}

#[test]
fn a_copy_by_gnu_tar_of_the_hostile_tree_is_alike() {
    let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    hostile(original.path(), Size::default());
    let big = original.path().join("sparse-big").metadata().unwrap();
    assert_eq!(big.len(), 10 << 30);
    assert!(big.blocks() * 512 < 1 << 20);
    tar_copy(original.path(), copy.path());
    compare::trees(original.path(), copy.path()).unwrap();
}

#[test]
fn two_trees_of_one_size_are_alike_also_beyond_the_longest_path_of_one_call() {
    let size = Size::default()
        .small_files(250)
        .sparse_bytes(1 << 20)
        .path_bytes(6000)
        .depth(600);
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    hostile(one.path(), size);
    hostile(other.path(), size);
    compare::trees_except(one.path(), other.path(), &[Except::Times]).unwrap();
    assert_eq!(std::fs::read_dir(one.path().join("small")).unwrap().count(), 3);
    let length = Command::new("find")
        .args([".", "-printf", "%P\\n"])
        .current_dir(one.path())
        .output()
        .unwrap();
    assert_eq!(
        length.stdout.split(|byte| *byte == b'\n').map(<[u8]>::len).max(),
        Some(6000)
    );
}
