//! Archives that mean harm are refused, and nothing outside of the target is touched.

use std::fs;
use std::path::Path;

use backstay_model::Code;
use backstay_stream::Context;
use backstay_stream::tree::{UnpackOptions, list, unpack, walk};
use tar::{EntryType, Header};
use tempfile::TempDir;

use crate::support::scratch;

/// An archive made entry by entry, with anything in it.
#[derive(Default)]
struct Forged(Vec<u8>);

impl Forged {
    fn entry(self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        self.with(kind, name, link, content, |_| {})
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", content)
    }

    fn with(
        mut self,
        kind: EntryType,
        name: &str,
        link: &str,
        content: &[u8],
        change: impl Fn(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        header.set_entry_type(kind);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..rest + 9)
                .find(|n| rest + n.to_string().len() == *n)
                .unwrap();
            text.push_str(&format!("{length} {key}={value}\n"));
        }
        self.entry(EntryType::XHeader, "pax", "", text.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// All that could be done to a small tree: names, content, and when anything of it was last changed.
fn state(tree: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let meta = fs::symlink_metadata(tree).unwrap();
    let mut text = format!(
        "{tree:?} {} {} {} {}\n",
        meta.mode(),
        meta.nlink(),
        meta.ctime(),
        meta.ctime_nsec()
    );
    if meta.is_dir() {
        let mut below: Vec<_> = fs::read_dir(tree)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        below.sort();
        text.extend(below.iter().map(|path| state(path)));
    }
    text
}

/// A target beside something precious.
struct Scene {
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = scratch();
        fs::create_dir_all(dir.path().join("outside/below")).unwrap();
        fs::write(dir.path().join("outside/precious"), "precious").unwrap();
        fs::create_dir(dir.path().join("target")).unwrap();
        Scene { dir }
    }

    fn outside(&self) -> std::path::PathBuf {
        self.dir.path().join("outside")
    }

    /// Unpacks in every way there is, each of which must be refused and leave the outside alone.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], expect: &str) {
        let before = state(&self.outside());
        for overwrite in [false, true] {
            let target = self.dir.path().join("target");
            let options = UnpackOptions {
                overwrite,
                ..UnpackOptions::default()
            };
            let error = unpack(bytes, &target, &options, &Context::default(), None).unwrap_err();
            assert_eq!(error.code(), Code::Archive, "{}", error.report());
            assert!(error.report().contains(expect), "{}", error.report());
            assert_eq!(state(&self.outside()), before);
            let entries = fs::read_dir(self.dir.path()).unwrap().count();
            assert_eq!(entries, 2, "something appeared beside the target");
            fs::remove_dir_all(&target).unwrap();
            fs::create_dir(&target).unwrap();
        }
    }
}

#[track_caller]
fn refused(bytes: &[u8], expect: &str) {
    Scene::new().refuses(bytes, expect);
    let started = std::time::Instant::now();
    let error = walk(bytes, &Context::default()).unwrap_err();
    assert!(started.elapsed().as_secs() < 5);
    assert!(error.report().contains(expect), "{}", error.report());
}

#[test]
fn paths_that_lead_out_are_refused() {
    for (name, why) in [
        ("../evil", "`..`"),
        ("a/../../evil", "`..`"),
        ("..", "`..`"),
        ("/tmp/evil", "absolute"),
        ("a/..", "`..`"),
    ] {
        refused(&Forged::default().file(name, b"x").end(), why);
        refused(
            &Forged::default().entry(EntryType::Directory, name, "", b"").end(),
            why,
        );
        refused(
            &Forged::default()
                .pax(&[("path", name)])
                .file("harmless", b"x")
                .end(),
            why,
        );
        refused(
            &Forged::default()
                .entry(EntryType::GNULongName, "x", "", name.as_bytes())
                .file("y", b"")
                .end(),
            why,
        );
        let sparse = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", name),
        ];
        refused(&Forged::default().pax(&sparse).file("harmless", b"x").end(), why);
        refused(
            &Forged::default()
                .file("a", b"")
                .entry(EntryType::Link, "b", name, b"")
                .end(),
            why,
        );
    }
    refused(
        &Forged::default()
            .pax(&[("path", "a\0b")])
            .file("harmless", b"x")
            .end(),
        "zero byte",
    );
}

#[test]
fn nothing_is_written_through_a_link() {
    for target in ["../outside", "../outside/below", "/", "."] {
        let scene = Scene::new();
        let link = || Forged::default().entry(EntryType::Symlink, "a", target, b"");
        scene.refuses(&link().file("a/evil", b"x").end(), "not a directory");
        scene.refuses(&link().file("a/b/evil", b"x").end(), "not a directory");
        scene.refuses(
            &link().entry(EntryType::Directory, "a/evil", "", b"").end(),
            "not a directory",
        );
        scene.refuses(
            &link().entry(EntryType::Symlink, "a/evil", "x", b"").end(),
            "not a directory",
        );
        scene.refuses(
            &link().entry(EntryType::Fifo, "a/evil", "", b"").end(),
            "not a directory",
        );
    }
}

#[test]
fn a_link_that_is_there_is_not_followed_or_written_through() {
    let scene = Scene::new();
    let target = scene.dir.path().join("target");
    let before = state(&scene.outside());
    let bytes = Forged::default()
        .file("precious", b"evil")
        .entry(EntryType::Directory, "d", "", b"")
        .file("d/f", b"x")
        .end();
    std::os::unix::fs::symlink("../outside/precious", target.join("precious")).unwrap();
    std::os::unix::fs::symlink("../outside/below", target.join("d")).unwrap();
    let mut options = UnpackOptions::default();
    unpack(bytes.as_slice(), &target, &options, &Context::default(), None).unwrap_err();
    options.overwrite = true;
    unpack(bytes.as_slice(), &target, &options, &Context::default(), None).unwrap();
    assert_eq!(state(&scene.outside()), before);
    assert_eq!(fs::read(target.join("precious")).unwrap(), b"evil");
    assert!(fs::symlink_metadata(target.join("d")).unwrap().is_dir());
}

#[test]
fn hard_links_reach_only_what_was_restored() {
    let scene = Scene::new();
    let out = |link: &str| Forged::default().entry(EntryType::Link, "a", link, b"").end();
    scene.refuses(&out("/etc/passwd"), "absolute");
    scene.refuses(&out("../outside/precious"), "`..`");
    scene.refuses(&out("missing"), "hard link");
    scene.refuses(&out("."), "hard link");
    let through = Forged::default().entry(EntryType::Symlink, "s", "../outside", b"");
    scene.refuses(
        &through.entry(EntryType::Link, "a", "s/precious", b"").end(),
        "hard link",
    );
    // A hard link to a symbolic link is another name of the link, not of what it leads to.
    let link = Forged::default().entry(EntryType::Symlink, "s", "../outside/precious", b"");
    let bytes = link.entry(EntryType::Link, "a", "s", b"").end();
    let target = scene.dir.path().join("target");
    unpack(
        bytes.as_slice(),
        &target,
        &UnpackOptions::default(),
        &Context::default(),
        None,
    )
    .unwrap();
    assert!(fs::symlink_metadata(target.join("a")).unwrap().is_symlink());
}

#[test]
fn the_target_itself_is_not_replaced() {
    let scene = Scene::new();
    scene.refuses(&Forged::default().file(".", b"x").end(), "takes the place");
    scene.refuses(
        &Forged::default()
            .entry(EntryType::Symlink, "./", "/etc", b"")
            .end(),
        "takes the place",
    );
}

#[test]
fn claims_of_enormous_sizes_are_refused_at_once() {
    let huge = |kind, size: u64| {
        Forged::default()
            .with(kind, "huge", "", b"", |h| h.set_size(size))
            .file("x", b"")
            .end()
    };
    refused(&huge(EntryType::XHeader, 1 << 40), "too large");
    refused(&huge(EntryType::XGlobalHeader, 1 << 40), "too large");
    refused(&huge(EntryType::GNULongName, 1 << 40), "too large");
    refused(&huge(EntryType::GNULongLink, 1 << 40), "too large");
    refused(&huge(EntryType::Regular, 1 << 62), "ends too early");
    refused(&huge(EntryType::Regular, i64::MAX as u64), "impossible size");
    refused(&huge(EntryType::Regular, u64::MAX), "impossible size");
    let negative = |h: &mut Header| h.as_old_mut().size = [0xff; 12];
    refused(
        &Forged::default()
            .with(EntryType::Regular, "x", "", b"", negative)
            .end(),
        "impossible size",
    );
    for size in [
        "-1",
        "18446744073709551616",
        "9223372036854775807",
        "1e3",
        "0x10",
        "99999999999999999999999",
    ] {
        refused(
            &Forged::default().pax(&[("size", size)]).file("x", b"").end(),
            "impossible",
        );
    }
    let name = "n/".repeat(40_000);
    refused(
        &Forged::default().pax(&[("path", &name)]).file("x", b"").end(),
        "too long",
    );
}

#[test]
fn impossible_owners_times_and_types_are_refused() {
    refused(
        &Forged::default()
            .pax(&[("uid", "4294967295")])
            .file("x", b"")
            .end(),
        "impossible owner",
    );
    refused(
        &Forged::default()
            .pax(&[("gid", "4294967296")])
            .file("x", b"")
            .end(),
        "impossible value",
    );
    refused(
        &Forged::default()
            .pax(&[("mtime", "yesterday")])
            .file("x", b"")
            .end(),
        "impossible value",
    );
    refused(
        &Forged::default()
            .pax(&[("mtime", "99999999999999999999")])
            .file("x", b"")
            .end(),
        "impossible value",
    );
    refused(
        &Forged::default()
            .with(EntryType::Regular, "x", "", b"", |h| {
                h.set_uid(u64::from(u32::MAX))
            })
            .end(),
        "owner",
    );
    refused(
        &Forged::default().entry(EntryType::new(b'D'), "x", "", b"").end(),
        "unknown type",
    );
    refused(
        &Forged::default().entry(EntryType::Symlink, "x", "", b"").end(),
        "symbolic link",
    );
    refused(
        &Forged::default()
            .pax(&[("SCHILY.xattr.", "x")])
            .file("x", b"")
            .end(),
        "attribute",
    );
    refused(
        &Forged::default()
            .entry(EntryType::XHeader, "x", "", b"99 path=x\n")
            .file("x", b"")
            .end(),
        "extended header",
    );
    refused(&Forged::default().pax(&[("path", "x")]).end(), "announces");
}

#[test]
fn maps_of_holes_that_lie_are_refused() {
    let head = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "1000"),
    ];
    let map = |text: &str, data: usize| {
        let mut content = text.as_bytes().to_vec();
        content.resize(content.len().next_multiple_of(512) + data, 0);
        Forged::default().pax(&head).file("x", &content).end()
    };
    refused(&map("1\n900\n200\n", 200), "contradicts");
    refused(&map("2\n500\n100\n0\n100\n", 200), "contradicts");
    refused(&map("1\n0\n100\n", 99), "contradicts");
    refused(&map("1\n18446744073709551615\n2\n", 2), "contradicts");
    refused(&map("99999999\n", 0), "map of holes");
    refused(&map("-1\n", 0), "map of holes");
    refused(&map("5\n1\n", 0), "map of holes");
    let list = |list| [("GNU.sparse.size", "1000"), ("GNU.sparse.map", list)];
    refused(
        &Forged::default().pax(&list("0,1,2")).file("x", b"x").end(),
        "map of holes",
    );
    refused(
        &Forged::default().pax(&list("0,5000")).file("x", &[0; 5000]).end(),
        "contradicts",
    );
    let future = [
        ("GNU.sparse.major", "2"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.realsize", "1"),
    ];
    refused(
        &Forged::default().pax(&future).file("x", b"x").end(),
        "unknown form",
    );
}

#[test]
fn harmless_oddities_of_other_tools_are_accepted() {
    let bytes = Forged::default()
        .entry(
            EntryType::XGlobalHeader,
            "pax_global_header",
            "",
            b"52 comment=0123456789012345678901234567890123456789\n",
        )
        .with(EntryType::new(b'V'), "label", "", b"", |_| {})
        .file("./a//b", b"content")
        .file("dir/", b"")
        .pax(&[("comment", "x"), ("atime", "1.5"), ("uname", "somebody")])
        .entry(EntryType::Continuous, "c", "", b"1")
        .end();
    let mut names = Vec::new();
    let mut each = |path: &[u8]| names.push(String::from_utf8(path.to_vec()).unwrap());
    list(
        bytes.as_slice(),
        &UnpackOptions::default(),
        &Context::default(),
        &mut each,
    )
    .unwrap();
    assert_eq!(names, ["a/b", "dir", "c"]);
    let target = scratch();
    let done = unpack(
        bytes.as_slice(),
        target.path(),
        &UnpackOptions::default(),
        &Context::default(),
        None,
    )
    .unwrap();
    assert_eq!(done.content_bytes, 8);
    assert!(Path::is_dir(&target.path().join("dir")));
}

#[test]
fn attributes_in_a_form_that_is_not_ours_are_told() {
    let target = scratch();
    let context = Context::default();
    let bytes = Forged::default()
        .pax(&[("SCHILY.acl.access", "user::rwx")])
        .file("x", b"")
        .end();
    unpack(
        bytes.as_slice(),
        target.path(),
        &UnpackOptions::default(),
        &context,
        None,
    )
    .unwrap();
    assert_eq!(context.notes.take().0[0].code, "xattr-not-restored");
}
