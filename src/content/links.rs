//! Links to the content of files, each until it expires: an LRU, fed by listings for free and by the service on demand.
//!
//! One id is never asked for twice at once, and ids that are wanted at about the same time share a call where the service
//! allows it. Callers are worker threads; they wait here for a call that another of them makes.
//! Locks: one, never held over a call.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::ContentError;
use crate::clock::{Clock, lock};
use crate::policy::link_expiry::renew_at;
use crate::remote::{Link, NodeId, Remote, RemoteError, RemoteErrorKind};

/// The most links that are kept. A link is about 600 bytes, so this is about 20 MiB; a directory of 20,000 files fits.
const LINKS_MAX: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");

/// How long the first to want a link waits for others to share its call, where calls can be shared. Far below a round
/// trip, and longer than it takes to start the fetches of a batch.
const GATHER: Duration = Duration::from_millis(3);

/// A call for one link: set once, when the call has returned.
type Flight = Arc<OnceLock<Result<Link, Arc<RemoteError>>>>;

/// All links, and the calls under way for more.
pub struct LinkStore {
    remote: Arc<dyn Remote>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    landed: Condvar,
}

struct State {
    links: LruCache<NodeId, Link>,
    /// Ids whose link is wanted and not there yet. Bounded by the worker threads, who wait, and what is fetched ahead.
    flights: HashMap<NodeId, Flight>,
    /// Ids of `flights` that no call has taken yet.
    wanted: VecDeque<NodeId>,
}

impl LinkStore {
    /// No links yet.
    pub fn new(remote: Arc<dyn Remote>, clock: Arc<dyn Clock>) -> LinkStore {
        let state = State { links: LruCache::new(LINKS_MAX), flights: HashMap::new(), wanted: VecDeque::new() };
        LinkStore { remote, clock, state: Mutex::new(state), landed: Condvar::new() }
    }

    /// A link came with a listing. Kept unless it is about to expire.
    pub fn offer(&self, id: &NodeId, link: Link) {
        if self.is_usable(&link) {
            lock(&self.state).links.put(id.clone(), link);
        }
    }

    /// The store has refused `link`: it is not given out again.
    pub fn refuse(&self, id: &NodeId, link: &Link) {
        let mut state = lock(&self.state);
        if state.links.peek(id) == Some(link) {
            state.links.pop(id);
        }
    }

    /// A usable link, from memory or from the service.
    ///
    /// # Errors
    /// What the service said, or a timeout if another thread's call takes past `deadline`.
    pub fn get(&self, id: &NodeId, deadline: Instant) -> Result<Link, ContentError> {
        let mut state = lock(&self.state);
        if let Some(link) = state.links.get(id) {
            if self.is_usable(link) {
                return Ok(link.clone());
            }
            state.links.pop(id);
        }
        let (flight, is_new) = state.take_off(id);
        if is_new && state.wanted.len() < self.batch_max() {
            drop(state);
            if self.is_batching() {
                self.clock.sleep(GATHER);
            }
            state = lock(&self.state);
        }
        // Whoever needs a link that no call has taken yet makes a call: nobody waits for a thread that may not come.
        while state.wanted.contains(id) {
            drop(state);
            self.call_for_wanted(deadline);
            state = lock(&self.state);
        }
        self.await_landing(state, &flight, deadline).map_err(ContentError::Link)
    }

    /// Makes one call for the links that have been wanted longest, if any are wanted. Blocks: for worker threads.
    pub(super) fn call_for_wanted(&self, deadline: Instant) {
        let ids: Vec<NodeId> = {
            let mut state = lock(&self.state);
            let count = state.wanted.len().min(self.batch_max());
            state.wanted.drain(..count).collect()
        };
        if !ids.is_empty() {
            let mut call = Call { store: self, ids: &ids, results: Vec::new() };
            // Lands its results when it is dropped; a call that panicked lands without any.
            call.results = self.remote.resolve_links(&ids, deadline);
        }
    }

    fn batch_max(&self) -> usize {
        self.remote.max_links_per_call().max(1)
    }

    /// Whether a link for `id` is neither there nor on its way.
    pub fn lacks(&self, id: &NodeId) -> bool {
        let state = lock(&self.state);
        !state.flights.contains_key(id) && !state.links.peek(id).is_some_and(|link| self.is_usable(link))
    }

    /// Whether the service gives several links for one call.
    pub fn is_batching(&self) -> bool {
        self.remote.max_links_per_call() > 1
    }

    /// The links that are lacking of `ids`, as many as one call may name, are wanted from now on; `false` if none is lacking. A
    /// call for them is up to the caller, or to the first who needs one.
    pub(super) fn want(&self, ids: &[NodeId]) -> bool {
        let lacking: Vec<&NodeId> = ids.iter().filter(|id| self.lacks(id)).take(self.batch_max()).collect();
        let mut state = lock(&self.state);
        for id in &lacking {
            state.take_off(id);
        }
        !lacking.is_empty()
    }

    fn is_usable(&self, link: &Link) -> bool {
        self.clock.utc() < renew_at(link.expires_at, link.lifetime)
    }

    fn await_landing(
        &self,
        mut state: MutexGuard<'_, State>,
        flight: &Flight,
        deadline: Instant,
    ) -> Result<Link, Arc<RemoteError>> {
        loop {
            if let Some(result) = flight.get() {
                return result.clone();
            }
            let remaining = deadline.saturating_duration_since(self.clock.now());
            if remaining.is_zero() {
                return Err(Arc::new(RemoteError::new(RemoteErrorKind::Timeout, "no link before the deadline")));
            }
            state = match self.landed.wait_timeout(state, remaining) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl State {
    /// The flight of a link that is wanted, and whether it is a new one.
    fn take_off(&mut self, id: &NodeId) -> (Flight, bool) {
        if let Some(flight) = self.flights.get(id) {
            return (Arc::clone(flight), false);
        }
        let flight = Flight::default();
        self.flights.insert(id.clone(), Arc::clone(&flight));
        self.wanted.push_back(id.clone());
        (flight, true)
    }
}

/// A call for the links of `ids`. When it is over, however that comes, nobody waits for it any more.
struct Call<'a> {
    store: &'a LinkStore,
    ids: &'a [NodeId],
    results: Vec<Result<Link, RemoteError>>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut results = self.results.drain(..);
        let mut state = lock(&self.store.state);
        for id in self.ids {
            let result = results.next().unwrap_or_else(|| {
                Err(RemoteError::new(RemoteErrorKind::Malformed, "the service's answer leaves this file's link out"))
            });
            if let Ok(link) = &result {
                state.links.put(id.clone(), link.clone());
            }
            if let Some(flight) = state.flights.remove(id) {
                let _ = flight.set(result.map_err(Arc::new));
            }
        }
        drop(state);
        self.store.landed.notify_all();
    }
}
