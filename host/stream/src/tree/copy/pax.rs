//! What the pax archives of other programs have no room for.

use crate::tree::entry::Entry;

/// Most bytes of attributes that Go's `archive/tar` writes for one entry; it refuses a header of more than 1 MiB, in which a
/// path and a link target stand too.
const MOST_BYTES: usize = (1 << 20) - (16 << 10);

/// What a record has besides the name and the value of an attribute: its length, `SCHILY.xattr.` and three signs.
const OF_RECORD: usize = 32;

/// Whether a program that writes an entry's attributes as they are, as restic does, can't write them: a record of pax ends
/// its key by the first `=`.
pub(super) fn is_beyond(entry: &Entry) -> bool {
    let bytes = entry
        .xattrs
        .iter()
        .map(|one| one.name.as_bytes().len() + one.value.len() + OF_RECORD);
    bytes.sum::<usize>() > MOST_BYTES || entry.xattrs.iter().any(|one| one.name.as_bytes().contains(&b'='))
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;
    use crate::tree::entry::{Kind, Time, Xattr};

    fn with(name: &str, bytes: usize) -> Entry {
        Entry {
            path: b"x".to_vec(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size: 0,
            link: Vec::new(),
            device: (0, 0),
            xattrs: vec![Xattr {
                name: CString::new(name).unwrap(),
                value: vec![b'='; bytes],
            }],
        }
    }

    #[test]
    fn names_with_an_equals_sign_and_a_megabyte_of_values_are_beyond() {
        assert!(is_beyond(&with("user.a=b", 1)));
        assert!(is_beyond(&with("user.a", 1 << 20)));
        assert!(!is_beyond(&with("user.a", 64 << 10)));
    }
}
