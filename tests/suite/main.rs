//! The suite: rooms over fakes, clients over scripted servers, real mounts, and the layers. One binary.
#![allow(clippy::unwrap_used, missing_docs)]

mod object_client;
mod scripted_server;
mod share_client;
