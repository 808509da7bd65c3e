//! Where KooFS meets Linux: the mount table, the FUSE session, and unmounting only what is ours.

pub mod mountinfo;
pub mod session;
pub mod unmount;
