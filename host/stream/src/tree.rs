//! File trees: as a tar stream, from one, as an index, and how two of them differ.
//!
//! [`TarRecipe`] makes a POSIX pax archive of a [`TreeSpec`] in an order that depends on nothing but
//! names; [`unpack`] gives a tree back from an archive, this one's or another's; [`walk`] reads an
//! archive to its end and checks all that can be checked without writing. [`index_directory`] and the
//! index that [`unpack`] writes hold one line for each entry, equal byte for byte if the tree is.
//!
//! Everything below a root is reached relative to the descriptor of its directory, one name at a time
//! and never through a symbolic link: so paths may be of any length, and neither an archive nor
//! somebody who renames things meanwhile can lead a reader or a writer out of the tree.
//!
//! [`TreeCopy`] is for programs that copy trees by themselves: it says what is to be taken, and what was. [`MendedRecipe`]
//! is for those of them that give a tree back as a tar stream of their own, and [`FetchRecipe`] makes one of files that
//! come back one by one, as [`scatter`] gives them to whoever keeps no directories.
//!
//! What can't be read becomes a warning in the context's notes. Nothing here retries, logs, or syncs to
//! disk; inode flags (`chattr`), access times and sockets aren't kept.

mod archive;
mod chosen;
mod compare;
mod content;
mod copy;
mod directory;
mod empty;
mod encode;
mod entry;
mod fetch;
mod field;
mod index;
mod listed;
mod measure;
mod mend;
mod path;
mod patterns;
mod pax;
mod place;
mod preview;
mod produce;
mod scan;
mod scatter;
mod selection;
mod settle;
mod sparse;
mod spec;
mod unpack;
mod xattr;

pub use compare::{MAX_DIFFERENCES, compare_index};
pub use copy::{Copied, CopyOptions, CopySize, MAX_LEFT_OUT, TreeCopy, Untaken};
pub use empty::empty_directory;
pub use fetch::{Bring, Content, FETCH_BYTES, Fetch, FetchRecipe, Fetching, Wanted};
pub use index::index_directory;
pub use measure::content_bytes;
pub use mend::MendedRecipe;
pub use path::MAX_PATH_BYTES;
pub use pax::MAX_PAX_BYTES;
pub use preview::{Amount, Amounts, Change, Fate, preview};
pub use produce::TarRecipe;
pub use scatter::{FileSink, scatter};
pub use settle::{KeptTree, index_kept};
pub use sparse::MAX_SEGMENTS;
pub use spec::TreeSpec;
pub use unpack::{UnpackOptions, Unpacked, list, unpack, walk};
