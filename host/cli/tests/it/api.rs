//! The HTTP interface of the service: what it shows and does, whom it lets in, and what it withstands.

mod act;
mod crash;
mod disk;
mod document;
mod events;
mod guard;
mod lab;
mod limits;
mod read;
mod tls;
