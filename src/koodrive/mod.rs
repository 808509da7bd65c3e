//! The KooDrive API: its calls, its answers, its credentials.
//!
//! Owns everything that is peculiar to the service. Must not know inodes or blocks. JSON stops at `wire`, HTTP at
//! [`crate::http`]; what leaves this room are the types of [`crate::remote`].

mod auth;
mod calls;
mod convert;
mod envelope;
mod open;
mod share;
mod wire;

pub use open::OpenError;
pub use share::{ShareClient, ShareInfo};
