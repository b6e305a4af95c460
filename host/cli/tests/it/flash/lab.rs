//! A drive, a job for it, and git as a person would run it.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::{flash, tools};
use serde_json::{Value, json};

pub const BINARY: &str = env!("CARGO_BIN_EXE_backstay");

/// Where the git data is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GitData {
    OnTheDrive,
    Elsewhere,
}

pub struct Lab {
    pub backstay: Backstay,
    pub drive: PathBuf,
    pub git_dir: PathBuf,
    pub place: PathBuf,
}

impl Lab {
    /// A drive as Unraid makes it, and an empty place for backups.
    pub fn new(git_data: GitData) -> Self {
        let lab = Lab::empty(git_data);
        flash::fill(&lab.drive);
        lab
    }

    /// A drive without anything on it.
    pub fn empty(git_data: GitData) -> Self {
        let backstay = Backstay::new(BINARY);
        let drive = backstay.scratch_dir().join("drive");
        fs::create_dir(&drive).unwrap();
        Lab::of(backstay, drive, git_data)
    }

    /// A drive that is there already.
    pub fn of(backstay: Backstay, drive: PathBuf, git_data: GitData) -> Self {
        tools::require(&["git"]);
        let place = backstay.scratch_dir().join("place");
        fs::create_dir(&place).unwrap();
        let git_dir = match git_data {
            GitData::OnTheDrive => drive.join(".git"),
            GitData::Elsewhere => {
                let above = backstay.scratch_dir().join("git-data");
                fs::create_dir(&above).unwrap();
                above.join(".git")
            }
        };
        Lab {
            backstay,
            drive,
            git_dir,
            place,
        }
    }

    /// The job, with some settings of its source.
    pub fn job(&self, config: &Value) -> Value {
        let mut source = json!({ "path": self.drive, "gitPath": self.git_dir });
        for (key, value) in config.as_object().unwrap() {
            source[key] = value.clone();
        }
        json!({
            "name": "flash",
            "source": { "plugin": "flash", "config": source },
            "destinations": [{ "plugin": "local", "config": { "path": self.place, "minFreeBytes": 0 } }],
        })
    }

    #[track_caller]
    pub fn apply(&self, config: Value) {
        self.backstay.apply(&self.job(&config).to_string()).ok();
    }

    /// A run that must end with `code`; what it says as JSON.
    #[track_caller]
    pub fn run(&self, code: i32) -> Value {
        self.backstay.run_json(&["run", "flash"]).code(code).json()
    }

    /// A run that must succeed; its backup.
    #[track_caller]
    pub fn back_up(&self) -> Value {
        self.run(0);
        self.newest()
    }

    /// The newest backup.
    #[track_caller]
    pub fn newest(&self) -> Value {
        self.backstay.json(&["backups"])[0].clone()
    }

    /// The drive on which a run fails: its exit code, message and hint.
    #[track_caller]
    pub fn fails(&self) -> (i64, String, String) {
        let output = self.backstay.run_json(&["run", "flash"]);
        assert!(output.code > 1, "{}{}", output.stdout, output.stderr);
        let error = output.json()["error"].clone();
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        (output.code.into(), text("message"), text("hint"))
    }

    #[track_caller]
    pub fn restore(&self, args: &[&str]) -> (PathBuf, Output) {
        let target = self.backstay.scratch_dir().join("restored");
        let _ = fs::remove_dir_all(&target);
        let all = [
            &["restore", "latest:flash", "--to", target.to_str().unwrap()],
            args,
        ]
        .concat();
        let output = self.backstay.run(&all);
        (target, output)
    }

    /// Runs git on the job's repository.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        git(&self.git_dir, &self.drive, args)
    }

    /// The files that the newest commit holds.
    #[track_caller]
    pub fn tracked(&self) -> Vec<String> {
        let listing = self.git(&["ls-tree", "-r", "-z", "--name-only", "HEAD"]);
        listing.split_terminator('\0').map(str::to_owned).collect()
    }

    #[track_caller]
    pub fn commits(&self) -> usize {
        self.git(&["rev-list", "--all"]).lines().count()
    }

    /// A copy of the drive without what isn't in a backup by default.
    pub fn expected(&self) -> PathBuf {
        let copy = self.backstay.scratch_dir().join("expected");
        let _ = fs::remove_dir_all(&copy);
        let copied = Command::new("cp")
            .arg("-a")
            .args([&self.drive, &copy])
            .status()
            .unwrap();
        assert!(copied.success());
        let _ = fs::remove_dir_all(copy.join(".git"));
        for (name, _) in flash::SECRETS {
            fs::remove_file(copy.join(name)).unwrap();
        }
        // These are left out with all in them.
        for directory in [
            "config/wireguard",
            "config/plugins/tailscale/state",
            "config/plugins/dynamix.my.servers",
        ] {
            fs::remove_dir_all(copy.join(directory)).unwrap();
        }
        // Removing from a directory changes its time.
        let same_times = Command::new("sh")
            .args([
                "-c",
                "cd \"$1\" && find . -type d -exec touch -r \"$0\"/{} {} \\;",
            ])
            .args([&self.drive, &copy])
            .status();
        assert!(same_times.unwrap().success());
        copy
    }
}

/// Runs git as nobody in particular, and it must succeed.
#[track_caller]
pub fn git(git_dir: &Path, work_tree: &Path, args: &[&str]) -> String {
    let output = try_git(git_dir, work_tree, args);
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn try_git(git_dir: &Path, work_tree: &Path, args: &[&str]) -> std::process::Output {
    Command::new("git")
        .arg("--git-dir")
        .arg(git_dir)
        .arg("--work-tree")
        .arg(work_tree)
        .args(["-c", "user.name=tester", "-c", "user.email=tester@localhost"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// All that a repository holds, decompressed, whether something refers to it or not.
#[track_caller]
pub fn objects(git_dir: &Path) -> Vec<u8> {
    let output = try_git(
        git_dir,
        Path::new("/"),
        &["cat-file", "--batch", "--batch-all-objects", "--buffer"],
    );
    assert!(output.status.success());
    output.stdout
}

/// Bytes that can't be compressed.
#[track_caller]
pub fn noise(bytes: u64) -> Vec<u8> {
    let mut noise = Vec::new();
    let random = fs::File::open("/dev/urandom").unwrap();
    random.take(bytes).read_to_end(&mut noise).unwrap();
    noise
}

pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The codes of a run's warnings.
pub fn warnings(run: &Value) -> Vec<&str> {
    let all = run["warnings"].as_array().unwrap().iter();
    all.map(|warning| warning["code"].as_str().unwrap()).collect()
}
