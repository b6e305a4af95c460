//! Runs scripts of users so that they see and do only what they were granted.
//!
//! [`run`](fn@run::run) puts a native script into namespaces of its own by bubblewrap, with a read-only view of the system's
//! programs and of what was granted, one writable directory, no network unless granted, a filter of system
//! calls, limits, and a user who owns nothing. Each lock holds without the others. If one of them can't be had,
//! the script isn't run: there is no way past this crate that runs it free.
//!
//! What a script leaves is [cleaned](output::clean) before anybody else looks at it, and what it says is
//! [read line by line](lines) without what could harm a terminal; both serve scripts in WebAssembly as well.
//!
//! Called by the crate `plugin`; knows neither jobs nor plugins. Another limit goes to [`limits`], another thing
//! that scripts may see to `view.rs`.

mod cgroup;
mod filter;
mod identity;
pub mod limits;
pub mod lines;
mod memory;
pub mod output;
pub mod probe;
mod processes;
pub mod run;
pub mod script;
mod view;

pub use limits::{Broken, Limits};
pub use run::{Ended, How, run};
pub use script::Script;
