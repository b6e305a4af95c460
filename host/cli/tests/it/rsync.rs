//! The destination `rsync` beyond what every destination does: snapshots that share what has not changed, what is gone
//! from the source, what changes meanwhile, and what a killed rsync leaves.

mod lab;
mod second_stage;
mod snapshots;
mod ssh;
mod trouble;
mod vanished;
