//! How source files look.

use std::path::{Path, PathBuf};

use crate::root;

/// Above this a file is split.
const MOST_LINES: usize = 700;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "common", "helper", "helpers", "manager", "misc", "stuff",
];

/// Every source file of the host, the plugins and the SDK, relative to the root.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = ["host", "plugins", "sdk"].map(|top| root().join(top)).to_vec();
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir()
                && !matches!(name.as_str(), "target" | "node_modules" | "dist" | "snapshots")
                && !name.starts_with('.')
            {
                left.push(path);
            } else if path
                .extension()
                .is_some_and(|end| ["rs", "ts", "tsx", "py", "js"].iter().any(|known| end == *known))
            {
                found.push(path.strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    assert!(
        found.len() > 20,
        "found only {} source files below {}",
        found.len(),
        root().display()
    );
    found
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[track_caller]
fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_700_lines() {
    let lines = |file: &PathBuf| text(file).lines().count();
    let long = sources().into_iter().filter(|file| lines(file) > MOST_LINES);
    none(
        long.map(|file| format!("{} has {} lines: split it", file.display(), lines(&file)))
            .collect(),
    );
}

#[test]
fn every_crate_says_first_what_it_does() {
    let is_root = |file: &PathBuf| file.ends_with("src/lib.rs") || file.ends_with("src/main.rs");
    let silent = sources()
        .into_iter()
        .filter(is_root)
        .filter(|file| !text(file).starts_with("//! "));
    none(
        silent
            .map(|file| format!("{} doesn't open with `//!` and what it does", file.display()))
            .collect(),
    );
}

#[test]
fn names_of_files_say_what_is_inside() {
    let is_empty = |file: &PathBuf| {
        file.iter().any(|part| {
            let part = part.to_string_lossy();
            EMPTY_NAMES.contains(&part.split('.').next().unwrap_or_default())
        })
    };
    let empty = sources().into_iter().filter(is_empty);
    none(
        empty
            .map(|file| format!("{}: its name doesn't say what is inside", file.display()))
            .collect(),
    );
}
