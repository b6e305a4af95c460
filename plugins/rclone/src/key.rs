//! Keys: names of objects below the place. They are also the receipts.

use backstay_sdk::{Failure, Result};

/// A key from a receipt.
///
/// # Errors
/// It is not a relative path of plain names.
pub fn parse(receipt: &str) -> Result<&str> {
    let plain = |name: &str| !matches!(name, "" | "." | "..");
    if receipt.split('/').all(plain) && !receipt.chars().any(char::is_control) {
        return Ok(receipt);
    }
    Err(Failure::storage(format!(
        "`{}` is not a receipt of this destination",
        receipt.escape_debug()
    )))
}

/// The directory of one backup, where only objects of this backup are; nothing for a key that isn't in one.
pub fn directory(key: &str) -> Option<&str> {
    let (directory, _) = key.rsplit_once('/')?;
    directory.contains('/').then_some(directory)
}

/// A pattern of rclone's for the names of all keys that end with `suffix`, and perhaps of some more.
pub fn pattern(suffix: &str) -> String {
    let (start, name) = match suffix.rsplit_once('/') {
        Some((_, name)) => ("", name),
        None => ("*", suffix),
    };
    let mut pattern = String::from(start);
    for c in name.chars() {
        if r"*?[]{}\".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_leads_out_of_the_place_is_no_receipt() {
        for text in ["", "/", "/x", "../x", "a/../../x", "a//b", "./a", "a/", "a\nb"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse("j/1/data.tar.zst").ok(), Some("j/1/data.tar.zst"));
    }

    #[test]
    fn only_the_directory_of_a_backup_is_ever_removed() {
        assert_eq!(directory("j/1/data.tar"), Some("j/1"));
        assert_eq!(directory("j/data.tar"), None);
        assert_eq!(directory("data.tar"), None);
    }

    #[test]
    fn a_pattern_takes_names_literally() {
        assert_eq!(pattern("/manifest.json"), "manifest.json");
        assert_eq!(pattern(".tar"), "*.tar");
        assert_eq!(pattern("/a*[b]"), r"a\*\[b\]");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,20}") {
            let _ = (parse(&text).is_ok(), directory(&text), pattern(&text));
        }
    }
}
