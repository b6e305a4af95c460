//! Rebuilds the crate when a migration is added, which the compiler alone wouldn't notice.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/sqlite");
}
