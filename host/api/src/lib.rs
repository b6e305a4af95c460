//! The HTTP interface of the service: what it shows and does for programs, who may ask for it, and how it is served.
//!
//! It decides nothing about backups: a request becomes one call of the engine or the daemon, and their answer becomes JSON. Only
//! this crate knows HTTP. [`Server`] is put on top of a [`Daemon`](backstay_engine::daemon::Daemon) by the program; [`client`] is
//! how the program's other commands talk to it; [`view`] is the JSON of both, so that there is one form of each thing.
//!
//! **The path of a request**: `server` (connections, their limits) → `guard` (which host, which page, which token) → the
//! role that the endpoint's entry in `endpoint` asks for → a handler in `v1` → the engine. Each failure becomes a
//! `problem` in one file.
//!
//! A new endpoint is a function in `v1/` and its entry in `v1.rs`: the OpenAPI document is made from the same entry.

pub mod app;
mod body;
pub mod client;
mod cookie;
mod endpoint;
mod feed;
pub mod first_token;
mod guard;
mod limit;
mod listen;
mod live;
mod openapi;
mod problem;
mod query;
mod server;
mod shares;
mod still;
mod tls;
mod v1;
pub mod view;

pub use app::App;
pub use live::Live;
pub use problem::Problem;
pub use server::Server;

/// Name of the socket in the data directory.
pub const SOCKET: &str = "api.sock";
