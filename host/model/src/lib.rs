//! The nouns of Backstay and the rules over them: job, run, manifest, filters, guards, errors.
//!
//! Everything here is a value or a pure function. This crate never opens a file, a socket or a
//! database, never spawns and never waits; time comes in through [`clock::Clock`]. Every other
//! host crate uses it and it uses none of them.
//!
//! Where to add things: a new field of a job goes to [`job`] (its schema is derived from the type,
//! its cross-field rules live in [`job::rules`]); when a job is due is [`schedule`]'s; a new kind of failure goes to [`error`]; what a
//! backup records about itself goes to [`manifest`].

pub mod access;
pub mod clock;
pub mod diagnostic;
pub mod error;
pub mod event;
pub mod filters;
pub mod guards;
pub mod job;
pub mod journal;
pub mod manifest;
pub mod notify;
pub mod plugin;
pub mod rate;
pub mod remote;
pub mod retention;
pub mod run;
pub mod schedule;
pub mod secrets;
pub mod settings;
pub mod span;

pub use diagnostic::{Diagnostic, Severity};
pub use error::{Code, Error, Result};
