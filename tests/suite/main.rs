//! Laws of KooFS that take more than one room, in one binary.

#![allow(clippy::unwrap_used)]

mod cli_laws;
mod listing_laws;
mod mounted;
mod session_laws;
