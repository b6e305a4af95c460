//! Paths as bytes: the form they have in this module, what an archive may name, how they are shown.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::tree::entry::ROOT;

/// Longest path that is written or read, against archives whose names eat all memory. Linux itself
/// takes 4096 bytes at a time; deeper trees exist.
pub const MAX_PATH_BYTES: usize = 64 << 10;

/// The plain names of a path; none for the root.
pub(crate) fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/')
        .filter(|name| !name.is_empty() && *name != ROOT)
}

/// A path split into that of its directory, empty at the top, and its name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Whether a path is below a directory; all is below the empty path.
pub(crate) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with(b"/"))
}

/// A path for the standard library.
pub(crate) fn os(path: &[u8]) -> &OsStr {
    OsStr::from_bytes(path)
}

/// A path as an archive or a person names it, in the form that entries have.
///
/// # Errors
/// Says what is wrong with one that could lead out of a tree or can't be a path.
pub(crate) fn normalise(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    if path.is_empty() {
        return Err("is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return Err("is too long");
    }
    if path.starts_with(b"/") {
        return Err("is absolute");
    }
    if path.contains(&0) {
        return Err("holds a zero byte");
    }
    if path.split(|b| *b == b'/').any(|name| name == b"..") {
        return Err("leads upwards by `..`");
    }
    let mut plain = Vec::with_capacity(path.len());
    for name in names(path) {
        if !plain.is_empty() {
            plain.push(b'/');
        }
        plain.extend_from_slice(name);
    }
    Ok(if plain.is_empty() { ROOT.to_vec() } else { plain })
}

/// A path as text from which [`unescape`] gets the bytes back: `\\` for a backslash, `\xNN` for
/// each byte that is not printable.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' {
                text.push_str("\\\\");
            } else if c.is_control() {
                let mut encoded = [0; 4];
                for byte in c.encode_utf8(&mut encoded).bytes() {
                    text.push_str(&format!("\\x{byte:02x}"));
                }
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The bytes of an escaped path; nothing if it isn't one.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('\\') {
            bytes.push(b'\\');
            rest = after;
        } else {
            bytes.push(u8::from_str_radix(rest.strip_prefix('x')?.get(..2)?, 16).ok()?);
            rest = rest.get(3..)?;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_leads_out_is_refused() {
        for path in ["/etc", "..", "a/../b", "a/..", "../a", "", "a\0b"] {
            assert!(normalise(path.as_bytes()).is_err(), "{path}");
        }
    }

    #[test]
    fn dots_and_slashes_that_mean_nothing_are_dropped() {
        assert_eq!(normalise(b"./a//b/./c/").unwrap(), b"a/b/c");
        assert_eq!(normalise(b"./").unwrap(), b".");
        assert_eq!(normalise(b"..a/...").unwrap(), b"..a/...");
    }

    proptest! {
        #[test]
        fn any_bytes_survive_escaping(bytes: Vec<u8>) {
            let text = escape(&bytes);
            prop_assert!(!text.contains(char::is_control));
            prop_assert_eq!(unescape(&text), Some(bytes));
        }

        #[test]
        fn any_text_is_unescaped_or_refused(text: String) {
            let _ = unescape(&text);
        }
    }
}
