//! The sandbox: loads components, holds them to their limits and gives them what they were granted.
//!
//! Only this crate knows wasmtime; no type of it is in a public signature. The engine takes a
//! [`Plugin`] from [`Plugins`] and calls its verbs with a [`Scope`]; each call is a fresh instance with
//! fresh limits. A guest is taken to be hostile: every import checks [`Grants`](grants::Grants) before it does
//! anything, first-party plugins included, and what a guest returns is checked before it is used.
//!
//! A new thing that plugins may do is a new file in `capability/`, a new interface in `wit/`, and a new
//! entry in the manifest's capabilities.

mod bindings;
mod cache;
mod call;
mod capability;
mod copying;
mod destination;
pub mod grants;
mod guest_error;
mod host;
pub mod limits;
pub mod manifest;
mod memory;
mod plugins;
mod runtime;
mod scope;
mod scratch;
mod script;
mod source;

pub use destination::{ObjectFacts, StoreRequest, StoredObject, Usage};
pub use plugins::{Bundled, Plugin, Plugins};
pub use runtime::Runtime;
pub use scope::{Content, Listener, Moved, RunScope, Scope};
pub use script::{Moment, ScriptDone, ScriptRequest};
pub use source::{Offered, Previous, Restored, Target};
