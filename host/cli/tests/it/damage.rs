//! Damage at the destination: each kind is found, the damaged object is named, and nothing of it is ever restored as
//! if it were whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::{compare, tools};
use serde_json::Value;

use super::roundtrip::{Key, key};

/// What is done to a stored file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    FlipFirst,
    FlipMiddle,
    FlipLast,
    Truncate,
    Append,
    Delete,
    /// By the same file of another backup of the job.
    Replace,
    Empty,
}

const ACTIONS: [Action; 8] = [
    Action::FlipFirst,
    Action::FlipMiddle,
    Action::FlipLast,
    Action::Truncate,
    Action::Append,
    Action::Delete,
    Action::Replace,
    Action::Empty,
];

const LEVELS: [&str; 4] = ["size", "checksum", "archive", "restore"];

impl Action {
    /// Whether the file is shorter or longer afterwards, or gone. Another backup's files are longer.
    fn changes_length(self) -> bool {
        !matches!(self, Action::FlipFirst | Action::FlipMiddle | Action::FlipLast)
    }

    fn apply(self, file: &Path, other: &Path) {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        // The last byte of JSON is a line end, which means nothing.
        let last = bytes.iter().rposition(|byte| *byte != b'\n').unwrap();
        match self {
            Action::FlipFirst => bytes[0] ^= 1,
            Action::FlipMiddle => bytes[middle] ^= 1,
            Action::FlipLast => bytes[last] ^= 1,
            Action::Truncate => bytes.truncate(middle),
            Action::Append => bytes.push(b'x'),
            Action::Replace => bytes = fs::read(other).unwrap(),
            Action::Empty => bytes.clear(),
            Action::Delete => return fs::remove_file(file).unwrap(),
        }
        fs::write(file, bytes).unwrap();
    }
}

/// Two backups of one job; the first is the one to damage.
struct Desk {
    backstay: Backstay,
    source: PathBuf,
    key: Option<Key>,
    victim: Value,
    other: Value,
}

impl Desk {
    fn new(source: &str, filters: &str) -> Self {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let scratch = backstay.scratch_dir();
        let [path, place] = ["source", "place"].map(|name| scratch.join(name));
        fs::create_dir_all(path.join("sub")).unwrap();
        fs::create_dir(&place).unwrap();
        let mut noise = vec![0; 3 << 20];
        let mut state = 1_u32;
        for byte in &mut noise {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        fs::write(path.join("noise"), &noise).unwrap();
        fs::write(path.join("sub/file"), &noise[..5000]).unwrap();
        fs::write(path.join("linked"), &noise[..7000]).unwrap();
        fs::hard_link(path.join("linked"), path.join("sub/same")).unwrap();
        let key = filters.contains("RECIPIENT").then(|| key(scratch, "key.txt"));
        let filters = filters.replace("RECIPIENT", key.as_ref().map_or("", |k| &k.public));
        backstay
            .apply(&format!(
                "name: j\nsource: {{ plugin: path, config: {{ path: {}{source} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\n{filters}\n",
                path.display(),
                place.display()
            ))
            .ok();
        let run = || backstay.json(&["run", "j"])["backups"][0].clone();
        let victim = run();
        fs::write(path.join("sub/file"), &noise[..6000]).unwrap();
        fs::write(path.join("new"), &noise[..100_000]).unwrap();
        let other = run();
        fs::write(path.join("sub/file"), &noise[..5000]).unwrap();
        fs::remove_file(path.join("new")).unwrap();
        Desk {
            backstay,
            source: path,
            key,
            victim,
            other,
        }
    }

    /// Runs a command on the damaged backup, with the key if it has one.
    fn run(&self, command: &str, args: &[&str]) -> Output {
        let key = self
            .key
            .iter()
            .flat_map(|key| ["--identity", key.file.to_str().unwrap()]);
        let fixed = [command, self.victim["id"].as_str().unwrap()];
        let args: Vec<&str> = fixed.into_iter().chain(args.iter().copied()).chain(key).collect();
        self.backstay.run(&args)
    }

    fn verify(&self, level: &str) -> Output {
        self.run("verify", &["--level", level])
    }

    /// Objects of both backups that a message could name.
    fn objects(&self) -> Vec<String> {
        let objects = [&self.victim, &self.other].map(|backup| {
            let artifact = &backup["manifest"]["artifacts"][0];
            let object = artifact["object"].as_str().unwrap().to_owned();
            let manifest = object.rsplit_once('/').unwrap().0.to_owned() + "/manifest.json";
            let index = artifact["index"]["object"].as_str().map(str::to_owned);
            [object, manifest].into_iter().chain(index)
        });
        objects.into_iter().flatten().collect()
    }

    /// Exit code 8, with the damaged object's name in what is said and no other's.
    #[track_caller]
    fn found(&self, what: &str, object: &str, detail: &str, output: Output) {
        let said = &output.stderr;
        assert_eq!(output.code, 8, "{what}: {said}");
        let names = |object: &str| {
            // `data` is the beginning of `data.index`.
            said.match_indices(object)
                .any(|(at, _)| !said[at + object.len()..].starts_with(['.', '-']))
        };
        assert!(
            names(object) && said.contains(detail),
            "{what}: {object} {detail} is not named: {said}"
        );
        for other in self.objects().iter().filter(|other| *other != object) {
            assert!(!names(other), "{what}: {other} is named: {said}");
        }
    }

    /// Does each action to the file at `path`, which belongs to `object`, and proves that all of it is found.
    fn check_all(&self, path: &str, object: &str, detail: &str) {
        let place = Path::new(self.victim["location"].as_str().unwrap())
            .parent()
            .unwrap();
        let other = Path::new(self.other["location"].as_str().unwrap())
            .parent()
            .unwrap();
        let (file, other) = (place.join(path), other.join(path));
        let always = path == "manifest.json";
        let whole = fs::read(&file).unwrap();
        let times = [file.as_path(), file.parent().unwrap()].map(|path| (path, modified(path)));
        let set_times = || {
            for (path, time) in times.iter().filter(|(path, _)| path.exists()) {
                fs::File::open(path).unwrap().set_modified(*time).unwrap();
            }
        };
        for (number, action) in ACTIONS.into_iter().enumerate() {
            if always && matches!(action, Action::FlipFirst | Action::FlipLast) {
                continue;
            }
            let what = format!("{action:?} {path}");
            action.apply(&file, &other);
            set_times();
            for level in LEVELS {
                let output = self.verify(level);
                if level == "size" && !always && !action.changes_length() {
                    output.ok();
                    continue;
                }
                let detail = if level == "size" { "" } else { detail };
                self.found(&format!("{what}, {level}"), object, detail, output);
            }
            self.refuses_to_restore(&what, object, detail, number);
            fs::write(&file, &whole).unwrap();
            set_times();
            self.verify("checksum").ok();
        }
        self.restores();
    }

    #[track_caller]
    fn refuses_to_restore(&self, what: &str, object: &str, detail: &str, number: usize) {
        let target = self.backstay.scratch_dir().join("target");
        let to = target.to_str().unwrap();
        self.found(what, object, detail, self.run("restore", &["--to", to]));
        assert!(!target.exists(), "{what}: something was restored");
        fs::create_dir(&target).unwrap();
        self.found(
            what,
            object,
            detail,
            self.run("restore", &["--to", to, "sub/file"]),
        );
        assert_eq!(
            fs::read_dir(&target).unwrap().count(),
            0,
            "{what}: something was restored"
        );
        fs::remove_dir(&target).unwrap();
        // Each way for every second action is enough.
        let way: &[&str] = if number.is_multiple_of(2) {
            &["--to", to, "--dry-run"]
        } else {
            &["--to", "-"]
        };
        self.found(what, object, detail, self.run("restore", way));
        let catalogue = self.backstay.json(&["backups"]);
        let victim = catalogue
            .as_array()
            .unwrap()
            .iter()
            .find(|b| b["id"] == self.victim["id"])
            .unwrap();
        assert_eq!(victim["verifiedOk"], false, "{what}");
    }

    #[track_caller]
    fn restores(&self) {
        let target = self.backstay.scratch_dir().join("target");
        self.verify("restore").ok();
        self.run("restore", &["--to", target.to_str().unwrap()]).ok();
        compare::trees_except(&self.source, &target, &[compare::Except::Times]).unwrap();
        fs::remove_dir_all(&target).unwrap();
    }
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn object(backup: &Value) -> String {
    backup["manifest"]["artifacts"][0]["object"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn manifest(backup: &Value) -> String {
    object(backup).rsplit_once('/').unwrap().0.to_owned() + "/manifest.json"
}

fn name(object: &str) -> &str {
    object.rsplit_once('/').unwrap().1
}

#[test]
fn a_damaged_archive() {
    let desk = Desk::new("", "");
    let object = object(&desk.victim);
    desk.check_all(name(&object), &object, "");
}

#[test]
fn a_damaged_archive_that_is_compressed_and_encrypted() {
    let filters = "filters: { compression: { algorithm: zstd }, encryption: { recipients: [RECIPIENT] } }";
    let desk = Desk::new("", filters);
    let object = object(&desk.victim);
    desk.check_all(name(&object), &object, "");
}

#[test]
fn a_damaged_manifest() {
    let desk = Desk::new("", "");
    desk.check_all("manifest.json", &manifest(&desk.victim), "");
}

#[test]
fn a_damaged_manifest_beside_what_is_compressed_and_encrypted() {
    let filters = "filters: { compression: { algorithm: zstd }, encryption: { recipients: [RECIPIENT] } }";
    let desk = Desk::new("", filters);
    desk.check_all("manifest.json", &manifest(&desk.victim), "");
}

#[test]
fn a_damaged_file_of_a_stored_tree() {
    let desk = Desk::new(", stream: false", "");
    let object = object(&desk.victim);
    desk.check_all("data/sub/file", &object, "sub/file");
}

#[test]
fn a_damaged_index_or_manifest_of_a_stored_tree() {
    let desk = Desk::new(", stream: false", "");
    let object = object(&desk.victim);
    desk.check_all("data.index", &format!("{object}.index"), "");
    desk.check_all("manifest.json", &manifest(&desk.victim), "");
}

#[test]
fn a_manifest_that_is_not_the_one_in_the_catalogue_is_named() {
    let desk = Desk::new("", "");
    let [victim, other] = [&desk.victim, &desk.other].map(|b| b["location"].as_str().unwrap());
    fs::copy(other, victim).unwrap();
    let output = desk.verify("size").code(8);
    let sentence = format!("the manifest {victim} is not the one in the catalogue");
    assert!(output.stdout.contains(&sentence), "{output:?}");
    // A newer version than this host reads can't be what this host wrote either.
    let whole = serde_json::to_string(&desk.victim["manifest"]).unwrap();
    fs::write(
        victim,
        whole.replace("\"manifestVersion\":1", "\"manifestVersion\":3"),
    )
    .unwrap();
    let output = desk.verify("size").code(8);
    assert!(output.stdout.contains(&sentence), "{output:?}");
}

#[test]
fn a_wrong_or_missing_key_is_said_and_nothing_is_restored() {
    for filters in [
        "filters: { encryption: { recipients: [RECIPIENT] } }",
        "filters: { compression: { algorithm: zstd }, encryption: { recipients: [RECIPIENT] } }",
    ] {
        let desk = Desk::new("", filters);
        let scratch = desk.backstay.scratch_dir();
        let wrong = key(scratch, "wrong.txt");
        let target = scratch.join("target");
        let id = desk.victim["id"].as_str().unwrap();
        let mut commands = vec![
            vec!["restore", id, "--to", target.to_str().unwrap()],
            vec!["restore", id, "--to", target.to_str().unwrap(), "--dry-run"],
            vec!["restore", id, "--to", "-"],
            vec!["verify", id, "--level", "archive"],
            vec!["verify", id, "--level", "restore"],
        ];
        for command in &mut commands {
            let output = desk.backstay.run(command).code(15);
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(
                said.contains(" is encrypted and no key was given"),
                "{command:?}: {said}"
            );
            assert!(said.contains("--identity KEYFILE"), "{command:?}: {said}");
            command.extend(["--identity", wrong.file.to_str().unwrap()]);
            let output = desk.backstay.run(command).code(15);
            let said = format!("{}{}", output.stdout, output.stderr);
            let sentence = format!("none of the given keys opens {}", scratch.join("place").display());
            assert!(said.contains(&sentence), "{command:?}: {said}");
            assert!(!target.exists(), "{command:?}: something was restored");
        }
        // That says nothing about the backup, and what needs no key works without one.
        assert_eq!(desk.backstay.json(&["backups"])[1]["verifiedOk"], Value::Null);
        desk.backstay.run(&["verify", id, "--level", "checksum"]).ok();
        let several = ["--identity", wrong.file.to_str().unwrap()];
        desk.run("verify", &[["--level", "archive"].as_slice(), &several].concat())
            .ok();
        desk.restores();
    }
}

#[test]
fn a_key_file_that_holds_no_key_is_named() {
    let desk = Desk::new("", "filters: { encryption: { recipients: [RECIPIENT] } }");
    let file = desk.backstay.scratch_dir().join("empty.txt");
    let id = desk.victim["id"].as_str().unwrap();
    for content in [None, Some("# no key\n"), Some("AGE-SECRET-KEY-1NOT\n")] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let output = desk
            .backstay
            .run(&["restore", id, "--to", "-", "--identity", file.to_str().unwrap()]);
        let output = output.code(15);
        assert!(
            output.stderr.contains(file.to_str().unwrap()),
            "{}",
            output.stderr
        );
        assert!(!output.stderr.contains("1NOT"), "{}", output.stderr);
    }
}

#[test]
fn a_disk_that_is_not_mounted_now_has_lost_nothing() {
    use std::process::Command;
    tools::require(&["mount", "umount"]);
    tools::require_root("to mount a file system");
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let [source, place] = ["source", "place"].map(|name| backstay.scratch_dir().join(name));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&place).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    let mount = |program: &str, args: &[&str]| {
        let status = Command::new(program).args(args).arg(&place).status().unwrap();
        assert!(status.success());
    };
    backstay
        .apply(&format!(
            "name: j\nsource: {{ plugin: path, config: {{ path: {} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\n",
            source.display(),
            place.display()
        ))
        .ok();
    mount("mount", &["-t", "tmpfs", "backstay-test"]);
    let run = backstay.run(&["run", "j"]);
    mount("umount", &["--lazy"]);
    run.ok();
    let target = backstay.scratch_dir().join("target");
    for command in [
        ["verify", "latest:j", "--level", "size"],
        ["restore", "latest:j", "--to", target.to_str().unwrap()],
    ] {
        let output = backstay.run(&command).code(3);
        assert!(
            output.stdout.contains("which is not mounted now"),
            "{}",
            output.stdout
        );
    }
    assert_eq!(backstay.json(&["backups"])[0]["verifiedOk"], Value::Null);
}
