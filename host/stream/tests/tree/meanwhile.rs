//! Trees that are moved about while they are copied, and what earlier copies had of them.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use backstay_stream::Context;
use backstay_stream::tree::{CopyOptions, TreeCopy, TreeSpec, index_directory};
use serde_json::Value;

use crate::support::{need_root, run, scratch};

fn plant(names: &[&str]) -> tempfile::TempDir {
    let from = scratch();
    for name in names {
        let path = from.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    from
}

fn text(mut file: fs::File) -> String {
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// The lines of what is claimed after the copy, and its warnings.
fn finish(copy: &TreeCopy) -> (Vec<Value>, Vec<(String, String)>) {
    let context = Context::default();
    let index = text(copy.finish(&[], &context).unwrap().index);
    let lines = index.lines().map(|line| serde_json::from_str(line).unwrap());
    let warnings = context.notes.take().0.into_iter();
    let name = |path: Option<String>| path.unwrap().rsplit('/').next().unwrap().to_owned();
    (
        lines.collect(),
        warnings.map(|w| (w.code, name(w.path))).collect(),
    )
}

fn carrying() -> CopyOptions {
    CopyOptions {
        carries: true,
        ..CopyOptions::default()
    }
}

fn scan(spec: TreeSpec, earlier: Option<&str>) -> TreeCopy {
    let mut earlier = earlier.map(str::as_bytes);
    let earlier = earlier.as_mut().map(|index| index as &mut dyn BufRead);
    TreeCopy::scan(spec, &carrying(), earlier, &Context::default()).unwrap()
}

fn index(root: &Path) -> String {
    let mut out = Vec::new();
    index_directory(&TreeSpec::all(root).unwrap(), &Context::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn of<'a>(lines: &'a [Value], path: &str) -> &'a Value {
    lines.iter().find(|line| line["path"] == path).unwrap()
}

/// An index with something that happens when its last line is read, which is while the tree is walked.
struct Hooked<F> {
    lines: VecDeque<Vec<u8>>,
    hook: Option<F>,
}

impl<F: FnOnce()> Read for Hooked<F> {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl<F: FnOnce()> BufRead for Hooked<F> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.lines.len() == 1
            && let Some(hook) = self.hook.take()
        {
            hook();
        }
        Ok(self.lines.front().map_or(&[], Vec::as_slice))
    }

    fn consume(&mut self, bytes: usize) {
        if let Some(line) = self.lines.front_mut() {
            line.drain(..bytes);
            if line.is_empty() {
                self.lines.pop_front();
            }
        }
    }
}

#[test]
fn a_directory_that_is_renamed_during_the_walk_hides_nothing_else() {
    let from = plant(&["a/b/c/x", "a/b/y", "d", "e/x"]);
    let at = |name| from.path().join(name);
    let before = index(from.path());
    let lines = before
        .lines()
        .take(3)
        .map(|line| format!("{line}\n").into_bytes());
    let mut earlier = Hooked {
        lines: lines.collect(),
        hook: Some(|| fs::rename(at("a"), at("a.old")).unwrap()),
    };
    let context = Context::default();
    let spec = TreeSpec::all(from.path()).unwrap();
    let copy = TreeCopy::scan(spec, &carrying(), Some(&mut earlier), &context).unwrap();
    let codes: Vec<String> = context.notes.take().0.into_iter().map(|w| w.code).collect();
    assert_eq!(codes, ["vanished"], "once, for all that is in it");
    assert_eq!(text(copy.taken().unwrap()), "./a\0./d\0./e\0./e/x\0");
    let base = from.path().canonicalize().unwrap();
    let left_out = text(copy.left_out(&Context::default()).unwrap());
    assert_eq!(left_out, format!("{}/a.old\n", base.display()));
}

#[test]
fn nothing_is_claimed_of_what_is_below_a_directory_that_something_else_replaced() {
    for links_to in ["../b/big", "big"] {
        let from = plant(&["a/big/deep/x", "a/big/y", "a/z", "b/c"]);
        let at = |name| from.path().join(name);
        let copy = scan(TreeSpec::all(from.path()).unwrap(), None);
        fs::rename(at("a/big"), at("b/big")).unwrap();
        symlink(links_to, at("a/big")).unwrap();
        let (lines, warnings) = finish(&copy);
        assert_eq!(
            warnings,
            [("changed-while-read".to_owned(), "big".to_owned())],
            "{links_to}"
        );
        let certain: Vec<&str> = lines
            .iter()
            .filter(|line| line["uncertain"].is_null())
            .map(|line| line["path"].as_str().unwrap())
            .collect();
        assert_eq!(certain, [".", "a/z", "b/c"], "{links_to}");
    }
}

#[test]
fn where_nothing_is_taken_nothing_that_comes_later_is_either() {
    need_root();
    let from = plant(&["cache/x", "cache/y", "mount/hidden", "keep/x"]);
    fs::create_dir(from.path().join("tmp")).unwrap();
    fs::create_dir(from.path().join("empty")).unwrap();
    let mount = from.path().join("mount");
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mount));
    let exclude = ["/cache/?", "/tmp/*"];
    let spec = TreeSpec::new(from.path(), &[] as &[&str], &exclude, true).unwrap();
    let left_out = scan(spec, None).left_out(&Context::default());
    run(Command::new("umount").arg(&mount));
    let base = from.path().canonicalize().unwrap();
    assert_eq!(
        text(left_out.unwrap()).replace(base.to_str().unwrap(), "BASE"),
        "BASE/cache/*\nBASE/mount/*\nBASE/tmp/*\n"
    );
}

#[test]
fn a_further_name_of_what_is_not_taken_is_a_file_of_its_own() {
    let from = plant(&["a/x", "z"]);
    let deep = format!("a/{}", vec!["d".repeat(245); 13].join("/"));
    let at = |name: &str| from.path().join(name);
    fs::create_dir_all(at(&deep)).unwrap();
    fs::hard_link(at("z"), at(&format!("{deep}/file"))).unwrap();
    fs::hard_link(at("z"), at("zz")).unwrap();
    let (lines, _) = finish(&scan(TreeSpec::all(from.path()).unwrap(), None));
    assert!(
        lines
            .iter()
            .all(|line| !line["path"].as_str().unwrap().ends_with("/file"))
    );
    assert_eq!(of(&lines, "z")["type"], "file");
    assert_eq!(of(&lines, "z")["blake3"], blake3::hash(b"z").to_hex().as_str());
    assert_eq!(of(&lines, "zz")["link"], "z");
}

#[test]
fn a_name_that_is_carried_over_keeps_the_content_that_it_had() {
    let from = plant(&["a", "down/a", "same"]);
    let at = |name| from.path().join(name);
    fs::hard_link(at("a"), at("b")).unwrap();
    fs::hard_link(at("down/a"), at("down-b")).unwrap();
    fs::hard_link(at("same"), at("same-b")).unwrap();
    let before = index(from.path());
    for name in ["b", "down/a", "down-b", "same-b"] {
        fs::remove_file(at(name)).unwrap();
    }
    fs::remove_file(at("a")).unwrap();
    fs::create_dir(at("a")).unwrap();
    fs::remove_dir(at("down")).unwrap();
    fs::write(at("down"), "a file now").unwrap();
    let spec = || TreeSpec::all(from.path()).unwrap();
    let claimed = text(
        scan(spec(), Some(&before))
            .finish(&[], &Context::default())
            .unwrap()
            .index,
    );
    let lines: Vec<Value> = claimed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (name, content) in [("b", "a"), ("down-b", "down/a")] {
        let line = of(&lines, name);
        assert_eq!(
            (&line["type"], &line["carried"]),
            (&"file".into(), &true.into()),
            "{line}"
        );
        assert_eq!(
            line["blake3"],
            blake3::hash(content.as_bytes()).to_hex().as_str(),
            "{line}"
        );
        assert_eq!(line["link"], Value::Null);
    }
    // A link to what is as it was takes no room.
    assert_eq!(of(&lines, "same-b")["link"], "same");
    // And so on, once more; of what no index tells the content nothing is claimed.
    fs::write(at("same"), "another").unwrap();
    let next = finish(&scan(spec(), Some(&claimed))).0;
    assert_eq!(of(&next, "b"), of(&lines, "b"));
    assert_eq!(
        of(&next, "same-b")["blake3"],
        blake3::hash(b"same").to_hex().as_str()
    );
    let orphan = claimed.lines().filter(|line| !line.contains("\"path\":\"same\""));
    let orphan: String = orphan.map(|line| format!("{line}\n")).collect();
    assert_eq!(
        of(&finish(&scan(spec(), Some(&orphan))).0, "same-b")["uncertain"],
        true
    );
}
