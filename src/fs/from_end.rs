//! Reads long listings from their last ends too, each beside the loading from its first: twice as fast, for one more call at a time.
//!
//! Owns when that begins and when it is given up. An end that brings an error or no order costs nothing but its calls: the first end goes
//! on alone, and a service that does not sort is not asked any more for as long as the mount lasts. Locks: one for each listing, for the
//! length of a look.

mod both_ends;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::dir::Listing;
use super::guesses::Guesses;
use crate::clock::Clock;
use crate::content::LinkStore;
use crate::jobs::{Attempt, Class, End, JobQueue, Task, Ticket, Urgency};
use crate::policy::retry::FailureKind;
use crate::remote::{Cursor, Node, NodeId, Page, Pages, Remote, RemoteErrorKind, Revision};
use crate::sync::lock;
use both_ends::{BothEnds, Meeting};

/// A listing is read from its last end too if it goes on after so many pages: of a shorter one, the overlap would be half.
const MIN_PAGES: usize = 4;

/// The most listings that are read from both ends at a time: each holds what its last end has brought until the ends meet.
const MAX_AT_A_TIME: usize = 4;

/// The most entries that the last end brings before the ends meet, about 20 MB: after that, the first end comes to meet it.
const MAX_ENTRIES: usize = 50_000;

/// So many last ends in a row may fail before none is tried any more: the service may refuse them in a way that nobody knows.
const MAX_FAILURES: usize = 3;

/// Reads listings from their last ends.
pub(super) struct LastEnds {
    remote: Arc<dyn Remote>,
    links: Arc<LinkStore>,
    jobs: Arc<JobQueue>,
    guesses: Arc<Guesses>,
    clock: Arc<dyn Clock>,
    page_timeout: Duration,
    under_way: AtomicUsize,
    /// Failures in a row.
    failures: AtomicUsize,
    is_off: AtomicBool,
}

/// A listing that is read from its last end too.
pub(super) struct LastEnd {
    reader: Arc<LastEnds>,
    listing: Weak<Listing>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ends: BothEnds,
    /// Of the last end.
    pages: Pages,
    cursor: Option<Cursor>,
    /// Nothing more comes from the last end.
    is_over: bool,
    /// What has come from it proves nothing.
    is_given_up: bool,
    /// What the first end need not bring, once that is known.
    left: Option<Vec<Node>>,
    /// Held for as long as anything that has come is.
    _slot: Option<Slot>,
}

/// The right to read one listing from its last end.
struct Slot(Arc<LastEnds>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LastEnds {
    /// Nothing is read yet. A page is given up after `page_timeout`.
    pub(super) fn new(
        remote: &Arc<dyn Remote>,
        links: &Arc<LinkStore>,
        (jobs, guesses): (&Arc<JobQueue>, &Arc<Guesses>),
        clock: &Arc<dyn Clock>,
        page_timeout: Duration,
    ) -> Arc<LastEnds> {
        Arc::new(LastEnds {
            remote: Arc::clone(remote),
            links: Arc::clone(links),
            jobs: Arc::clone(jobs),
            guesses: Arc::clone(guesses),
            clock: Arc::clone(clock),
            page_timeout,
            under_way: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            is_off: AtomicBool::new(false),
        })
    }

    /// Begins to read `listing`, which goes on after `pages` pages, from its last end too, if that is worth it now.
    pub(super) fn begin(self: &Arc<Self>, listing: &Arc<Listing>, pages: usize) -> Option<Arc<LastEnd>> {
        if pages < MIN_PAGES || self.is_off.load(Ordering::Relaxed) || self.guesses.is_resting() {
            return None;
        }
        if !self.jobs.has_room(Class::Foreground) {
            return None;
        }
        let is_below = |count| (count < MAX_AT_A_TIME).then_some(count + 1);
        self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_below).ok()?;
        let mut state = State { _slot: Some(Slot(Arc::clone(self))), ..State::default() };
        state.ends.add_first(listing.entries().iter().map(|entry| entry.id.clone()));
        let (reader, listing) = (Arc::clone(self), Arc::downgrade(listing));
        let last_end = Arc::new(LastEnd { reader, listing, state: Mutex::new(state) });
        let task: Arc<dyn Task> = Arc::clone(&last_end) as Arc<dyn Task>;
        let ticket = self.jobs.ticket(task, self.page_timeout);
        ticket.start(Urgency::Awaited(self.clock.now() + self.page_timeout));
        Some(last_end)
    }

    fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_FAILURES {
            self.give_up("too many calls failed");
        }
    }

    fn give_up(&self, why: &str) {
        if !self.is_off.swap(true, Ordering::Relaxed) {
            log::debug!("listings are not read from their last ends any more: {why}");
        }
    }
}

impl LastEnd {
    /// Entries with these ids have come from the first end. What is left of the listing, once the two ends have met; some of these may
    /// be among it.
    pub(super) fn first_brings(&self, ids: impl IntoIterator<Item = NodeId>) -> Option<Vec<Node>> {
        let mut state = lock(&self.state);
        if state.left.is_none() && !state.is_given_up {
            state.ends.add_first(ids);
            self.look(&mut state);
        }
        state.left.take()
    }

    /// Stops: the first end has begun anew, and what it has brought before says nothing.
    pub(super) fn stop(&self) {
        lock(&self.state).give_up();
    }

    fn look(&self, state: &mut State) {
        match state.ends.meet() {
            Meeting::NotYet => {}
            Meeting::Met(left) => {
                (state.left, state.is_over) = (Some(left), true);
                self.reader.failures.store(0, Ordering::Relaxed);
            }
            Meeting::SameOrder => {
                state.give_up();
                self.reader.give_up("the service does not sort as it is asked to");
            }
            Meeting::NoOrder => {
                log::debug!("a listing is not the same from its last end; the first goes on alone");
                state.give_up();
                self.reader.failed();
            }
        }
    }

    fn take_in(&self, mut page: Page) -> Attempt {
        for node in &mut page.nodes {
            if let Some(link) = node.link.take() {
                self.reader.links.offer(&Revision::new(&node.id, node.version), link);
            }
        }
        let mut state = lock(&self.state);
        if state.is_over {
            return Attempt::Done;
        }
        state.ends.add_last(page.nodes);
        self.look(&mut state);
        let next = state.pages.go_on(page.next).unwrap_or(None);
        let is_full = state.ends.last_len() >= MAX_ENTRIES;
        state.is_over |= next.is_none() || is_full;
        state.cursor = next;
        if state.is_over { Attempt::Done } else { Attempt::Next }
    }
}

impl State {
    fn give_up(&mut self) {
        *self = State { is_over: true, is_given_up: true, ..State::default() };
    }
}

impl Task for LastEnd {
    fn attempt(&self, _ticket: &Ticket, deadline: Instant) -> Attempt {
        let Some(listing) = self.listing.upgrade() else { return Attempt::Cancelled };
        let cursor = {
            let mut state = lock(&self.state);
            if state.is_over || listing.is_complete() || listing.failure().is_some() {
                return Attempt::Done;
            }
            // Nobody wants the rest any more: the first end has come to rest, too.
            if listing.is_guess() {
                state.give_up();
                return Attempt::Done;
            }
            state.cursor.clone()
        };
        let id = listing.id.clone();
        drop(listing);
        match self.reader.remote.page_from_end(&id, cursor.as_ref(), deadline) {
            Ok(page) => self.take_in(page),
            Err(error) => {
                log::debug!("a page from the last end of a listing could not be had: {error}");
                if error.failure_kind() == FailureKind::Throttled {
                    self.reader.guesses.lower(error.retry_after());
                }
                if cursor.is_none() && error.kind() == RemoteErrorKind::Unusable {
                    self.reader.give_up("the service refuses it");
                }
                Attempt::Cancelled
            }
        }
    }

    /// The first end goes on alone; what has come stays for it to meet.
    fn end(&self, why: End) {
        lock(&self.state).is_over = true;
        if why == End::Cancelled && self.listing.strong_count() > 0 {
            self.reader.failed();
        }
    }

    fn retries_guesses(&self) -> bool {
        false
    }
}
