//! Receipts: the key of a stream's object, or the key of a tree's directory with what was counted in it when it was
//! stored, as `KEY/:FILES:BYTES:CONTENT`.

use std::fmt;

use backstay_sdk::{Failure, Result};

use crate::key;

/// What stands between the key of a tree and what was counted. No name in a key is empty, so no key has it.
const COUNTED: &str = "/:";

/// Something stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// A stream: its key.
    Object(String),
    /// A tree.
    Tree(Tree),
}

/// A stored tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The key of its directory.
    pub key: String,
    /// What is in it.
    pub amount: Amount,
    /// Bytes of content as the host counts them: of a file with several names once, and none of links.
    pub content: u64,
}

/// How much is in a directory with all below it, as rclone counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Files, links among them.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Receipt {
    /// Reads what [`Receipt`] prints.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((key, counted)) = text.rsplit_once(COUNTED) else {
            return Ok(Receipt::Object(key::parse(text)?.to_owned()));
        };
        let numbers: Option<Vec<u64>> = counted.split(':').map(|number| number.parse().ok()).collect();
        // A tree is removed with all that is in its directory, so that must be one of its own.
        match (numbers.as_deref(), key::parse(key)?.contains('/')) {
            (Some([files, bytes, content]), true) => Ok(Receipt::Tree(Tree {
                key: key.to_owned(),
                amount: Amount {
                    files: *files,
                    bytes: *bytes,
                },
                content: *content,
            })),
            _ => Err(Failure::storage(format!(
                "`{}` is not a receipt of this destination",
                text.escape_debug()
            ))),
        }
    }

    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Receipt::Object(key) => key,
            Receipt::Tree(tree) => &tree.key,
        }
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Receipt::Object(key) => f.write_str(key),
            Receipt::Tree(Tree { key, amount, content }) => {
                write!(f, "{key}{COUNTED}{}:{}:{content}", amount.files, amount.bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tree_is_in_a_directory_of_its_own_and_was_counted() {
        let tree = Receipt::parse("j/1/data/:3:50:40").expect("a receipt");
        assert_eq!(tree.key(), "j/1/data");
        assert!(matches!(&tree, Receipt::Tree(tree) if tree.amount.files == 3 && tree.content == 40));
        assert_eq!(
            Receipt::parse("j/1/:x").ok(),
            Some(Receipt::Object("j/1/:x".to_owned())).filter(|_| false)
        );
        for text in [
            "j/:1:2:3",
            "/:1:2:3",
            "../1/:1:2:3",
            "j/1/:1:2",
            "j/1/:1:2:-3",
            "j/1/:1:2:3:4",
            "j/1/",
        ] {
            assert!(Receipt::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Receipt::parse("j/1/data.tar").ok(),
            Some(Receipt::Object("j/1/data.tar".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(key in "[^/:.\u{0}-\u{1f}\u{7f}-\u{9f}]{1,9}(/[^/:.\u{0}-\u{1f}\u{7f}-\u{9f}]{1,9}){1,2}", files: u64, bytes: u64, content: u64) {
            let tree = Receipt::Tree(Tree { key, amount: Amount { files, bytes }, content });
            prop_assert_eq!(Receipt::parse(&tree.to_string()).ok(), Some(tree));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}") {
            let _ = Receipt::parse(&text).is_ok();
        }
    }
}
