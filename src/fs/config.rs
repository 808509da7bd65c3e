//! What the filesystem is told at the start.

use std::time::Duration;

use super::users::Process;

/// What the filesystem is told at the start.
#[derive(Clone, Copy, Debug)]
pub struct FsConfig {
    /// For how long a complete listing is believed.
    pub ttl: Duration,
    /// The same while the service cannot be reached, if it is longer.
    pub offline_for: Duration,
    /// The deadline of every operation.
    pub op_timeout: Duration,
    /// Whether a process is still there; asked on worker threads, for what is only worth doing if it is.
    pub is_alive: fn(u32) -> bool,
    /// Whether a thread is being killed; asked on the timer's thread, for those who wait long, so it must not wait.
    pub is_killed: fn(u32) -> bool,
    /// Whose a thread is that a request names; asked once for each, where something is opened, so it must not wait.
    pub process_of: fn(u32) -> Process,
}
