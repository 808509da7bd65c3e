//! The first page of the top level, which opening has listed: a listing directly after the mount needs no round trip.
//!
//! Locks: one, for the length of a look.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::remote::Page;
use crate::sync::lock;

/// How long it is used: a listing then shows nothing older than this.
const OPENING_PAGE_KEPT: Duration = Duration::from_secs(1);

/// The page, and when it was asked for, until it has been used.
pub(super) struct OpeningPage(Mutex<Option<(Instant, Page)>>);

impl OpeningPage {
    /// `page`, which was asked for at `asked`.
    pub(super) fn new(asked: Instant, page: Page) -> OpeningPage {
        OpeningPage(Mutex::new(Some((asked, page))))
    }

    /// Drops the page: a refresh came before it was used.
    pub(super) fn forget(&self) {
        *lock(&self.0) = None;
    }

    /// The page, once, if it is fresh at `now`.
    pub(super) fn take(&self, now: Instant) -> Option<Page> {
        let (asked, page) = lock(&self.0).take()?;
        (now.saturating_duration_since(asked) < OPENING_PAGE_KEPT).then_some(page)
    }
}
