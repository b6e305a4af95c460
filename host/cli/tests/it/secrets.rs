//! Secrets that jobs name: kept, listed, used, removed, sealed for another key; and in nothing that anybody can read.

mod key;
mod lab;
mod redaction;
mod vault;
