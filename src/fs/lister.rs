//! Loads listings: one page after the other on worker threads, the next one asked for as soon as its cursor is known.
//!
//! Owns the retries of a page; knows nothing of replies or of who waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::FsError;
use super::dir::{Listing, ListingCache, Next};
use crate::clock::Clock;
use crate::content::LinkStore;
use crate::jobs::{Class, JobQueue};
use crate::policy::retry::{self, Decision};
use crate::remote::{Cursor, Page, Remote, RemoteError};

/// Everything that it takes to load a listing.
pub struct Lister {
    remote: Arc<dyn Remote>,
    links: Arc<LinkStore>,
    listings: Arc<ListingCache>,
    jobs: JobQueue,
    clock: Arc<dyn Clock>,
    page_timeout: Duration,
}

/// One page to be fetched, and what has been tried.
struct PageRequest {
    listing: Arc<Listing>,
    cursor: Option<Cursor>,
    class: Class,
    started: Instant,
    tries: u32,
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
        Arc::new(Lister { remote, links, listings, jobs, clock, page_timeout })
    }

    /// Starts to load a new listing, from its first page to its last.
    pub fn load(self: &Arc<Self>, listing: Arc<Listing>, class: Class) {
        self.queue(self.request(listing, None, class), Duration::ZERO);
    }

    fn request(&self, listing: Arc<Listing>, cursor: Option<Cursor>, class: Class) -> PageRequest {
        PageRequest { listing, cursor, class, started: self.clock.now(), tries: 0 }
    }

    fn queue(self: &Arc<Self>, request: PageRequest, pause: Duration) {
        let class = request.class;
        let guard = EndGuard::new(self, &request.listing);
        let lister = Arc::clone(self);
        let job = move || {
            let guard = guard.started();
            lister.fetch(request);
            guard.disarm();
        };
        // A job that is refused is dropped here, and its guard ends the listing.
        let _ = match pause {
            Duration::ZERO => self.jobs.push(class, job),
            _ => self.jobs.push_after(pause, class, job),
        };
    }

    fn fetch(self: &Arc<Self>, request: PageRequest) {
        let deadline = request.started + self.page_timeout;
        match self.remote.list_page(&request.listing.id, request.cursor.as_ref(), deadline) {
            Ok(page) => self.take_in(request, page),
            Err(error) => self.try_again(request, error),
        }
    }

    fn take_in(self: &Arc<Self>, request: PageRequest, mut page: Page) {
        for node in &mut page.nodes {
            if let Some(link) = node.link.take() {
                self.links.offer(&node.id, link);
            }
        }
        match request.listing.accept(page.nodes, page.next, self.clock.now()) {
            Next::Page(cursor) => {
                self.queue(self.request(request.listing, Some(cursor), request.class), Duration::ZERO)
            }
            Next::Ended => self.listings.ended(&request.listing),
        }
    }

    fn try_again(self: &Arc<Self>, mut request: PageRequest, error: RemoteError) {
        request.tries += 1;
        let remaining = (request.started + self.page_timeout).saturating_duration_since(self.clock.now());
        let kind = error.failure_kind();
        match retry::decide(kind, request.tries, remaining, error.retry_after(), fastrand::f64()) {
            Decision::Again(pause) => {
                log::debug!("listing page failed, trying again in {pause:?}: {error}");
                self.queue(request, pause);
            }
            Decision::GiveUp => self.end(&request.listing, FsError::Listing(Arc::new(error))),
        }
    }

    fn end(&self, listing: &Arc<Listing>, error: FsError) {
        listing.fail(error, self.clock.now());
        self.listings.ended(listing);
    }
}

/// Ends a listing whose job never came to its own end: dropped by a full queue, or cut short by a panic.
struct EndGuard {
    armed: Option<(Arc<Lister>, Arc<Listing>)>,
    error: FsError,
}

impl EndGuard {
    fn new(lister: &Arc<Lister>, listing: &Arc<Listing>) -> EndGuard {
        EndGuard { armed: Some((Arc::clone(lister), Arc::clone(listing))), error: FsError::Overloaded }
    }

    fn started(mut self) -> EndGuard {
        self.error = FsError::Internal;
        self
    }

    fn disarm(mut self) {
        self.armed = None;
    }
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        if let Some((lister, listing)) = self.armed.take() {
            lister.end(&listing, self.error.clone());
        }
    }
}
