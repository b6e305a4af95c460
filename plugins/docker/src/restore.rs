//! Gives mounts back: into their volumes, into others, or into a directory.

use backstay_sdk::content::stat;
use backstay_sdk::{
    Artifact, Content, Failure, FileKind, Restored, Result, Target, UnpackOptions, log, shell,
};

use crate::config::{Config, is_name};
use crate::definition::{self, Definitions};
use crate::engine::{Cli, answered};
use crate::mounts::{Facts, ROOTS};

/// What a target begins with that names a volume.
const VOLUME: &str = "volume:";

/// Where a restore goes.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A volume, made if it isn't there.
    Volume(String),
    /// A directory.
    Directory(String),
    /// Back to where it came from, by way of its parent for a file.
    Original(String),
}

/// Restores one artifact.
///
/// # Errors
/// The target is not one, something is in the way, or the data is damaged.
pub fn restore(config: &Config, artifact: Artifact, target: &Target) -> Result<Restored> {
    let Some(paths) = own_paths(&artifact.name, &target.paths) else {
        return Ok(skipped(&artifact.name));
    };
    if artifact.name == definition::ARTIFACT {
        return restore_definitions(&artifact.metadata_as()?, artifact, target);
    }
    let facts: Facts = artifact.metadata_as()?;
    let place = choose(&artifact.name, &facts, target)?;
    let (directory, result) = match &place {
        Place::Volume(name) => {
            let cli = Cli::find(config)?;
            (
                volume_directory(&cli, name, &facts, target)?,
                format!("volume {name}"),
            )
        }
        Place::Directory(path) => (path.clone(), path.clone()),
        Place::Original(path) => (path.clone(), facts.path.clone()),
    };
    let paths = match (&place, facts.is_file) {
        // Naming the one file keeps the restore within the grant for it when its directory has none.
        (Place::Original(_), true) => vec![file_name(&facts.path).to_owned()],
        _ => paths,
    };
    if target.dry_run {
        return dry_run(artifact.content, &directory, &paths, target, result);
    }
    unpack(artifact.content, &directory, &paths, target, result)
}

fn skipped(name: &str) -> Restored {
    log::info(format!("{name} is not among what was asked for"));
    Restored {
        place: "nowhere".to_owned(),
        entries: 0,
        bytes: 0,
    }
}

/// The paths within an artifact that were asked for: each path begins with the name of an artifact. Nothing
/// if none is of this one.
fn own_paths(artifact: &str, paths: &[String]) -> Option<Vec<String>> {
    if paths.is_empty() {
        return Some(Vec::new());
    }
    let mut own = Vec::new();
    for path in paths {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        match path.strip_prefix(artifact) {
            Some("") => return Some(Vec::new()),
            Some(rest) if rest.starts_with('/') => own.push(rest.trim_start_matches('/').to_owned()),
            _ => {}
        }
    }
    (!own.is_empty()).then_some(own)
}

fn choose(artifact: &str, facts: &Facts, target: &Target) -> Result<Place> {
    let Some(place) = &target.place else {
        return Ok(match &facts.volume {
            Some(volume) => Place::Volume(volume.clone()),
            None if facts.is_file => {
                let (parent, _) = facts.path.rsplit_once('/').unwrap_or_default();
                Place::Original(if parent.is_empty() { "/" } else { parent }.to_owned())
            }
            None => Place::Original(facts.path.clone()),
        });
    };
    let Some(volume) = place.strip_prefix(VOLUME) else {
        return Ok(Place::Directory(format!(
            "{}/{artifact}",
            place.trim_end_matches('/')
        )));
    };
    if !is_name(volume) {
        return Err(Failure::configuration(format!(
            "`{}` is not the name of a volume",
            volume.escape_debug()
        ))
        .hint("write `--to volume:NAME`"));
    }
    if target.paths.is_empty() {
        return Err(
            Failure::configuration("it is not said what is restored into the volume").hint(format!(
                "name one of the backup, such as `--to volume:{volume} {artifact}`"
            )),
        );
    }
    if facts.is_file {
        return Err(
            Failure::configuration(format!("{artifact} is a single file, not a volume"))
                .hint("restore it to a directory"),
        );
    }
    Ok(Place::Volume(volume.to_owned()))
}

/// The directory of a volume, which is made if it is missing.
fn volume_directory(cli: &Cli, name: &str, facts: &Facts, target: &Target) -> Result<String> {
    let volume = match cli.volume(name)? {
        Some(volume) => volume,
        None if target.dry_run => {
            log::info(format!("would make the volume {name}"));
            // Nothing is written there.
            return Ok(format!("{}/{name}", ROOTS[0]));
        }
        None => {
            answered(cli.create_volume(name, &facts.labels).run()?)?;
            log::info(format!("made the volume {name}"));
            cli.volume(name)?
                .ok_or_else(|| Failure::storage(format!("the volume {name} was made and is not there")))?
        }
    };
    if let Some(user) = cli.ids(&cli.users(name))?.first() {
        let user = cli.container(user)?.map_or_else(|| user.clone(), |c| c.name);
        return Err(Failure::configuration(format!(
            "the volume {name} is in use by the container {user}, which runs"
        ))
        .hint(format!("stop it first: `{} stop {user}`", cli.engine().program())));
    }
    let path = volume.mountpoint;
    let Some(info) = stat(&path)?.filter(|info| info.kind == FileKind::Directory) else {
        return Err(Failure::storage(format!(
            "the volume {name} should be at {path}, where no directory is"
        )));
    };
    if !info.is_empty && !target.overwrite {
        return Err(
            Failure::configuration(format!("the volume {name} is not empty")).hint(
                "name another one, such as `--to volume:NAME`, or allow it to be overwritten: `--overwrite`",
            ),
        );
    }
    Ok(path)
}

fn restore_definitions(definitions: &Definitions, artifact: Artifact, target: &Target) -> Result<Restored> {
    let names: Vec<&str> = definitions.containers.iter().map(|c| c.name.as_str()).collect();
    match target.place.as_deref() {
        Some(place) if !place.starts_with(VOLUME) => {
            let directory = place.trim_end_matches('/');
            let result = format!("{directory}/{}", definition::FILE);
            if target.dry_run {
                return dry_run(artifact.content, directory, &[], target, result);
            }
            unpack(artifact.content, directory, &[], target, result)
        }
        _ => {
            log::info(format!(
                "containers are not made again ({}): `--artifact {} --to DIR` shows their definitions",
                names.join(", "),
                definition::ARTIFACT
            ));
            Ok(skipped(&artifact.name))
        }
    }
}

fn unpack(
    content: Content,
    directory: &str,
    paths: &[String],
    target: &Target,
    place: String,
) -> Result<Restored> {
    let options = UnpackOptions {
        paths: paths.to_vec(),
        ..target.unpack_options()
    };
    let report = content.unpack(directory, &options)?;
    Ok(Restored {
        place,
        entries: report.entries,
        bytes: report.bytes,
    })
}

fn dry_run(
    content: Content,
    directory: &str,
    paths: &[String],
    target: &Target,
    place: String,
) -> Result<Restored> {
    let restored = unpack(content, directory, paths, target, place)?;
    log::info(format!(
        "would write {} entries with {} bytes to {}",
        restored.entries, restored.bytes, restored.place
    ));
    Ok(restored)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What a machine without Backstay runs.
pub fn recovery_command(artifact: &str) -> String {
    let below = if artifact == definition::ARTIFACT {
        String::new()
    } else {
        format!("/{}", shell::quote(artifact))
    };
    format!(
        "mkdir -p \"$TARGET\"{below} && \
         tar --xattrs --xattrs-include='*' --numeric-owner --same-owner -xpf - -C \"$TARGET\"{below}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(volume: Option<&str>, path: &str, is_file: bool) -> Facts {
        Facts {
            volume: volume.map(str::to_owned),
            labels: std::collections::BTreeMap::new(),
            path: path.to_owned(),
            is_file,
            mounted_on: String::new(),
            needs_mount: false,
            used_by: Vec::new(),
        }
    }

    fn target(place: Option<&str>, paths: &[&str]) -> Target {
        Target {
            place: place.map(str::to_owned),
            paths: paths.iter().map(|&p| p.to_owned()).collect(),
            overwrite: false,
            dry_run: false,
            continues: false,
            drill: false,
        }
    }

    #[test]
    fn paths_begin_with_the_artifact() {
        let own = |paths: &[&str]| own_paths("volume-a", &target(None, paths).paths);
        assert_eq!(own(&[]), Some(vec![]));
        assert_eq!(own(&["volume-a/"]), Some(vec![]));
        assert_eq!(
            own(&["./volume-a/x/y", "volume-b/z"]),
            Some(vec!["x/y".to_owned()])
        );
        assert_eq!(own(&["volume-ab"]), None);
        assert_eq!(own(&["x"]), None);
    }

    #[test]
    fn each_mount_has_a_place() {
        let volume = facts(Some("a"), "/v/a/_data", false);
        let bind = facts(None, "/srv/a", false);
        let file = facts(None, "/srv/conf", true);
        let check = |facts: &Facts, place: Option<&str>, paths: &[&str], expected: Place| {
            assert_eq!(
                choose("x", facts, &target(place, paths)).expect("a place"),
                expected
            );
        };
        check(&volume, None, &[], Place::Volume("a".to_owned()));
        check(&bind, None, &[], Place::Original("/srv/a".to_owned()));
        check(&file, None, &[], Place::Original("/srv".to_owned()));
        check(
            &volume,
            Some("/tmp/r/"),
            &[],
            Place::Directory("/tmp/r/x".to_owned()),
        );
        check(&bind, Some("volume:b"), &["x"], Place::Volume("b".to_owned()));
        for (facts, place, paths) in [
            (&volume, "volume:b", &[][..]),
            (&volume, "volume:-f", &["x"]),
            (&volume, "volume:", &["x"]),
            (&file, "volume:b", &["x"]),
        ] {
            assert!(
                choose("x", facts, &target(Some(place), paths)).is_err(),
                "{place}"
            );
        }
    }
}
