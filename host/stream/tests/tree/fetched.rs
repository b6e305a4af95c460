//! Stored trees that come back file by file.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error};
use backstay_stream::Context;
use backstay_stream::process::{CommandSpec, Meaning};
use backstay_stream::read::read;
use backstay_stream::recipe::TextRecipe;
use backstay_stream::tree::{CopyOptions, FetchRecipe, Fetching, MendedRecipe, TreeCopy, TreeSpec};

use crate::support::{assert_same, restore, scratch};

/// Brings each file of the list that is in `$STORE`.
const MANY: &str = r#"
: >> "$LOG"; echo batch >> "$LOG"
while IFS= read -r path; do
    [ -f "$STORE/$path" ] || continue
    mkdir -p "$INTO/$(dirname "$path")" && cp "$STORE/$path" "$INTO/$path" || exit 1
done"#;

const ONE: &str =
    r#"IFS= read -r path; echo "$path" >> "$LOG"; [ ! -f "$STORE/$path" ] || cat "$STORE/$path""#;

struct Store {
    _place: tempfile::TempDir,
    index: Vec<u8>,
    many: &'static str,
    /// Where the tree was, where it is stored, where it is brought, and what was done for it.
    root: std::path::PathBuf,
    kept: std::path::PathBuf,
    into: std::path::PathBuf,
    log: std::path::PathBuf,
}

impl Store {
    fn new() -> Self {
        let place = scratch();
        let at = |name: &str| place.path().join(name);
        let root = at("root");
        fs::create_dir_all(root.join("sub/empty")).unwrap();
        fs::create_dir_all(at("into")).unwrap();
        for (name, bytes) in [
            ("a", 10),
            ("large", 5_000),
            ("sub/b", 700),
            ("sub/nothing", 0),
            ("z z", 300),
        ] {
            let content: Vec<u8> = (0..bytes).map(|n: u32| (n % 251) as u8).collect();
            fs::write(root.join(name), content).unwrap();
        }
        fs::hard_link(root.join("a"), root.join("sub/same")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("sub/link")).unwrap();
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .args([&root, &at("kept")])
            .status();
        assert!(copied.unwrap().success());
        let spec = TreeSpec::all(&root).unwrap();
        let copy = TreeCopy::scan(spec, &CopyOptions::default(), None, &Context::default()).unwrap();
        let mut index = Vec::new();
        copy.finish(&[], &Context::default())
            .unwrap()
            .index
            .read_to_end(&mut index)
            .unwrap();
        Store {
            index,
            root,
            many: MANY,
            kept: at("kept"),
            into: at("into"),
            log: at("log"),
            _place: place,
        }
    }

    fn command(&self, script: &str) -> CommandSpec {
        let variable = |name: &str, path: &Path| (name.into(), path.as_os_str().to_owned());
        CommandSpec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                variable("STORE", &self.kept),
                variable("INTO", &self.into),
                variable("LOG", &self.log),
            ],
            secrets: Secrets::default(),
            code: Code::Storage,
            meanings: vec![Meaning {
                sign: "unreachable".to_owned(),
                code: Code::Network,
                retry: true,
                message: "cannot read it".to_owned(),
                hint: None,
            }],
        }
    }

    /// What comes back, so many bytes at a time.
    fn comes_back(&self, bytes: u64) -> Result<Vec<u8>, Error> {
        self.comes_back_with(bytes, &[])
    }

    /// The same of these paths.
    fn comes_back_with(&self, bytes: u64, paths: &[&str]) -> Result<Vec<u8>, Error> {
        let files = FetchRecipe::new(Fetching {
            many: self.command(self.many),
            one: self.command(ONE),
            into: self.into.clone(),
            bytes,
        });
        let index = Arc::new(TextRecipe::new(self.index.as_slice()));
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let recipe = MendedRecipe::of_paths(index, Arc::new(files), "store:j/1/data", &paths);
        let mut reading = read(Arc::new(recipe), &Context::default()).unwrap();
        let mut all = Vec::new();
        reading.read_to_end(&mut all).unwrap();
        reading.finish().map(|_| all)
    }

    #[track_caller]
    fn is_damaged(&self, bytes: u64, says: &str) {
        let error = self.comes_back(bytes).unwrap_err();
        assert_eq!(error.code(), Code::Verification, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_tree_comes_back_as_it_was_however_little_is_brought_at_a_time() {
    let store = Store::new();
    for (bytes, batches, alone) in [(1 << 20, 1, 0), (1_000, 2, 1), (5, 1, 4)] {
        let _ = fs::remove_file(&store.log);
        let tar = store.comes_back(bytes).unwrap();
        let target = store.root.with_file_name(format!("target-{bytes}"));
        fs::create_dir(&target).unwrap();
        restore(&tar, &target);
        assert_same(&store.root, &target);
        let log = fs::read_to_string(&store.log).unwrap();
        let brought = log.lines().filter(|line| *line == "batch").count();
        assert_eq!(
            (brought, log.lines().count() - brought),
            (batches, alone),
            "{bytes}: {log}"
        );
        assert_eq!(fs::read_dir(&store.into).unwrap().count(), 0, "something is left");
    }
}

#[test]
fn no_more_is_brought_than_is_asked_for() {
    let store = Store::new();
    for lost in ["a", "large"] {
        fs::remove_file(store.kept.join(lost)).unwrap();
    }
    for (paths, expected) in [
        (&["sub/b", "./sub/empty/"][..], &["sub", "sub/b", "sub/empty"][..]),
        (&["absent"], &[]),
    ] {
        let tar = store.comes_back_with(1 << 20, paths).unwrap();
        let target = store.root.with_file_name("some");
        fs::create_dir(&target).unwrap();
        restore(&tar, &target);
        for name in ["a", "large", "sub", "sub/b", "sub/empty", "sub/link", "z z"] {
            assert_eq!(
                target.join(name).symlink_metadata().is_ok(),
                expected.contains(&name),
                "{name}"
            );
        }
        fs::remove_dir_all(target).unwrap();
    }
    let error = store.comes_back_with(1 << 20, &["../x"]).unwrap_err();
    assert_eq!(error.code(), Code::Configuration, "{error}");
    assert!(store.comes_back(1 << 20).is_err());
}

#[test]
fn what_is_missing_or_another_length_is_damage_however_it_comes() {
    let store = Store::new();
    for bytes in [1 << 20, 1_000] {
        let file = store.kept.join("large");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..4_000]).unwrap();
        store.is_damaged(bytes, "large");
        fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
        store.is_damaged(bytes, "large");
        fs::write(&file, vec![1; 5_000]).unwrap();
        store.is_damaged(bytes, "large: different content");
        fs::remove_file(&file).unwrap();
        store.is_damaged(bytes, "large: missing");
        fs::write(&file, &whole).unwrap();
        assert!(store.comes_back(bytes).is_ok());
    }
    // Where a file was, somebody has put what leads elsewhere.
    fs::remove_file(store.kept.join("sub/b")).unwrap();
    let mut store = store;
    store.many =
        r#"mkdir "$INTO/sub"; cp "$STORE/a" "$STORE/large" "$STORE/z z" "$INTO"; ln -s ../a "$INTO/sub/b""#;
    store.is_damaged(1 << 20, "sub/b: missing");
}

#[test]
fn a_program_that_fails_is_the_cause_and_a_list_of_files_is_no_stream() {
    let mut store = Store::new();
    store.many = "echo 'the place is unreachable' >&2; exit 3";
    let error = store.comes_back(1 << 20).unwrap_err();
    assert_eq!(
        (error.code(), error.is_retryable()),
        (Code::Network, true),
        "{error}"
    );
    let files = FetchRecipe::new(Fetching {
        many: store.command(MANY),
        one: store.command(ONE),
        into: store.into.clone(),
        bytes: 1,
    });
    let reading = read(Arc::new(files), &Context::default()).unwrap();
    assert_eq!(reading.finish().unwrap_err().code(), Code::Storage);
}
