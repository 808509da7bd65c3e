//! KooFS: a read-only Linux filesystem over a KooDrive share.

pub mod cli;
pub mod clock;
pub mod config;
pub mod content;
pub mod fs;
pub mod http;
pub mod jobs;
pub mod kernel;
pub mod koodrive;
pub mod listing;
pub mod mount;
pub mod policy;
pub mod remote;
pub mod secrets;
pub mod spaces;
