//! Several destinations of one run: the source is read once, all of them get the same bytes, none that is optional holds
//! up or harms one that isn't, and what fails leaves nothing anywhere.

mod crash;
mod critical;
mod desk;
mod once;
mod optional;
