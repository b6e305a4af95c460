//! Indexes of archives and directories, and how they differ.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backstay_model::Code;
use backstay_stream::Context;
use backstay_stream::tree::{TreeSpec, UnpackOptions, compare_index, index_directory, unpack};

use crate::support::{archive, need_root, scratch};
use crate::trees::{deep, hostile, set_time};

fn index(root: &Path) -> String {
    let mut out = Vec::new();
    index_directory(&TreeSpec::all(root).unwrap(), &Context::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn unpack_with_index(bytes: &[u8], target: &Path, dry_run: bool) -> String {
    let mut out = Vec::new();
    let options = UnpackOptions {
        dry_run,
        ..UnpackOptions::default()
    };
    unpack(bytes, target, &options, &Context::default(), Some(&mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_faithful_restore_has_the_index_of_its_archive() {
    need_root();
    let (from, to) = (scratch(), scratch());
    hostile(from.path());
    fs::remove_file(from.path().join("hole-large")).unwrap();
    set_time(from.path(), 5, 5);
    deep(from.path(), 100, 100);
    let bytes = archive(from.path()).bytes;
    let archived = unpack_with_index(&bytes, to.path(), false);
    assert!(archived == index(to.path()));
    assert!(archived == index(from.path()));
    assert!(archived == unpack_with_index(&bytes, to.path(), true));
    assert_eq!(
        compare_index(archived.as_bytes(), index(to.path()).as_bytes()).unwrap(),
        [] as [&str; 0]
    );
}

#[test]
fn a_line_says_what_an_entry_is() {
    let from = scratch();
    fs::write(from.path().join("a\n\\"), "abc").unwrap();
    fs::set_permissions(from.path().join("a\n\\"), Permissions::from_mode(0o4640)).unwrap();
    set_time(&from.path().join("a\n\\"), -1, 250_000_000);
    fs::hard_link(from.path().join("a\n\\"), from.path().join("b")).unwrap();
    let index = index(from.path());
    let lines: Vec<&str> = index.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            r#"{"path":"a\\x0a\\\\","type":"file","size":3,"mode":"4640","uid":0,"gid":0,"mtime":"-0.750000000","blake3":"6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"}"#,
            r#"{"path":"b","type":"hardlink","link":"a\\x0a\\\\"}"#,
        ]
    );
}

#[test]
fn differences_are_named() {
    let (from, to) = (scratch(), scratch());
    for root in [from.path(), to.path()] {
        fs::create_dir(root.join("d")).unwrap();
        for name in ["content", "mode", "same", "time", "d/inner"] {
            fs::write(root.join(name), "x").unwrap();
            set_time(&root.join(name), 1, 0);
        }
        set_time(&root.join("d"), 1, 0);
        set_time(root, 1, 0);
    }
    fs::write(to.path().join("content"), "y").unwrap();
    set_time(&to.path().join("content"), 1, 0);
    fs::set_permissions(to.path().join("mode"), Permissions::from_mode(0o600)).unwrap();
    set_time(&to.path().join("time"), 2, 0);
    fs::rename(to.path().join("d/inner"), to.path().join("d-inner")).unwrap();
    set_time(&to.path().join("d"), 1, 0);
    set_time(to.path(), 1, 0);
    let differences = compare_index(index(from.path()).as_bytes(), index(to.path()).as_bytes()).unwrap();
    assert_eq!(
        differences,
        [
            "content: different content",
            "d/inner: missing",
            "d-inner: extra",
            "mode: different mode",
            "time: different time"
        ]
    );
}

#[test]
fn many_differences_are_counted() {
    let (from, to) = (scratch(), scratch());
    for n in 0..30 {
        fs::write(from.path().join(format!("{n}")), "").unwrap();
    }
    set_time(from.path(), 1, 0);
    set_time(to.path(), 1, 0);
    let differences = compare_index(index(from.path()).as_bytes(), index(to.path()).as_bytes()).unwrap();
    assert_eq!((differences.len(), differences[20].as_str()), (21, "and 10 more"));
}

#[test]
fn the_root_counts_only_if_both_have_it() {
    let (from, to) = (scratch(), scratch());
    fs::write(from.path().join("f"), "x").unwrap();
    let archive = archive(&from.path().join("f"));
    let archived = unpack_with_index(&archive.bytes, to.path(), false);
    assert_eq!(
        compare_index(archived.as_bytes(), index(to.path()).as_bytes()).unwrap(),
        [] as [&str; 0]
    );
}

#[test]
fn what_is_no_index_is_an_error() {
    for text in ["{}\n", "x\n", "{\"path\":\"\\\\q\",\"type\":\"file\"}\n"] {
        assert_eq!(
            compare_index(text.as_bytes(), &b""[..]).unwrap_err().code(),
            Code::Verification
        );
    }
    let unordered = "{\"path\":\"b\",\"type\":\"fifo\"}\n{\"path\":\"a\",\"type\":\"fifo\"}\n";
    let error = compare_index(unordered.as_bytes(), unordered.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "line 2 of the expected index isn't in order");
}
