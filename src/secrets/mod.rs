//! Secrets from outside this process: files that only their owner can read, and commands that print them; and how
//! other processes are kept from reading them in this one.
//!
//! Owns the system calls for all three, their bounds, and errors that name the remedy and show nothing of the secret. Knows
//! nothing of what a secret is for. Threads: any; a command blocks its caller. No locks.

mod command;
mod file;
mod process;

pub use command::{COMMAND_LIMIT, CommandError, run_command};
pub use file::{FileStamp, SecretFileError, read_secret};
pub use process::protect_process;
