//! What the files of a tree are called in a store.

use crate::Key;
use crate::key::MAX_NAME_BYTES;

/// What stands for a tree without files, so that it is there.
pub(super) const NO_FILES: &str = ".no-files";

/// The directory of files whose paths are too long, by the hashes of these.
const LONG: &str = ".long-paths";

/// Longest path of an object below its tree, in bytes: half of what S3 has for all of a key.
const PATH_BYTES: usize = 512;

/// The key of a file of a tree. Bytes that a store may refuse or change are written as `%XX`: what is no UTF-8, control
/// characters, `%` itself, `\` (a `/` to Azure), blanks at both ends of a name, and dots at its end. What is too long then is
/// in a directory of its own, under the BLAKE3 hash of its path.
pub(super) fn of_file(tree: &Key, path: &[u8]) -> Key {
    let mut parts = path.split(|b| *b == b'/').map(encode).collect::<Vec<_>>();
    // Nobody's file has the name of one of ours.
    if let Some(first) = parts.first_mut()
        && (*first == NO_FILES || *first == LONG)
    {
        first.replace_range(..1, "%2E");
    }
    let name = parts.join("/");
    let is_long = name.len() > PATH_BYTES || parts.iter().any(|part| part.len() > MAX_NAME_BYTES);
    Key::checked(if is_long {
        format!("{tree}/{LONG}/{}", blake3::hash(path).to_hex())
    } else {
        format!("{tree}/{name}")
    })
}

/// The key of what stands for a tree without files.
pub(super) fn of_none(tree: &Key) -> Key {
    Key::checked(format!("{tree}/{NO_FILES}"))
}

fn encode(part: &[u8]) -> String {
    let mut out = String::with_capacity(part.len());
    let escape = |bytes: &[u8], out: &mut String| {
        for byte in bytes {
            out.push_str(&format!("%{byte:02X}"));
        }
    };
    let kept = part.len() - part.iter().rev().take_while(|b| matches!(b, b' ' | b'.')).count();
    let (start, end) = part.split_at(kept);
    let blanks = start.iter().take_while(|b| **b == b' ').count();
    escape(&start[..blanks], &mut out);
    for chunk in start[blanks..].utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || matches!(c, '%' | '\\') || (c.is_whitespace() && c != ' ') {
                escape(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out);
            } else {
                out.push(c);
            }
        }
        escape(chunk.invalid(), &mut out);
    }
    escape(end, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(path: &[u8]) -> String {
        let tree = Key::parse("j/1/data").unwrap();
        let key = of_file(&tree, path);
        key.as_str().strip_prefix("j/1/data/").unwrap().to_owned()
    }

    #[test]
    fn a_name_is_kept_as_far_as_every_store_keeps_it() {
        for (path, name) in [
            (&b".git/config"[..], ".git/config"),
            ("ü/a b".as_bytes(), "ü/a b"),
            (b"a\nb/\xff\\", "a%0Ab/%FF%5C"),
            (b" a / b. /...", "%20a%20/%20b%2E%20/%2E%2E%2E"),
            (b"100%", "100%25"),
            ("\u{a0}x".as_bytes(), "%C2%A0x"),
        ] {
            assert_eq!(named(path), name);
        }
    }

    #[test]
    fn what_is_too_long_has_a_name_that_nobody_else_can_have() {
        let long = [b'x'; 241];
        let name = named(&long);
        assert_eq!(name.len(), LONG.len() + 1 + 64);
        assert_eq!(named(name.as_bytes()), format!("%2E{}", &name[1..]));
        assert_eq!(named(NO_FILES.as_bytes()), "%2Eno-files");
        assert_eq!(named(b"a/.no-files"), "a/.no-files");
    }

    proptest! {
        #[test]
        fn no_two_files_have_one_name(a in "[ab%. /2E\\\\]{1,6}", b in "[ab%. /2E\\\\]{1,6}") {
            prop_assert_eq!(named(a.as_bytes()) == named(b.as_bytes()), a == b);
        }
    }
}
