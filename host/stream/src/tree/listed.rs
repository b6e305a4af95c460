//! Paths in the form in which rclone lists files and is told which to take.

/// What rclone puts behind the name of a symbolic link that it keeps as a small file.
pub(crate) const LINK_ENDING: &str = ".rclonelink";

/// A path as rclone calls it: control characters are pictures of themselves, all else is as it is. Nothing if rclone would
/// take it for another one: its own escape character and pictures of control characters come back changed, whatever is
/// put before them, and what ends like a link would become one.
///
/// Source: <https://rclone.org/overview/#restricted-characters>, and what rclone 1.60 and 1.75 do.
pub(crate) fn listed(path: &[u8]) -> Option<Vec<u8>> {
    const PICTURE_OF_NUL: u32 = 0x2400;
    const PICTURE_OF_DELETE: char = '\u{2421}';
    if path.ends_with(LINK_ENDING.as_bytes()) {
        return None;
    }
    let mut listed = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            let c = match c {
                '\u{201b}' | '\u{2400}'..=PICTURE_OF_DELETE => return None,
                '\0'..='\u{1f}' => char::from_u32(PICTURE_OF_NUL + u32::from(c))?,
                '\u{7f}' => PICTURE_OF_DELETE,
                c => c,
            };
            listed.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        listed.extend_from_slice(chunk.invalid());
    }
    Some(listed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_are_pictures_and_what_looks_like_one_is_refused() {
        for (path, expected) in [
            (&b"a/b c"[..], Some("a/b c".as_bytes())),
            (b"new\nline\r", Some("new␊line␍".as_bytes())),
            (b"del\x7f", Some("del␡".as_bytes())),
            (b"\xff\xfe \\", Some(b"\xff\xfe \\")),
            ("/ ／．".as_bytes(), Some("/ ／．".as_bytes())),
            ("a␊b".as_bytes(), None),
            ("‛FF".as_bytes(), None),
            (b"x.rclonelink", None),
            (b"x.rclonelink/y", Some(b"x.rclonelink/y")),
        ] {
            assert_eq!(
                listed(path).as_deref(),
                expected,
                "{}",
                String::from_utf8_lossy(path)
            );
        }
    }

    proptest! {
        #[test]
        fn no_two_paths_are_listed_alike(a in "[a\\n\\x7f␊␡‛]{0,4}", b in "[a\\n\\x7f␊␡‛]{0,4}") {
            if let (Some(one), Some(other)) = (listed(a.as_bytes()), listed(b.as_bytes())) {
                prop_assert_eq!(one == other, a == b);
                prop_assert!(!one.iter().any(u8::is_ascii_control));
            }
        }
    }
}
