//! Write Backstay plugins in Rust: implement [`Source`] or [`Destination`], name the type in [`source!`]
//! or [`destination!`], and build for `wasm32-wasip2`.
//!
//! A plugin says what to connect; the host moves the bytes. A [`ByteStream`] or a [`Tree`] is a handle
//! for data that never enters the plugin's memory. Every call gets a fresh instance, so a plugin keeps
//! nothing between calls but what it writes to [`state`] and [`journal`]. What it may touch is what its
//! manifest asks for and an administrator granted.
//!
//! This crate holds the whole contract (`wit/`) as Rust types, with short ways to make them. It has no
//! knowledge of the host's code. Natively (`cargo test`, `cargo clippy`) everything compiles, and what
//! doesn't call the host can be tested; a call to the host outside a component panics.
//!
//! Where to add things: a new host function goes to the module of its WIT interface; what both kinds of
//! plugin need goes beside it; [`shell`] and [`manifest`] know nothing of the host.

#[doc(hidden)]
pub mod bindings;
pub mod command;
mod component;
pub mod content;
pub mod copy;
mod destination;
pub mod directory;
pub mod failure;
pub mod journal;
pub mod log;
pub mod manifest;
pub mod progress;
pub mod scratch;
pub mod script;
pub mod secrets;
pub mod shell;
mod source;
pub mod state;
mod storage;

pub use bindings::backstay::plugin::types::{Diagnostic, Failure, FailureCode as Code, RunInfo, Severity};
pub use bindings::destination::exports::backstay::plugin::destination_plugin::{Object, Room, Stored};
pub use bindings::source::exports::backstay::plugin::source_plugin::{Previous, Restored, Target};
pub use command::{Command, Output};
pub use component::schema_of;
#[doc(hidden)]
pub use component::{DestinationComponent, SourceComponent};
pub use content::{
    Artifact, ByteStream, Content, FileInfo, FileKind, Tree, TreeOptions, UnpackOptions, UnpackReport,
};
pub use copy::{CopyOptions, CopySize, Listing, TreeCopy};
pub use destination::Destination;
pub use failure::Result;
pub use journal::When;
pub use scratch::Scratch;
pub use source::Source;
pub use storage::{LockMode, ObjectInfo, ObjectLock, RemoteOptions, Space, Store};

#[doc(hidden)]
pub use serde_json;
