//! Trees that programs copy by themselves: what they are told to take, and what is claimed of what they took.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use backstay_stream::Context;
use backstay_stream::tree::{
    CopyOptions, TreeCopy, TreeSpec, Untaken, compare_index, index_directory, index_kept,
};

use crate::support::{need_root, scratch};
use crate::trees::hostile;

fn spec(root: &Path) -> TreeSpec {
    TreeSpec::all(root).unwrap()
}

fn carrying() -> CopyOptions {
    CopyOptions {
        carries: true,
        ..CopyOptions::default()
    }
}

fn scan(spec: TreeSpec, earlier: Option<&str>) -> TreeCopy {
    let mut earlier = earlier.map(str::as_bytes);
    let earlier = earlier.as_mut().map(|index| index as &mut dyn std::io::BufRead);
    TreeCopy::scan(spec, &carrying(), earlier, &Context::default()).unwrap()
}

fn paths(mut list: fs::File) -> Vec<String> {
    let mut bytes = Vec::new();
    list.read_to_end(&mut bytes).unwrap();
    let mut paths: Vec<&[u8]> = bytes.split(|b| *b == 0).collect();
    assert_eq!(paths.pop(), Some(&b""[..]), "each path ends with NUL");
    let plain = |path: &[u8]| String::from_utf8_lossy(path.strip_prefix(b"./").unwrap()).into_owned();
    paths.into_iter().map(plain).collect()
}

/// The index that is claimed after the copy, and the codes of its warnings.
fn finish(copy: &TreeCopy) -> (String, Vec<String>) {
    let context = Context::default();
    let mut copied = copy.finish(&[], &context).unwrap();
    let mut index = String::new();
    copied.index.read_to_string(&mut index).unwrap();
    let codes = context
        .notes
        .take()
        .0
        .into_iter()
        .map(|warning| warning.code)
        .collect();
    (index, codes)
}

fn index(root: &Path) -> String {
    let mut out = Vec::new();
    index_directory(&spec(root), &Context::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plant(names: &[&str]) -> tempfile::TempDir {
    let from = scratch();
    for name in names {
        let path = from.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    from
}

#[test]
fn a_tree_that_stays_as_it_is_has_the_index_of_its_directory() {
    need_root();
    let from = scratch();
    hostile(from.path());
    fs::remove_file(from.path().join("hole-large")).unwrap();
    let copy = scan(spec(from.path()), None);
    let (claimed, codes) = finish(&copy);
    // It says more of attributes and holes, because the program may forget them.
    let plain = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        for more in ["attributes", "data"] {
            line.as_object_mut().unwrap().remove(more);
        }
        line
    };
    let lines = |index: &str| index.lines().map(plain).collect::<Vec<_>>();
    assert!(lines(&claimed) == lines(&index(from.path())));
    assert!(claimed.contains(r#"["user.text","value"]"#));
    assert_eq!(codes, [] as [&str; 0]);
    assert_eq!(copy.size().entries, claimed.lines().count() as u64);
    assert_eq!(paths(copy.taken().unwrap()).len() as u64, copy.size().entries - 1);
}

#[test]
fn the_list_has_each_directory_before_what_is_in_it_and_not_what_is_left_out() {
    let from = plant(&["b/c", "b/skip.tmp", "a", "only/here"]);
    fs::write(from.path().join(std::ffi::OsStr::from_bytes(b"\xff\n-")), "x").unwrap();
    let spec = spec(from.path())
        .leaving_out(&["*.tmp", "/only"], "exclude")
        .unwrap();
    let copy = scan(spec, None);
    assert_eq!(paths(copy.taken().unwrap()), ["a", "b", "b/c", "\u{fffd}\n-"]);
    assert_eq!(paths(copy.taken().unwrap()).len(), 4, "it can be read again");
    assert_eq!(copy.directory(), from.path());
}

#[test]
fn a_single_file_is_listed_in_its_directory() {
    let from = plant(&["one", "other"]);
    let copy = scan(spec(&from.path().join("one")), None);
    assert_eq!(paths(copy.taken().unwrap()), ["one"]);
    assert_eq!(copy.directory(), from.path());
    assert!(!copy.size().is_directory);
}

#[test]
fn nothing_is_claimed_of_what_changed_or_vanished_meanwhile() {
    let from = plant(&["a", "changes", "linked", "vanishes", "d/vanishes"]);
    fs::hard_link(from.path().join("linked"), from.path().join("name-of-linked")).unwrap();
    let copy = scan(spec(from.path()), None);
    for name in ["changes", "linked"] {
        fs::write(from.path().join(name), "something else").unwrap();
    }
    fs::remove_file(from.path().join("vanishes")).unwrap();
    fs::remove_dir_all(from.path().join("d")).unwrap();
    let (claimed, mut codes) = finish(&copy);
    codes.sort_unstable();
    let changed = ["changed-while-read"; 3];
    assert_eq!(codes, [&changed[..], &["vanished"; 2]].concat());
    let uncertain = claimed.lines().filter(|line| line.contains("\"uncertain\":true"));
    // With the root, which lost a name, and the directory that went with its file.
    assert_eq!(uncertain.clone().count(), 7, "{claimed}");
    assert!(uncertain.clone().all(|line| !line.contains("blake3")));
    // Whatever was copied of them is no difference.
    let now = index(from.path());
    assert_eq!(
        compare_index(claimed.as_bytes(), now.as_bytes()).unwrap(),
        [] as [&str; 0]
    );
    fs::write(from.path().join("a"), "b").unwrap();
    let differences = compare_index(claimed.as_bytes(), index(from.path()).as_bytes()).unwrap();
    assert_eq!(differences, ["a: different content, time"]);
}

#[test]
fn what_is_gone_is_to_be_carried_over_unless_something_else_has_its_place() {
    let before = plant(&[
        "a/gone",
        "a/stays",
        "becomes-file/x/y",
        "becomes-directory",
        "gone/x",
        "z",
    ]);
    let now = plant(&["a/stays", "becomes-file", "becomes-directory/new", "new"]);
    let copy = scan(spec(now.path()), Some(&index(before.path())));
    let carried = ["a/gone", "gone", "gone/x", "z"];
    assert_eq!(paths(copy.carried().unwrap()), carried);
    assert_eq!(copy.size().carried, 4);
    let (claimed, _) = finish(&copy);
    let marked = claimed.lines().filter(|line| line.contains("\"carried\":true"));
    assert_eq!(marked.count(), carried.len());
    // It is an index: in order, and of use for the next copy.
    let next = scan(spec(now.path()), Some(&claimed));
    assert_eq!(paths(next.carried().unwrap()), carried);
}

#[test]
fn what_was_uncertain_and_is_gone_then_is_carried_over_and_stays_uncertain() {
    let from = plant(&["changes", "d/x", "stays"]);
    let at = |name| from.path().join(name);
    let copy = scan(spec(from.path()), None);
    fs::write(at("changes"), "something else").unwrap();
    fs::write(at("d/new"), "").unwrap();
    let (first, _) = finish(&copy);
    fs::remove_file(at("changes")).unwrap();
    fs::remove_dir_all(at("d")).unwrap();
    let mut before = first;
    for round in 0..2 {
        let copy = scan(spec(from.path()), Some(&before));
        let carried = ["changes", "d", "d/x"];
        assert_eq!(paths(copy.carried().unwrap()), carried, "round {round}");
        let (claimed, codes) = finish(&copy);
        assert_eq!(codes, [] as [&str; 0]);
        let both = "\"uncertain\":true,\"carried\":true";
        assert_eq!(
            claimed.lines().filter(|line| line.contains(both)).count(),
            2,
            "{claimed}"
        );
        before = claimed;
    }
}

#[test]
fn what_cannot_be_carried_over_because_somebody_deleted_it_is_a_difference_and_no_failure() {
    let before = plant(&["gone/x", "stays"]);
    let now = plant(&["stays"]);
    let copy = scan(spec(now.path()), Some(&index(before.path())));
    let (claimed, _) = finish(&copy);
    let kept = |written: &str| {
        let mut out = Vec::new();
        let kept = index_kept(
            &spec(now.path()),
            written.as_bytes(),
            &Context::default(),
            &mut out,
        );
        kept.map(|kept| (kept.lost, String::from_utf8(out).unwrap()))
    };
    let (lost, stored) = kept(&claimed).unwrap();
    assert_eq!(
        lost,
        [
            "gone: missing in the copy before",
            "gone/x: missing in the copy before"
        ]
    );
    assert_eq!(stored, index(now.path()));
    // What is in the tree must be there.
    fs::remove_file(now.path().join("stays")).unwrap();
    let error = kept(&claimed).unwrap_err().to_string();
    assert!(error.contains("was written and is missing"), "{error}");
}

#[test]
fn a_tree_that_is_not_there_any_more_when_it_was_copied_fails_the_copy() {
    type Replace<'a> = &'a dyn Fn(&Path);
    let replaced: [(&str, Replace<'_>); 3] = [
        ("was replaced by another directory", &|root| {
            fs::rename(root, root.with_file_name("away")).unwrap();
            fs::create_dir(root).unwrap();
        }),
        ("cannot read", &|root| {
            fs::rename(root, root.with_file_name("away")).unwrap();
        }),
        ("is on another file system", &|root| {
            fs::rename(root, root.with_file_name("away")).unwrap();
            std::os::unix::fs::symlink("/proc", root).unwrap();
        }),
    ];
    for (said, replace) in replaced {
        let from = plant(&["root/a", "root/d/x"]);
        let root = from.path().join("root");
        let copy = scan(spec(&root), None);
        replace(&root);
        let error = copy.finish(&[], &Context::default()).unwrap_err();
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(error.is_retryable() && error.hint_text().is_some(), "{said}");
    }
}

#[test]
fn a_single_file_that_vanished_fails_the_copy() {
    let from = plant(&["one", "other"]);
    let copy = scan(spec(&from.path().join("one")), None);
    fs::remove_file(from.path().join("one")).unwrap();
    let error = copy.finish(&[], &Context::default()).unwrap_err().to_string();
    assert!(error.contains("one vanished while it was copied"), "{error}");
}

#[test]
fn names_of_one_file_can_be_taken_for_files_of_their_own() {
    let from = plant(&["one"]);
    fs::hard_link(from.path().join("one"), from.path().join("two")).unwrap();
    let bytes = |spec| scan(spec, None).size().content_bytes;
    assert_eq!(bytes(spec(from.path())), 3);
    assert_eq!(bytes(spec(from.path()).with_separate_names()), 6);
}

/// What is read for the hashes, beside one movement for each entry.
fn read_by(root: &Path, hashes: Option<PathBuf>) -> (u64, String) {
    let context = Context::default();
    let options = CopyOptions {
        hashes,
        ..CopyOptions::default()
    };
    let copy = TreeCopy::scan(spec(root), &options, None, &context).unwrap();
    let mut index = String::new();
    let mut copied = copy.finish(&[], &context).unwrap();
    copied.index.read_to_string(&mut index).unwrap();
    let ticks = context.meter.ticks.load(Ordering::Relaxed);
    // One for each when it is walked, and one when it is looked at again.
    (ticks - 2 * copy.size().entries, index)
}

#[test]
fn a_file_that_has_not_changed_is_not_read_again_and_damage_of_what_is_known_costs_only_reading() {
    // Old enough to be believed: what changed just now is always read again.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let directory = scratch();
    let hashes = directory.path().join("deep/hashes");
    let (all, index) = read_by(&root, Some(hashes.clone()));
    assert!(all > 20);
    assert_eq!(read_by(&root, Some(hashes.clone())), (0, index.clone()));
    let whole = fs::read(&hashes).unwrap();
    for at in [3, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&hashes, damaged).unwrap();
        assert_eq!(
            read_by(&root, Some(hashes.clone())),
            (all, index.clone()),
            "at {at}"
        );
    }
    for short in [0, 10, whole.len() / 2] {
        fs::write(&hashes, &whole[..short]).unwrap();
        assert_eq!(read_by(&root, Some(hashes.clone())).0, all, "{short} bytes");
    }
    assert_eq!(read_by(&root, Some(hashes)).0, 0);
}

#[test]
fn nothing_of_a_tree_is_open_any_more_when_nobody_wants_its_copy() {
    let from = plant(&[]);
    let large = fs::File::create(from.path().join("large")).unwrap();
    // Without data, but reading it takes hours.
    large.set_len(1 << 43).unwrap();
    drop(large);
    let started = std::time::Instant::now();
    let copy = scan(spec(from.path()), None);
    drop(copy);
    assert!(started.elapsed().as_secs() < 60);
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    assert!(open.into_iter().all(|path| !path.starts_with(from.path())));
}

#[test]
fn what_cannot_be_read_is_uncertain_at_first_and_left_out_and_carried_over_from_then_on() {
    // Files of the kernel that can be opened; the loopback device has no speed.
    let root = Path::new("/sys/devices/virtual/net/lo");
    need_root();
    for file in [root.to_owned(), root.join("mtu"), root.join("speed")] {
        // It forgets when its files changed, unless it was told.
        let file = fs::File::open(file).unwrap();
        file.set_modified(SystemTime::now()).unwrap();
    }
    // What changed just now isn't believed.
    std::thread::sleep(Duration::from_secs(4));
    let directory = scratch();
    let scan = |hashes: &str, earlier: Option<&str>| {
        let context = Context::default();
        let options = CopyOptions {
            hashes: Some(directory.path().join(hashes)),
            ..carrying()
        };
        let spec = TreeSpec::new(root, &["/mtu", "/speed"], &[""; 0], false).unwrap();
        let mut earlier = earlier.map(str::as_bytes);
        let earlier = earlier.as_mut().map(|index| index as &mut dyn std::io::BufRead);
        let copy = TreeCopy::scan(spec, &options, earlier, &context).unwrap();
        (copy, context.notes.take().0)
    };
    let (copy, warnings) = scan("hashes", None);
    assert_eq!(paths(copy.taken().unwrap()), ["mtu", "speed"]);
    assert_eq!(warnings, []);
    let (index, codes) = finish(&copy);
    assert_eq!(codes, ["unreadable"]);
    let line = index.lines().find(|line| line.contains("speed")).unwrap();
    assert!(line.contains("uncertain") && !line.contains("blake3"), "{line}");

    let earlier = plant(&["mtu", "speed"]);
    let earlier = self::index(earlier.path());
    for _ in 0..2 {
        let (copy, warnings) = scan("hashes", Some(&earlier));
        assert_eq!(paths(copy.taken().unwrap()), ["mtu"]);
        assert_eq!(paths(copy.carried().unwrap()), ["speed"]);
        assert!(
            warnings.len() == 1 && warnings[0].code == "unreadable",
            "{warnings:?}"
        );
        assert_eq!(finish(&copy).1, Vec::<String>::new());
    }

    let (copy, _) = scan("others", Some(&earlier));
    let error = copy.finish(&[], &Context::default()).unwrap_err();
    assert!(
        error.is_retryable() && error.report().contains("lo/speed"),
        "{}",
        error.report()
    );
    let (copy, _) = scan("others", Some(&earlier));
    assert_eq!(paths(copy.carried().unwrap()), ["speed"]);
}

#[test]
fn files_that_are_what_they_were_in_an_earlier_copy_are_listed() {
    let from = plant(&["changed", "gone", "new\nline", "replaced", "same"]);
    symlink("same", from.path().join("link")).unwrap();
    // What changed just now isn't believed.
    std::thread::sleep(Duration::from_secs(4));
    let directory = scratch();
    let options = CopyOptions {
        hashes: Some(directory.path().join("hashes")),
        ..CopyOptions::default()
    };
    let scan = |earlier: &str| {
        let mut earlier = earlier.as_bytes();
        TreeCopy::scan(
            spec(from.path()),
            &options,
            Some(&mut earlier),
            &Context::default(),
        )
        .unwrap()
    };
    let unchanged = |copy: &TreeCopy| {
        let mut list = String::new();
        copy.unchanged().unwrap().read_to_string(&mut list).unwrap();
        assert_eq!(list.lines().count() as u64, copy.size().unchanged);
        list
    };
    let first = scan("");
    assert_eq!(unchanged(&first), "");
    let (index, _) = finish(&first);

    fs::remove_file(from.path().join("gone")).unwrap();
    // Of the same size and time.
    let changed = fs::File::options()
        .write(true)
        .open(from.path().join("changed"))
        .unwrap();
    let before = changed.metadata().unwrap().modified().unwrap();
    (&changed).write_all(b"CHANGED").unwrap();
    changed.set_modified(before).unwrap();
    fs::remove_file(from.path().join("replaced")).unwrap();
    fs::create_dir(from.path().join("replaced")).unwrap();
    let second = scan(&index);
    assert_eq!(unchanged(&second), "new␊line\nsame\n");
    assert_eq!(second.size().carried, 0);
    assert!(!finish(&second).0.contains("gone"));

    // Whatever is not known of the earlier copy is not the same.
    for (from, to) in [
        ("\"blake3\":\"", "\"blake3\":\"0"),
        ("\"path\":\"same\"", "\"path\":\"same\",\"uncertain\":true"),
    ] {
        assert!(
            !unchanged(&scan(&index.replace(from, to))).contains("same"),
            "{to}"
        );
    }
}

#[test]
fn a_file_that_changed_just_now_is_read_again() {
    let from = plant(&["a"]);
    let directory = scratch();
    let hashes = directory.path().join("hashes");
    for _ in 0..2 {
        assert_eq!(read_by(from.path(), Some(hashes.clone())).0, 1);
    }
}

#[test]
fn what_is_left_out_is_named_once_at_its_top() {
    let from = plant(&[
        "a/b/deep",
        "a/b.tmp",
        "a/keep",
        "cache/x/y",
        "keep/only",
        "z*.tmp",
    ]);
    let base = from.path().canonicalize().unwrap();
    let base = base.to_str().unwrap();
    let list = |include: &[&str], exclude: &[&str], one_file_system: bool| {
        let spec = TreeSpec::new(from.path(), include, exclude, one_file_system).unwrap();
        let mut list = String::new();
        let mut file = scan(spec, None).left_out(&Context::default()).unwrap();
        file.read_to_string(&mut list).unwrap();
        list.replace(base, "BASE")
    };
    assert_eq!(list(&[], &[], false), "");
    assert_eq!(
        list(&[], &["*.tmp", "/cache"], false),
        "BASE/a/b.tmp\nBASE/cache\nBASE/z\\*.tmp\n"
    );
    assert_eq!(
        list(&["/a/b/deep", "/keep"], &[], false),
        "BASE/a/b.tmp\nBASE/a/keep\nBASE/cache\nBASE/z\\*.tmp\n"
    );
    // What has come since isn't in the index.
    let copy = scan(spec(from.path()), None);
    fs::write(from.path().join("cache/new"), "").unwrap();
    let mut list = String::new();
    let mut file = copy.left_out(&Context::default()).unwrap();
    file.read_to_string(&mut list).unwrap();
    assert_eq!(list, format!("{base}/cache/new\n"));
}

#[test]
fn what_a_program_could_not_take_is_a_warning_and_uncertain_with_all_below_it() {
    let from = plant(&["a/b/deep", "a/file", "b", "stays"]);
    fs::write(from.path().join(std::ffi::OsStr::from_bytes(b"bad\xff\xfe")), "").unwrap();
    let copy = scan(spec(from.path()), None);
    let untaken = |path: &str| Untaken {
        path: path.to_owned(),
        why: format!("{path} can't be read"),
    };
    let absolute = from.path().join("b").display().to_string();
    let context = Context::default();
    let said = ["a", &absolute, "./bad\u{fffd}\u{fffd}", "/came/later"].map(untaken);
    let mut index = String::new();
    let mut copied = copy.finish(&said, &context).unwrap();
    copied.index.read_to_string(&mut index).unwrap();
    let uncertain: Vec<&str> = index
        .lines()
        .filter(|line| line.contains("\"uncertain\":true"))
        .map(|line| line.split('"').nth(3).unwrap())
        .collect();
    assert_eq!(
        uncertain,
        ["a", "a/b", "a/b/deep", "a/file", "b", "bad\\\\xff\\\\xfe"]
    );
    let warnings = context.notes.take().0;
    let named: Vec<&str> = warnings
        .iter()
        .map(|w| w.path.as_deref().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(named, ["a", "b", "bad\\xff\\xfe", "later"]);
    assert!(
        warnings
            .iter()
            .all(|w| w.code == "unreadable" && w.message.contains("can't be read"))
    );
}

#[test]
fn what_a_program_could_not_carry_over_is_a_warning_and_is_not_in_the_index() {
    let from = plant(&["a", "gone", "lost/x", "stays"]);
    fs::hard_link(from.path().join("gone"), from.path().join("second")).unwrap();
    let before = index(from.path());
    fs::remove_dir_all(from.path().join("lost")).unwrap();
    fs::remove_file(from.path().join("gone")).unwrap();
    fs::remove_file(from.path().join("second")).unwrap();
    let copy = scan(spec(from.path()), Some(&before));
    assert_eq!(copy.size().carried, 4);
    let said = ["gone", "lost", "lost/x"].map(|path| Untaken {
        path: path.to_owned(),
        why: "it is not there".to_owned(),
    });
    let context = Context::default();
    let mut claimed = String::new();
    let mut copied = copy.finish(&said, &context).unwrap();
    copied.index.read_to_string(&mut claimed).unwrap();
    assert_eq!(copied.size.carried, 1);
    let carried: Vec<&str> = claimed
        .lines()
        .filter(|line| line.contains("\"carried\":true"))
        .collect();
    // The other name of what is lost is all that is left of it.
    assert_eq!(carried.len(), 1, "{claimed}");
    assert!(
        carried[0].contains("second") && carried[0].contains("\"uncertain\":true"),
        "{claimed}"
    );
    let warnings = context.notes.take().0;
    let named: Vec<_> = warnings
        .iter()
        .map(|w| (w.code.as_str(), w.path.as_deref().unwrap()))
        .collect();
    assert_eq!(
        named,
        [("not-kept", "gone"), ("not-kept", "lost"), ("not-kept", "lost/x")]
    );
}
