//! The destination `restic` beyond what every destination does: what restic itself finds in the repository, what is
//! removed and what never is, locks, and what the failures of real repositories become.

mod failures;
mod lab;
mod locks;
mod removal;
mod repository;
mod trees;
