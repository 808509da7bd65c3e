//! What the content room is told at the start.

use std::time::Duration;

use crate::policy::budget::Budget;

/// What the content room is told at the start.
#[derive(Clone, Copy, Debug)]
pub struct ContentConfig {
    /// The budget of all cached and prefetched bytes.
    pub budget: Budget,
    /// The deadline of every operation.
    pub op_timeout: Duration,
    /// The most that is read of the line; `None` for all that it brings.
    pub bytes_per_second: Option<u64>,
}
