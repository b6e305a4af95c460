//! Receipts: an object's key; for a tree with a `/` at its end, as a directory is written.

use std::fmt;

use crate::failure::Result;
use crate::{Failure, shell};

/// Where a stored artifact is within the directory, and its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    key: String,
    is_tree: bool,
}

impl Receipt {
    /// Of a stream.
    pub fn file(key: String) -> Self {
        Receipt { key, is_tree: false }
    }

    /// Of a tree.
    pub fn tree(key: String) -> Self {
        Receipt { key, is_tree: true }
    }

    /// Reads what its `Display` wrote.
    ///
    /// # Errors
    /// It is not a relative path of plain names.
    pub fn parse(text: &str) -> Result<Self> {
        let (key, is_tree) = match text.strip_suffix('/') {
            Some(key) => (key, true),
            None => (text, false),
        };
        if key
            .split('/')
            .any(|name| name.is_empty() || name == "." || name == "..")
            || key.contains('\0')
        {
            return Err(Failure::storage(format!(
                "`{text}` is not a receipt of this destination"
            )));
        }
        Ok(Receipt {
            key: key.to_owned(),
            is_tree,
        })
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether it is a tree.
    pub fn is_tree(&self) -> bool {
        self.is_tree
    }

    /// The shell command that writes the stream to standard output, or the tree's files into the directory `$TARGET`.
    pub fn recovery_command(&self, location: &str) -> String {
        if self.is_tree {
            let inside = shell::quote(&format!("{location}/."));
            format!("cp -a {inside} \"$TARGET\"")
        } else {
            format!("cat {}", shell::quote(location))
        }
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.key, if self.is_tree { "/" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_recovery_command_of_a_stream_reads_it() {
        let receipt = Receipt::parse("flash/1/data.tar.zst").expect("receipt");
        assert_eq!(
            receipt.recovery_command("/mnt/x/flash/1/data.tar.zst"),
            "cat /mnt/x/flash/1/data.tar.zst"
        );
        assert_eq!(
            receipt.recovery_command("/mnt/My Disk/flash/1/data.tar.zst"),
            "cat '/mnt/My Disk/flash/1/data.tar.zst'"
        );
    }

    #[test]
    fn the_recovery_command_of_a_tree_copies_what_is_in_it() {
        let receipt = Receipt::parse("flash/1/data/").expect("receipt");
        assert_eq!(
            receipt.recovery_command("/mnt/it's/flash/1/data"),
            r#"cp -a '/mnt/it'\''s/flash/1/data/.' "$TARGET""#
        );
    }

    #[test]
    fn what_leads_out_of_the_directory_is_no_receipt() {
        for text in ["", "/", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a//"] {
            assert!(Receipt::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_shell_reads_the_same_file() {
        let directory =
            std::env::temp_dir().join(format!("backstay local's \"{}\" $HOME *", std::process::id()));
        std::fs::create_dir_all(directory.join("a b")).expect("a directory");
        std::fs::write(directory.join("a b/c'd"), "content").expect("a file");
        let file = directory.join("a b/c'd");
        let command = Receipt::file("a b/c'd".to_owned()).recovery_command(&file.to_string_lossy());
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .output()
            .expect("`sh` must be installed");
        std::fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "content");
    }

    proptest! {
        #[test]
        fn receipts_survive_being_text(key in "[^/\0]{1,8}(/[^/\0]{1,8}){0,3}", is_tree: bool) {
            prop_assume!(!key.split('/').any(|name| name == "." || name == ".."));
            let receipt = Receipt { key, is_tree };
            prop_assert_eq!(Receipt::parse(&receipt.to_string()).expect("its own text"), receipt);
        }
    }
}
