//! Filters as native stages: compression, then encryption, and back.

pub mod decode;
pub mod encode;
pub mod key;

pub use decode::{DecodedRecipe, Expected, check_stored};
pub use encode::Encoder;
pub use key::Identities;
