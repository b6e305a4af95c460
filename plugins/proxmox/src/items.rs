//! The list of all that is collected: one item for each switch, with its files and its commands. `plugin.json`
//! asks for exactly what is in here.

use crate::config::{Collect, Config};

/// A group of items that belong to one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Collector {
    /// Proxmox VE.
    Pve,
    /// Proxmox Backup Server.
    Pbs,
    /// The system below.
    System,
}

impl Collector {
    /// All of them, in the order in which they are collected.
    pub const ALL: [Collector; 3] = [Collector::Pve, Collector::Pbs, Collector::System];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Collector::Pve => "pve",
            Collector::Pbs => "pbs",
            Collector::System => "system",
        }
    }

    /// What the configuration says about it.
    pub fn wanted(self, config: &Config) -> Collect {
        match self {
            Collector::Pve => config.pve.collect,
            Collector::Pbs => config.pbs.collect,
            Collector::System => config.system.collect,
        }
    }

    /// The directory whose presence says that its product is installed.
    pub fn sign(self) -> Option<&'static str> {
        match self {
            Collector::Pve => Some(PVE),
            Collector::Pbs => Some(PBS),
            Collector::System => None,
        }
    }
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every machine with the product has it: without it there is a warning.
    Always,
    /// Only some have it: without it the manifest says `absent`.
    IfThere,
    /// Only a node of a cluster.
    IfClustered,
    /// Only a machine with Proxmox VE.
    IfPve,
}

/// Files of an item.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    /// A path, or a pattern of paths below one of [`PLACES`].
    pub path: &'static str,
    /// Whether they must be there.
    pub need: Need,
}

/// A command whose output is kept.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The program.
    pub program: &'static str,
    /// Its arguments; `{node}` is the name of the node, `{root}` what stands for `/`.
    pub args: &'static [&'static str],
    /// The name of the output's file, without `.txt`.
    pub name: &'static str,
    /// Whether it must work.
    pub need: Need,
    /// Why, for a person who decides.
    pub reason: &'static str,
}

/// What one switch stands for.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// The collector that it belongs to.
    pub collector: Collector,
    /// Its name in the configuration.
    pub name: &'static str,
    /// Whether the configuration wants it.
    pub is_on: fn(&Config) -> bool,
    /// Its files.
    pub files: &'static [Files],
    /// Its commands.
    pub commands: &'static [Run],
}

const PVE: &str = "/etc/pve";
const PBS: &str = "/etc/proxmox-backup";

/// Directories and files that are copied as one, with the reason for reading them. No other path is ever read.
pub const PLACES: [(&str, &str); 14] = [
    (PVE, "to back up the configuration of Proxmox VE"),
    ("/var/lib/pve-cluster", "to back up the database behind /etc/pve"),
    ("/etc/vzdump.conf", "to back up the settings of vzdump"),
    ("/etc/network", "to back up the configuration of the network"),
    (PBS, "to back up the configuration of Proxmox Backup Server"),
    (
        "/etc/hostname",
        "to back up the name of the machine, which is also the name of its node",
    ),
    ("/etc/hosts", "to back up the names of other machines"),
    ("/etc/resolv.conf", "to back up where names are looked up"),
    ("/etc/timezone", "to back up the time zone"),
    ("/etc/crontab", "to back up cron jobs"),
    ("/etc/cron.d", "to back up cron jobs"),
    ("/var/spool/cron/crontabs", "to back up cron jobs of users"),
    ("/etc/apt/sources.list", "to back up where packages come from"),
    ("/etc/apt/sources.list.d", "to back up where packages come from"),
];

/// Files that the cluster file system makes up: its state, not its configuration, and different at each look.
pub const STATUS_FILES: [&str; 6] = [
    "/etc/pve/.clusterlog",
    "/etc/pve/.debug",
    "/etc/pve/.members",
    "/etc/pve/.rrd",
    "/etc/pve/.version",
    "/etc/pve/.vmlist",
];

/// Private keys, tokens, passwords and their hashes.
pub const PRIVATE: [&str; 17] = [
    "/etc/pve/priv",
    "/etc/pve/nodes/*/priv",
    "/etc/pve/**/*.key",
    "/var/lib/pve-cluster",
    "/etc/proxmox-backup/**/*.key",
    "/etc/proxmox-backup/shadow.json",
    "/etc/proxmox-backup/token.shadow",
    "/etc/proxmox-backup/tfa.json",
    "/etc/proxmox-backup/ldap_passwords.json",
    "/etc/proxmox-backup/tape-encryption-keys.json",
    "/etc/proxmox-backup/tape-encryption-key-config.json",
    "/etc/proxmox-backup/encryption-keys",
    "/etc/proxmox-backup/remote.cfg",
    "/etc/proxmox-backup/s3.cfg",
    "/etc/proxmox-backup/metricserver.cfg",
    "/etc/proxmox-backup/notifications-priv.cfg",
    "/etc/proxmox-backup/acme",
];

const fn always(path: &'static str) -> Files {
    Files {
        path,
        need: Need::Always,
    }
}

const fn if_there(path: &'static str) -> Files {
    Files {
        path,
        need: Need::IfThere,
    }
}

macro_rules! items {
    ($($collector:ident . $field:ident / $section:ident = $name:literal
        [$($files:expr),*] { $($need:ident: $program:literal $args:tt > $output:literal, $reason:literal;)* })*) => {
        /// Everything, in the order in which it is collected.
        pub const ITEMS: &[Item] = &[$(Item {
            collector: Collector::$collector,
            name: $name,
            is_on: |config| config.$section.$field,
            files: &[$($files),*],
            commands: &[$(Run {
                program: $program,
                args: &$args,
                name: $output,
                need: Need::$need,
                reason: $reason,
            }),*],
        }),*];
    };
}

items! {
    Pve.cluster_config / pve = "clusterConfig" [always("/etc/pve")] {}
    Pve.cluster_database / pve = "clusterDatabase" [always("/var/lib/pve-cluster")] {}
    Pve.corosync_config / pve = "corosyncConfig"
        [Files { path: "/etc/pve/corosync.conf", need: Need::IfClustered }] {}
    Pve.cluster_status / pve = "clusterStatus" [] {
        IfClustered: "pvecm" ["status"] > "pvecm-status", "to record the state of the cluster";
        IfClustered: "pvecm" ["nodes"] > "pvecm-nodes", "to record the nodes of the cluster";
    }
    Pve.firewall / pve = "firewall" [if_there("/etc/pve/firewall"), if_there("/etc/pve/nodes/*/host.fw")] {}
    Pve.vm_configs / pve = "vmConfigs"
        [if_there("/etc/pve/qemu-server/*.conf"), if_there("/etc/pve/nodes/*/qemu-server/*.conf")] {}
    Pve.container_configs / pve = "containerConfigs"
        [if_there("/etc/pve/lxc/*.conf"), if_there("/etc/pve/nodes/*/lxc/*.conf")] {}
    Pve.vzdump_config / pve = "vzdumpConfig" [always("/etc/vzdump.conf")] {}
    Pve.network / pve = "network" [always("/etc/network")] {}
    Pve.version / pve = "version" [] {
        Always: "pveversion" ["-v"] > "pveversion", "to record the versions of Proxmox VE and its packages";
        Always: "pvesh" ["get", "/version"] > "pvesh-version", "to record the version of the API";
    }
    Pve.node_config / pve = "nodeConfig" [] {
        Always: "pvenode" ["config", "get"] > "pvenode-config", "to record the settings of the node";
    }
    Pve.ha_status / pve = "haStatus" [] {
        Always: "pvesh" ["get", "/cluster/ha/status"] > "pvesh-ha-status", "to record the state of high availability";
    }
    Pve.storage_status / pve = "storageStatus" [] {
        Always: "pvesh" ["get", "/nodes/{node}/storage"] > "pvesh-storage", "to record the node's storages";
    }
    Pve.disks / pve = "disks" [] {
        Always: "pvesh" ["get", "/nodes/{node}/disks/list"] > "pvesh-disks", "to record the node's disks";
    }

    Pbs.config / pbs = "config" [always("/etc/proxmox-backup")] {}
    Pbs.datastores / pbs = "datastores" [if_there("/etc/proxmox-backup/datastore.cfg")] {
        Always: "proxmox-backup-manager" ["datastore", "list"] > "datastore-list", "to record the datastores";
    }
    Pbs.users / pbs = "users" [if_there("/etc/proxmox-backup/user.cfg")] {
        Always: "proxmox-backup-manager" ["user", "list"] > "user-list", "to record the users";
    }
    Pbs.acls / pbs = "acls" [if_there("/etc/proxmox-backup/acl.cfg")] {
        Always: "proxmox-backup-manager" ["acl", "list"] > "acl-list", "to record who may do what";
    }
    Pbs.sync_jobs / pbs = "syncJobs" [if_there("/etc/proxmox-backup/sync.cfg")] {
        Always: "proxmox-backup-manager" ["sync-job", "list"] > "sync-job-list", "to record sync jobs";
    }
    Pbs.verify_jobs / pbs = "verifyJobs" [if_there("/etc/proxmox-backup/verification.cfg")] {
        Always: "proxmox-backup-manager" ["verify-job", "list"] > "verify-job-list", "to record verify jobs";
    }
    Pbs.prune_jobs / pbs = "pruneJobs" [if_there("/etc/proxmox-backup/prune.cfg")] {
        Always: "proxmox-backup-manager" ["prune-job", "list"] > "prune-job-list", "to record prune jobs";
    }
    Pbs.traffic_control / pbs = "trafficControl" [if_there("/etc/proxmox-backup/traffic-control.cfg")] {
        Always: "proxmox-backup-manager" ["traffic-control", "list"] > "traffic-control-list",
            "to record limits of bandwidth";
    }
    Pbs.tape / pbs = "tape" [if_there("/etc/proxmox-backup/tape.cfg")] {}
    Pbs.node_config / pbs = "nodeConfig" [if_there("/etc/proxmox-backup/node.cfg")] {}
    Pbs.network / pbs = "network" [always("/etc/network")] {
        Always: "proxmox-backup-manager" ["network", "list"] > "network-list", "to record the network's interfaces";
    }
    Pbs.version / pbs = "version" [] {
        Always: "proxmox-backup-manager" ["version"] > "version", "to record the version of Proxmox Backup Server";
    }

    System.hostname / system = "hostname" [always("/etc/hostname"), always("/etc/hosts")] {
        Always: "hostname" ["-f"] > "hostname", "to record the full name of the machine";
    }
    System.network / system = "network" [if_there("/etc/resolv.conf"), if_there("/etc/network/interfaces")] {
        Always: "ip" ["addr", "show"] > "ip-addr", "to record the machine's addresses";
        Always: "ip" ["route", "show"] > "ip-route", "to record the machine's routes";
    }
    System.kernel / system = "kernel" [] {
        Always: "uname" ["-a"] > "uname", "to record the kernel's version";
    }
    System.os_release / system = "osRelease" [] {
        Always: "cat" ["{root}/etc/os-release"] > "os-release", "to record the system's version";
    }
    System.timezone / system = "timezone" [if_there("/etc/timezone")] {}
    System.file_systems / system = "fileSystems" [] {
        Always: "df" ["-h"] > "df", "to record how full the file systems are";
        Always: "mount" [] > "mount", "to record what is mounted";
    }
    System.packages / system = "packages" [] {
        Always: "dpkg" ["-l"] > "dpkg", "to record the installed packages";
    }
    System.services / system = "services" [] {
        Always: "systemctl" ["list-units", "--type=service", "--state=running"] > "services",
            "to record the services that run";
    }
    System.storage_status / system = "storageStatus" [] {
        IfPve: "pvesm" ["status"] > "pvesm-status", "to record the state of storages";
    }
    System.zfs / system = "zfs" [] {
        IfThere: "zpool" ["status"] > "zpool-status", "to record the ZFS pools";
        IfThere: "zfs" ["list"] > "zfs-list", "to record the ZFS datasets";
    }
    System.cron_jobs / system = "cronJobs"
        [if_there("/etc/crontab"), if_there("/etc/cron.d"), if_there("/var/spool/cron/crontabs")] {}
    System.apt_sources / system = "aptSources"
        [if_there("/etc/apt/sources.list"), if_there("/etc/apt/sources.list.d")] {}
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Map, Value, json};

    use super::*;

    /// The capabilities that the list needs, and no other.
    fn needed() -> Value {
        let path = |path: &str| format!("{{config.root:-}}{path}");
        let read: Vec<Value> = PLACES
            .iter()
            .map(|(p, reason)| json!({ "path": path(p), "reason": reason }))
            .collect();
        let mut write =
            vec![json!({ "path": "{target}", "reason": "to restore to the place that a person names" })];
        write.extend(PLACES.iter().map(|(p, _)| {
            json!({ "path": path(p), "reason": "to restore to where it came from, when a person asks for that" })
        }));
        let commands = ITEMS.iter().flat_map(|item| item.commands);
        let exec: Vec<Value> = commands
            .map(|run| {
                let args = run
                    .args
                    .iter()
                    .map(|a| a.replace("{node}", "*").replace("{root}", "{config.root:-}"));
                json!({ "program": run.program, "args": args.collect::<Vec<_>>(), "reason": run.reason })
            })
            .collect();
        json!({ "exec": exec, "read": read, "write": write })
    }

    #[test]
    fn the_manifest_asks_for_exactly_this_list() {
        let manifest: Value = serde_json::from_str(include_str!("../plugin.json")).expect("JSON");
        let needed = needed();
        assert!(
            manifest["capabilities"] == needed,
            "plugin.json must have these capabilities:\n{}",
            serde_json::to_string_pretty(&needed).unwrap_or_default()
        );
    }

    #[test]
    fn each_item_has_a_switch_and_each_switch_an_item() {
        let schema: Value = serde_json::from_str(&backstay_sdk::schema_of::<Config>()).expect("JSON");
        for (collector, section) in [("pve", "Pve"), ("pbs", "Pbs"), ("system", "System")] {
            let switches: BTreeSet<&str> = schema["$defs"][section]["properties"]
                .as_object()
                .map(Map::keys)
                .into_iter()
                .flatten()
                .map(String::as_str)
                .filter(|key| *key != "collect")
                .collect();
            let items = ITEMS.iter().filter(|item| item.collector.name() == collector);
            assert_eq!(switches, items.map(|item| item.name).collect(), "{collector}");
            for name in switches {
                let config = json!({ collector: { name: false } });
                let config: Config = serde_json::from_value(config).expect("a configuration");
                let off: Vec<&str> = ITEMS
                    .iter()
                    .filter(|item| !(item.is_on)(&config))
                    .map(|item| item.name)
                    .collect();
                assert_eq!(off, [name], "{collector}");
            }
        }
    }

    #[test]
    fn every_file_lies_in_a_place_and_every_output_has_a_name_of_its_own() {
        for files in ITEMS
            .iter()
            .flat_map(|item| item.files)
            .map(|f| f.path)
            .chain(PRIVATE)
            .chain(STATUS_FILES)
        {
            let within = |(place, _): &(&str, &str)| {
                files
                    .strip_prefix(place)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            assert!(PLACES.iter().any(within), "{files}");
        }
        let mut names = BTreeSet::new();
        for item in ITEMS {
            for run in item.commands {
                assert!(names.insert((item.collector, run.name)), "{}", run.name);
            }
        }
    }
}
