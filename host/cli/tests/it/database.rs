//! Databases are backed up while they are written to, restored and cleaned up after, on real servers.

mod crash;
pub(crate) mod desk;
mod drill;
mod failures;
mod mariadb;
mod postgres;
mod refusals;
mod secrets;
pub(crate) mod sqlite;
mod tls;
