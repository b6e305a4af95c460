//! A fixture of a Proxmox VE node that is a backup server as well, and stand-ins for the programs that it would have.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::tools;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

/// The programs that a machine without Proxmox doesn't have.
pub const PROGRAMS: [&str; 6] = [
    "pveversion",
    "pvecm",
    "pvenode",
    "pvesh",
    "pvesm",
    "proxmox-backup-manager",
];

/// Where stand-ins are installed: the host looks for programs only on its own fixed path, and this is on it.
const BIN: &str = "/usr/local/bin";

/// By this a stand-in is known from a real program.
const MARK: &str = "# a stand-in made by a test of Backstay";

/// In every file that holds something private.
pub const SECRET: &str = "TOP-SECRET";

/// The fixture, the stand-ins, and a job `j` on them. One at a time on this machine.
pub struct Lab {
    pub backstay: Backstay,
    pub root: PathBuf,
    store: PathBuf,
    behaviour: PathBuf,
    _lock: File,
}

impl Lab {
    pub fn new() -> Self {
        Self::with_program(Path::new(env!("CARGO_BIN_EXE_backstay")))
    }

    pub fn with_program(program: &Path) -> Self {
        tools::require(&["ip", "dpkg", "python3"]);
        tools::require_root("to install stand-ins for Proxmox's programs in /usr/local/bin");
        let lock = File::create(std::env::temp_dir().join("backstay-proxmox-stand-ins.lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let backstay = Backstay::new(program);
        let home = backstay.scratch_dir().to_owned();
        let lab = Lab {
            root: home.join("root"),
            store: home.join("store"),
            behaviour: home.join("behaviour.sh"),
            backstay,
            _lock: lock,
        };
        fs::create_dir(&lab.store).unwrap();
        fill(&lab.root);
        lab.behave("");
        for program in PROGRAMS {
            lab.install(program);
        }
        lab
    }

    /// Puts a stand-in where the host finds it. It says how it was called, unless [`Lab::behave`] says otherwise.
    pub fn install(&self, program: &str) {
        let path = Path::new(BIN).join(program);
        let is_ours = fs::read_to_string(&path)
            .map(|text| text.contains(MARK))
            .unwrap_or(!path.exists());
        assert!(
            is_ours,
            "this machine has a real {}: the test would replace it",
            path.display()
        );
        let script = format!(
            "#!/bin/sh\n{MARK}\ncalled=\"{program} $*\"\n[ -e {0} ] && . {0}\necho \"$called\"\n",
            self.behaviour.display()
        );
        // Under another name first: somebody may be starting the old one.
        let new = path.with_extension("new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    pub fn uninstall(&self, program: &str) {
        fs::remove_file(Path::new(BIN).join(program)).unwrap();
    }

    /// Shell code that each stand-in runs first; `$called` is its command line.
    pub fn behave(&self, script: &str) {
        fs::write(&self.behaviour, script).unwrap();
    }

    /// The job with this configuration, on the fixture unless it names another root.
    pub fn job(&self, config: &Value) -> String {
        let mut whole = json!({ "root": self.root });
        for (key, value) in config.as_object().unwrap() {
            if value.is_null() {
                whole.as_object_mut().unwrap().remove(key);
            } else {
                whole[key] = value.clone();
            }
        }
        let store = json!({ "plugin": "local", "config": { "path": self.store, "minFreeBytes": 0 } });
        let guards = json!({ "minBytes": 1, "maxShrinkPercent": 100 });
        let source = json!({ "plugin": "proxmox", "config": whole });
        json!({ "name": "j", "source": source, "destinations": [store], "guards": guards }).to_string()
    }

    pub fn apply(&self, config: &Value) {
        self.backstay.apply(&self.job(config)).ok();
    }

    pub fn run(&self) -> Output {
        self.backstay.run_json(&["run", "j"])
    }

    /// Restores the newest backup to a new directory.
    pub fn restore(&self, paths: &[&str]) -> PathBuf {
        let target = self.backstay.scratch_dir().join("restored");
        if target.exists() {
            fs::remove_dir_all(&target).unwrap();
        }
        let args = [&["restore", "latest:j", "--to", target.to_str().unwrap()], paths].concat();
        self.backstay.run(&args).ok();
        target
    }

    #[track_caller]
    pub fn is_clean(&self, at: &str) {
        let doctor = self.backstay.json(&["doctor"]);
        let journal = doctor["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["check"] == "journal")
            .unwrap();
        assert_eq!(journal["says"], "nothing left to undo", "{at}");
        let scratch = self.backstay.data_dir().join("scratch");
        let left: Vec<_> = fs::read_dir(scratch)
            .into_iter()
            .flatten()
            .map(|e| e.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{at}: {left:?} is left");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for program in PROGRAMS {
            let _ = fs::remove_file(Path::new(BIN).join(program));
        }
    }
}

/// The system's programs that don't work everywhere, such as in a container: these items are switched off where a
/// test counts.
pub fn steady() -> Value {
    json!({ "system": { "services": false, "zfs": false, "hostname": false } })
}

/// What the source says of a backup in its manifest.
pub fn facts(run: &Value) -> &Value {
    &run["backups"][0]["manifest"]["artifacts"][0]["metadata"]
}

/// The warnings of a run, a line each.
pub fn warnings(run: &Value) -> Vec<String> {
    let line = |w: &Value| {
        let text = |key: &str| w[key].as_str().unwrap_or_default().to_owned();
        format!("{} [{}] {}", text("code"), text("path"), text("message"))
    };
    run["warnings"].as_array().unwrap().iter().map(line).collect()
}

/// Every path below a directory, relative to it; directories end in `/`.
pub fn paths(root: &Path) -> BTreeSet<String> {
    let name = |path: &PathBuf| {
        let relative = path.strip_prefix(root).unwrap().display().to_string();
        if path.is_dir() && !path.is_symlink() {
            format!("{relative}/")
        } else {
            relative
        }
    };
    crate::abort::paths(root).iter().map(name).collect()
}

/// The files of the fixture; what ends in `!` is private.
const FILES: &str = "
    etc/pve/corosync.conf etc/pve/user.cfg etc/pve/storage.cfg etc/pve/datacenter.cfg etc/pve/firewall/cluster.fw
    etc/pve/nodes/pve1/qemu-server/100.conf etc/pve/nodes/pve1/lxc/101.conf etc/pve/nodes/pve1/host.fw
    etc/pve/nodes/pve1/pve-ssl.pem etc/pve/nodes/pve1/pve-ssl.key! etc/pve/nodes/pve1/priv/note!
    etc/pve/priv/authkey.key! etc/pve/priv/shadow.cfg! etc/pve/pve-www.key! etc/pve/.version etc/pve/.rrd
    var/lib/pve-cluster/config.db! var/lib/pve-cluster/config.db-wal! etc/vzdump.conf
    etc/network/interfaces etc/network/interfaces.d/vlan
    etc/proxmox-backup/datastore.cfg etc/proxmox-backup/user.cfg etc/proxmox-backup/acl.cfg
    etc/proxmox-backup/sync.cfg etc/proxmox-backup/verification.cfg etc/proxmox-backup/prune.cfg
    etc/proxmox-backup/traffic-control.cfg etc/proxmox-backup/tape.cfg etc/proxmox-backup/node.cfg
    etc/proxmox-backup/media-pool.cfg etc/proxmox-backup/proxy.pem etc/proxmox-backup/proxy.key!
    etc/proxmox-backup/authkey.key! etc/proxmox-backup/shadow.json! etc/proxmox-backup/token.shadow!
    etc/proxmox-backup/remote.cfg! etc/proxmox-backup/tfa.json!
    etc/hosts etc/resolv.conf etc/timezone etc/crontab etc/cron.d/job var/spool/cron/crontabs/root
    etc/apt/sources.list etc/apt/sources.list.d/pve.sources etc/os-release etc/passwd";

fn fill(root: &Path) {
    for name in FILES.split_whitespace() {
        let (name, text) = match name.strip_suffix('!') {
            Some(name) => (name, format!("{SECRET} of {name}\n")),
            None => (name, format!("this is {name}\n")),
        };
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::chown(&path, Some(0), Some(33)).unwrap();
    }
    fs::write(root.join("etc/hostname"), "pve1.example.org\n").unwrap();
    fs::set_permissions(root.join("etc/pve/priv"), Permissions::from_mode(0o700)).unwrap();
    symlink("nodes/pve1", root.join("etc/pve/local")).unwrap();
    symlink("nodes/pve1/qemu-server", root.join("etc/pve/qemu-server")).unwrap();
    symlink("nodes/pve1/lxc", root.join("etc/pve/lxc")).unwrap();
}
