//! What rclone answers, as JSON or as lines.

use backstay_sdk::{Failure, Result, Room};
use serde::Deserialize;

use crate::receipt::Amount;

/// The oldest version that has all that is used here.
pub const OLDEST: Version = (1, 60, 0);

/// Releases that lose data, with what is wrong with them.
///
/// Source: <https://github.com/rclone/rclone/issues/7367>, and the changelog of 1.64.1.
const BROKEN: [(Version, &str); 1] = [((1, 64, 0), "`rclone rcat` to B2 fails or damages what it stores")];

/// Major, minor and patch number.
pub type Version = (u32, u32, u32);

/// Something at a key, as `lsjson` says it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    size: i64,
    is_dir: bool,
}

/// The size of an object; nothing if a directory is there, which is also what stores without directories say of a key
/// with nothing under it.
///
/// # Errors
/// It is not what rclone prints, or the place doesn't know the size.
pub fn size(json: &str) -> Result<Option<u64>> {
    let item: Item = read(json)?;
    if item.is_dir {
        return Ok(None);
    }
    let size = u64::try_from(item.size);
    size.map(Some)
        .map_err(|_| Failure::storage("rclone can't say how large objects of this remote are"))
}

/// How much is in a directory.
///
/// # Errors
/// It is not what rclone prints.
pub fn amount(json: &str) -> Result<Amount> {
    #[derive(Deserialize)]
    struct Size {
        count: u64,
        bytes: u64,
    }
    let size: Size = read(json)?;
    Ok(Amount {
        files: size.count,
        bytes: size.bytes,
    })
}

/// Total and free bytes, as far as the place knows them.
///
/// # Errors
/// It is not what rclone prints.
pub fn room(json: &str) -> Result<Room> {
    #[derive(Deserialize)]
    struct About {
        total: Option<u64>,
        free: Option<u64>,
    }
    let about: About = read(json)?;
    Ok(Room {
        total: about.total,
        available: about.free,
    })
}

/// What a remote can do.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Features {
    put_stream: bool,
    copy: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Remote {
    features: Features,
}

/// Whether the remote takes a stream as it comes. If not, rclone first writes it to a file.
///
/// # Errors
/// It is not what rclone prints.
pub fn takes_streams(json: &str) -> Result<bool> {
    let remote: Remote = read(json)?;
    Ok(remote.features.put_stream)
}

/// Whether the remote can copy a file by itself. If not, rclone would read it and send it again.
///
/// # Errors
/// It is not what rclone prints.
pub fn copies_by_itself(json: &str) -> Result<bool> {
    let remote: Remote = read(json)?;
    Ok(remote.features.copy)
}

/// The version from what `rclone version` prints. What follows the numbers, such as `-DEV` or `-beta.1`, doesn't count,
/// and a patch number that isn't there is 0.
pub fn version(text: &str) -> Option<Version> {
    let word = text.lines().next()?.split_whitespace().nth(1)?;
    let release = word.trim_start_matches('v').split(['-', '+']).next()?;
    let mut numbers = release.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor, numbers.next().map_or(Ok(0), str::parse).ok()?))
}

/// Why rclone of this version won't do, with what to do instead. Nothing if it will.
pub fn unfit(found: Option<Version>) -> Option<Failure> {
    let newer = "install a newer one: https://rclone.org/install";
    let (major, minor, _) = OLDEST;
    let oldest = format!("{major}.{minor} is the oldest that will do");
    let Some(found) = found else {
        let message = format!("rclone here is of an unknown version; {oldest}");
        return Some(Failure::environment(message).hint(newer));
    };
    let shown = format!("{}.{}.{}", found.0, found.1, found.2);
    if found < OLDEST {
        return Some(Failure::environment(format!("rclone here is {shown}; {oldest}")).hint(newer));
    }
    let (_, why) = BROKEN.iter().find(|(version, _)| *version == found)?;
    let message = format!("rclone here is {shown}, a broken release: {why}");
    Some(Failure::environment(message).hint("update rclone to 1.64.1 or newer: https://rclone.org/install"))
}

/// Names and types of the remotes that `rclone listremotes --long` prints. A name may have blanks in it.
pub fn remotes(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, kind)| (name, kind.trim()))
        .collect()
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| {
        Failure::environment(format!("rclone printed something unexpected: {e}"))
            .hint("`rclone version` must be 1.60 or newer")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_size_of_an_object_and_of_nothing() {
        let file = r#"{ "Path": "b", "Name": "b", "Size": 6, "ModTime": "", "IsDir": false }"#;
        assert_eq!(size(file).ok(), Some(Some(6)));
        let nothing = r#"{ "Path": "", "Name": "", "Size": -1, "ModTime": "", "IsDir": true }"#;
        assert_eq!(size(nothing).ok(), Some(None));
        assert!(size(&file.replace('6', "-1")).is_err());
    }

    #[test]
    fn room_is_known_or_not() {
        let known = room(r#"{"total":10,"used":4,"free":6}"#).expect("room");
        assert_eq!((known.total, known.available), (Some(10), Some(6)));
        let unknown = room("{}").expect("room");
        assert_eq!((unknown.total, unknown.available), (None, None));
    }

    #[test]
    fn versions_of_releases_betas_and_distributions() {
        assert_eq!(
            version("rclone v1.75.2\n- os/version: debian\n"),
            Some((1, 75, 2))
        );
        assert_eq!(version("rclone v1.60.1-DEV\n"), Some((1, 60, 1)));
        assert_eq!(version("rclone v1.65.0-beta.7373.abc\n"), Some((1, 65, 0)));
        assert_eq!(version("rclone 1.66\n"), Some((1, 66, 0)));
        assert_eq!(version("something else"), None);
    }

    #[test]
    fn a_release_that_is_too_old_or_broken_is_refused() {
        let said = |text: &str| unfit(version(text)).map(|failure| (failure.message, failure.hint));
        for text in [
            "rclone v1.60.0\n",
            "rclone v1.63.1\n",
            "rclone v1.64.1\n",
            "rclone v1.64.2-DEV\n",
            "rclone v1.75.2\n",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
        for text in ["rclone v1.64.0\n- os/version: debian\n", "rclone v1.64.0-DEV\n"] {
            let (message, hint) = said(text).expect("a refusal");
            assert!(message.contains("1.64.0") && message.contains("B2"), "{message}");
            assert!(hint.expect("a remedy").contains("1.64.1 or newer"));
        }
        let (message, _) = said("rclone v1.59.2\n").expect("a refusal");
        assert_eq!(message, "rclone here is 1.59.2; 1.60 is the oldest that will do");
        assert!(said("something else").expect("a refusal").0.contains("unknown"));
    }

    #[test]
    fn a_remote_may_have_blanks_in_its_name() {
        assert_eq!(
            remotes("al:      alias\nMy Drive: drive\n"),
            [("al", "alias"), ("My Drive", "drive")]
        );
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in ".{0,40}") {
            let _ = (size(&text).is_ok(), room(&text).is_ok(), takes_streams(&text).is_ok(), version(&text), remotes(&text).len());
        }
    }
}
