//! Rules of the repository as tests: who may depend on whom, and how files look.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at the first thing that fails"
)]

mod layers;
mod style;

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}
