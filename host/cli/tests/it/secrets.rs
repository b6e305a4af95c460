//! Secrets that jobs name: kept, listed, used, removed, sealed for another key; and in nothing that anybody can read.

mod key;
mod lab;
mod outputs;
mod redaction;
mod vault;
