//! What plugins may use: one file for each interface of the contract. Each function checks its grant first.

mod copy;
mod data;
mod journal;
mod log;
mod process;
mod progress;
mod scratch;
mod script;
pub(crate) mod secrets;
mod state;
mod storage;
mod types;
