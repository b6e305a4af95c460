//! A pattern means the same to git, to the tar and to a person who runs git by hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use backstay_testkit::flash;
use serde_json::json;

use super::lab::{GitData, Lab};

const FILES: [&str; 14] = [
    "keep/me",
    "a.tmp",
    "x/B.TMP",
    "x/y/.tmp",
    "top",
    "x/top",
    "dir/in/it",
    "x/dir/in/it",
    "x/file/dir",
    "A/b/c/z",
    "a/z",
    "[odd] name",
    "num-7",
    "sp ",
];

fn files_below(directory: &Path, at: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory.join(at)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if at.is_empty() {
            name
        } else {
            format!("{at}/{name}")
        };
        if path == ".git" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            files_below(directory, &path, found);
        } else {
            found.insert(path);
        }
    }
}

#[test]
fn git_and_the_tar_leave_out_the_same_files() {
    let lab = Lab::empty(GitData::Elsewhere);
    for name in FILES {
        flash::write(&lab.drive, name, name.as_bytes());
    }
    for (pattern, gone) in [
        ("*.tmp", &["a.tmp", "x/B.TMP", "x/y/.tmp"][..]),
        ("/TOP", &["top"]),
        ("top", &["top", "x/top"]),
        ("dir/", &["dir/in/it", "x/dir/in/it"]),
        ("/dir", &["dir/in/it"]),
        ("dir/in", &["dir/in/it", "x/dir/in/it"]),
        ("/a/**/z", &["A/b/c/z", "a/z"]),
        ("/a/*", &["A/b/c/z", "a/z"]),
        ("\\[ODD\\]*", &["[odd] name"]),
        ("num-[0-9]", &["num-7"]),
        ("num-[!0-6]", &["num-7"]),
        ("[S-T]P ", &["sp "]),
        ("?p ", &["sp "]),
    ] {
        lab.apply(
            json!({ "secrets": [], "untracked": [], "exclude": [pattern], "includeGitHistory": false }),
        );
        lab.back_up();
        let expected: BTreeSet<String> = FILES
            .iter()
            .filter(|name| !gone.contains(name))
            .map(|&name| name.to_owned())
            .collect();
        let tracked: BTreeSet<String> = lab.tracked().into_iter().collect();
        assert_eq!(tracked, expected, "git, {pattern}");
        let (restored, output) = lab.restore(&[]);
        output.ok();
        let mut found = BTreeSet::new();
        files_below(&restored, "", &mut found);
        assert_eq!(found, expected, "the tar, {pattern}");
        lab.git(&["-c", "core.ignoreCase=true", "add", "--all"]);
        let by_hand = lab.git(&["diff", "--cached", "--name-only"]);
        assert_eq!(by_hand, "", "git by hand, {pattern}");
    }
}
