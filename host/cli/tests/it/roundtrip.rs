//! What comes back is what was there: compared file by file by tools that share no code with the host.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::compare::{self, Except};
use backstay_testkit::disk::SmallDisk;
use backstay_testkit::tools;
use backstay_testkit::tree::{self, Size};

mod compressions;
mod parts;

/// An age key as `age-keygen` makes it.
pub(crate) struct Key {
    pub(crate) file: PathBuf,
    pub(crate) public: String,
}

/// Makes a key in `directory`.
pub(crate) fn key(directory: &Path, name: &str) -> Key {
    tools::require(&["age", "age-keygen"]);
    let file = directory.join(name);
    let made = Command::new("age-keygen").arg("-o").arg(&file).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = fs::read_to_string(&file).unwrap();
    let public = text
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .unwrap();
    Key {
        file,
        public: public.to_owned(),
    }
}

const ZSTD: &str = "compression: { algorithm: zstd, level: 1 }";
const AGE: &str = "encryption: { recipients: [RECIPIENT] }";

/// Each way in which a stream is stored.
fn filters() -> [(&'static str, String); 4] {
    [
        ("plain", String::new()),
        ("zstd", ZSTD.to_owned()),
        ("age", AGE.to_owned()),
        ("zstd-age", format!("{ZSTD}, {AGE}")),
    ]
}

/// A program with a key and a place for backups.
struct Desk {
    backstay: Backstay,
    key: Key,
}

impl Desk {
    fn new() -> Self {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        fs::create_dir(backstay.scratch_dir().join("place")).unwrap();
        let key = key(backstay.scratch_dir(), "key.txt");
        Desk { backstay, key }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn apply(&self, job: &str, path: &Path, source: &str, filters: &str) {
        self.backstay
            .apply(&format!(
                "name: {job}\nsource: {{ plugin: path, config: {{ path: {}{source} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\nfilters: {{ {} }}\nguards: {{ minBytes: 0 }}\n",
                path.display(),
                self.at("place").display(),
                filters.replace("RECIPIENT", &self.key.public)
            ))
            .ok();
    }

    /// Backs `path` up by a job of this name.
    fn backup(&self, job: &str, path: &Path, source: &str, filters: &str) {
        self.apply(job, path, source, filters);
        self.backstay.run(&["run", job]).ok();
    }

    fn with_key(&self, command: &str, job: &str, args: &[&str]) -> Output {
        let latest = format!("latest:{job}");
        let fixed = [command, &latest, "--identity", self.key.file.to_str().unwrap()];
        self.backstay.run(&[&fixed, args].concat())
    }

    fn restore(&self, job: &str, args: &[&str]) -> Output {
        self.with_key("restore", job, args)
    }

    fn verify(&self, job: &str, levels: &[&str]) {
        for level in levels {
            self.with_key("verify", job, &["--level", level]).ok();
        }
    }

    /// Restores to a new directory of this name.
    fn restored(&self, job: &str, name: &str) -> PathBuf {
        let target = self.at(name);
        self.restore(job, &["--to", target.to_str().unwrap()]).ok();
        target
    }

    /// Restores by the printed commands alone: a shell that finds neither the program nor its data.
    fn restored_by_kit(&self, job: &str, name: &str) -> PathBuf {
        tools::require(&["bash", "tar", "zstd", "age", "sha256sum"]);
        let kit = self
            .backstay
            .run(&["recovery-kit", &format!("latest:{job}")])
            .ok();
        let script = self.at(&format!("{name}.sh"));
        fs::write(&script, kit.stdout_bytes).unwrap();
        let hidden = self.backstay.data_dir().with_extension("hidden");
        fs::rename(self.backstay.data_dir(), &hidden).unwrap();
        let target = self.at(name);
        let done = Command::new("bash")
            .arg(&script)
            .arg(&target)
            .arg(&self.key.file)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        fs::rename(&hidden, self.backstay.data_dir()).unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(
            done.status.success(),
            "{said}\n{}",
            fs::read_to_string(&script).unwrap()
        );
        // Tar wonders about times that are far away, and sets them.
        let complaints: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("time stamp "))
            .collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        target
    }

    /// Everything from one end to the other, by both ways back.
    fn round_trip(&self, job: &str, path: &Path, source: &str, filters: &str) {
        self.backup(job, path, source, filters);
        for target in [
            self.restored(job, &format!("{job}-restored")),
            self.restored_by_kit(job, &format!("{job}-kit")),
        ] {
            if let Err(differences) = compare::trees(path, &target) {
                panic!("{} differs:\n{differences}", target.display());
            }
            fs::remove_dir_all(target).unwrap();
        }
    }
}

#[test]
fn a_hostile_tree_as_a_stream() {
    let desk = Desk::new();
    let source = desk.directory("source");
    tree::hostile(&source, Size::default());
    for (job, filters) in filters() {
        desk.round_trip(job, &source, "", &filters);
        desk.verify(job, &["size", "checksum", "archive"]);
    }
}

#[test]
fn a_hostile_tree_as_files() {
    let desk = Desk::new();
    let source = desk.directory("source");
    tree::hostile(&source, Size::default().sparse_bytes(256 << 20).small_files(500));
    desk.round_trip("files", &source, ", stream: false", "");
    desk.verify("files", &["size", "checksum", "archive", "restore"]);
    // With filters the host makes a stream of it.
    desk.round_trip("filtered", &source, ", stream: false", &format!("{ZSTD}, {AGE}"));
    desk.verify("filtered", &["restore"]);
    desk.apply("plain", &source, "", "");
    desk.backstay.run(&["run", "plain"]).ok();
    desk.verify("plain", &["restore"]);
}

#[test]
fn a_hundred_thousand_small_files() {
    let desk = Desk::new();
    // In memory, where that many files are made and removed in seconds.
    let disk = SmallDisk::mount(3 << 30);
    let [source, target] = ["source", "target"].map(|name| disk.path().join(name));
    for hundred in 0..1000 {
        let directory = source.join(format!("{hundred:03}"));
        fs::create_dir_all(&directory).unwrap();
        for number in 0..100 {
            let content = format!("{hundred}/{number} ").repeat((hundred * 7 + number * 13) % 400);
            fs::write(directory.join(format!("file-{number:02}")), content).unwrap();
        }
    }
    desk.backup("many", &source, "", ZSTD);
    desk.restore("many", &["--to", target.to_str().unwrap()]).ok();
    compare::trees(&source, &target).unwrap();
    desk.verify("many", &["archive"]);
}

#[test]
fn nothing_much() {
    let desk = Desk::new();
    let empty = desk.directory("empty");
    let zero = desk.directory("zero");
    fs::write(zero.join("of no bytes"), "").unwrap();
    for (name, filters) in filters() {
        desk.round_trip(&format!("empty-{name}"), &empty, "", &filters);
        desk.round_trip(&format!("zero-{name}"), &zero, "", &filters);
        desk.verify(&format!("empty-{name}"), &["size", "restore"]);
        desk.verify(&format!("zero-{name}"), &["archive", "restore"]);
    }
    for (job, path) in [("empty-files", &empty), ("zero-files", &zero)] {
        desk.round_trip(job, path, ", stream: false", "");
        desk.verify(job, &["size", "checksum", "archive", "restore"]);
    }
}

#[test]
fn a_single_file() {
    let desk = Desk::new();
    let source = desk.directory("source");
    let file = source.join("one\u{fc} file");
    fs::write(&file, "content").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4750)).unwrap();
    fs::write(source.join("neighbour"), "stays").unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o711)).unwrap();
    let alone = desk.directory("alone");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(&file)
        .arg(&alone)
        .status()
        .unwrap();
    assert!(copied.success());
    for (job, options, filters) in [
        ("stream", "", String::new()),
        ("secret", "", format!("{ZSTD}, {AGE}")),
        ("files", ", stream: false", String::new()),
    ] {
        desk.backup(job, &file, options, &filters);
        desk.verify(job, &["size", "checksum", "archive", "restore"]);
        for target in [
            desk.restored(job, &format!("{job}-restored")),
            desk.restored_by_kit(job, &format!("{job}-kit")),
        ] {
            compare::trees_except(&alone, &target, &[Except::Root]).unwrap();
        }
        let target = desk.at(&format!("{job}-named"));
        desk.restore(job, &["--to", target.to_str().unwrap(), "one\u{fc} file"])
            .ok();
        compare::trees_except(&alone, &target, &[Except::Root]).unwrap();
        desk.restore(job, &["--to", target.to_str().unwrap(), "neighbour"])
            .code(2);
        // Back to where it was, beside what is none of its business.
        fs::remove_file(&file).unwrap();
        desk.restore(job, &["--in-place"]).ok();
        fs::write(&file, "changed").unwrap();
        let refused = desk.restore(job, &["--in-place"]).code(2);
        assert!(refused.stdout.contains("exists already"), "{}", refused.stdout);
        assert_eq!(fs::read(&file).unwrap(), b"changed");
        desk.restore(job, &["--in-place", "--overwrite"]).ok();
        assert_eq!(fs::read(source.join("neighbour")).unwrap(), b"stays");
        assert_eq!(
            fs::metadata(&source).unwrap().permissions().mode() & 0o7777,
            0o711
        );
        fs::remove_file(source.join("neighbour")).unwrap();
        compare::trees_except(&alone, &source, &[Except::Root]).unwrap();
        fs::write(source.join("neighbour"), "stays").unwrap();
    }
}

#[test]
fn who_may_not_give_files_away_gets_the_content_back_and_is_told() {
    tools::require(&["setpriv"]);
    tools::require_root("to take away the right to change owners");
    let strong = Desk::new();
    let weak = strong.at("backstay");
    let capabilities = "-chown,-mknod";
    let text = format!(
        "#!/bin/sh\nexec setpriv --bounding-set={capabilities} --inh-caps={capabilities} {} \"$@\"\n",
        env!("CARGO_BIN_EXE_backstay")
    );
    fs::write(&weak, text).unwrap();
    fs::set_permissions(&weak, fs::Permissions::from_mode(0o755)).unwrap();
    let backstay = Backstay::new(&weak);
    fs::create_dir(backstay.scratch_dir().join("place")).unwrap();
    let key = key(backstay.scratch_dir(), "key.txt");
    let desk = Desk { backstay, key };
    let source = desk.directory("source");
    tree::hostile(&source, Size::default().sparse_bytes(1 << 20));
    for (job, options, code) in [("stream", "", 0), ("files", ", stream: false", 1)] {
        desk.apply(job, &source, options, "");
        let run = desk.backstay.run(&["run", job]).code(code);
        assert_eq!(
            run.stdout.contains("only root may give files away"),
            code == 1,
            "{}",
            run.stdout
        );
        assert_eq!(
            run.stdout.contains("not all of it is kept there as it was"),
            code == 1,
            "{}",
            run.stdout
        );
        for level in ["checksum", "archive"] {
            desk.verify(job, &[level]);
        }
        let drill = desk.with_key("verify", job, &["--level", "restore"]);
        // Of a tree the owners are lost already.
        drill.code(1 - code);
        let target = desk.at(&format!("{job}-target"));
        let restored = desk
            .restore(job, &["--to", target.to_str().unwrap()])
            .code(1 - code);
        assert_eq!(
            restored.stdout.contains("only root may give files away"),
            code == 0,
            "{}",
            restored.stdout
        );
        let differences = compare::trees_except(&source, &target, &[Except::Allocation]).unwrap_err();
        let meant = |line: &&str| {
            line.contains("owner ")
                || line.contains("group ")
                || line.contains("mode ")
                || line.contains("char-device")
        };
        let others: Vec<&str> = differences.lines().filter(|line| !meant(line)).collect();
        assert!(others.is_empty(), "{others:?}");
    }
}
