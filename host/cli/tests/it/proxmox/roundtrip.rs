//! What is backed up comes back, and the numbers are right.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use backstay_testkit::compare;
use serde_json::{Value, json};

use super::lab::{Lab, facts, paths, steady, warnings};

/// What is copied of the fixture when everything is on but [`steady`]'s items.
const PLACES: [&str; 12] = [
    "etc/pve/",
    "var/lib/pve-cluster/",
    "etc/network/",
    "etc/proxmox-backup/",
    "etc/cron.d/",
    "var/spool/cron/crontabs/",
    "etc/apt/sources.list.d/",
    "etc/vzdump.conf",
    "etc/resolv.conf",
    "etc/timezone",
    "etc/crontab",
    "etc/apt/sources.list",
];

/// The commands that the stand-ins answer, and the file of each answer.
pub const ANSWERS: [(&str, &str); 18] = [
    ("pve/pveversion.txt", "pveversion -v"),
    ("pve/pvesh-version.txt", "pvesh get /version"),
    ("pve/pvecm-status.txt", "pvecm status"),
    ("pve/pvecm-nodes.txt", "pvecm nodes"),
    ("pve/pvenode-config.txt", "pvenode config get"),
    ("pve/pvesh-ha-status.txt", "pvesh get /cluster/ha/status"),
    ("pve/pvesh-storage.txt", "pvesh get /nodes/pve1/storage"),
    ("pve/pvesh-disks.txt", "pvesh get /nodes/pve1/disks/list"),
    ("pbs/version.txt", "proxmox-backup-manager version"),
    ("pbs/datastore-list.txt", "proxmox-backup-manager datastore list"),
    ("pbs/network-list.txt", "proxmox-backup-manager network list"),
    ("pbs/acl-list.txt", "proxmox-backup-manager acl list"),
    ("pbs/user-list.txt", "proxmox-backup-manager user list"),
    ("pbs/sync-job-list.txt", "proxmox-backup-manager sync-job list"),
    (
        "pbs/verify-job-list.txt",
        "proxmox-backup-manager verify-job list",
    ),
    ("pbs/prune-job-list.txt", "proxmox-backup-manager prune-job list"),
    (
        "pbs/traffic-control-list.txt",
        "proxmox-backup-manager traffic-control list",
    ),
    ("system/pvesm-status.txt", "pvesm status"),
];

/// Outputs of the system's own programs.
const SYSTEM: [&str; 7] = [
    "ip-addr",
    "ip-route",
    "uname",
    "os-release",
    "df",
    "mount",
    "dpkg",
];

/// Every path that must be in the backup.
fn expected(lab: &Lab) -> BTreeSet<String> {
    let is_copied =
        |path: &String| !path.starts_with("etc/pve/.") && PLACES.iter().any(|place| path.starts_with(place));
    let mut all: BTreeSet<String> = paths(&lab.root).into_iter().filter(is_copied).collect();
    all.extend(ANSWERS.iter().map(|(file, _)| format!("commands/{file}")));
    all.extend(SYSTEM.iter().map(|name| format!("commands/system/{name}.txt")));
    all.insert("collection.json".to_owned());
    for path in all.clone() {
        let above = Path::new(&path)
            .ancestors()
            .skip(1)
            .filter(|a| !a.as_os_str().is_empty());
        all.extend(above.map(|a| format!("{}/", a.display())));
    }
    all
}

#[track_caller]
fn is_whole(lab: &Lab, restored: &Path) {
    assert_eq!(paths(restored), expected(lab));
    for name in [".version", ".rrd"] {
        // The cluster file system makes these up; they are no part of its configuration.
        let _ = fs::remove_file(lab.root.join("etc/pve").join(name));
    }
    for place in PLACES {
        let (original, copy) = (lab.root.join(place), restored.join(place));
        if place.ends_with('/') {
            // To take two names away changed the time of what held them.
            let except: &[_] = if place == "etc/pve/" {
                &[compare::Except::Root]
            } else {
                &[]
            };
            compare::trees_except(&original, &copy, except).unwrap();
        } else {
            let of = |path: &Path| {
                let found = fs::symlink_metadata(path).unwrap();
                (
                    found.mode(),
                    found.uid(),
                    found.gid(),
                    found.mtime(),
                    found.mtime_nsec(),
                    fs::read(path).unwrap(),
                )
            };
            assert_eq!(of(&original), of(&copy), "{place}");
        }
    }
    for (file, command) in ANSWERS {
        let said = fs::read_to_string(restored.join("commands").join(file)).unwrap();
        assert_eq!(said, format!("{command}\n"));
    }
    let said = |name: &str| fs::read(restored.join(format!("commands/system/{name}.txt"))).unwrap();
    for (name, program, args) in [("uname", "uname", &["-a"][..]), ("dpkg", "dpkg", &["-l"])] {
        let expected = Command::new(program)
            .args(args)
            .env_clear()
            .env("LANG", "C.UTF-8")
            .output()
            .unwrap();
        assert!(said(name) == expected.stdout, "{name}");
    }
    assert_eq!(said("os-release"), b"this is etc/os-release\n");
}

#[track_caller]
fn counts(lab: &Lab, run: &Value) {
    let facts = facts(run);
    let expected = expected(lab);
    let in_place = |path: &&String| PLACES.iter().any(|place| path.starts_with(place));
    let files = expected
        .iter()
        .filter(in_place)
        .filter(|path| !path.ends_with('/'))
        .count();
    let dirs = expected
        .iter()
        .filter(in_place)
        .filter(|path| path.ends_with('/'))
        .count();
    let restored = lab.restore(&[]);
    let bytes: u64 = expected
        .iter()
        .filter(|path| !path.ends_with('/') && *path != "collection.json")
        .map(|path| fs::symlink_metadata(restored.join(path)).unwrap())
        .filter(|found| found.is_file())
        .map(|found| found.len())
        .sum();
    let statistics = json!({
        "filesProcessed": files, "filesFailed": 0, "dirsCreated": dirs, "commandsRun": ANSWERS.len() + SYSTEM.len(),
        "commandsFailed": 0, "bytesCollected": bytes, "warnings": 0
    });
    assert_eq!(facts["statistics"], statistics);
    for key in statistics.as_object().unwrap().keys() {
        let parts = facts["byCollector"].as_object().unwrap().values();
        assert_eq!(
            parts.map(|part| part[key].as_u64().unwrap()).sum::<u64>(),
            statistics[key],
            "{key}"
        );
    }
    let written: Value =
        serde_json::from_slice(&fs::read(restored.join("collection.json")).unwrap()).unwrap();
    assert_eq!(&written, facts);
    assert_eq!(facts["collectors"], json!(["pve", "pbs", "system"]));
    assert_eq!(
        (&facts["node"], &facts["clustered"]),
        (&json!("pve1"), &json!(true))
    );
    assert_eq!(facts["errors"], json!([]));
}

#[test]
fn everything_comes_back_as_a_stream_and_as_a_tree() {
    let lab = Lab::new();
    for stream in [true, false] {
        let mut config = steady();
        config["stream"] = json!(stream);
        lab.apply(&config);
        let run = lab.run().ok().json();
        counts(&lab, &run);
        is_whole(&lab, &lab.restore(&[]));
        lab.is_clean("after a run and a restore");
        lab.backstay
            .run(&["verify", "latest:j", "--level", "restore"])
            .ok();

        let target = lab.backstay.scratch_dir().join("by-hand");
        let kit = lab.backstay.scratch_dir().join("kit.sh");
        fs::write(&kit, lab.backstay.run(&["recovery-kit", "latest:j"]).ok().stdout).unwrap();
        let done = Command::new("bash").arg(&kit).arg(&target).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        compare::trees_except(&lab.restore(&[]), &target, &[compare::Except::Root]).unwrap();
        fs::remove_dir_all(target).unwrap();
    }
}

#[test]
fn this_machine_is_collected_too() {
    let lab = Lab::new();
    // Real programs may fail here, such as systemctl in a container: each that does is a warning.
    lab.apply(&json!({ "root": null }));
    let run = lab.run();
    assert!(run.code <= 1, "{}{}", run.stdout, run.stderr);
    let run = run.json();
    let failed: Vec<&str> = facts(&run)["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["path"].as_str().unwrap())
        .collect();
    assert_eq!(warnings(&run).len(), failed.len(), "{run:#}");
    let restored = lab.restore(&[]);
    for file in [
        "etc/hostname",
        "etc/hosts",
        "etc/resolv.conf",
        "etc/timezone",
        "etc/crontab",
        "etc/apt/sources.list",
    ] {
        let here = Path::new("/").join(file);
        if here.exists() {
            assert_eq!(
                fs::read(restored.join(file)).unwrap(),
                fs::read(&here).unwrap(),
                "{file}"
            );
        } else {
            let absent = facts(&run)["absent"].as_array().unwrap().contains(&json!(here));
            assert!(
                absent || failed.contains(&here.to_str().unwrap()),
                "{file} is neither there nor named"
            );
        }
    }
    for directory in ["etc/cron.d", "etc/apt/sources.list.d"] {
        if Path::new("/").join(directory).exists() {
            compare::trees(&Path::new("/").join(directory), &restored.join(directory)).unwrap();
        }
    }
    for (line, file) in [
        ("hostname -f", "hostname"),
        ("uname -a", "uname"),
        ("cat /etc/os-release", "os-release"),
        ("ip addr show", "ip-addr"),
        ("ip route show", "ip-route"),
        ("df -h", "df"),
        ("mount", "mount"),
        ("dpkg -l", "dpkg"),
        ("zpool status", "zpool-status"),
        ("zfs list", "zfs-list"),
        ("systemctl list-units --type=service --state=running", "services"),
    ] {
        let said = restored.join(format!("commands/system/{file}.txt"));
        let absent = facts(&run)["absent"].as_array().unwrap().contains(&json!(line));
        let is_there = said.metadata().is_ok_and(|found| found.len() > 0);
        assert!(
            is_there || absent || failed.contains(&line),
            "{line} is neither there nor named"
        );
    }
    let os = fs::read("/etc/os-release").unwrap();
    assert_eq!(
        fs::read(restored.join("commands/system/os-release.txt")).unwrap(),
        os
    );
}
