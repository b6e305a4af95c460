//! Trees to back up.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, lsetxattr, makedev,
    mkdirat, mknodat, openat, setxattr, utimensat,
};

use crate::support::need_root;

fn below(root: &Path, name: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(name))
}

/// Sets the time of something itself.
pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// The bytes of an ACL that lets one more user in.
pub fn acl(user: u32) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in [
        (1_u16, 7_u16, !0),
        (2, 5, user),
        (4, 5, !0),
        (16, 5, !0),
        (32, 0, !0),
    ] {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&bits.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Everything that is hard about trees and that GNU tar can take as well.
pub fn hostile(root: &Path) {
    need_root();
    fs::create_dir_all(root.join("dir/empty")).unwrap();
    fs::write(root.join("file"), "content").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    for length in [
        1,
        511,
        512,
        513,
        131_071,
        131_072,
        131_073,
        1 << 20,
        (1 << 20) + 1,
        3_000_000,
    ] {
        let bytes: Vec<u8> = (0..length)
            .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        fs::write(root.join(format!("dir/{length}")), bytes).unwrap();
    }
    names(root);
    links(root);
    times(root);
    owners(root);
    nodes(root);
    attributes(root);
    holes(root);
    // Directories that can't be written to.
    fs::create_dir_all(root.join("closed/inner")).unwrap();
    fs::write(root.join("closed/inner/file"), "x").unwrap();
    fs::set_permissions(root.join("closed/inner"), Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(root.join("closed"), Permissions::from_mode(0o000)).unwrap();
    set_time(&root.join("closed/inner"), 1_000, 1);
    set_time(&root.join("closed"), 2_000, 2);
    fs::set_permissions(root, Permissions::from_mode(0o751)).unwrap();
    set_time(root, 1_234_567_890, 987_654_321);
}

fn names(root: &Path) {
    let names: &[&[u8]] = &[
        b"new\nline",
        b"\xff\xfe\x80",
        b"-rf",
        b"--",
        b" ",
        b"trail ",
        b"\\back\\x41",
        b"quote\"'",
        b"*",
        b"tab\t",
        b"~",
        "ünïcode-日本".as_bytes(),
        b"...",
        b"..a",
        b"a..",
        b"\x01",
        b"%n",
        b"=",
        &[b'n'; 255],
        &[b'm'; 100],
        &[b'l'; 99],
        &[b'k'; 101],
    ];
    for name in names {
        fs::write(below(root, name), name).unwrap();
        let directory = root.join("names");
        fs::create_dir_all(below(&directory, name)).unwrap();
        fs::write(below(&below(&directory, name), name), "").unwrap();
    }
    let mut path = root.join("long");
    for _ in 0..14 {
        path = path.join("d".repeat(200));
    }
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), "at the end of a long path").unwrap();
}

fn links(root: &Path) {
    symlink("file", root.join("symlink")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("t".repeat(100), root.join("link100")).unwrap();
    symlink("t".repeat(101), root.join("link101")).unwrap();
    symlink(format!("{}end", "t/".repeat(2000)), root.join("link4003")).unwrap();
    symlink(OsStr::from_bytes(b"\xff\n"), root.join("linkbytes")).unwrap();
    lchown(root.join("symlink"), Some(12), Some(34)).unwrap();
    set_time(&root.join("symlink"), 77, 77);
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir_all(root.join("z")).unwrap();
    fs::write(root.join("a/b/first"), "linked").unwrap();
    fs::hard_link(root.join("a/b/first"), root.join("a/second")).unwrap();
    fs::hard_link(root.join("a/b/first"), root.join("z/third")).unwrap();
    fs::hard_link(root.join("symlink"), root.join("z/symlink-too")).unwrap();
    let long = root.join("long").join("d".repeat(200)).join("linked");
    fs::hard_link(root.join("a/b/first"), long).unwrap();
}

fn times(root: &Path) {
    let times = [
        (0, 0),
        (-1, 500_000_000),
        (-2_000_000, 1),
        (4_294_967_296, 999_999_999),
        (9_000_000_000, 5),
        (1, 100),
        (-1, 0),
    ];
    for (n, (seconds, nanoseconds)) in times.into_iter().enumerate() {
        let path = root.join(format!("time{n}"));
        fs::write(&path, "").unwrap();
        set_time(&path, seconds, nanoseconds);
    }
}

fn owners(root: &Path) {
    for (name, uid, gid, mode) in [
        ("owner1", 1000, 1001, 0o644),
        ("owner2", 2_097_151, 2_097_152, 0o4755),
        ("owner3", u32::MAX - 1, 4_000_000_000, 0o2755),
        ("owner4", 65_534, 0, 0o7777),
        ("owner5", 0, 0, 0o000),
    ] {
        let path = root.join(name);
        fs::write(&path, name).unwrap();
        chown(&path, Some(uid), Some(gid)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(root.join("sticky")).unwrap();
    chown(root.join("sticky"), Some(5), Some(6)).unwrap();
    fs::set_permissions(root.join("sticky"), Permissions::from_mode(0o3777)).unwrap();
    fs::write(root.join("sticky/file"), "").unwrap();
    assert_eq!(fs::metadata(root.join("sticky/file")).unwrap().gid(), 6);
}

fn nodes(root: &Path) {
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("loop", FileType::BlockDevice, makedev(7, 200)),
        ("big", FileType::CharacterDevice, makedev(4_000, 1_000_000)),
    ] {
        mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
        fs::set_permissions(root.join(name), Permissions::from_mode(0o626)).unwrap();
        lchown(root.join(name), Some(7), Some(8)).unwrap();
        set_time(&root.join(name), 55, 66);
    }
}

fn attributes(root: &Path) {
    let set = |path: &str, name: &str, value: &[u8]| {
        setxattr(root.join(path), name, value, XattrFlags::empty()).unwrap_or_else(|e| panic!("{name}: {e}"));
    };
    fs::create_dir_all(root.join("attributes/below")).unwrap();
    fs::write(root.join("attributes/file"), "a").unwrap();
    for path in ["attributes/file", "attributes"] {
        set(path, "user.text", b"value");
        set(path, "user.empty", b"");
        set(path, "user.bytes", b"\0\n\xff=\n7 a=b\n");
        set(path, "user.a=b%c%3D", b"strange name");
        set(path, "trusted.secret", b"for root");
        set(path, "system.posix_acl_access", &acl(4711));
    }
    set("attributes/file", "user.large", &[b'x'; 2000]);
    // A capability: version 2, CAP_NET_RAW.
    set(
        "attributes/file",
        "security.capability",
        &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    // Its ACL is for what is made in it later, not for what the backup has in it.
    set("attributes", "system.posix_acl_default", &acl(4712));
    for name in ["attributes-link", "fifo"] {
        if name != "fifo" {
            symlink("attributes/file", root.join(name)).unwrap();
        }
        lsetxattr(root.join(name), "trusted.of-itself", b"yes", XattrFlags::empty()).unwrap();
    }
}

fn holes(root: &Path) {
    let sparse = |name: &str, size: u64, pieces: &[(u64, usize)]| {
        let file = File::create(root.join(name)).unwrap();
        for (offset, length) in pieces {
            file.write_all_at(&vec![b'D'; *length], *offset).unwrap();
        }
        file.set_len(size).unwrap();
    };
    sparse("hole-only", 10_000_000, &[]);
    sparse("hole-first", 1 << 20, &[((1 << 20) - 4096, 4096)]);
    sparse("hole-last", 1 << 20, &[(0, 4096)]);
    sparse("hole-odd", 1_000_003, &[(8192, 5000), (500_000, 1), (999_999, 4)]);
    let many: Vec<(u64, usize)> = (0..200).map(|n| (n * 65_536, 4096)).collect();
    sparse("hole-many", 200 * 65_536, &many);
    sparse(
        "hole-large",
        9 << 30,
        &[(0, 10), (5 << 30, 300_000), (8 << 30, 4096)],
    );
}

/// Directories below each other until the path is far longer than Linux takes at once.
pub fn deep(root: &Path, levels: usize, name_bytes: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut directory = openat(CWD, root, flags, Mode::empty()).unwrap();
    for level in 0..levels {
        let name = format!("{level:0>name_bytes$}");
        mkdirat(&directory, name.as_str(), Mode::from_raw_mode(0o755)).unwrap();
        directory = openat(&directory, name.as_str(), flags, Mode::empty()).unwrap();
        let created = OFlags::CREATE | OFlags::WRONLY;
        let file = openat(&directory, "zz", created, Mode::from_raw_mode(0o600)).unwrap();
        rustix::io::write(&file, name.as_bytes()).unwrap();
    }
}
