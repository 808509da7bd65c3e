//! Secrets from outside this process: files that only their owner can read, and commands that print them; and how they stay
//! in this process once they are in it.
//!
//! Owns the system calls for all three, their bounds, and errors that tell the remedy and nothing of the secret. Knows nothing of what a
//! secret is for. Threads: any; a command blocks its caller. No locks.

mod command;
mod file;
mod process;

pub use command::{COMMAND_LIMIT, CommandError, run_command};
pub use file::{FileStamp, SecretFileError, read_secret};
pub use process::protect_process;
