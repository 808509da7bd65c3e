//! The [`Pace`] of the object store as threads see it: told what happens under a lock, asked without one.
//!
//! Locks: one, for the length of a computation.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::policy::overdue::Usual;
use crate::policy::pace::Pace;
use crate::sync::lock;

/// The pace, and what follows from it.
pub(super) struct Pacer {
    pace: Mutex<Pace>,
    /// [`Pace::planned`] and [`Pace::part_bytes`] as they last were, for reads that need no lock for them.
    planned: AtomicUsize,
    part_bytes: AtomicU64,
    started: Instant,
}

impl Pacer {
    /// The pace of a store of which nothing is known at `now`.
    pub(super) fn new(now: Instant) -> Pacer {
        let pace = Pace::default();
        Pacer {
            planned: AtomicUsize::new(pace.planned()),
            part_bytes: AtomicU64::new(pace.part_bytes()),
            pace: Mutex::new(pace),
            started: now,
        }
    }

    /// [`Pace::streams`]
    pub(super) fn streams(&self) -> usize {
        lock(&self.pace).streams()
    }

    /// [`Pace::planned`]
    pub(super) fn planned(&self) -> usize {
        self.planned.load(Ordering::Relaxed)
    }

    /// [`Pace::part_bytes`]
    pub(super) fn part_bytes(&self) -> u64 {
        self.part_bytes.load(Ordering::Relaxed)
    }

    /// [`Pace::usual`]
    pub(super) fn usual(&self) -> Usual {
        lock(&self.pace).usual()
    }

    /// [`Pace::are_connections_young`]
    pub(super) fn are_connections_young(&self, now: Instant) -> bool {
        lock(&self.pace).are_connections_young(now.saturating_duration_since(self.started))
    }

    /// [`Pace::on_wait`]
    pub(super) fn note_wait(&self) {
        lock(&self.pace).on_wait();
    }

    /// Tells the pace what has happened at `now`. The number of requests ahead from now on, if that has changed.
    pub(super) fn adjust(&self, now: Instant, tell: impl FnOnce(&mut Pace, Duration)) -> Option<usize> {
        let mut pace = lock(&self.pace);
        let before = pace.streams();
        tell(&mut pace, now.saturating_duration_since(self.started));
        self.planned.store(pace.planned(), Ordering::Relaxed);
        self.part_bytes.store(pace.part_bytes(), Ordering::Relaxed);
        let after = pace.streams();
        drop(pace);
        if after == before {
            return None;
        }
        log::debug!("{after} requests ahead at a time, were {before}");
        Some(after)
    }
}
