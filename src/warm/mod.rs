//! `koofs warm`: has what is below some paths of a mount on disk, ahead of a journey.
//!
//! It walks the mount like any program, and asks it for each directory and each piece of a file to have that on disk for sure
//! ([`crate::kernel::keep`]): the mount answers when it is written, so that nothing is asked for faster than the disk takes it. What is
//! there already costs no request, so a walk that was interrupted goes on where it was. Touches no network and no disk itself.
//!
//! Threads: a few that walk, which end with the call. Locks: one, of what is still to do, never held over a request.

mod outcome;
mod todo;
mod walk;

pub use outcome::Warmed;
pub use walk::warm;
