//! Filters as native stages: compression, then encryption, and back.
//!
//! Each format has a file of its own, with the way there and the way back; what they share is in `compress`, `decompress`
//! and, for formats whose pieces can be compressed apart from each other, `pieces`.

mod bzip2;
mod compress;
pub mod decode;
mod decompress;
pub mod encode;
mod gzip;
mod header;
pub mod key;
mod lz4;
mod pieces;
mod xz;
mod zstd;

pub use decode::{DecodedRecipe, Expected, check_stored};
pub use encode::Encoder;
pub use key::Identities;
