//! The catalogue of a machine that is gone, rebuilt on a fresh one from nothing but what is at the destination.

mod crash;
mod hostile;
mod lab;
mod rebuild;
