//! Which mounts of the chosen containers are backed up, each once, and where they are on this machine.

use std::collections::BTreeMap;

use backstay_sdk::content::stat;
use backstay_sdk::{FileInfo, FileKind, Result, log};
use serde::{Deserialize, Serialize};

use crate::config::{Config, SYSTEM_PATHS, is_below};
use crate::engine::Cli;
use crate::inspect::{Container, Mount, Volume};

/// Where engines keep their volumes.
pub const ROOTS: [&str; 2] = ["/var/lib/docker/volumes", "/var/lib/containers/storage/volumes"];

/// The longest name of an artifact, in bytes.
const NAME_BYTES: usize = 120;

/// What the manifest of a backup keeps about a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Name of the volume; nothing for a bind mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Labels of the volume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it was on this machine.
    pub path: String,
    /// Whether it is a single file.
    #[serde(default)]
    pub is_file: bool,
    /// The mount of this machine that held it.
    #[serde(default)]
    pub mounted_on: String,
    /// Whether it is only there while the engine has it mounted.
    #[serde(skip)]
    pub needs_mount: bool,
    /// The containers that use it, each with its path in the container.
    pub used_by: Vec<Use>,
}

/// A container that uses a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// Its name.
    pub container: String,
    /// Where it sees the mount.
    pub destination: String,
}

/// A mount that is not backed up, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// A stable word.
    pub code: &'static str,
    /// The reason, a sentence.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// What there is to back up.
#[derive(Debug, Default)]
pub struct Mounts {
    /// Each mount once.
    pub facts: Vec<Facts>,
    /// What somebody should know is not among them.
    pub omissions: Vec<Omission>,
}

impl Mounts {
    /// Looks at the mounts of the chosen containers.
    ///
    /// # Errors
    /// The engine doesn't answer.
    pub fn look(cli: &Cli, config: &Config, containers: &[Container]) -> Result<Mounts> {
        let mut found = Mounts::default();
        for (mount, used_by) in collect(containers) {
            if config.excludes(names(&mount, &used_by)) {
                continue;
            }
            match mount.kind.as_str() {
                "volume" => found.add_volume(cli, config, &mount, used_by)?,
                "bind" => found.add_path(config, None, &mount.source, used_by)?,
                other => log::debug(format!("{other} at {} holds nothing to keep", mount.destination)),
            }
        }
        found.drop_nested();
        found
            .facts
            .sort_by(|a, b| (&a.volume, &a.path).cmp(&(&b.volume, &b.path)));
        Ok(found)
    }

    fn omit(&mut self, code: &'static str, message: String, hint: &'static str) {
        self.omissions.push(Omission { code, message, hint });
    }

    fn add_volume(&mut self, cli: &Cli, config: &Config, mount: &Mount, used_by: Vec<Use>) -> Result<()> {
        let name = &mount.name;
        let Some(volume) = cli.volume(name)? else {
            self.omit(
                "volume-gone",
                format!("the volume {name} of {} is not there", users(&used_by)),
                "look at `volume ls`",
            );
            return Ok(());
        };
        match kind_of(&volume) {
            VolumeKind::Memory => {
                log::info(format!(
                    "the volume {name} is kept in memory and is not backed up"
                ));
                Ok(())
            }
            VolumeKind::Bind(device) => {
                let device = device.to_owned();
                self.add_path(config, Some(volume), &device, used_by)
            }
            VolumeKind::Plain | VolumeKind::Mounted => self.add_kept_volume(config, volume, used_by),
        }
    }

    fn add_kept_volume(&mut self, config: &Config, volume: Volume, used_by: Vec<Use>) -> Result<()> {
        let (name, path) = (volume.name.clone(), volume.mountpoint.clone());
        let data_root = config.data_root.iter().map(String::as_str);
        let mut roots = ROOTS.into_iter().chain(data_root);
        if !roots.any(|root| is_below(&path, root)) {
            self.omit(
                "volume-elsewhere",
                format!("the volume {name} is kept at `{path}`, where this job may not read"),
                "name the directory of the engine's volumes in `dataRoot`, or the volume in `exclude`",
            );
            return Ok(());
        }
        let needs_mount = kind_of(&volume) == VolumeKind::Mounted;
        match stat(&path)? {
            // Empty when no container uses it: a backup of it would look like one of a lost volume.
            Some(info) if needs_mount && !info.mount_point => self.omit(
                "volume-not-mounted",
                format!("the volume {name} (driver {}) is not mounted now", volume.driver),
                "it is mounted only while a container that uses it runs: choose `pause` or `quiesce` for that one",
            ),
            Some(info) if info.kind == FileKind::Directory => self.facts.push(Facts {
                volume: Some(name),
                labels: volume.labels,
                path,
                is_file: false,
                mounted_on: info.mounted_on,
                needs_mount,
                used_by,
            }),
            _ => self.omit(
                "volume-gone",
                format!("the volume {name} should be at {path}, where no directory is"),
                "look at `volume inspect`",
            ),
        }
        Ok(())
    }

    /// A path of this machine, mounted as it is or by way of a volume.
    fn add_path(
        &mut self,
        config: &Config,
        volume: Option<Volume>,
        path: &str,
        used_by: Vec<Use>,
    ) -> Result<()> {
        if SYSTEM_PATHS.iter().any(|system| is_below(path, system)) {
            log::debug(format!("{path} belongs to the system and is not backed up"));
            return Ok(());
        }
        if !config.bind_paths.iter().any(|top| is_below(path, top)) {
            self.omit(
                "bind-not-named",
                format!("{path}, mounted into {}, is not backed up", users(&used_by)),
                "name it, or a directory above it, in `bindPaths`, or leave it out by `exclude`",
            );
            return Ok(());
        }
        let info: Option<FileInfo> = stat(path)?;
        let is_file = match info.as_ref().map(|info| info.kind) {
            Some(FileKind::Directory) => false,
            Some(FileKind::File) => true,
            Some(FileKind::Other) => {
                log::debug(format!("{path} is a socket or a device and is not backed up"));
                return Ok(());
            }
            Some(FileKind::Symlink) | None => {
                self.omit(
                    "bind-gone",
                    format!(
                        "{path}, mounted into {}, is not a directory or a file",
                        users(&used_by)
                    ),
                    "correct the mount of the container, or leave it out by `exclude`",
                );
                return Ok(());
            }
        };
        let (volume, labels) = volume.map(|v| (v.name, v.labels)).unzip();
        self.facts.push(Facts {
            volume,
            labels: labels.unwrap_or_default(),
            path: path.to_owned(),
            is_file,
            mounted_on: info.map(|info| info.mounted_on).unwrap_or_default(),
            needs_mount: false,
            used_by,
        });
        Ok(())
    }

    /// What lies in another mount is in the backup of that one.
    fn drop_nested(&mut self) {
        let all = self.facts.clone();
        self.facts.retain(|one| {
            let above = all
                .iter()
                .find(|other| !other.is_file && other.path != one.path && is_below(&one.path, &other.path));
            if let Some(above) = above {
                log::info(format!("{} is backed up as part of {}", one.path, above.path));
            }
            above.is_none()
        });
    }
}

/// How a volume is kept.
#[derive(Debug, PartialEq, Eq)]
enum VolumeKind<'a> {
    /// A directory of the engine.
    Plain,
    /// Another directory of this machine.
    Bind(&'a str),
    /// A file system that is mounted while a container uses it.
    Mounted,
    /// Memory.
    Memory,
}

fn kind_of(volume: &Volume) -> VolumeKind<'_> {
    let option = |key: &str| volume.options.get(key).map(String::as_str).unwrap_or_default();
    let is_bind = option("o").split(',').any(|o| o == "bind" || o == "rbind");
    if volume.driver != "local" {
        VolumeKind::Mounted
    } else if is_bind && option("device").starts_with('/') {
        VolumeKind::Bind(option("device"))
    } else if option("type") == "tmpfs" {
        VolumeKind::Memory
    } else if option("type").is_empty() && option("device").is_empty() {
        VolumeKind::Plain
    } else {
        VolumeKind::Mounted
    }
}

/// Each mount once, with all that use it.
fn collect(containers: &[Container]) -> Vec<(Mount, Vec<Use>)> {
    let mut all: Vec<(Mount, Vec<Use>)> = Vec::new();
    for container in containers {
        for mount in &container.mounts {
            let used = Use {
                container: container.name.clone(),
                destination: mount.destination.clone(),
            };
            let same = |known: &Mount| {
                known.kind == mount.kind && known.name == mount.name && known.source == mount.source
            };
            match all.iter_mut().find(|(known, _)| same(known)) {
                Some((_, used_by)) => used_by.push(used),
                None => all.push((mount.clone(), vec![used])),
            }
        }
    }
    all
}

fn names<'a>(mount: &'a Mount, used_by: &'a [Use]) -> impl Iterator<Item = &'a str> {
    let here = [mount.name.as_str(), mount.source.as_str()];
    let there = used_by.iter().map(|used| used.destination.as_str());
    here.into_iter().filter(|name| !name.is_empty()).chain(there)
}

fn users(used_by: &[Use]) -> String {
    let names: Vec<&str> = used_by.iter().map(|used| used.container.as_str()).collect();
    names.join(", ")
}

/// Names for artifacts: unique, and plain whatever the mounts are called.
pub fn artifact_names(all: &[Facts]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for facts in all {
        let plain: String = match &facts.volume {
            Some(volume) => format!("volume-{volume}"),
            None => format!("bind-{}", facts.path.trim_matches('/').replace('/', "-")),
        }
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(NAME_BYTES)
        .collect();
        let mut name = plain.clone();
        let mut number = 1;
        while names.contains(&name) {
            number += 1;
            name = format!("{plain}-{number}");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(volume: Option<&str>, path: &str) -> Facts {
        Facts {
            volume: volume.map(str::to_owned),
            labels: BTreeMap::new(),
            path: path.to_owned(),
            is_file: false,
            mounted_on: String::new(),
            needs_mount: false,
            used_by: Vec::new(),
        }
    }

    fn volume(driver: &str, options: &[(&str, &str)]) -> Volume {
        Volume {
            name: "v".to_owned(),
            driver: driver.to_owned(),
            mountpoint: String::new(),
            options: options
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn names_are_plain_and_unique() {
        let all = [
            facts(Some("shop_db"), "/x"),
            facts(None, "/srv/shop/data"),
            facts(None, "/srv/shop-data"),
            facts(None, "/srv/\u{e4} b"),
        ];
        assert_eq!(
            artifact_names(&all),
            [
                "volume-shop_db",
                "bind-srv-shop-data",
                "bind-srv-shop-data-2",
                "bind-srv-__b"
            ]
        );
    }

    #[test]
    fn a_network_share_is_only_there_while_it_is_mounted() {
        assert_eq!(kind_of(&volume("local", &[])), VolumeKind::Plain);
        assert_eq!(kind_of(&volume("local", &[("o", "size=1G")])), VolumeKind::Plain);
        let nfs = [("type", "nfs"), ("o", "addr=nas,rw"), ("device", ":/share")];
        assert_eq!(kind_of(&volume("local", &nfs)), VolumeKind::Mounted);
        assert_eq!(kind_of(&volume("sshfs", &[])), VolumeKind::Mounted);
        let bind = [("type", "none"), ("o", "bind"), ("device", "/srv/x")];
        assert_eq!(kind_of(&volume("local", &bind)), VolumeKind::Bind("/srv/x"));
        assert_eq!(
            kind_of(&volume("local", &[("type", "tmpfs"), ("device", "tmpfs")])),
            VolumeKind::Memory
        );
    }

    proptest! {
        #[test]
        fn any_path_gives_a_name_that_the_host_takes(paths in prop::collection::vec("\\PC{0,200}", 1..4)) {
            let all: Vec<Facts> = paths.iter().map(|path| facts(None, path)).collect();
            let names = artifact_names(&all);
            for (index, name) in names.iter().enumerate() {
                prop_assert!(name.len() <= 128 && !name.starts_with(['.', '-']));
                prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
                prop_assert!(!names[..index].contains(name));
            }
        }
    }
}
