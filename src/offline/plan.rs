//! What a drive that may be out of reach is told, and what it tells.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::facts::Facts;
use crate::clock::Clock;
use crate::remote::{Remote, RemoteErrorKind};

/// Why a source could not be opened, and what that means.
pub struct Failed<E> {
    /// For whoever asked.
    pub error: E,
    /// What it means.
    pub meaning: Meaning,
}

/// What an opening comes to.
pub type Opened<E> = Result<Arc<dyn Remote>, Failed<E>>;

/// What a failed opening means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The service was not reached: how, in words.
    Unreached(String),
    /// The service refuses it.
    Refused(RemoteErrorKind),
    /// Anything else: it may be opened later.
    Other,
}

/// Keeps what is known of a source, as it was at that time.
pub type Keep = Box<dyn Fn(&Facts, SystemTime) + Send + Sync>;

/// What a drive is told at the start.
pub struct Plan {
    /// For deadlines and pauses.
    pub clock: Arc<dyn Clock>,
    /// The most that one call may take; nothing must be reached for so long before the drive is offline.
    pub op_timeout: Duration,
    /// Whether it may be offline at all.
    pub may_be_offline: bool,
    /// What is known of the source from before.
    pub known: Option<Facts>,
    /// Whether the service has answered anything yet.
    pub has_answered: Box<dyn Fn() -> bool + Send + Sync>,
    /// Keeps what is known of the source, as it was when the service last answered.
    pub keep: Keep,
    /// The service refuses the source: nothing of it is to be kept. May block.
    pub take_away: Box<dyn Fn() + Send + Sync>,
}

/// What happens to a drive after its mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The service is reached again.
    Back,
    /// The service refuses the source: nothing of it is to be shown.
    TakenAway,
}
