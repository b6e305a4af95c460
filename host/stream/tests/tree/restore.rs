//! What comes back is what was there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use backstay_model::Code;
use backstay_stream::Context;
use backstay_stream::tree::{TreeSpec, UnpackOptions, empty_directory, list, unpack, walk};
use proptest::prelude::*;
use rustix::fs::{XattrFlags, setxattr};

use crate::support::{archive, archive_of, assert_same, describe, need_root, restore, scratch};
use crate::trees::{acl, deep, hostile, set_time};

#[test]
fn a_tree_comes_back_as_it_was() {
    let (from, to) = (scratch(), scratch());
    hostile(from.path());
    let archive = archive(from.path());
    assert_eq!(archive.warnings, []);
    let done = restore(&archive.bytes, to.path());
    assert_same(from.path(), to.path());
    assert_eq!(done.entries, archive.produced.entries);
    assert_eq!(Some(done.content_bytes), archive.produced.content_bytes);
    assert_eq!(walk(archive.bytes.as_slice(), &Context::default()).unwrap(), done);
}

#[test]
fn the_same_tree_gives_the_same_archive() {
    let from = scratch();
    hostile(from.path());
    assert!(archive(from.path()).bytes == archive(from.path()).bytes);
}

#[test]
fn a_path_longer_than_linux_takes_at_once_comes_back() {
    let (from, to) = (scratch(), scratch());
    deep(from.path(), 200, 200);
    deep(from.path(), 900, 3);
    let archive = archive(from.path());
    assert_eq!(archive.warnings, []);
    restore(&archive.bytes, to.path());
    assert_same(from.path(), to.path());
    empty_directory(from.path()).unwrap();
    empty_directory(to.path()).unwrap();
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_that_only_leads_to_what_was_asked_for_stays_as_it_is() {
    let (from, to) = (scratch(), scratch());
    fs::create_dir_all(from.path().join("etc/pve/deep")).unwrap();
    fs::write(from.path().join("etc/pve/deep/user.cfg"), "user").unwrap();
    fs::set_permissions(from.path().join("etc"), Permissions::from_mode(0o700)).unwrap();
    fs::create_dir_all(to.path().join("etc/other")).unwrap();
    fs::set_permissions(to.path().join("etc"), Permissions::from_mode(0o711)).unwrap();
    let before = fs::metadata(to.path().join("etc")).unwrap().permissions();
    let archive = archive(from.path());
    let only = |path: &str, to: &std::path::Path| {
        let options = UnpackOptions {
            paths: vec![path.as_bytes().to_vec()],
            overwrite: true,
            ..UnpackOptions::default()
        };
        unpack(archive.bytes.as_slice(), to, &options, &Context::default(), None)
    };
    let done = only("etc/pve/deep", to.path()).unwrap();
    assert_eq!((done.entries, done.directories), (4, 3));
    assert_eq!(
        fs::read(to.path().join("etc/pve/deep/user.cfg")).unwrap(),
        b"user"
    );
    assert_eq!(fs::metadata(to.path().join("etc")).unwrap().permissions(), before);
    let mode = |path: &str| fs::metadata(to.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        mode("etc/pve"),
        fs::metadata(from.path().join("etc/pve"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    );

    // One that is a link is not followed, nor replaced.
    let linked = scratch();
    std::os::unix::fs::symlink(to.path(), linked.path().join("etc")).unwrap();
    let error = only("etc/pve/deep", linked.path()).unwrap_err();
    assert!(
        error.to_string().contains("is not a directory, perhaps a link"),
        "{error}"
    );
    assert!(linked.path().join("etc").is_symlink());
}

#[test]
fn a_single_file_comes_back_under_its_name() {
    let (from, to) = (scratch(), scratch());
    fs::create_dir(from.path().join("tree")).unwrap();
    fs::write(from.path().join("tree/disk.img"), "image").unwrap();
    let archive = archive(&from.path().join("tree/disk.img"));
    assert_eq!(archive.names(), ["disk.img"]);
    restore(&archive.bytes, &to.path().join("new/place"));
    assert_eq!(fs::read(to.path().join("new/place/disk.img")).unwrap(), b"image");
}

#[test]
fn what_is_there_is_not_replaced_unless_told() {
    let (from, to) = (scratch(), scratch());
    fs::write(from.path().join("a"), "new").unwrap();
    fs::write(from.path().join("b"), "new").unwrap();
    fs::hard_link(from.path().join("b"), from.path().join("c")).unwrap();
    let bytes = archive(from.path()).bytes;
    fs::write(to.path().join("b"), "old").unwrap();
    fs::hard_link(to.path().join("b"), to.path().join("outside")).unwrap();
    let mut options = UnpackOptions::default();
    let error = unpack(bytes.as_slice(), to.path(), &options, &Context::default(), None).unwrap_err();
    assert_eq!(error.code(), Code::Configuration);
    assert_eq!(
        error.to_string(),
        format!("{} exists already", to.path().join("b").display())
    );
    assert_eq!(fs::read(to.path().join("b")).unwrap(), b"old");

    options.overwrite = true;
    for _ in 0..2 {
        unpack(bytes.as_slice(), to.path(), &options, &Context::default(), None).unwrap();
    }
    assert_eq!(
        fs::read(to.path().join("outside")).unwrap(),
        b"old",
        "it was written through"
    );
    fs::remove_file(to.path().join("outside")).unwrap();
    set_time(from.path(), 1, 0);
    set_time(to.path(), 1, 0);
    assert_same(from.path(), to.path());
}

#[test]
fn a_directory_that_is_in_use_keeps_its_mode_unless_told() {
    let (from, to) = (scratch(), scratch());
    fs::create_dir(from.path().join("home")).unwrap();
    fs::write(from.path().join("home/new"), "").unwrap();
    fs::set_permissions(from.path(), Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(from.path().join("home"), Permissions::from_mode(0o500)).unwrap();
    let bytes = archive(from.path()).bytes;
    fs::create_dir(to.path().join("home")).unwrap();
    fs::write(to.path().join("home/old"), "").unwrap();
    let mode = |path: &str| fs::metadata(to.path().join(path)).unwrap().permissions().mode() & 0o7777;
    fs::set_permissions(to.path(), Permissions::from_mode(0o1777)).unwrap();
    restore(&bytes, to.path());
    assert_eq!((mode("."), mode("home")), (0o1777, 0o755));
    fs::remove_file(to.path().join("home/new")).unwrap();
    let options = UnpackOptions {
        overwrite: true,
        ..UnpackOptions::default()
    };
    unpack(bytes.as_slice(), to.path(), &options, &Context::default(), None).unwrap();
    assert_eq!((mode("."), mode("home")), (0o500, 0o500));
    assert!(to.path().join("home/old").exists());
}

#[test]
fn an_acl_of_the_target_does_not_leak_into_what_is_restored() {
    need_root();
    let (from, to) = (scratch(), scratch());
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("d/f"), "").unwrap();
    let bytes = archive(from.path()).bytes;
    setxattr(
        to.path(),
        "system.posix_acl_default",
        &acl(99),
        XattrFlags::empty(),
    )
    .unwrap();
    restore(&bytes, to.path());
    let tree = describe(&to.path().join("d"));
    assert!(!tree.contains("posix_acl"), "{tree}");
}

#[test]
fn only_what_is_asked_for_is_restored() {
    let (from, to) = (scratch(), scratch());
    fs::create_dir_all(from.path().join("a/b")).unwrap();
    for path in ["a/b/one", "a/b/two", "a/other", "c"] {
        fs::write(from.path().join(path), path).unwrap();
    }
    fs::set_permissions(from.path().join("a"), Permissions::from_mode(0o710)).unwrap();
    let bytes = archive(from.path()).bytes;
    let mut options = UnpackOptions {
        paths: vec![b"a/b".to_vec()],
        ..UnpackOptions::default()
    };
    let done = unpack(bytes.as_slice(), to.path(), &options, &Context::default(), None).unwrap();
    assert_eq!((done.entries, done.content_bytes), (4, 14));
    assert!(
        to.path().join("a/b/two").exists()
            && !to.path().join("a/other").exists()
            && !to.path().join("c").exists()
    );
    assert_eq!(
        fs::metadata(to.path().join("a")).unwrap().permissions().mode() & 0o7777,
        0o710
    );

    options.paths = vec![b"c".to_vec(), b"no/such".to_vec()];
    let error = unpack(bytes.as_slice(), to.path(), &options, &Context::default(), None).unwrap_err();
    assert_eq!(error.to_string(), "not in the backup: no/such");
}

#[test]
fn a_hard_link_without_its_other_name_says_what_to_ask_for() {
    let (from, to) = (scratch(), scratch());
    fs::write(from.path().join("a"), "").unwrap();
    fs::hard_link(from.path().join("a"), from.path().join("b")).unwrap();
    let bytes = archive(from.path()).bytes;
    let options = UnpackOptions {
        paths: vec![b"b".to_vec()],
        ..UnpackOptions::default()
    };
    let error = unpack(bytes.as_slice(), to.path(), &options, &Context::default(), None).unwrap_err();
    assert_eq!(error.hint_text(), Some("ask for both b and a"));
}

#[test]
fn a_dry_run_counts_and_writes_nothing() {
    let (from, to) = (scratch(), scratch());
    hostile(from.path());
    let archive = archive(from.path());
    let options = UnpackOptions {
        dry_run: true,
        ..UnpackOptions::default()
    };
    let target = to.path().join("new");
    let done = unpack(
        archive.bytes.as_slice(),
        &target,
        &options,
        &Context::default(),
        None,
    )
    .unwrap();
    assert_eq!(done.entries, archive.produced.entries);
    assert!(!target.exists());
    let mut names = Vec::new();
    list(
        archive.bytes.as_slice(),
        &options,
        &Context::default(),
        &mut |path| names.push(path.to_vec()),
    )
    .unwrap();
    assert_eq!(names.len() as u64, done.entries);
    assert!(names.contains(&b"\xff\xfe\x80".to_vec()));
}

#[test]
fn emptying_a_directory_follows_no_link_and_can_be_repeated() {
    let (dir, outside) = (scratch(), scratch());
    hostile(dir.path());
    fs::write(outside.path().join("precious"), "").unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("out")).unwrap();
    empty_directory(dir.path()).unwrap();
    empty_directory(dir.path()).unwrap();
    empty_directory(&dir.path().join("missing")).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(outside.path().join("precious").exists());
    let file = outside.path().join("precious");
    assert!(empty_directory(&file).is_err() && file.exists());
}

#[test]
fn emptying_a_directory_stops_at_what_is_mounted_below() {
    need_root();
    let dir = scratch();
    let mount = dir.path().join("a/mounted");
    fs::create_dir_all(&mount).unwrap();
    let other = scratch();
    fs::write(other.path().join("precious"), "").unwrap();
    // A bind mount of the same file system has the same device number.
    crate::support::run(
        std::process::Command::new("mount")
            .arg("--bind")
            .arg(other.path())
            .arg(&mount),
    );
    let result = empty_directory(dir.path());
    crate::support::run(std::process::Command::new("umount").arg(&mount));
    assert!(result.unwrap_err().to_string().contains("a/mounted"));
    assert!(other.path().join("precious").exists());
}

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Directory(Vec<(Vec<u8>, Node)>),
    Symlink(Vec<u8>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        any::<u8>().prop_filter("no such name", |b| *b != 0 && *b != b'/'),
        1..120,
    )
    .prop_filter("no such name", |name| name != b"." && name != b"..")
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000).prop_map(Node::File),
        name().prop_map(Node::Symlink),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop::collection::vec((name(), inner), 0..6).prop_map(Node::Directory)
    })
}

fn build(path: &std::path::Path, node: &Node) {
    use std::os::unix::ffi::OsStrExt as _;
    match node {
        Node::File(bytes) => fs::write(path, bytes).unwrap(),
        Node::Symlink(target) => {
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), path).unwrap()
        }
        Node::Directory(below) => {
            fs::create_dir(path).unwrap();
            for (name, node) in below {
                let path = path.join(std::ffi::OsStr::from_bytes(name));
                if fs::symlink_metadata(&path).is_err() {
                    build(&path, node);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_small_tree_comes_back(node in node()) {
        let (from, to) = (scratch(), scratch());
        let root = from.path().join("root");
        build(&root, &Node::Directory(vec![(b"x".to_vec(), node)]));
        let archive = archive_of(TreeSpec::all(&root).unwrap());
        prop_assert_eq!(&archive.warnings, &[]);
        restore(&archive.bytes, to.path());
        assert_same(&root, to.path());
    }
}
