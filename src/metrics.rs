//! `--metrics`: what `koofs status` says of a mount, for Prometheus, on an address of this machine or a socket.
//!
//! Owns the socket and its one thread. Knows how to speak as much HTTP as a scrape takes, and the lines of a report; nothing of what
//! they count. One question at a time, each with a time limit: who is slow delays other scrapes by seconds, and the mount not at all.

mod families;
mod server;

pub use families::exposition;
pub use server::Endpoint;
