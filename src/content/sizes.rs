//! Lengths of files that the service lists without one: asked of the object store, by a range of two bytes, and remembered.
//!
//! There is at most one request for each file at a time. Locks: one, never held over a request or a completion.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use lru::LruCache;

use super::ContentError;
use super::fetcher::Fetcher;
use super::object_store;
use crate::jobs::{Attempt, Class, End, Failure, Task, Ticket, Urgency};
use crate::policy::printable::one_line;
use crate::policy::range::{self, ByteRange, SizeVerdict, Verdict};
use crate::remote::{RemoteErrorKind, Revision};
use crate::sync::lock;

/// The most lengths that are remembered, of about 150 bytes each.
const MAX_SIZES: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Called with the length.
pub type SizeDone = Box<dyn FnOnce(Result<u64, ContentError>) + Send>;

/// The lengths that are known, and the requests under way for more.
pub(super) struct Sizes(Mutex<State>);

struct State {
    known: LruCache<Revision, u64>,
    /// Who waits for which request. Bounded by the operations that wait.
    asked: HashMap<Revision, (Ticket, Vec<SizeDone>)>,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes(Mutex::new(State { known: LruCache::new(MAX_SIZES), asked: HashMap::new() }))
    }
}

impl Sizes {
    /// The length, if it was asked for before.
    pub(super) fn known(&self, key: &Revision) -> Option<u64> {
        lock(&self.0).known.get(key).copied()
    }

    /// Forgets a length: the object has changed since.
    pub(super) fn forget(&self, key: &Revision) {
        lock(&self.0).known.pop(key);
    }

    /// Asks the store, until `deadline`; `done` is called on a worker thread.
    pub(super) fn ask(self: &Arc<Self>, fetcher: &Arc<Fetcher>, key: Revision, deadline: Instant, done: SizeDone) {
        if !fetcher.has_room(Class::Foreground) {
            return done(Err(ContentError::Overloaded));
        }
        let mut state = lock(&self.0);
        if let Some((ticket, waiters)) = state.asked.get_mut(&key) {
            waiters.push(done);
            let ticket = ticket.clone();
            drop(state);
            // A request that has ended has answered its waiters already.
            ticket.promote(deadline);
            return;
        }
        let task = SizeTask {
            sizes: Arc::clone(self),
            fetcher: Arc::clone(fetcher),
            key: key.clone(),
            progress: Mutex::default(),
        };
        let ticket = fetcher.ticket(Arc::new(task));
        state.asked.insert(key, (ticket.clone(), vec![done]));
        drop(state);
        ticket.start(Urgency::Awaited(deadline));
    }

    fn answer(&self, key: &Revision, result: Result<u64, ContentError>) {
        let waiters = {
            let mut state = lock(&self.0);
            if let Ok(size) = result {
                state.known.put(key.clone(), size);
            }
            state.asked.remove(key).map(|(_, waiters)| waiters).unwrap_or_default()
        };
        for done in waiters {
            done(result.clone());
        }
    }
}

/// One request for a length.
struct SizeTask {
    sizes: Arc<Sizes>,
    fetcher: Arc<Fetcher>,
    key: Revision,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    refusals: u32,
    error: Option<ContentError>,
}

impl SizeTask {
    fn ask(&self, deadline: Instant) -> Result<u64, ContentError> {
        loop {
            let link = self.fetcher.links().get(&self.key, deadline)?;
            // Two bytes, as OBS ignores a range of one (policy::range::never_one_byte).
            let answer = self.fetcher.request(&link, ByteRange::new(0, 2), None, deadline)?;
            match range::judge_size(answer.head()) {
                SizeVerdict::Is(size) => return Ok(size),
                SizeVerdict::Unknown(Verdict::RefusedLink) => {
                    self.fetcher.links().refuse(&self.key, &link);
                    let refusals = {
                        let mut progress = lock(&self.progress);
                        progress.refusals += 1;
                        progress.refusals
                    };
                    if refusals >= super::progress::MAX_REFUSALS {
                        return Err(ContentError::Refused { status: answer.status });
                    }
                }
                SizeVerdict::Unknown(Verdict::Throttled) => {
                    return Err(object_store::busy(&answer, RemoteErrorKind::Throttled));
                }
                SizeVerdict::Unknown(Verdict::Unavailable) => {
                    return Err(object_store::busy(&answer, RemoteErrorKind::Unavailable));
                }
                SizeVerdict::Unknown(Verdict::Refused) => {
                    return Err(ContentError::Refused { status: answer.status });
                }
                SizeVerdict::Unknown(_) => return Err(ContentError::Malformed { status: answer.status }),
            }
        }
    }
}

impl Task for SizeTask {
    fn attempt(&self, _ticket: &Ticket, deadline: Instant) -> Attempt {
        match self.ask(deadline) {
            Ok(size) => {
                self.sizes.answer(&self.key, Ok(size));
                Attempt::Done
            }
            Err(error) => {
                let (kind, retry_after) = (error.failure_kind(), error.retry_after());
                log::debug!("the length of a file could not be asked for: {}", one_line(&error));
                lock(&self.progress).error = Some(error);
                Attempt::Failed(Failure { kind, retry_after, has_progressed: false })
            }
        }
    }

    fn end(&self, why: End) {
        let error = match why {
            End::Failed => lock(&self.progress).error.take().unwrap_or(ContentError::Internal),
            End::Panicked => ContentError::Internal,
            End::Cancelled | End::Closed => ContentError::Cancelled,
        };
        self.sizes.answer(&self.key, Err(error));
    }

    fn retries_guesses(&self) -> bool {
        false
    }
}
