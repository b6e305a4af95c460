//! What rclone answers, as JSON or as lines.

use backstay_sdk::{Failure, Result, Room};
use serde::Deserialize;

/// The oldest version that has all that is used here.
pub const OLDEST: (u32, u32) = (1, 60);

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

/// Whether the remote takes a stream as it comes. If not, rclone first writes it to a file.
///
/// # Errors
/// It is not what rclone prints.
pub fn takes_streams(json: &str) -> Result<bool> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Features {
        put_stream: bool,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Remote {
        features: Features,
    }
    let remote: Remote = read(json)?;
    Ok(remote.features.put_stream)
}

/// Major and minor version from what `rclone version` prints.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let word = text.lines().next()?.split_whitespace().nth(1)?;
    let mut numbers = word.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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
        assert_eq!(version("rclone v1.75.2\n- os/version: debian\n"), Some((1, 75)));
        assert_eq!(version("rclone v1.60.1-DEV\n"), Some((1, 60)));
        assert_eq!(version("something else"), None);
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
