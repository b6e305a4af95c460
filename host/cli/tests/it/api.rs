//! The HTTP interface of the service: what it shows and does, whom it lets in, and what it withstands.

mod access;
mod act;
mod commands;
mod crash;
mod disk;
mod document;
mod events;
mod guard;
mod lab;
mod limits;
mod listen;
mod read;
mod tls;
