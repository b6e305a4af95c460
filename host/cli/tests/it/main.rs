//! The `backstay` program as its users meet it: real data, real tools, real crashes.

mod abort;
mod configuration;
mod crash;
mod damage;
mod guards;
mod hostile_plugins;
mod roundtrip;
mod zfs;
