//! Which readers are active, and what share of the memory budget each has.
//!
//! A reader has a claim on the budget from its first read until it is closed, or has not read for a while. The shares are computed
//! when a reader comes or goes; a read that finds its bytes in memory only looks at them, and says when it was (three atomics).
//! Locks: one, never taken by such a read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::policy::budget::{Budget, Shares};
use crate::sync::lock;

/// A reader that has read nothing for so long has no claim on the budget any more.
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// The active readers of one mount.
pub(super) struct Running {
    budget: Budget,
    clock: Arc<dyn Clock>,
    started: Instant,
    readers: Mutex<HashMap<u64, Arc<Activity>>>,
    /// When idle readers are looked for again, in milliseconds since the start.
    next_look_ms: AtomicU64,
    /// The window of each reader ([`Shares::window_bytes`]), what is counted for replies, and how many readers there are.
    window_bytes: AtomicU64,
    replies_bytes: AtomicU64,
    count: AtomicU64,
}

/// When one reader has last read.
#[derive(Default)]
pub(super) struct Activity {
    last_read_ms: AtomicU64,
    is_running: AtomicBool,
}

impl Running {
    /// Nobody reads yet.
    pub(super) fn new(budget: Budget, clock: Arc<dyn Clock>) -> Running {
        let (started, next_look_ms) = (clock.now(), AtomicU64::new(0));
        let Shares { window_bytes, replies_bytes, .. } = budget.shares(1);
        let (window_bytes, replies_bytes) = (AtomicU64::new(window_bytes), AtomicU64::new(replies_bytes));
        let (readers, count) = (Mutex::default(), AtomicU64::new(1));
        Running { budget, clock, started, readers, next_look_ms, window_bytes, replies_bytes, count }
    }

    /// The budget that is shared.
    pub(super) fn budget(&self) -> Budget {
        self.budget
    }

    /// How far ahead of each reader bytes may be fetched while `outside_bytes` of blocks are held that the cache has given up. What is
    /// more of these than replies hold waits for the disk: the slower that is, the less is fetched ahead.
    pub(super) fn window_bytes(&self, outside_bytes: u64) -> u64 {
        let unwritten = outside_bytes.saturating_sub(self.replies_bytes.load(Ordering::Relaxed));
        let share = unwritten / self.count.load(Ordering::Relaxed).max(1);
        self.window_bytes.load(Ordering::Relaxed).saturating_sub(share)
    }

    /// Notes a read by reader `number`. If that changes the shares, returns the new ones for the caller to apply.
    pub(super) fn note_read(&self, number: u64, activity: &Arc<Activity>) -> Option<Shares> {
        let now = self.clock.now().saturating_duration_since(self.started);
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        activity.last_read_ms.store(now_ms, Ordering::Relaxed);
        let is_new = !activity.is_running.swap(true, Ordering::Relaxed);
        let is_time_to_look = now_ms >= self.next_look_ms.load(Ordering::Relaxed);
        if !is_new && !is_time_to_look {
            return None;
        }
        let idle_ms = u64::try_from(IDLE_AFTER.as_millis()).unwrap_or(u64::MAX);
        let mut readers = lock(&self.readers);
        let before = readers.len();
        readers.insert(number, Arc::clone(activity));
        if is_time_to_look {
            self.next_look_ms.store(now_ms.saturating_add(idle_ms), Ordering::Relaxed);
            readers.retain(|_, other| {
                let is_idle = now_ms.saturating_sub(other.last_read_ms.load(Ordering::Relaxed)) >= idle_ms;
                if is_idle {
                    other.is_running.store(false, Ordering::Relaxed);
                }
                !is_idle
            });
        }
        (readers.len() != before).then(|| self.share(readers.len()))
    }

    /// Reader `number` is closed. The shares of those that are left, or `None` if nobody reads any more.
    pub(super) fn note_closed(&self, number: u64) -> Option<Shares> {
        let mut readers = lock(&self.readers);
        readers.remove(&number);
        let count = readers.len();
        let shares = self.share(count);
        (count > 0).then_some(shares)
    }

    /// To be called under the lock, so that the last to come or go has the last word.
    fn share(&self, readers: usize) -> Shares {
        let shares = self.budget.shares(readers);
        self.window_bytes.store(shares.window_bytes, Ordering::Relaxed);
        self.replies_bytes.store(shares.replies_bytes, Ordering::Relaxed);
        self.count.store(readers as u64, Ordering::Relaxed);
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_waits_for_the_disk_goes_off_the_look_ahead_and_what_replies_hold_does_not() {
        let running = Running::new(Budget::new(256 * MIB), Arc::new(SystemClock));
        running.note_read(1, &Arc::default());
        let Shares { window_bytes, replies_bytes, .. } = running.budget().shares(1);
        assert_eq!(running.window_bytes(replies_bytes), window_bytes);
        assert_eq!(running.window_bytes(replies_bytes + 50 * MIB), window_bytes - 50 * MIB);
        running.note_read(2, &Arc::default());
        let Shares { window_bytes, replies_bytes, .. } = running.budget().shares(2);
        assert_eq!(running.window_bytes(replies_bytes + 50 * MIB), window_bytes - 25 * MIB);
        assert_eq!(running.window_bytes(1 << 40), 0);
        running.note_closed(1);
        running.note_closed(2);
        assert_eq!(running.window_bytes(0), running.budget().shares(0).window_bytes);
    }
}
