//! Where a restore goes.

use backstay_sdk::{Failure, Result, Target};

/// Where a restore goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory to unpack into.
    pub directory: String,
    /// What of the archive to take; nothing is everything.
    pub paths: Vec<String>,
    /// Where the data is afterwards, for a person.
    pub result: String,
}

/// A directory's content goes into the place that was named, or back to where it was. A file goes into the
/// directory that was named, under its own name, or back to where it was.
///
/// # Errors
/// A path was asked for that a backup of one file can't hold, or `original` has no parent.
pub fn choose(original: &str, is_file: bool, target: &Target) -> Result<Place> {
    let original = if original.len() > 1 {
        original.trim_end_matches('/')
    } else {
        original
    };
    if !is_file {
        let directory = target.place.clone().unwrap_or_else(|| original.to_owned());
        return Ok(Place {
            result: directory.clone(),
            directory,
            paths: target.paths.clone(),
        });
    }
    let (parent, name) = original
        .rsplit_once('/')
        .filter(|(_, name)| !name.is_empty())
        .ok_or_else(|| Failure::configuration(format!("{original} is not the path of a file")))?;
    if let Some(other) = target
        .paths
        .iter()
        .find(|path| path.trim_start_matches("./") != name)
    {
        return Err(Failure::configuration(format!(
            "this backup holds only the file {name}, not {other}"
        )));
    }
    let parent = if parent.is_empty() { "/" } else { parent };
    let directory = target.place.clone().unwrap_or_else(|| parent.to_owned());
    let result = format!("{}/{name}", directory.trim_end_matches('/'));
    // Naming the one file keeps the restore within the grant for it when its directory has none.
    Ok(Place {
        directory,
        paths: vec![name.to_owned()],
        result,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn check(original: &str, is_file: bool, target: Target, directory: &str, paths: &[&str], result: &str) {
        let place = choose(original, is_file, &target).expect("a place");
        assert_eq!(
            (place.directory.as_str(), place.result.as_str()),
            (directory, result)
        );
        assert_eq!(place.paths, paths);
    }

    #[test]
    fn a_directory_goes_where_it_was_or_where_it_is_told() {
        check(
            "/srv/data/",
            false,
            target(None, &[]),
            "/srv/data",
            &[],
            "/srv/data",
        );
        check(
            "/srv/data",
            false,
            target(Some("/tmp/r"), &["a/b"]),
            "/tmp/r",
            &["a/b"],
            "/tmp/r",
        );
        check("/", false, target(None, &["etc"]), "/", &["etc"], "/");
    }

    #[test]
    fn a_file_keeps_its_name() {
        check(
            "/etc/fstab",
            true,
            target(None, &[]),
            "/etc",
            &["fstab"],
            "/etc/fstab",
        );
        check(
            "/etc/fstab",
            true,
            target(Some("/tmp/r/"), &[]),
            "/tmp/r/",
            &["fstab"],
            "/tmp/r/fstab",
        );
        check(
            "/vmlinuz",
            true,
            target(None, &["vmlinuz"]),
            "/",
            &["vmlinuz"],
            "/vmlinuz",
        );
    }

    #[test]
    fn a_backup_of_one_file_holds_no_other() {
        let failure = choose("/etc/fstab", true, &target(None, &["passwd"])).expect_err("another file");
        assert_eq!(
            failure.message,
            "this backup holds only the file fstab, not passwd"
        );
    }
}
