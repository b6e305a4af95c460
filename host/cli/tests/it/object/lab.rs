//! An object store behind a proxy, a remote for it, and a job that backs a directory up to it.

use std::fs;
use std::path::PathBuf;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::proxy::Proxy;
use backstay_testkit::stores::{ACCOUNT, BUCKET, ObjectServer, Protocol, SECRET};
use serde_json::Value;

pub struct Lab {
    pub backstay: Backstay,
    pub server: ObjectServer,
    pub proxy: Proxy,
}

impl Lab {
    /// With the remote `main`.
    pub fn new(protocol: Protocol) -> Self {
        let lab = Self::without_remote(protocol);
        lab.add("main", SECRET).ok();
        lab
    }

    pub fn without_remote(protocol: Protocol) -> Self {
        let server = ObjectServer::start(protocol);
        let proxy = Proxy::start(server.port());
        let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &["lab-source"]);
        fs::create_dir(backstay.scratch_dir().join("source")).unwrap();
        let lab = Lab {
            backstay,
            server,
            proxy,
        };
        lab.write("file", b"content");
        lab
    }

    /// Adds a remote for the store with this secret.
    pub fn add(&self, name: &str, secret: &str) -> Output {
        let file = self.at("secret-of-the-user");
        fs::write(&file, format!("{secret}\n")).unwrap();
        let endpoint = format!("http://127.0.0.1:{}", self.proxy.port());
        let mut args = vec![
            "remote",
            "add",
            name,
            "--endpoint",
            &endpoint,
            "--account",
            ACCOUNT,
        ];
        match self.server.protocol() {
            Protocol::S3 => args.extend(["--type", "s3", "--bucket", BUCKET]),
            Protocol::WebDav => args.extend(["--type", "webdav"]),
        }
        args.extend(["--secret-from-file", file.to_str().unwrap()]);
        let output = self.backstay.run(&args);
        fs::remove_file(file).unwrap();
        output
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    /// Writes a file of the source.
    pub fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.at("source").join(name), content).unwrap();
    }

    /// Applies the job `data`, which backs the directory `source` up; `more` is added to it.
    pub fn apply(&self, more: &str) {
        let source = format!(
            "{{ plugin: path, config: {{ path: {} }} }}",
            self.at("source").display()
        );
        self.apply_source(&source, more);
    }

    pub fn apply_source(&self, source: &str, more: &str) {
        self.apply_to("{ remote: main, prefix: nas/one }", source, more);
    }

    /// Applies the same job, which keeps each file as an object.
    pub fn apply_files(&self, more: &str) {
        let source = format!(
            "{{ plugin: path, config: {{ path: {}, stream: false }} }}",
            self.at("source").display()
        );
        self.apply_to("{ remote: main, prefix: nas/one, trees: files }", &source, more);
    }

    fn apply_to(&self, config: &str, source: &str, more: &str) {
        self.backstay
            .apply(&format!(
                "name: data\nsource: {source}\ndestinations: [{{ plugin: object, config: {config} }}]\nguards: {{ minBytes: 0 }}\nretries: {{ attempts: 1 }}\n{more}\n"
            ))
            .ok();
    }

    /// Runs the job, which must succeed, and returns the backup that it made.
    #[track_caller]
    pub fn back_up(&self) -> Value {
        let run = self.backstay.json(&["run", "data"]);
        assert_eq!(run["status"], "succeeded", "{run:#}");
        run["backups"][0].clone()
    }

    /// Restores the newest backup to a new directory.
    #[track_caller]
    pub fn restore(&self, name: &str, args: &[&str]) -> PathBuf {
        let target = self.at(name);
        let fixed = ["restore", "latest:data", "--to", target.to_str().unwrap()];
        self.backstay.run(&[&fixed, args].concat()).ok();
        target
    }

    /// Asserts that the store holds the objects of the backups in the catalogue and nothing else.
    #[track_caller]
    pub fn assert_only_whole_backups(&self) {
        let mut expected: Vec<String> = Vec::new();
        for backup in self.backstay.json(&["backups"]).as_array().unwrap() {
            let stored = &backup["manifest"]["artifacts"][0]["object"];
            let object = stored.as_str().unwrap();
            expected.push(format!("nas/one/{object}"));
            let (directory, _) = object.rsplit_once('/').unwrap();
            expected.push(format!("nas/one/{directory}/manifest.json"));
        }
        expected.sort();
        assert_eq!(self.server.objects(), expected);
        if self.server.protocol() == Protocol::S3 {
            let unfinished = self.server.unfinished_uploads();
            assert!(!unfinished.contains("UploadId"), "{unfinished}");
        }
    }
}

/// All that a command said.
pub fn said(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}

/// Bytes that nothing can compress, the same each time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
