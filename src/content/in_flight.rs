//! Requests to the object store that have not ended: how many, for what, and what the HTTP client holds for them.
//!
//! Locks: one, for the list, held for a push or a removal.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::blocks::BlockCache;
use super::object::Object;
use crate::policy::budget::CLIENT_BUFFER_BYTES;
use crate::policy::range::ByteRange;
use crate::remote::{NodeId, Version};
use crate::sync::lock;

/// Requests on their way. As many as there are threads, at most.
#[derive(Default)]
pub(super) struct InFlight {
    count: AtomicUsize,
    fetches: Mutex<Fetches>,
}

#[derive(Default)]
struct Fetches {
    next: u64,
    running: Vec<(u64, Fetch)>,
}

/// A range that is being fetched.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Of which file.
    pub id: NodeId,
    /// Of which version of it.
    pub version: Version,
    /// Which bytes were asked for.
    pub range: ByteRange,
    /// When.
    pub since: Instant,
}

impl InFlight {
    /// A request for the bytes `asked` goes out, which `blocks` has the budget for; it is over when the answer is dropped.
    pub(super) fn start<'a>(&'a self, blocks: &'a BlockCache, asked: ByteRange) -> Request<'a> {
        let held_bytes = asked.len().min(CLIENT_BUFFER_BYTES);
        self.count.fetch_add(1, Ordering::Relaxed);
        blocks.charge(held_bytes);
        Request { all: self, blocks, held_bytes, number: None }
    }

    /// How many are on their way.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The fetches among them, the oldest first.
    pub(super) fn fetches(&self) -> Vec<Fetch> {
        self.list().running.iter().map(|(_, fetch)| fetch.clone()).collect()
    }

    fn list(&self) -> MutexGuard<'_, Fetches> {
        lock(&self.fetches)
    }
}

/// A request, counted and charged for as long as it is on its way.
pub(super) struct Request<'a> {
    all: &'a InFlight,
    blocks: &'a BlockCache,
    held_bytes: u64,
    /// In the list of fetches.
    number: Option<u64>,
}

impl Request<'_> {
    /// It fetches `range` of `object` since `since`.
    pub(super) fn of(mut self, object: &Object, range: ByteRange, since: Instant) -> Self {
        let fetch = Fetch { id: object.id.clone(), version: object.version, range, since };
        let mut list = self.all.list();
        let number = list.next;
        list.next += 1;
        list.running.push((number, fetch));
        drop(list);
        self.number = Some(number);
        self
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.blocks.uncharge(self.held_bytes);
        self.all.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(number) = self.number {
            self.all.list().running.retain(|(other, _)| *other != number);
        }
    }
}
