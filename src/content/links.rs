//! Links to the content of files, each kept until it expires: an LRU, filled for free by listings, and by calls on demand.
//!
//! There is at most one call for each file at a time, and files that are wanted at about the same time share a call where the
//! service allows it. A call that is refused as a whole may be refused for one of its files: it is made again in parts, until
//! only the bad ones have failed. Callers are worker threads; they wait here for a call that another of them makes. Locks: one,
//! never held over a call.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::ContentError;
use crate::clock::Clock;
use crate::policy::link_expiry::renew_at;
use crate::policy::retry::FailureKind;
use crate::remote::{Link, LinkResults, NodeId, Remote, RemoteError, RemoteErrorKind, Revision};
use crate::single_flight::{SingleFlight, TimedOut};
use crate::stats::Counter;

/// The most links that are kept. A link is about 600 bytes, so this is about 20 MiB; a directory of 20,000 files fits.
const MAX_LINKS: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");

/// How long the first to want a link waits for others to share its call, where calls can be shared. Far below a round
/// trip, and longer than it takes to start the fetches of a batch.
const GATHER: Duration = Duration::from_millis(3);

/// For how long a file that was refused a link shares no call, and is not asked for ahead. Whoever reads it asks for it all the
/// same, so this delays nobody.
const REFUSED_FOR: Duration = Duration::from_secs(600);

/// How many such files are remembered.
const MAX_REFUSED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// The most calls that are made in a row for links nobody waits for. Finding two bad ones among a hundred takes 27.
const MAX_CALLS_AHEAD: usize = 32;

/// The result of asking for one link: set once.
type Outcome = Arc<OnceLock<Result<Link, Arc<RemoteError>>>>;

/// All links, and the calls under way for more.
pub struct LinkStore {
    remote: Arc<dyn Remote>,
    clock: Arc<dyn Clock>,
    calls: SingleFlight<State>,
    /// Links that were given up because they had expired or were refused.
    outlived: Counter,
}

struct State {
    links: LruCache<Revision, Link>,
    /// Ids whose link is wanted and not there yet. Bounded by the worker threads, who wait, and what is fetched ahead.
    wishes: HashMap<Revision, Wish>,
    /// The wishes that no call has taken yet, by the call that they are to share.
    batches: VecDeque<Batch>,
    /// Files that were refused a link, until when that is remembered.
    refused: LruCache<Revision, Instant>,
}

struct Wish {
    outcome: Outcome,
    /// Somebody waits for it, or did: else it is a guess.
    is_awaited: bool,
}

/// Files of one call.
struct Batch {
    files: Vec<Revision>,
    /// A call that named these was refused, perhaps for one of them: no other file joins them.
    is_suspect: bool,
}

impl LinkStore {
    /// No links yet.
    pub fn new(remote: Arc<dyn Remote>, clock: Arc<dyn Clock>) -> LinkStore {
        let state = State {
            links: LruCache::new(MAX_LINKS),
            wishes: HashMap::new(),
            batches: VecDeque::new(),
            refused: LruCache::new(MAX_REFUSED),
        };
        LinkStore { remote, clock, calls: SingleFlight::new(state), outlived: Counter::default() }
    }

    /// A link came with a listing. Kept unless it is about to expire.
    pub fn offer(&self, file: &Revision, link: Link) {
        if self.is_usable(&link) {
            self.calls.state().links.put(file.clone(), link);
        }
    }

    /// The store has refused `link`: it is not given out again.
    pub fn refuse(&self, file: &Revision, link: &Link) {
        let mut state = self.calls.state();
        if state.links.peek(file) == Some(link) {
            self.outlived.count();
            state.links.pop(file);
        }
    }

    /// How many links were given up because they had expired or were refused.
    pub(super) fn outlived(&self) -> u64 {
        self.outlived.get()
    }

    /// A usable link, from memory or from the service.
    ///
    /// # Errors
    /// What the service said, or a timeout if another thread's call takes past `deadline`.
    pub fn get(&self, file: &Revision, deadline: Instant) -> Result<Link, ContentError> {
        let mut state = self.calls.state();
        if let Some(link) = state.links.get(file) {
            if self.is_usable(link) {
                return Ok(link.clone());
            }
            self.outlived.count();
            state.links.pop(file);
        }
        let (outcome, has_room) = state.wish(file, true, self.batch_max(), self.clock.now());
        if has_room {
            drop(state);
            self.clock.sleep(GATHER);
            state = self.calls.state();
        }
        loop {
            if let Some(result) = outcome.get() {
                return result.clone().map_err(ContentError::Link);
            }
            // Whoever needs a link that no call has taken yet makes the call: nobody waits for a thread that may not come.
            if let Some(files) = state.take_batch_of(file) {
                drop(state);
                self.call(files, deadline);
                state = self.calls.state();
                continue;
            }
            let waited = self.calls.wait(state, self.clock.as_ref(), deadline);
            state = waited.map_err(|TimedOut| {
                let error = RemoteError::new(RemoteErrorKind::Timeout, "no link before the deadline");
                ContentError::Link(Arc::new(error))
            })?;
        }
    }

    /// Makes the calls for links that nobody waits for yet; if they are refused, so many of their parts as [`MAX_CALLS_AHEAD`] allows.
    /// Blocks: for worker threads.
    pub(super) fn call_ahead(&self, deadline: Instant) {
        for _ in 0..MAX_CALLS_AHEAD {
            let guesses = self.calls.state().take_guesses(false);
            let Some(files) = guesses else { return };
            self.call(files, deadline);
        }
        // What is left is asked for when somebody reads it, each file by itself.
        let mut state = self.calls.state();
        while let Some(files) = state.take_guesses(true) {
            let until = self.clock.now() + REFUSED_FOR;
            for file in files {
                state.wishes.remove(&file);
                state.refused.put(file, until);
            }
        }
    }

    /// Makes one call. When it is over, even by a panic, each of `files` is settled or in a batch again.
    fn call(&self, files: Vec<Revision>, deadline: Instant) {
        let ids: Vec<NodeId> = files.iter().map(|file| file.id.clone()).collect();
        let call = || {
            let answer = self.remote.resolve_links(&ids, deadline);
            if let Err(error) = &answer
                && is_to_be_split(&files, error)
            {
                log::debug!("links: a call for {} files is refused, and made again in parts: {error}", files.len());
            }
            answer
        };
        self.calls.fly(call, |state, answer| state.land(&files, answer, self.clock.now()));
    }

    /// Whether the service can be asked, as far as is known.
    ///
    /// # Errors
    /// That it cannot; it is tried soon.
    pub(super) fn reachable(&self) -> Result<(), ContentError> {
        if !self.remote.is_offline() {
            return Ok(());
        }
        self.remote.try_soon();
        let error = RemoteError::new(RemoteErrorKind::Offline, "offline: the service cannot be reached");
        Err(ContentError::Link(Arc::new(error)))
    }

    /// The object store could not be reached.
    pub(super) fn doubt_service(&self) {
        self.remote.doubt();
    }

    fn batch_max(&self) -> usize {
        self.remote.max_links_per_call().max(1)
    }

    /// Whether a link for `file` is neither there nor on its way, and may be had as far as is known.
    pub fn lacks(&self, file: &Revision) -> bool {
        let state = self.calls.state();
        !state.wishes.contains_key(file)
            && !state.links.peek(file).is_some_and(|link| self.is_usable(link))
            && !state.is_refused(file, self.clock.now())
    }

    /// Whether the service has refused a link for `file` not long ago: not worth a guess.
    pub(super) fn is_refused(&self, file: &Revision) -> bool {
        self.calls.state().is_refused(file, self.clock.now())
    }

    /// Whether the service gives several links for one call.
    pub fn is_batching(&self) -> bool {
        self.remote.max_links_per_call() > 1
    }

    /// Whether there are wishes that nobody waits for and no call has taken.
    pub(super) fn has_guesses(&self) -> bool {
        let state = self.calls.state();
        state.batches.iter().flat_map(|batch| &batch.files).any(|file| !state.is_awaited(file))
    }

    /// The links that are lacking of `files`, as many as one call may name, are wanted from now on. A call for them is up to the
    /// caller, or to the first who needs one.
    pub(super) fn want(&self, files: &[Revision]) {
        let lacking: Vec<&Revision> = files.iter().filter(|file| self.lacks(file)).take(self.batch_max()).collect();
        let (batch_max, now) = (self.batch_max(), self.clock.now());
        let mut state = self.calls.state();
        for file in lacking {
            state.wish(file, false, batch_max, now);
        }
    }

    fn is_usable(&self, link: &Link) -> bool {
        self.clock.utc() < renew_at(link.expires_at, link.lifetime)
    }
}

impl State {
    fn is_awaited(&self, file: &Revision) -> bool {
        self.wishes.get(file).is_some_and(|wish| wish.is_awaited)
    }

    fn is_refused(&self, file: &Revision, now: Instant) -> bool {
        self.refused.peek(file).is_some_and(|until| now < *until)
    }

    /// Wants a link; where its outcome will stand, and whether others can still join its call.
    fn wish(&mut self, file: &Revision, is_awaited: bool, batch_max: usize, now: Instant) -> (Outcome, bool) {
        if let Some(wish) = self.wishes.get_mut(file) {
            wish.is_awaited |= is_awaited;
            return (Arc::clone(&wish.outcome), false);
        }
        let outcome = Outcome::default();
        self.wishes.insert(file.clone(), Wish { outcome: Arc::clone(&outcome), is_awaited });
        if self.is_refused(file, now) {
            self.batches.push_back(Batch { files: vec![file.clone()], is_suspect: true });
            return (outcome, false);
        }
        // Its own call if the id is named there for an earlier revision.
        let can_join = |batch: &Batch| {
            !batch.is_suspect && batch.files.len() < batch_max && batch.files.iter().all(|other| other.id != file.id)
        };
        let open = self.batches.iter_mut().rev().find(|batch| can_join(batch));
        let count = match open {
            Some(batch) => {
                batch.files.push(file.clone());
                batch.files.len()
            }
            None => {
                self.batches.push_back(Batch { files: vec![file.clone()], is_suspect: false });
                1
            }
        };
        (outcome, count < batch_max)
    }

    /// Takes the files that are to be asked for with `file`, which somebody waits for; `None` if a call has taken it. Of files that are
    /// suspect, those that nobody waits for are left.
    fn take_batch_of(&mut self, file: &Revision) -> Option<Vec<Revision>> {
        let index = self.batches.iter().position(|batch| batch.files.contains(file))?;
        let batch = self.batches.remove(index)?;
        if !batch.is_suspect {
            return Some(batch.files);
        }
        let (awaited, guesses): (Vec<_>, Vec<_>) = batch.files.into_iter().partition(|file| self.is_awaited(file));
        self.push_suspects(guesses);
        Some(awaited)
    }

    /// Takes the files of the oldest call that nobody waits for; of suspect files only if so.
    fn take_guesses(&mut self, only_suspects: bool) -> Option<Vec<Revision>> {
        let has_guess = |batch: &Batch| batch.files.iter().any(|file| !self.is_awaited(file));
        let index = self.batches.iter().position(|batch| (batch.is_suspect || !only_suspects) && has_guess(batch))?;
        let batch = self.batches.remove(index)?;
        if !batch.is_suspect {
            return Some(batch.files);
        }
        let (awaited, guesses): (Vec<_>, Vec<_>) = batch.files.into_iter().partition(|file| self.is_awaited(file));
        self.push_suspects(awaited);
        Some(guesses)
    }

    fn push_suspects(&mut self, files: Vec<Revision>) {
        if !files.is_empty() {
            self.batches.push_back(Batch { files, is_suspect: true });
        }
    }

    /// A call for `files` was refused, perhaps for one of them: they are to be asked for again in two parts. Whoever waits is not made
    /// to share a part with guesses.
    fn split(&mut self, files: &[Revision]) {
        let (mut first, mut second): (Vec<_>, Vec<_>) = files.iter().cloned().partition(|file| self.is_awaited(file));
        if second.is_empty() {
            second = first.split_off(first.len() / 2);
        } else if first.is_empty() {
            first = second.split_off(second.len() / 2);
        }
        self.push_suspects(first);
        self.push_suspects(second);
    }

    /// The call for `files` is over; `None` if it panicked.
    fn land(&mut self, files: &[Revision], answer: Option<Result<LinkResults, RemoteError>>, now: Instant) {
        match answer {
            Some(Err(error)) if is_to_be_split(files, &error) => self.split(files),
            Some(Err(error)) => {
                let error = Arc::new(error);
                for file in files {
                    self.settle(file, Err(Arc::clone(&error)), now);
                }
            }
            answer => {
                let mut results = answer.and_then(Result::ok).unwrap_or_default().into_iter();
                for file in files {
                    let result = results.next().unwrap_or_else(|| {
                        let context = "the service's answer leaves this file's link out";
                        Err(RemoteError::new(RemoteErrorKind::Malformed, context))
                    });
                    self.settle(file, result.map_err(Arc::new), now);
                }
            }
        }
    }

    /// The wish for `file` has come to its end.
    fn settle(&mut self, file: &Revision, result: Result<Link, Arc<RemoteError>>, now: Instant) {
        match &result {
            Ok(link) => {
                self.links.put(file.clone(), link.clone());
                self.refused.pop(file);
            }
            Err(error) if may_be_due_to_a_file(error) => {
                self.refused.put(file.clone(), now + REFUSED_FOR);
            }
            Err(_) => {}
        }
        if let Some(wish) = self.wishes.remove(file) {
            let _ = wish.outcome.set(result);
        }
    }
}

/// Whether a refusal may be due to one of the files that were named, rather than to the state of the service, of the way to it or of
/// the login.
fn may_be_due_to_a_file(error: &RemoteError) -> bool {
    error.failure_kind() == FailureKind::Permanent && error.kind() != RemoteErrorKind::NeedsLogin
}

/// Whether a call for `files` that failed so is to be made again in parts.
fn is_to_be_split(files: &[Revision], error: &RemoteError) -> bool {
    files.len() > 1 && may_be_due_to_a_file(error)
}
