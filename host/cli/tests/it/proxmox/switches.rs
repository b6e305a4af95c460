//! Each collector and each item can be switched off, patterns leave things out, and so does the switch for secrets.

use std::fs;

use serde_json::{Value, json};

use super::lab::{Lab, SECRET, facts, paths, steady};

/// Each item, and one path for each thing that is there only because of it.
const ITEMS: [(&str, &str, &[&str]); 35] = [
    (
        "pve",
        "clusterConfig",
        &[
            "etc/pve/user.cfg",
            "etc/pve/priv/shadow.cfg",
            "etc/pve/nodes/pve1/pve-ssl.pem",
        ],
    ),
    ("pve", "clusterDatabase", &["var/lib/pve-cluster/config.db"]),
    ("pve", "corosyncConfig", &["etc/pve/corosync.conf"]),
    (
        "pve",
        "clusterStatus",
        &["commands/pve/pvecm-status.txt", "commands/pve/pvecm-nodes.txt"],
    ),
    (
        "pve",
        "firewall",
        &["etc/pve/firewall/cluster.fw", "etc/pve/nodes/pve1/host.fw"],
    ),
    ("pve", "vmConfigs", &["etc/pve/nodes/pve1/qemu-server/100.conf"]),
    ("pve", "containerConfigs", &["etc/pve/nodes/pve1/lxc/101.conf"]),
    ("pve", "vzdumpConfig", &["etc/vzdump.conf"]),
    (
        "pve",
        "version",
        &["commands/pve/pveversion.txt", "commands/pve/pvesh-version.txt"],
    ),
    ("pve", "nodeConfig", &["commands/pve/pvenode-config.txt"]),
    ("pve", "haStatus", &["commands/pve/pvesh-ha-status.txt"]),
    ("pve", "storageStatus", &["commands/pve/pvesh-storage.txt"]),
    ("pve", "disks", &["commands/pve/pvesh-disks.txt"]),
    (
        "pbs",
        "config",
        &["etc/proxmox-backup/proxy.pem", "etc/proxmox-backup/remote.cfg"],
    ),
    (
        "pbs",
        "datastores",
        &[
            "etc/proxmox-backup/datastore.cfg",
            "commands/pbs/datastore-list.txt",
        ],
    ),
    (
        "pbs",
        "users",
        &["etc/proxmox-backup/user.cfg", "commands/pbs/user-list.txt"],
    ),
    (
        "pbs",
        "acls",
        &["etc/proxmox-backup/acl.cfg", "commands/pbs/acl-list.txt"],
    ),
    (
        "pbs",
        "syncJobs",
        &["etc/proxmox-backup/sync.cfg", "commands/pbs/sync-job-list.txt"],
    ),
    (
        "pbs",
        "verifyJobs",
        &[
            "etc/proxmox-backup/verification.cfg",
            "commands/pbs/verify-job-list.txt",
        ],
    ),
    (
        "pbs",
        "pruneJobs",
        &["etc/proxmox-backup/prune.cfg", "commands/pbs/prune-job-list.txt"],
    ),
    (
        "pbs",
        "trafficControl",
        &[
            "etc/proxmox-backup/traffic-control.cfg",
            "commands/pbs/traffic-control-list.txt",
        ],
    ),
    ("pbs", "tape", &["etc/proxmox-backup/tape.cfg"]),
    ("pbs", "nodeConfig", &["etc/proxmox-backup/node.cfg"]),
    ("pbs", "network", &["commands/pbs/network-list.txt"]),
    ("pbs", "version", &["commands/pbs/version.txt"]),
    ("system", "hostname", &["etc/hostname", "etc/hosts"]),
    (
        "system",
        "network",
        &[
            "etc/resolv.conf",
            "commands/system/ip-addr.txt",
            "commands/system/ip-route.txt",
        ],
    ),
    ("system", "kernel", &["commands/system/uname.txt"]),
    ("system", "osRelease", &["commands/system/os-release.txt"]),
    ("system", "timezone", &["etc/timezone"]),
    (
        "system",
        "fileSystems",
        &["commands/system/df.txt", "commands/system/mount.txt"],
    ),
    ("system", "packages", &["commands/system/dpkg.txt"]),
    ("system", "storageStatus", &["commands/system/pvesm-status.txt"]),
    (
        "system",
        "cronJobs",
        &["etc/crontab", "etc/cron.d/job", "var/spool/cron/crontabs/root"],
    ),
    (
        "system",
        "aptSources",
        &["etc/apt/sources.list", "etc/apt/sources.list.d/pve.sources"],
    ),
];

#[test]
fn each_item_has_a_switch_of_its_own() {
    let lab = Lab::new();
    for parity in [0, 1] {
        let is_off = |index: usize| index % 2 == parity;
        let mut config = json!({ "system": { "services": false, "zfs": false } });
        for (index, (collector, item, _)) in ITEMS.iter().enumerate() {
            config[collector][item] = json!(!is_off(index));
        }
        lab.apply(&config);
        let run = lab.run();
        assert!(run.code <= 1, "{}", run.stdout);
        let run = run.json();
        let found = paths(&lab.restore(&[]));
        for (index, (collector, item, names)) in ITEMS.iter().enumerate() {
            for name in *names {
                assert_eq!(
                    found.contains(*name),
                    !is_off(index),
                    "{collector}.{item}: {name}"
                );
            }
            let named = facts(&run)["off"]
                .as_array()
                .unwrap()
                .contains(&json!(format!("{collector}.{item}")));
            assert_eq!(named, is_off(index), "{collector}.{item}");
        }
    }
    // Three items share these files.
    let network = |on: [bool; 3]| {
        let mut config = steady();
        for (collector, on) in ["pve", "pbs", "system"].iter().zip(on) {
            config[collector]["network"] = json!(on);
        }
        lab.apply(&config);
        lab.run().ok();
        let found = paths(&lab.restore(&[]));
        ["etc/network/interfaces", "etc/network/interfaces.d/vlan"].map(|name| found.contains(name))
    };
    assert_eq!(network([false, false, false]), [false, false]);
    assert_eq!(network([false, false, true]), [true, false]);
    assert_eq!(network([false, true, false]), [true, true]);
}

#[test]
fn collectors_run_where_their_product_is_found_unless_told_otherwise() {
    let lab = Lab::new();
    let collected = |config: &Value, code: i32| {
        lab.apply(config);
        let run = lab.run().code(code).json();
        (facts(&run)["collectors"].clone(), paths(&lab.restore(&[])))
    };
    let mut never = steady();
    never["pbs"] = json!({ "collect": "never" });
    let (collectors, found) = collected(&never, 0);
    assert_eq!(collectors, json!(["pve", "system"]));
    assert!(
        !found
            .iter()
            .any(|path| path.contains("proxmox-backup") || path.contains("commands/pbs"))
    );
    fs::remove_dir_all(lab.root.join("etc/proxmox-backup")).unwrap();
    assert_eq!(collected(&steady(), 0).0, json!(["pve", "system"]));
    let mut always = steady();
    always["pbs"] = json!({ "collect": "always" });
    let (collectors, found) = collected(&always, 1);
    assert_eq!(collectors, json!(["pve", "pbs", "system"]));
    assert!(found.contains("commands/pbs/version.txt"));
    let only = json!({ "pve": { "collect": "auto" }, "pbs": { "collect": "never" }, "system": { "collect": "never" } });
    let (collectors, found) = collected(&only, 0);
    assert_eq!(collectors, json!(["pve"]));
    assert!(!found.contains("etc/crontab") && found.contains("etc/network/interfaces"));
}

#[test]
fn patterns_leave_things_out_by_their_paths() {
    let lab = Lab::new();
    let mut config = steady();
    config["exclude"] = json!([
        "*.pem",
        "/etc/pve/nodes/*/lxc/",
        "/etc/crontab",
        "/var/spool",
        "/etc/network/interfaces.d"
    ]);
    lab.apply(&config);
    let run = lab.run().ok().json();
    let found = paths(&lab.restore(&[]));
    for gone in [
        "etc/proxmox-backup/proxy.pem",
        "etc/pve/nodes/pve1/lxc/",
        "etc/crontab",
        "etc/network/interfaces.d/",
    ] {
        assert!(!found.contains(gone), "{gone}");
    }
    assert!(!found.iter().any(|path| path.starts_with("var/spool")));
    for kept in [
        "etc/pve/nodes/pve1/pve-ssl.key",
        "etc/pve/lxc",
        "etc/cron.d/job",
        "etc/network/interfaces",
    ] {
        assert!(found.contains(kept), "{kept}");
    }
    assert!(
        !facts(&run)["places"]
            .as_array()
            .unwrap()
            .contains(&json!("etc/crontab"))
    );
}

#[test]
fn without_private_keys_no_secret_is_in_the_backup() {
    let lab = Lab::new();
    let holds_secrets = |private_keys: bool| {
        let mut config = steady();
        config["privateKeys"] = json!(private_keys);
        lab.apply(&config);
        lab.run().ok();
        let restored = lab.restore(&[]);
        let files = paths(&restored);
        let secret = |name: &&String| {
            let path = restored.join(name);
            path.is_file()
                && !path.is_symlink()
                && fs::read_to_string(path).is_ok_and(|text| text.contains(SECRET))
        };
        assert!(files.contains("etc/pve/user.cfg") && files.contains("etc/proxmox-backup/proxy.pem"));
        files.iter().filter(secret).count()
    };
    assert_eq!(holds_secrets(true), 13);
    assert_eq!(holds_secrets(false), 0);
}
