//! Known names in long directories: where a lookup waits for a listing that goes on after its first page, the service is asked for the
//! name itself, beside the listing.
//!
//! What such a probe finds answers the lookup; that it finds nothing answers nobody. Of a name there is one probe for each listing, none
//! for what nobody waits for, and none while the service asks for a pause. Names that may have been changed for Linux wait for the
//! listing. A service that does not look for names is not asked for any more, for as long as the mount lasts.
//!
//! After the first page, not later: the probe travels beside the second page, so a directory of up to two pages has its answer as soon as
//! without it, and any longer one after two round trips. Blocks: for worker threads. No locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::dir::{Listing, ListingCache};
use super::guesses::Guesses;
use crate::clock::Clock;
use crate::content::LinkStore;
use crate::jobs::{Class, JobQueue};
use crate::policy::name::EntryName;
use crate::policy::retry::FailureKind;
use crate::remote::{Child, Node, Remote, RemoteError, Revision};

/// The most probes at a time: as many threads as listings ahead leave to whoever waits. Others wait for the listing, or for the end of
/// one of these.
const MAX_PROBES: usize = 8;

/// So many probes in a row may fail before the service is not asked any more: it may refuse names in a way that nobody knows.
const MAX_FAILURES: usize = 4;

/// Asks for names.
pub(super) struct Probes {
    remote: Arc<dyn Remote>,
    links: Arc<LinkStore>,
    listings: Arc<ListingCache>,
    jobs: Arc<JobQueue>,
    guesses: Arc<Guesses>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    under_way: AtomicUsize,
    /// Failures in a row.
    failures: AtomicUsize,
    is_off: AtomicBool,
    has_found: AtomicBool,
}

impl Probes {
    /// Nothing has been asked for yet. A probe gives up after `timeout`.
    pub(super) fn new(
        remote: &Arc<dyn Remote>,
        links: &Arc<LinkStore>,
        listings: &Arc<ListingCache>,
        (jobs, guesses): (&Arc<JobQueue>, &Arc<Guesses>),
        clock: &Arc<dyn Clock>,
        timeout: Duration,
    ) -> Arc<Probes> {
        Arc::new(Probes {
            remote: Arc::clone(remote),
            links: Arc::clone(links),
            listings: Arc::clone(listings),
            jobs: Arc::clone(jobs),
            guesses: Arc::clone(guesses),
            clock: Arc::clone(clock),
            timeout,
            under_way: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            is_off: AtomicBool::new(false),
            has_found: AtomicBool::new(false),
        })
    }

    /// Whether the service finds names: a listing that only lookups have asked for need not go on for nobody then, as whoever asks for
    /// another name does not have to wait for the rest.
    pub(super) fn do_find(&self) -> bool {
        self.has_found.load(Ordering::Relaxed) && !self.is_off.load(Ordering::Relaxed)
    }

    /// Has the service asked for the names that somebody waits for in `listing`, as many as may be. Never waits.
    pub(super) fn ask(self: &Arc<Self>, listing: &Arc<Listing>) {
        while let Some(slot) = self.slot() {
            let Some(name) = listing.take_unasked() else { break };
            if EntryName::is_as_given(&name) {
                let listing = Arc::clone(listing);
                self.jobs.push(Class::Foreground, move || slot.run(&listing, &name));
            }
        }
    }

    /// The right to one probe; `None` if there must be none now.
    fn slot(self: &Arc<Self>) -> Option<Slot> {
        if self.is_off.load(Ordering::Relaxed) || self.guesses.is_resting() {
            return None;
        }
        let is_below = |count| (count < MAX_PROBES).then_some(count + 1);
        let taken = self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_below);
        taken.is_ok().then(|| Slot(Arc::clone(self)))
    }

    fn probe(&self, listing: &Listing, name: &str) {
        match self.remote.find_child(&listing.id, name, self.clock.now() + self.timeout) {
            Ok(child) => {
                self.failures.store(0, Ordering::Relaxed);
                match child {
                    Child::Only(node) => self.found(listing, name, *node),
                    Child::Unclear => log::debug!("a name of {} was asked for in vain", listing.path()),
                    Child::NotOffered => self.give_up("the service does not look for names"),
                }
            }
            Err(error) => self.failed(listing, &error),
        }
    }

    fn found(&self, listing: &Listing, name: &str, mut node: Node) {
        log::debug!("a name of {} was found before its listing came to it", listing.path());
        self.has_found.store(true, Ordering::Relaxed);
        if let Some(link) = node.link.take() {
            self.links.offer(&Revision::new(&node.id, node.version), link);
        }
        listing.accept_probed(name, node);
    }

    fn failed(&self, listing: &Listing, error: &RemoteError) {
        log::debug!("a name of {} could not be asked for: {error}", listing.path());
        if error.failure_kind() == FailureKind::Throttled {
            self.guesses.lower(error.retry_after());
        } else if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_FAILURES {
            self.give_up("too many calls failed");
        }
    }

    fn give_up(&self, why: &str) {
        if !self.is_off.swap(true, Ordering::Relaxed) {
            log::debug!("names are not asked for any more: {why}");
        }
    }
}

/// The right to one probe, until it is dropped.
struct Slot(Arc<Probes>);

impl Slot {
    /// Makes the probe, and then those that others wait for in the same listing.
    fn run(self, listing: &Arc<Listing>, name: &str) {
        let probes = Arc::clone(&self.0);
        probes.probe(listing, name);
        probes.listings.weigh(listing);
        drop(self);
        probes.ask(listing);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
