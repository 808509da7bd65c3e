//! Pure arithmetic and parsing: small values, tested with arithmetic in their own files.
//!
//! Known by all rooms; knows only `std` (and `jiff` for dates). No clock, no IO, no threads: `tests/suite/layers.rs` sees to it.

pub mod allowance;
pub mod bandwidth;
pub mod breaker;
pub mod budget;
pub mod glob;
pub mod hash;
pub mod link_expiry;
pub mod linux;
pub mod name;
pub mod outage;
pub mod overdue;
pub mod pace;
pub mod percent;
pub mod printable;
pub mod range;
pub mod readahead;
pub mod retry;
pub mod room;
pub mod sequence;
pub mod server_time;
pub mod shell;
pub mod size;
