//! How far a fetch has come. Plain values of one thread at a time.

use std::sync::{Arc, Mutex};

use super::block::Block;
use super::buffers::Buffer;
use super::object::Object;
use super::{ContentError, LinkStore};
use crate::policy::printable::one_line;
use crate::remote::Link;
use crate::sync::lock;

/// How many links in a row the store may refuse before the refusal is believed: the one at hand, which may have expired,
/// a fresh one, and one more for a store that has not seen the fresh one yet.
pub(super) const MAX_REFUSALS: u32 = 3;

/// How far a fetch has come.
#[derive(Default)]
pub(super) struct Progress {
    /// The block that is being filled, and its bytes so far: `filled` of them count.
    pub(super) filling: Option<(Arc<Block>, Buffer)>,
    pub(super) filled: usize,
    pub(super) refusals: u32,
    /// The link was dropped because what it leads to is not the object: links may be older than the listing, or newer.
    pub(super) has_doubted_link: bool,
    /// Whether bytes came in since the attempt began.
    pub(super) has_progressed: bool,
    /// How the last attempt failed.
    pub(super) error: Option<ContentError>,
}

/// A fetch's progress in the hands of the thread that works on it. Put back in any case, so that nothing is lost by a panic.
pub(super) struct Held<'a> {
    place: &'a Mutex<Option<Progress>>,
    pub(super) progress: Option<Progress>,
}

impl Held<'_> {
    /// What is in `place`, until this is dropped.
    pub(super) fn of(place: &Mutex<Option<Progress>>) -> Held<'_> {
        Held { progress: lock(place).take(), place }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *lock(self.place) = self.progress.take();
    }
}

impl Progress {
    /// What the link leads to is not the object: the next round tries a fresh link, once, and then it is so.
    pub(super) fn doubt_link(
        &mut self,
        links: &LinkStore,
        object: &Object,
        link: &Link,
        error: ContentError,
    ) -> Result<(), ContentError> {
        if std::mem::replace(&mut self.has_doubted_link, true) {
            return Err(error);
        }
        log::debug!("{}; a fresh link is asked for", one_line(&error));
        links.refuse(&object.revision(), link);
        Ok(())
    }

    /// The store refuses the link: the next round resolves a new one, up to [`MAX_REFUSALS`] in a row.
    pub(super) fn note_refusal(
        &mut self,
        links: &LinkStore,
        object: &Object,
        link: &Link,
        status: u16,
    ) -> Result<(), ContentError> {
        links.refuse(&object.revision(), link);
        self.refusals += 1;
        log::debug!("link refused (HTTP {status}), refusal {}", self.refusals);
        if self.refusals >= MAX_REFUSALS { Err(ContentError::Refused { status }) } else { Ok(()) }
    }
}
