//! Loads listings: one page after the other on worker threads, the next one asked for as soon as its cursor is known.
//!
//! Owns the retries of a page, and how many listings may be loaded ahead of anybody's asking: fewer after a refusal, more
//! again as pages come in. Knows nothing of replies or of who waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::FsError;
use super::dir::{Listing, ListingCache, Next};
use crate::clock::{Clock, lock};
use crate::content::LinkStore;
use crate::jobs::{Class, JobQueue};
use crate::policy::retry::{self, Decision, FailureKind};
use crate::remote::{Cursor, Page, Remote, RemoteError};

/// With how many listings ahead a service is first met.
const AHEAD_START: usize = 8;

/// The most listings that are loaded ahead at a time, reached after 128 pages without a refusal; of 32 threads, these leave some
/// to whoever waits.
const AHEAD_MAX: usize = 24;

/// So many pages must come in before one more listing is loaded ahead again.
const PAGES_PER_RAISE: usize = 8;

/// Everything that it takes to load a listing.
pub struct Lister {
    remote: Arc<dyn Remote>,
    links: Arc<LinkStore>,
    listings: Arc<ListingCache>,
    jobs: JobQueue,
    clock: Arc<dyn Clock>,
    page_timeout: Duration,
    ahead: Mutex<Ahead>,
}

/// How many listings may be loaded ahead, and the pages since that was last raised.
struct Ahead {
    limit: usize,
    pages: usize,
}

/// One page to be fetched, and what has been tried.
struct PageRequest {
    listing: Arc<Listing>,
    cursor: Option<Cursor>,
    started: Instant,
    tries: u32,
    /// Ends the listing if the request is lost.
    guard: EndGuard,
}

/// A page request in the queue. May be queued twice, as background and then as foreground work: the first to be run has it.
pub struct PageJob {
    request: Mutex<Option<PageRequest>>,
    is_urgent: AtomicBool,
}

impl Lister {
    /// A lister that gives up on a page after `page_timeout`, tries and pauses included.
    pub fn new(
        remote: Arc<dyn Remote>,
        links: Arc<LinkStore>,
        listings: Arc<ListingCache>,
        jobs: JobQueue,
        clock: Arc<dyn Clock>,
        page_timeout: Duration,
    ) -> Arc<Lister> {
        jobs.set_background_limit(AHEAD_START);
        let ahead = Mutex::new(Ahead { limit: AHEAD_START, pages: 0 });
        Arc::new(Lister { remote, links, listings, jobs, clock, page_timeout, ahead })
    }

    /// Starts to load a new listing that somebody asks for, from its first page to its last.
    pub fn load(self: &Arc<Self>, listing: Arc<Listing>) {
        self.queue(self.request(listing, None), Duration::ZERO);
    }

    /// Starts to load a new listing that nobody has asked for yet.
    pub fn load_ahead(self: &Arc<Self>, listing: Arc<Listing>) {
        listing.set_guess(true);
        self.queue(self.request(listing, None), Duration::ZERO);
    }

    /// Somebody asks for a listing that may have been loaded ahead: it no longer waits behind others.
    pub fn hurry(self: &Arc<Self>, listing: &Listing) {
        if !listing.set_guess(false) {
            return;
        }
        if let Some(job) = listing.queued_job()
            && !job.is_urgent.swap(true, Ordering::AcqRel)
        {
            let lister = Arc::clone(self);
            // Refused, it still stands in the background queue.
            let _ = self.jobs.push(Class::Foreground, move || lister.run(&job));
        }
    }

    fn request(self: &Arc<Self>, listing: Arc<Listing>, cursor: Option<Cursor>) -> PageRequest {
        let guard = EndGuard::new(self, &listing);
        PageRequest { listing, cursor, started: self.clock.now(), tries: 0, guard }
    }

    fn queue(self: &Arc<Self>, request: PageRequest, pause: Duration) {
        let listing = Arc::clone(&request.listing);
        let is_urgent = !listing.is_guess();
        let class = if is_urgent { Class::Foreground } else { Class::Background };
        let job = Arc::new(PageJob { request: Mutex::new(Some(request)), is_urgent: AtomicBool::new(is_urgent) });
        listing.set_queued_job(Some(&job));
        let lister = Arc::clone(self);
        let run = move || lister.run(&job);
        // A job that is refused is dropped here, and its guard ends the listing.
        let _ = match pause {
            Duration::ZERO => self.jobs.push(class, run),
            _ => self.jobs.push_after(pause, class, run),
        };
    }

    fn run(self: &Arc<Self>, job: &PageJob) {
        let Some(mut request) = lock(&job.request).take() else { return };
        request.listing.set_queued_job(None);
        request.guard.error = FsError::Internal;
        self.fetch(request);
    }

    fn fetch(self: &Arc<Self>, mut request: PageRequest) {
        let deadline = request.started + self.page_timeout;
        match self.remote.list_page(&request.listing.id, request.cursor.as_ref(), deadline) {
            Ok(page) => {
                self.take_in(&request.listing, page);
                request.guard.disarm();
            }
            Err(error) => self.try_again(request, error),
        }
    }

    fn take_in(self: &Arc<Self>, listing: &Arc<Listing>, mut page: Page) {
        self.raise_ahead();
        for node in &mut page.nodes {
            if let Some(link) = node.link.take() {
                self.links.offer(&node.id, link);
            }
        }
        match listing.accept(page.nodes, page.next, self.clock.now()) {
            Next::Page(cursor) => self.queue(self.request(Arc::clone(listing), Some(cursor)), Duration::ZERO),
            Next::Ended => self.listings.ended(listing),
        }
    }

    fn try_again(self: &Arc<Self>, mut request: PageRequest, error: RemoteError) {
        request.tries += 1;
        let remaining = (request.started + self.page_timeout).saturating_duration_since(self.clock.now());
        let kind = error.failure_kind();
        if kind == FailureKind::Throttled {
            self.lower_ahead();
        }
        match retry::decide(kind, request.tries, remaining, error.retry_after(), fastrand::f64()) {
            Decision::Again(pause) => {
                log::debug!("listing page failed, trying again in {pause:?}: {error}");
                self.queue(request, pause);
            }
            Decision::GiveUp => request.guard.end_with(FsError::Listing(Arc::new(error))),
        }
    }

    fn end(&self, listing: &Arc<Listing>, error: FsError) {
        listing.fail(error, self.clock.now());
        self.listings.ended(listing);
    }

    /// A page has come in: after enough of them, one more listing may be loaded ahead.
    fn raise_ahead(&self) {
        let mut ahead = lock(&self.ahead);
        ahead.pages += 1;
        if ahead.pages < PAGES_PER_RAISE || ahead.limit >= AHEAD_MAX {
            return;
        }
        *ahead = Ahead { limit: ahead.limit + 1, pages: 0 };
        self.jobs.set_background_limit(ahead.limit);
    }

    /// The service asks for fewer requests: half as many listings ahead.
    fn lower_ahead(&self) {
        let mut ahead = lock(&self.ahead);
        *ahead = Ahead { limit: (ahead.limit / 2).max(1), pages: 0 };
        self.jobs.set_background_limit(ahead.limit);
    }
}

/// Ends a listing whose request never came to its own end: dropped by a full queue, or cut short by a panic.
struct EndGuard {
    armed: Option<(Arc<Lister>, Arc<Listing>)>,
    error: FsError,
}

impl EndGuard {
    fn new(lister: &Arc<Lister>, listing: &Arc<Listing>) -> EndGuard {
        EndGuard { armed: Some((Arc::clone(lister), Arc::clone(listing))), error: FsError::Overloaded }
    }

    fn disarm(&mut self) {
        self.armed = None;
    }

    fn end_with(mut self, error: FsError) {
        self.error = error;
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if let Some((lister, listing)) = self.armed.take() {
            lister.end(&listing, self.error.clone());
        }
    }
}
