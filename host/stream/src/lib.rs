//! The data plane: moves bytes natively, in large blocks, from a recipe through filters into a sink.
//!
//! A [`Recipe`] describes bytes and can be run any number of times; running it pushes blocks into a
//! [`Blocks`] on a thread of its own. [`pump`](fn@pump::pump) runs one through hashing, compression and encryption
//! into a [`Sink`], and only it can make the [`Completed`] that a sink wants before it commits: so what
//! a failed source left half done can't become a backup. [`read`](fn@read::read) runs one and hands its bytes to
//! code that pulls, such as the tar reader. A [`Fan`] runs one for several sinks at once.
//!
//! Everything here blocks its thread and is called from threads made for it; nothing here knows jobs,
//! plugins or databases. A new origin of bytes is a new [`Recipe`]; a new end is a new [`Sink`]; a new
//! codec goes to [`codec`].

pub mod blocks;
pub mod codec;
pub mod context;
pub mod digest;
pub mod fan;
pub mod process;
pub mod pump;
pub mod read;
pub mod recipe;
pub mod throttle;
pub mod tree;

pub use blocks::Blocks;
pub use context::{Cancel, Context, Notes};
pub use fan::Fan;
pub use pump::{Completed, Sink, Transfer};
pub use recipe::{Produced, Recipe};
pub use throttle::Throttle;
