//! KooFS: a read-only Linux filesystem over a KooDrive share.

pub mod clock;
pub mod config;
pub mod content;
pub mod fs;
pub mod http;
pub mod jobs;
pub mod koodrive;
pub mod policy;
pub mod remote;
