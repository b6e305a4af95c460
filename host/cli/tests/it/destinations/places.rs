//! The destinations, each with a place of its own that the tests can look into, damage, take away and bring back.

mod azure;
mod restic;
mod sftp;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::cli::Backstay;
use backstay_testkit::compare::Except;
use backstay_testkit::rclone::{self, Protocol, Server};
use backstay_testkit::stores::{ACCOUNT, BUCKET, ObjectServer, SECRET};

pub use azure::ObjectAzure;
pub use restic::ResticDisk;
pub use sftp::ObjectSftp;

/// A place for backups.
pub trait Place {
    /// The exit code of whatever needs the place while it is away.
    const AWAY: i32;

    /// Whether the place has directories that can be empty, and so can be left behind.
    const HAS_DIRECTORIES: bool = true;

    /// What the printed commands don't bring back of a tree that is kept as files.
    const LOST_BY_HAND: &[Except] = &[];

    /// Makes it, with all its files below `directory`, which is its own.
    fn start(directory: &Path) -> Self;

    /// Tells the host what it has to know before a job names the place.
    fn introduce(&self, backstay: &Backstay) {
        for secret in self.secrets() {
            backstay.secret(secret.name, &secret.text);
        }
    }

    /// The plugin and its configuration, as a job names it.
    fn destination(&self) -> String;

    /// Where what is stored lies as files, under the names that the host gave unless `stored` says otherwise.
    fn files(&self) -> PathBuf;

    /// The names of what is stored, and of directories but for those that more than one backup is in.
    fn stored(&self) -> BTreeSet<String> {
        let root = self.files();
        let mut found = BTreeSet::new();
        let mut left = vec![root.clone()];
        while let Some(directory) = left.pop() {
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                // A link is another way to what is stored under its own name.
                if path.is_symlink() {
                    continue;
                }
                let is_directory = path.is_dir();
                if is_directory {
                    left.push(path);
                }
                if !is_directory || (Self::HAS_DIRECTORIES && name != "j") {
                    found.insert(name);
                }
            }
        }
        found
    }

    /// Somebody removes all that is stored. False if there was more meanwhile.
    fn lose_all(&self) -> bool {
        let entries = fs::read_dir(self.files()).unwrap();
        entries
            .flatten()
            .all(|entry| fs::remove_dir_all(entry.path()).is_ok())
    }

    /// The directory that the configuration names, as people and messages call it.
    fn name(&self) -> String;

    /// Takes it away: unplugged, unmounted, switched off.
    fn leave(&mut self);

    /// Brings it back with what was on it.
    fn come_back(&mut self);

    /// Uploads that were begun and neither ended nor given up. They aren't among the files.
    fn unfinished(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether a part of an object has arrived since there was only what was stored `before`.
    fn has_got_some(&self, before: &BTreeSet<String>) -> bool {
        self.stored() != *before || !self.unfinished().is_empty()
    }

    /// Secrets of the host that the configuration names, each with the variable by which a person gives it to the
    /// printed commands.
    fn secrets(&self) -> Vec<Secret> {
        Vec::new()
    }

    /// Passwords and keys that nobody may get to see.
    fn hidden(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A secret that a job names.
pub struct Secret {
    pub name: &'static str,
    pub variable: &'static str,
    pub text: String,
}

/// A directory, moved away and back.
struct Disk(PathBuf);

impl Disk {
    fn new(directory: &Path) -> Self {
        let path = directory.join("disk");
        fs::create_dir_all(path.join("backups")).unwrap();
        Disk(path)
    }

    fn backups(&self) -> PathBuf {
        self.0.join("backups")
    }

    fn leave(&self) {
        fs::rename(&self.0, self.0.with_extension("away")).unwrap();
    }

    fn come_back(&self) {
        fs::rename(self.0.with_extension("away"), &self.0).unwrap();
    }
}

/// A directory of this machine.
pub struct Local(Disk);

impl Place for Local {
    const AWAY: i32 = 3;

    fn start(directory: &Path) -> Self {
        Local(Disk::new(directory))
    }

    fn destination(&self) -> String {
        format!(
            "{{ plugin: local, config: {{ path: {}, minFreeBytes: 0 }} }}",
            self.name()
        )
    }

    fn files(&self) -> PathBuf {
        self.0.backups()
    }

    fn name(&self) -> String {
        self.0.backups().display().to_string()
    }

    fn leave(&mut self) {
        self.0.leave();
    }

    fn come_back(&mut self) {
        self.0.come_back();
    }
}

/// A directory of this machine to which rsync copies.
pub struct RsyncDisk(Disk);

impl Place for RsyncDisk {
    const AWAY: i32 = 3;

    fn start(directory: &Path) -> Self {
        RsyncDisk(Disk::new(directory))
    }

    fn destination(&self) -> String {
        format!(
            "{{ plugin: rsync, config: {{ localDestination: {}, minFreeBytes: 0 }} }}",
            self.name()
        )
    }

    fn files(&self) -> PathBuf {
        self.0.backups()
    }

    fn name(&self) -> String {
        self.0.backups().display().to_string()
    }

    fn leave(&mut self) {
        self.0.leave();
    }

    fn come_back(&mut self) {
        self.0.come_back();
    }
}

/// What rclone by itself doesn't give back of a tree.
const LOST_BY_RCLONE: &[Except] = &[Except::Metadata, Except::EmptyDirectories];

/// A directory of this machine as a remote of rclone.
pub struct RcloneDisk {
    disk: Disk,
    config: PathBuf,
}

impl Place for RcloneDisk {
    const AWAY: i32 = 5;
    const LOST_BY_HAND: &[Except] = LOST_BY_RCLONE;

    fn start(directory: &Path) -> Self {
        let config = directory.join("rclone.conf");
        let disk = Disk::new(directory);
        fs::write(&config, "[My Disk]\ntype = local\n").unwrap();
        RcloneDisk { disk, config }
    }

    fn destination(&self) -> String {
        format!(
            "{{ plugin: rclone, config: {{ remote: '{}', configFile: {} }} }}",
            self.name(),
            self.config.display()
        )
    }

    fn files(&self) -> PathBuf {
        self.disk.backups()
    }

    fn name(&self) -> String {
        format!("My Disk:{}", self.disk.backups().display())
    }

    fn leave(&mut self) {
        self.disk.leave();
    }

    fn come_back(&mut self) {
        self.disk.come_back();
    }
}

/// A bucket of an S3 server, by an encrypted configuration of rclone.
pub struct RcloneS3 {
    server: Server,
    served: PathBuf,
    config: PathBuf,
}

const S3_KEY: &str = "s3-secret-access-key-of-a-test";
const CONFIG_PASSWORD: &str = "password-of-the-rclone-configuration";

impl Place for RcloneS3 {
    const AWAY: i32 = 6;
    const LOST_BY_HAND: &[Except] = LOST_BY_RCLONE;
    const HAS_DIRECTORIES: bool = false;

    fn start(directory: &Path) -> Self {
        let served = directory.join("served");
        let server = Server::start(Protocol::S3, &served, S3_KEY);
        let config = directory.join("rclone.conf");
        fs::write(&config, server.remote("store")).unwrap();
        rclone::encrypt(&config, CONFIG_PASSWORD);
        RcloneS3 {
            server,
            served,
            config,
        }
    }

    fn destination(&self) -> String {
        format!(
            "{{ plugin: rclone, config: {{ remote: '{}', configFile: {}, configPasswordSecret: rclone, s3ChunkMebibytes: 5 }} }}",
            self.name(),
            self.config.display()
        )
    }

    fn files(&self) -> PathBuf {
        self.served.join("bucket/backups")
    }

    fn name(&self) -> String {
        "store:bucket/backups".to_owned()
    }

    fn leave(&mut self) {
        self.server.stop();
    }

    fn come_back(&mut self) {
        self.server.restart();
    }

    fn unfinished(&self) -> Vec<String> {
        let listed = std::process::Command::new(rclone::program())
            .args([
                "backend",
                "list-multipart-uploads",
                "store:bucket/backups",
                "--config",
            ])
            .arg(&self.config)
            .env("RCLONE_CONFIG_PASS", CONFIG_PASSWORD)
            .output()
            .unwrap();
        // This server says so if there has never been one.
        let none = String::from_utf8_lossy(&listed.stderr).contains("NoSuchUpload");
        assert!(listed.status.success() || none, "{listed:?}");
        let text = String::from_utf8(listed.stdout).unwrap();
        let keys = text.lines().filter(|line| line.contains("\"Key\""));
        keys.map(|line| line.trim().to_owned()).collect()
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![Secret {
            name: "rclone",
            variable: "RCLONE_CONFIG_PASS",
            text: CONFIG_PASSWORD.to_owned(),
        }]
    }

    fn hidden(&self) -> Vec<String> {
        vec![S3_KEY.to_owned(), CONFIG_PASSWORD.to_owned()]
    }
}

/// A WebDAV server.
pub struct RcloneWebDav {
    server: Server,
    served: PathBuf,
    config: PathBuf,
}

const DAV_PASSWORD: &str = "webdav-password-of-a-test";

impl Place for RcloneWebDav {
    const AWAY: i32 = 6;
    const LOST_BY_HAND: &[Except] = LOST_BY_RCLONE;

    fn start(directory: &Path) -> Self {
        let served = directory.join("served");
        let server = Server::start(Protocol::WebDav, &served, DAV_PASSWORD);
        let config = directory.join("rclone.conf");
        fs::write(&config, server.remote("nas")).unwrap();
        RcloneWebDav {
            server,
            served,
            config,
        }
    }

    fn destination(&self) -> String {
        format!(
            "{{ plugin: rclone, config: {{ remote: '{}', configFile: {} }} }}",
            self.name(),
            self.config.display()
        )
    }

    fn files(&self) -> PathBuf {
        self.served.join("my backups/ü")
    }

    fn name(&self) -> String {
        "nas:my backups/ü".to_owned()
    }

    fn leave(&mut self) {
        self.server.stop();
    }

    fn come_back(&mut self) {
        self.server.restart();
    }

    fn hidden(&self) -> Vec<String> {
        vec![DAV_PASSWORD.to_owned()]
    }
}

/// A bucket of an S3 server, by a remote of the host's own.
pub struct Bucket<const FILES: bool>(ObjectServer);

/// One where a tree is its tar stream.
pub type ObjectS3 = Bucket<false>;

/// One where each file of a tree is an object.
pub type ObjectS3Files = Bucket<true>;

impl<const FILES: bool> Place for Bucket<FILES> {
    const AWAY: i32 = 6;
    const HAS_DIRECTORIES: bool = false;

    fn start(_: &Path) -> Self {
        Bucket(ObjectServer::start(Protocol::S3))
    }

    fn introduce(&self, backstay: &Backstay) {
        let file = backstay.scratch_dir().join("secret-of-the-user");
        fs::write(&file, SECRET).unwrap();
        let endpoint = format!("http://127.0.0.1:{}", self.0.port());
        let remote = ["remote", "add", "store", "--type", "s3", "--bucket", BUCKET];
        let server = ["--endpoint", &endpoint, "--account", ACCOUNT];
        let secret = ["--secret-from-file", file.to_str().unwrap()];
        backstay.run(&[&remote[..], &server, &secret].concat()).ok();
        fs::remove_file(file).unwrap();
    }

    fn destination(&self) -> String {
        let trees = if FILES { "files" } else { "tar" };
        format!("{{ plugin: object, config: {{ remote: store, prefix: my/backups, trees: {trees} }} }}")
    }

    fn files(&self) -> PathBuf {
        self.0.files().join("my/backups")
    }

    fn name(&self) -> String {
        format!("s3+http://127.0.0.1:{}/{BUCKET}/my/backups", self.0.port())
    }

    fn leave(&mut self) {
        self.0.stop();
    }

    fn come_back(&mut self) {
        self.0.restart();
    }

    fn unfinished(&self) -> Vec<String> {
        let text = self.0.unfinished_uploads();
        let keys = text.lines().filter(|line| line.contains("\"Key\""));
        keys.map(|line| line.trim().to_owned()).collect()
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![Secret {
            name: "store",
            variable: "SECRET",
            text: SECRET.to_owned(),
        }]
    }

    fn hidden(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }
}
