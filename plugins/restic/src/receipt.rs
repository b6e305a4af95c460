//! Receipts: the id of a snapshot and the key of the object in it, as `ID/KEY`; of a tree, as `ID/KEY/`.

use std::fmt;

use backstay_sdk::{Failure, Result};

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The snapshot: 64 hexadecimal digits.
    pub id: String,
    /// The name that the host gave the object, a relative path of plain names.
    pub key: String,
    /// Whether the snapshot is a tree. Otherwise the object is its only file.
    pub is_tree: bool,
}

impl Receipt {
    /// An object in a snapshot; nothing if that can't be.
    pub fn new(id: &str, key: &str, is_tree: bool) -> Option<Self> {
        let plain = |name: &str| !matches!(name, "" | "." | "..");
        let is_key = key.split('/').all(plain) && !key.chars().any(char::is_control);
        (is_id(id) && is_key).then(|| Receipt {
            id: id.to_owned(),
            key: key.to_owned(),
            is_tree,
        })
    }

    /// Reads what [`Receipt`] prints.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self> {
        let receipt = text.split_once('/').and_then(|(id, key)| {
            let tree = key.strip_suffix('/');
            Receipt::new(id, tree.unwrap_or(key), tree.is_some())
        });
        receipt.ok_or_else(|| {
            Failure::storage(format!(
                "`{}` is not a receipt of this destination",
                text.escape_debug()
            ))
        })
    }

    /// Whether it is the manifest of a backup, which the host stores last and removes first.
    pub fn is_manifest(&self) -> bool {
        self.key.ends_with("/manifest.json")
    }

    /// Where the object is in its snapshot.
    pub fn path(&self) -> String {
        if self.is_tree {
            "/".to_owned()
        } else {
            format!("/{}", self.key)
        }
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_tree { "/" } else { "" };
        write!(f, "{}/{}{end}", self.id, self.key)
    }
}

/// Whether it is the whole id of something in a repository.
pub fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_whole_id_and_a_plain_key_are_a_receipt() {
        let id = "0f".repeat(32);
        for key in ["", "/", "/x", "../x", "a/../x", "a//b", "a//", "a\nb"] {
            assert!(Receipt::parse(&format!("{id}/{key}")).is_err(), "{key:?}");
        }
        for id in ["", "latest", "0f0f0f0f", "--prune", &id.to_uppercase()] {
            assert!(Receipt::parse(&format!("{id}/j/1/data")).is_err(), "{id}");
        }
        let receipt = Receipt::parse(&format!("{id}/j/1/data")).expect("a receipt");
        assert_eq!(
            (receipt.path().as_str(), receipt.key.as_str()),
            ("/j/1/data", "j/1/data")
        );
        let tree = Receipt::parse(&format!("{id}/j/1/data/")).expect("a receipt");
        assert_eq!((tree.path().as_str(), tree.key.as_str()), ("/", "j/1/data"));
        assert_eq!((receipt.id, tree.id), (id.clone(), id));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(id in "[0-9a-f]{64}", key in "[^/\u{0}-\u{1f}\u{7f}-\u{9f}]{3,9}(/[^/\u{0}-\u{1f}\u{7f}-\u{9f}]{3,9}){0,2}", is_tree: bool) {
            let receipt = Receipt::new(&id, &key, is_tree).expect("a receipt");
            prop_assert_eq!(Receipt::parse(&receipt.to_string()).ok(), Some(receipt));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = Receipt::parse(&text).is_ok();
        }
    }
}
