//! Loads listings: one page after the other on worker threads, the next one asked for as soon as its cursor is known.
//!
//! Owns how many pages of a listing are loaded ahead. Knows nothing of replies or of who waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::FsError;
use super::dir::{Listing, ListingCache, Next};
use super::from_end::{LastEnd, LastEnds};
use super::guesses::Guesses;
use super::inode::Ino;
use super::probe::Probes;
use super::remembered::Remembered;
use crate::clock::{Clock, Timer};
use crate::content::LinkStore;
use crate::jobs::{Attempt, Class, End, Failure, JobQueue, Task, Ticket, Urgency};
use crate::policy::retry::FailureKind;
use crate::remote::{Cursor, Node, Page, Remote, RemoteError, RemoteErrorKind, Revision};
use crate::sync::lock;

/// So many pages of a directory are loaded before anybody asks for it, or so many entries where pages are large: most directories have
/// fewer, and of one that has more, the rest comes while the first ones are read.
const MAX_PAGES_AHEAD: usize = 4;
const MAX_ENTRIES_AHEAD: usize = 400;

/// The most listings that are refreshed in the background at a time: a walk over thousands of ageing directories must not delay
/// the listings ahead of it. Directories beyond that are refreshed when they are used again, or listed anew after their time.
const MAX_BEHIND: usize = 64;

/// Loads listings.
pub struct Lister {
    remote: Arc<dyn Remote>,
    links: Arc<LinkStore>,
    listings: Arc<ListingCache>,
    jobs: Arc<JobQueue>,
    clock: Arc<dyn Clock>,
    page_timeout: Duration,
    guesses: Arc<Guesses>,
    probes: Arc<Probes>,
    last_ends: Arc<LastEnds>,
    /// How many listings are being loaded behind their readers.
    behind: Arc<AtomicUsize>,
    remembered: Option<Remembered>,
    /// What becomes of a listing from the disk that is no longer young.
    when_ageing: OnceLock<WhenAgeing>,
    /// What becomes of names that a listing tells otherwise than they were told before.
    when_contradicted: OnceLock<WhenContradicted>,
}

/// See [`Lister::set_when_ageing`].
type WhenAgeing = Box<dyn Fn(&Arc<Listing>) + Send + Sync>;

/// See [`Lister::set_when_contradicted`].
type WhenContradicted = Box<dyn Fn(Ino, Vec<Box<str>>) + Send + Sync>;

/// The loading of one listing. Holds it weakly: loading stops when nobody holds the listing any more.
struct LoadTask {
    lister: Arc<Lister>,
    listing: Weak<Listing>,
    /// How many pages are loaded before anybody asks for it.
    pages_ahead: usize,
    /// Whether the listing may be one from the disk.
    may_recall: bool,
    /// [`Remembered::generation`] as it was at the start.
    generation: u64,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Where the next page starts.
    cursor: Option<Cursor>,
    pages: usize,
    /// The same listing, as it comes from its last end.
    last_end: Option<Arc<LastEnd>>,
    /// How the last attempt failed.
    error: Option<Arc<RemoteError>>,
}

impl Lister {
    /// A lister that gives up on a page after `page_timeout`, tries and pauses included.
    pub fn new(
        remote: Arc<dyn Remote>,
        links: Arc<LinkStore>,
        listings: Arc<ListingCache>,
        jobs: JobQueue,
        timer: &Arc<Timer>,
        page_timeout: Duration,
        remembered: Option<Remembered>,
    ) -> Arc<Lister> {
        let jobs = Arc::new(jobs);
        let guesses = Guesses::new(&jobs, timer);
        let clock = Arc::clone(timer.clock());
        let probes = Probes::new(&remote, &links, &listings, (&jobs, &guesses), &clock, page_timeout);
        let last_ends = LastEnds::new(&remote, &links, (&jobs, &guesses), &clock, page_timeout);
        let behind = Arc::default();
        let (when_ageing, when_contradicted) = (OnceLock::new(), OnceLock::new());
        Arc::new(Lister {
            remote,
            links,
            listings,
            jobs,
            clock,
            page_timeout,
            guesses,
            probes,
            last_ends,
            behind,
            remembered,
            when_ageing,
            when_contradicted,
        })
    }

    /// How many attempts at a page were made again.
    pub(super) fn retries(&self) -> u64 {
        self.jobs.retries()
    }

    /// Sets what is called for each listing from the disk that is no longer young, once its entries are in. To be called once.
    pub(super) fn set_when_ageing(&self, refresh: impl Fn(&Arc<Listing>) + Send + Sync + 'static) {
        let _ = self.when_ageing.set(Box::new(refresh));
    }

    /// Sets what is called with a directory and those of its names that a lookup was told of before the listing came to them, and that
    /// are something else by now. To be called once.
    pub(super) fn set_when_contradicted(&self, tell: impl Fn(Ino, Vec<Box<str>>) + Send + Sync + 'static) {
        let _ = self.when_contradicted.set(Box::new(tell));
    }

    /// Asks the service for the names that somebody waits for in `listing`, if it is long. To be called after those who wait are
    /// registered.
    pub(super) fn ask_for_names(&self, listing: &Arc<Listing>) {
        self.probes.ask(listing);
    }

    /// Calls `then` when all listings on the disk are forgotten: on a lister thread, or at once if there is no disk. Dropped if
    /// the queue is full.
    pub(super) fn forget_remembered(self: &Arc<Self>, then: impl FnOnce() + Send + 'static) {
        self.remote.forget();
        if self.remembered.is_none() {
            return then();
        }
        let lister = Arc::clone(self);
        self.soon(move || {
            if let Some(remembered) = &lister.remembered {
                remembered.forget_all();
            }
            then();
        });
    }

    /// Has a complete listing on the disk, and waits until it is written; the most bytes that the disk keeps. Blocks until `until` at
    /// most, as long as the disk takes.
    ///
    /// # Errors
    /// [`FsError::NothingIsKept`], [`FsError::NotKept`].
    pub(super) fn keep(&self, listing: &Listing, until: Instant) -> Result<u64, FsError> {
        let remembered = self.remembered()?;
        let age = listing.complete_at().map(|at| self.clock.boot().since(at)).ok_or(FsError::Internal)?;
        let complete_at = self.clock.utc().checked_sub(age).ok_or(FsError::NotKept)?;
        let is_of_subtree = listing.is_of_subtree();
        remembered.put_now(&listing.id, &listing.entries(), is_of_subtree, complete_at, until).ok_or(FsError::NotKept)
    }

    /// What is kept of listings on the disk.
    ///
    /// # Errors
    /// [`FsError::NothingIsKept`].
    pub(super) fn remembered(&self) -> Result<&Remembered, FsError> {
        self.remembered.as_ref().ok_or(FsError::NothingIsKept)
    }

    /// Starts to load a new listing that somebody asks for, from its first page to its last.
    pub fn load(self: &Arc<Self>, listing: &Arc<Listing>) {
        if self.jobs.has_room(Class::Foreground) {
            self.start(listing, Urgency::Awaited(self.clock.now() + self.page_timeout), MAX_PAGES_AHEAD, true);
        } else {
            listing.fail(FsError::Overloaded, self.clock.boot());
        }
    }

    /// Starts to load all of a listing that somebody waits for and that must come from the service.
    pub(super) fn load_anew(self: &Arc<Self>, listing: &Arc<Listing>) {
        if self.jobs.has_room(Class::Foreground) {
            self.start(listing, Urgency::Awaited(self.clock.now() + self.page_timeout), usize::MAX, false);
        } else {
            listing.fail(FsError::Overloaded, self.clock.boot());
        }
    }

    /// Fills a listing with what a subtree has of its directory, which was begun when all had been forgotten `generation` times.
    pub(super) fn fill(&self, listing: &Arc<Listing>, nodes: Vec<Node>, generation: u64) {
        listing.set_of_subtree();
        listing.accept(nodes, None, self.clock.boot());
        self.listings.weigh(listing);
        self.remember(listing, generation);
    }

    /// How often all listings on the disk were forgotten.
    pub(super) fn generation(&self) -> u64 {
        self.remembered.as_ref().map_or(0, Remembered::generation)
    }

    fn remember(&self, listing: &Listing, generation: u64) {
        if let Some(remembered) = &self.remembered
            && listing.is_complete()
            && !listing.is_outdated()
        {
            let entries = listing.entries();
            remembered.put(&listing.id, &entries, listing.is_of_subtree(), self.clock.utc(), generation);
        }
    }

    /// A call has failed that is no listing's: the service may ask for a pause.
    pub(super) fn note_failure(&self, error: &RemoteError) {
        if error.failure_kind() == FailureKind::Throttled {
            self.guesses.lower(error.retry_after());
        }
    }

    /// Starts to load the first pages of a new listing that nobody has asked for yet; [`Lister::may_guess`] is for the caller to ask.
    pub fn load_ahead(self: &Arc<Self>, listing: &Arc<Listing>) {
        listing.set_guess();
        self.start(listing, Urgency::Guess, MAX_PAGES_AHEAD, true);
    }

    /// Starts to load all of a listing that is to replace an older one, at a lower priority than whatever somebody waits for. The
    /// caller asks [`Lister::may_load_behind`] first.
    pub fn load_behind(self: &Arc<Self>, listing: &Arc<Listing>) {
        self.behind.fetch_add(1, Ordering::Relaxed);
        let behind = Arc::clone(&self.behind);
        listing.when_ended(Box::new(move || {
            behind.fetch_sub(1, Ordering::Relaxed);
        }));
        listing.set_guess();
        self.start(listing, Urgency::Guess, usize::MAX, false);
    }

    /// Whether another listing may be loaded behind its readers now.
    pub fn may_load_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed) < MAX_BEHIND && !self.remote.is_offline() && self.may_guess()
    }

    /// Whether another listing may be loaded without anybody's asking: not while the service asks for a pause, nor while as many
    /// guesses as may be are under way.
    pub fn may_guess(&self) -> bool {
        self.guesses.may_guess()
    }

    /// Promotes a listing that may have been loaded ahead, as somebody asks for it: from now on it has priority and a deadline.
    /// `false` if it was given up in the same moment: the caller must load another one.
    pub fn hurry(&self, listing: &Listing) -> bool {
        if !listing.is_guess() {
            return true;
        }
        let until = self.clock.now() + self.page_timeout;
        // Before it is promoted: from then on, it may come to rest again at any time.
        listing.set_asked();
        let is_alive = listing.ticket().is_none_or(|ticket| ticket.promote(until)) || listing.is_complete();
        if !is_alive {
            listing.set_guess();
        }
        is_alive
    }

    /// Runs `work`, which is short and waits for nothing, on a lister thread. `false` if the queue is full and it was dropped.
    pub(super) fn soon(&self, work: impl FnOnce() + Send + 'static) -> bool {
        self.jobs.push(Class::Foreground, work)
    }

    /// Has `work`, which waits for the service, done on a thread of the listings'; dropped if too much waits. For one at a time.
    pub(super) fn run_alone(&self, work: impl FnOnce() + Send + 'static) {
        self.jobs.push(Class::Foreground, work);
    }

    fn start(self: &Arc<Self>, listing: &Arc<Listing>, urgency: Urgency, pages_ahead: usize, may_recall: bool) {
        let task = LoadTask {
            lister: Arc::clone(self),
            listing: Arc::downgrade(listing),
            pages_ahead,
            may_recall,
            generation: self.generation(),
            progress: Mutex::default(),
        };
        let ticket = self.jobs.ticket(Arc::new(task), self.page_timeout);
        listing.set_ticket(&ticket);
        ticket.start(urgency);
    }
}

impl Task for LoadTask {
    fn attempt(&self, ticket: &Ticket, deadline: Instant) -> Attempt {
        let Some(listing) = self.listing.upgrade() else { return Attempt::Cancelled };
        let cursor = lock(&self.progress).cursor.clone();
        if self.may_recall && cursor.is_none() && listing.is_empty() && self.recall(&listing, deadline) {
            return Attempt::Done;
        }
        match self.lister.remote.list_page(&listing.id, cursor.as_ref(), deadline) {
            Ok(page) => self.take_in(ticket, &listing, page),
            Err(error) if error.kind() == RemoteErrorKind::CursorRefused && cursor.is_some() && listing.restart() => {
                log::debug!("{} is listed from its first page again: {error}", listing.path());
                let mut progress = lock(&self.progress);
                progress.cursor = None;
                let last_end = progress.last_end.take();
                drop(progress);
                // What has come of the first end before need not be what comes now.
                last_end.inspect(|last_end| last_end.stop());
                Attempt::Next
            }
            Err(error) => {
                let (kind, retry_after) = (error.failure_kind(), error.retry_after());
                if kind == FailureKind::Throttled {
                    self.lister.guesses.lower(retry_after);
                }
                if let Some(remembered) = &self.lister.remembered {
                    remembered.note_refusal(&listing.id, listing.dir == Ino::ROOT, error.kind());
                }
                let whose = if ticket.is_guess() { "listed ahead" } else { "asked for" };
                log::debug!("a page of {} ({whose}) could not be listed: {error}", listing.path());
                lock(&self.progress).error = Some(Arc::new(error));
                Attempt::Failed(Failure { kind, retry_after, has_progressed: false })
            }
        }
    }

    fn end(&self, why: End) {
        let Some(listing) = self.listing.upgrade() else { return };
        let last_error = lock(&self.progress).error.take();
        let error = match (why, last_error) {
            (End::Failed, Some(error)) => FsError::Listing(error),
            (End::Failed | End::Cancelled | End::Panicked, _) => FsError::Internal,
            (End::Closed, _) => FsError::Overloaded,
        };
        listing.fail(error, self.lister.clock.boot());
        self.lister.listings.weigh(&listing);
    }

    /// A guess that failed rests (see `dir/cache.rs`).
    fn retries_guesses(&self) -> bool {
        false
    }
}

impl LoadTask {
    fn take_in(&self, ticket: &Ticket, listing: &Arc<Listing>, mut page: Page) -> Attempt {
        self.lister.guesses.raise();
        for node in &mut page.nodes {
            if let Some(link) = node.link.take() {
                self.lister.links.offer(&Revision::new(&node.id, node.version), link);
            }
        }
        if log::log_enabled!(log::Level::Debug) {
            let rest = if page.next.is_some() { "more to come" } else { "complete" };
            log::debug!("listed {}: {} entries, {rest}", listing.path(), page.nodes.len());
        }
        self.add_left(listing, &mut page);
        let next = listing.accept(page.nodes, page.next, self.lister.clock.boot());
        self.lister.listings.weigh(listing);
        let contradicted = listing.take_contradicted();
        if !contradicted.is_empty()
            && let Some(tell) = self.lister.when_contradicted.get()
        {
            tell(listing.dir, contradicted);
        }
        match next {
            Next::Page(cursor) => {
                let is_enough = {
                    let mut progress = lock(&self.progress);
                    progress.cursor = Some(cursor);
                    progress.pages += 1;
                    let is_far = self.pages_ahead != usize::MAX && listing.len() >= MAX_ENTRIES_AHEAD;
                    is_far || progress.pages >= self.pages_ahead
                };
                self.lister.probes.ask(listing);
                if is_enough {
                    self.rest_if_unwanted(ticket, listing);
                }
                self.read_from_end(ticket, listing);
                if is_enough { Attempt::Enough } else { Attempt::Next }
            }
            Next::Ended => {
                self.lister.remember(listing, self.generation);
                Attempt::Done
            }
        }
    }

    /// Adds to `page` what is left after it, if the listing has been read from its last end as far as here: then it is the last one.
    fn add_left(&self, listing: &Listing, page: &mut Page) {
        let last_end = lock(&self.progress).last_end.clone();
        let Some(last_end) = last_end else { return };
        if let Some(left) = last_end.first_brings(page.nodes.iter().map(|node| node.id.clone())) {
            log::debug!("{}: the other {} entries have come from its last end", listing.path(), left.len());
            page.nodes.extend(left);
            page.next = None;
        }
    }

    /// Has a long listing of which somebody wants all read from its last end, too.
    fn read_from_end(&self, ticket: &Ticket, listing: &Arc<Listing>) {
        let mut progress = lock(&self.progress);
        if !ticket.is_guess() && progress.last_end.is_none() {
            progress.last_end = self.lister.last_ends.begin(listing, progress.pages);
        }
    }

    /// Where names are found without it, a listing that only lookups have asked for goes no further for nobody: it is a guess again,
    /// whose first pages are kept for a while.
    fn rest_if_unwanted(&self, ticket: &Ticket, listing: &Listing) {
        if !self.lister.probes.do_find() || ticket.is_guess() {
            return;
        }
        // In this order: whoever comes now either is seen to wait, or sees that the listing is a guess and hurries it.
        ticket.demote();
        if !listing.rest_if_unwanted() {
            ticket.promote(self.lister.clock.now() + self.lister.page_timeout);
        }
    }

    /// Fills the listing with what the disk has of it; `false` if that is nothing.
    fn recall(&self, listing: &Arc<Listing>, deadline: Instant) -> bool {
        let lister = &self.lister;
        let Some(remembered) = &lister.remembered else { return false };
        let until = lister.remote.is_offline().then_some(deadline);
        let Some(kept) = remembered.take(&listing.id, lister.clock.as_ref(), until) else { return false };
        let (nodes, complete_at) = (kept.nodes, kept.complete_at);
        if kept.is_of_subtree {
            listing.set_of_subtree();
        }
        listing.set_recalled();
        let age = lister.clock.utc().duration_since(complete_at).ok();
        let Some((at, is_ageing)) = lister.listings.recalled(age, lister.clock.boot()) else { return false };
        log::debug!("{} is on the disk: {} entries", listing.path(), nodes.len());
        listing.accept(nodes, None, at);
        lister.listings.weigh(listing);
        if is_ageing && let Some(refresh) = lister.when_ageing.get() {
            refresh(listing);
        }
        true
    }
}
