//! Where KooFS meets Linux: fuser's requests to the filesystem's operations, the session, and the mount table.
//!
//! The facts about Linux and fuser that this room stands on are in `LINUX.md` beside this file.

pub mod adapter;
pub mod attr;
pub mod errno;
pub mod inquiry;
pub mod keep;
pub mod mountinfo;
pub mod notify;
pub mod process;
pub mod refresh;
pub mod session;
pub mod unmount;
mod volume_info;
