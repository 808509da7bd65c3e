//! The kernel's side of the house: fuser's requests to the filesystem's operations, and the mount itself.

pub mod adapter;
pub mod attr;
pub mod errno;
