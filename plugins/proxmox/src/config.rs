//! The configuration of a `proxmox` source: a switch for each collector and item, and the rules that its schema
//! can't say.

use backstay_sdk::Diagnostic;
use schemars::JsonSchema;
use serde::Deserialize;

/// The configuration of a Proxmox VE node, of a Proxmox Backup Server, and of the system below them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Directory that stands for `/`, such as the mounted disk of another node. Programs run on this machine.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/"))]
    pub root: Option<String>,
    /// One tar stream; if false, a tree of files.
    #[serde(default = "yes")]
    pub stream: bool,
    /// Proxmox VE.
    #[serde(default)]
    pub pve: Pve,
    /// Proxmox Backup Server.
    #[serde(default)]
    pub pbs: Pbs,
    /// The system below.
    #[serde(default)]
    pub system: System,
    /// Take private keys, tokens and password hashes too. Without them a restored node needs new ones, and
    /// `/var/lib/pve-cluster`, whose database holds them, is left out as a whole.
    #[serde(default = "yes")]
    pub private_keys: bool,
    /// Patterns of what to leave out, as in a `.gitignore` at `/`: `*.bak`, `/etc/pve/nodes/*/lrm_status`.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Seconds that each command may take; then it is killed with its process group, which is a warning.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 300))]
    pub command_timeout_seconds: u32,
    /// Bytes of output that are kept of each command; more is cut off, which is a warning.
    #[serde(default = "default_output")]
    #[schemars(range(min = 1, max = 67_108_864))]
    pub max_output_bytes: u64,
}

fn yes() -> bool {
    true
}

fn default_timeout() -> u32 {
    20
}

fn default_output() -> u64 {
    16 << 20
}

/// Whether a collector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Collect {
    /// If its product is found on this machine.
    #[default]
    Auto,
    /// Always; what isn't there is a warning.
    Always,
    /// Never.
    Never,
}

macro_rules! switches {
    ($(#[$about:meta])* $name:ident { $($(#[$item:meta])* $field:ident,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $name {
            /// Whether it is collected at all: `auto`, `always` or `never`.
            pub collect: Collect,
            $($(#[$item])* pub $field: bool,)*
        }

        impl Default for $name {
            /// Everything.
            fn default() -> Self {
                $name { collect: Collect::Auto, $($field: true,)* }
            }
        }
    };
}

switches! {
    /// What to take of Proxmox VE.
    Pve {
        /// `/etc/pve`, but for what has a switch of its own.
        cluster_config,
        /// `/var/lib/pve-cluster`: the database behind `/etc/pve`.
        cluster_database,
        /// `/etc/pve/corosync.conf`.
        corosync_config,
        /// `pvecm status`, `pvecm nodes`, on a node of a cluster.
        cluster_status,
        /// `/etc/pve/firewall` and each node's `host.fw`.
        firewall,
        /// The configuration of virtual machines.
        vm_configs,
        /// The configuration of containers.
        container_configs,
        /// `/etc/vzdump.conf`.
        vzdump_config,
        /// `/etc/network`.
        network,
        /// `pveversion -v`, `pvesh get /version`.
        version,
        /// `pvenode config get`.
        node_config,
        /// `pvesh get /cluster/ha/status`.
        ha_status,
        /// `pvesh get /nodes/NODE/storage`.
        storage_status,
        /// `pvesh get /nodes/NODE/disks/list`.
        disks,
    }
}

switches! {
    /// What to take of Proxmox Backup Server.
    Pbs {
        /// `/etc/proxmox-backup`, but for what has a switch of its own.
        config,
        /// `datastore.cfg` and `datastore list`.
        datastores,
        /// `user.cfg` and `user list`.
        users,
        /// `acl.cfg` and `acl list`.
        acls,
        /// `sync.cfg` and `sync-job list`.
        sync_jobs,
        /// `verification.cfg` and `verify-job list`.
        verify_jobs,
        /// `prune.cfg` and `prune-job list`.
        prune_jobs,
        /// `traffic-control.cfg` and `traffic-control list`.
        traffic_control,
        /// `tape.cfg`.
        tape,
        /// `node.cfg`.
        node_config,
        /// `/etc/network` and `network list`.
        network,
        /// `proxmox-backup-manager version`.
        version,
    }
}

switches! {
    /// What to take of the system.
    System {
        /// `/etc/hostname`, `/etc/hosts` and `hostname -f`.
        hostname,
        /// `/etc/resolv.conf`, `/etc/network/interfaces`, `ip addr show`, `ip route show`.
        network,
        /// `uname -a`.
        kernel,
        /// `cat /etc/os-release`.
        os_release,
        /// `/etc/timezone`.
        timezone,
        /// `df -h` and `mount`.
        file_systems,
        /// `dpkg -l`.
        packages,
        /// `systemctl list-units --type=service --state=running`.
        services,
        /// `pvesm status`, on Proxmox VE.
        storage_status,
        /// `zpool status` and `zfs list`, where ZFS is installed.
        zfs,
        /// `/etc/crontab`, `/etc/cron.d`, `/var/spool/cron/crontabs`.
        cron_jobs,
        /// `/etc/apt/sources.list` and `/etc/apt/sources.list.d`.
        apt_sources,
    }
}

impl Config {
    /// Where a path of this list really is.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.root.as_deref().unwrap_or_default())
    }

    /// Whether the root is the machine's own.
    pub fn is_own_root(&self) -> bool {
        self.root
            .as_deref()
            .is_none_or(|root| root.trim_end_matches('/').is_empty())
    }

    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        let root = self.root.as_deref().unwrap_or("/");
        let fault = if !root.starts_with('/') {
            Some("must be an absolute path")
        } else if root.contains('\0') {
            Some("must not contain a NUL character")
        } else if root.split('/').any(|name| name == "..") {
            Some("must not contain `..`")
        } else {
            None
        };
        if let Some(fault) = fault {
            let message = format!("`{}` {fault}", root.escape_debug());
            diagnostics.push(
                Diagnostic::error("/root", "bad-root", message)
                    .hint("name a directory that holds an `etc`, or leave `root` out for this machine"),
            );
        }
        for (index, pattern) in self.exclude.iter().enumerate() {
            if pattern.trim().is_empty() {
                let pointer = format!("/exclude/{index}");
                let message = "a pattern in `exclude` is empty";
                diagnostics.push(Diagnostic::error(pointer, "empty-pattern", message).hint("remove it"));
            }
        }
        let collectors = [self.pve.collect, self.pbs.collect, self.system.collect];
        if collectors.iter().all(|collect| *collect == Collect::Never) {
            let message = "`pve`, `pbs` and `system` are all set to `never`: there is nothing to collect";
            diagnostics.push(
                Diagnostic::error("", "nothing-to-collect", message).hint("set one to `auto` or `always`"),
            );
        }
        diagnostics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: serde_json::Value, expected: &[(&str, &str)]) {
        let config: Config = serde_json::from_value(config).expect("a configuration of the right shape");
        let diagnostics = config.check();
        let found: Vec<(&str, &str)> = diagnostics
            .iter()
            .map(|d| (d.pointer.as_str(), d.message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_needs_to_be_said() {
        check(serde_json::json!({}), &[]);
        let config: Config = serde_json::from_str("{}").expect("config");
        assert!(config.stream && config.private_keys && config.is_own_root() && config.pve.vm_configs);
        assert_eq!(config.at("/etc/hosts"), "/etc/hosts");
        assert_eq!(
            (config.command_timeout_seconds, config.system.collect),
            (20, Collect::Auto)
        );
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        check(
            serde_json::json!({ "root": "/mnt/../etc", "exclude": ["*.bak", " "],
                "pve": { "collect": "never" }, "pbs": { "collect": "never" }, "system": { "collect": "never" } }),
            &[
                ("/root", "`/mnt/../etc` must not contain `..`"),
                ("/exclude/1", "a pattern in `exclude` is empty"),
                (
                    "",
                    "`pve`, `pbs` and `system` are all set to `never`: there is nothing to collect",
                ),
            ],
        );
        check(
            serde_json::json!({ "root": "mnt" }),
            &[("/root", "`mnt` must be an absolute path")],
        );
    }

    #[test]
    fn a_misspelt_item_is_an_error() {
        let error = serde_json::from_str::<Config>(r#"{"pve":{"vmConfig":true}}"#).expect_err("unknown");
        assert!(error.to_string().contains("unknown field `vmConfig`"), "{error}");
    }
}
