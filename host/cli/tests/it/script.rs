//! Scripts of users as a source and around a run, by the program itself.

mod hooks;
pub(crate) mod lab;
mod source;
mod trouble;
mod wasi;
