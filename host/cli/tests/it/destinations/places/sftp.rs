//! A directory of an SFTP server, by a remote of the host's own.

use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::cli::Backstay;
use backstay_testkit::ssh::SshServer;

use super::{Place, Secret};

/// A directory of an ssh server, with the key kept by the host.
pub struct ObjectSftp {
    server: SshServer,
    served: PathBuf,
}

impl ObjectSftp {
    fn root(&self) -> &str {
        self.served.to_str().unwrap()
    }
}

impl Place for ObjectSftp {
    const AWAY: i32 = 6;

    fn start(directory: &Path) -> Self {
        let served = directory.join("served");
        fs::create_dir(&served).unwrap();
        let server = SshServer::start(&directory.join("ssh"));
        ObjectSftp { server, served }
    }

    fn introduce(&self, backstay: &Backstay) {
        let endpoint = format!("sftp://127.0.0.1:{}", self.server.port());
        let (key, known) = (self.server.key(), self.server.known_hosts());
        let remote = ["remote", "add", "store", "--type", "sftp", "--account", "root"];
        let server = ["--endpoint", &endpoint, "--root", self.root()];
        let known = ["--known-hosts", known.to_str().unwrap()];
        let secret = ["--secret-from-file", key.to_str().unwrap()];
        backstay
            .run(&[&remote[..], &server, &known, &secret].concat())
            .ok();
    }

    fn destination(&self) -> String {
        "{ plugin: object, config: { remote: store, prefix: my/backups } }".to_owned()
    }

    fn files(&self) -> PathBuf {
        self.served.join("my/backups")
    }

    fn name(&self) -> String {
        format!(
            "sftp://root@127.0.0.1:{}{}/my/backups",
            self.server.port(),
            self.root()
        )
    }

    fn leave(&mut self) {
        self.server.stop();
    }

    fn come_back(&mut self) {
        self.server.restart();
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![Secret {
            name: "store",
            variable: "SECRET",
            text: fs::read_to_string(self.server.key()).unwrap(),
        }]
    }

    fn hidden(&self) -> Vec<String> {
        let key = fs::read_to_string(self.server.key()).unwrap();
        // The first lines and the last are the same in all keys.
        vec![key.lines().nth(2).unwrap().to_owned()]
    }
}
