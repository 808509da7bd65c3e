//! One block of an object: being fetched, whole, or failed; and the reads that wait for it.
//!
//! Its bytes are written once, by the one fetch that fills it, and are shared from then on without a copy. Readers are woken as soon
//! as *their* bytes are in. Locks: one, never held while a read is answered.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use super::ContentError;
use super::buffers::Buffer;
use super::parked::{ParkedRead, Piece};
use crate::jobs::Ticket;
use crate::policy::range::ByteRange;
use crate::sync::lock;

/// One block of an object: on its way, whole, or failed.
pub(super) struct Block {
    /// Which bytes of the object it holds; never empty.
    pub range: ByteRange,
    data: OnceLock<Arc<Buffer>>,
    state: Mutex<BlockState>,
}

#[derive(Default)]
struct BlockState {
    failure: Option<ContentError>,
    waiters: Vec<Waiter>,
    /// The fetch that fills it, once it is started.
    ticket: Option<Ticket>,
    /// Until when somebody waits for a fetch that is not started yet.
    awaited_until: Option<Instant>,
}

/// Bytes `from..to` of a block, for one part of a parked read.
struct Waiter {
    from: usize,
    to: usize,
    part: usize,
    read: Arc<ParkedRead>,
}

impl Block {
    /// A new block, without bytes and without a fetch.
    pub(super) fn new(range: ByteRange) -> Block {
        Block { range, data: OnceLock::new(), state: Mutex::default() }
    }

    /// The block's length in bytes.
    pub(super) fn byte_count(&self) -> usize {
        usize::try_from(self.range.len()).unwrap_or(usize::MAX)
    }

    /// Bytes `from..to` of the block, if all of it is in.
    pub(super) fn piece(&self, from: usize, to: usize) -> Option<Piece> {
        self.data.get().map(|data| Piece::shared(data, from, to))
    }

    /// Whether all its bytes are in.
    pub(super) fn is_whole(&self) -> bool {
        self.data.get().is_some()
    }

    /// Whether somebody else holds its bytes, too.
    pub(super) fn is_shared(&self) -> bool {
        self.data.get().is_some_and(|data| Arc::strong_count(data) > 1)
    }

    /// All its bytes, if they are in.
    pub(super) fn shared_data(&self) -> Option<Arc<Buffer>> {
        self.data.get().cloned()
    }

    /// Whether it is being requested from the object store, or is about to be, rather than only looked up on the disk.
    pub(super) fn is_requested(&self) -> bool {
        lock(&self.state).ticket.as_ref().is_some_and(Ticket::is_started)
    }

    /// Sets the ticket of the fetch that will fill the block, before that fetch starts. Returns the latest deadline of the reads
    /// that already wait for the block.
    pub(super) fn set_ticket(&self, ticket: &Ticket) -> Option<Instant> {
        let mut state = lock(&self.state);
        state.ticket = Some(ticket.clone());
        state.awaited_until
    }

    /// A read waits for the block until `until`: promotes its fetch. `false` if that fetch has ended without filling the block:
    /// the caller must fetch it again.
    pub(super) fn hurry(&self, until: Instant) -> bool {
        let mut state = lock(&self.state);
        let Some(ticket) = state.ticket.clone() else {
            state.awaited_until = state.awaited_until.max(Some(until));
            return true;
        };
        drop(state);
        ticket.promote(until) || self.is_whole()
    }

    /// Whether somebody waits for it.
    pub(super) fn is_awaited(&self) -> bool {
        !lock(&self.state).waiters.is_empty()
    }

    /// Abandons the block, unless a read waits for it; a later read must ask for a new one. Returns whether it was abandoned.
    pub(super) fn abandon(&self) -> bool {
        let mut state = lock(&self.state);
        let is_unwanted = state.waiters.is_empty();
        if is_unwanted {
            state.failure = Some(ContentError::Cancelled);
        }
        is_unwanted
    }

    /// The first bytes of the block have arrived: reads that need no more than these get a copy.
    pub(super) fn offer_prefix(&self, prefix: &[u8]) {
        let mut state = lock(&self.state);
        if state.waiters.is_empty() {
            return;
        }
        let waiters = std::mem::take(&mut state.waiters);
        let (served, waiting): (Vec<_>, Vec<_>) = waiters.into_iter().partition(|waiter| waiter.to <= prefix.len());
        state.waiters = waiting;
        drop(state);
        for waiter in served {
            waiter.read.deliver(waiter.part, Piece::Copied(prefix[waiter.from..waiter.to].into()));
        }
    }

    /// All bytes have arrived.
    pub(super) fn complete(&self, data: Buffer) {
        debug_assert_eq!(data.len(), self.byte_count());
        let data = Arc::new(data);
        let _ = self.data.set(Arc::clone(&data));
        let waiters = std::mem::take(&mut lock(&self.state).waiters);
        for waiter in waiters {
            waiter.read.deliver(waiter.part, Piece::shared(&data, waiter.from, waiter.to));
        }
    }

    /// The fetch has failed.
    pub(super) fn fail(&self, error: &ContentError) {
        let waiters = {
            let mut state = lock(&self.state);
            state.failure = Some(error.clone());
            std::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            waiter.read.fail(error.clone());
        }
    }

    /// Has bytes `from..to` of the block delivered as part `part` of `read`, now or when they are in.
    ///
    /// # Errors
    /// If the block has failed; nothing will be delivered.
    pub(super) fn deliver_to(
        &self,
        read: &Arc<ParkedRead>,
        part: usize,
        from: usize,
        to: usize,
    ) -> Result<(), ContentError> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        // Looked at under the lock: `complete` sets the data first and takes the waiters after.
        if let Some(piece) = self.piece(from, to) {
            drop(state);
            read.deliver(part, piece);
        } else {
            state.waiters.push(Waiter { from, to, part, read: Arc::clone(read) });
        }
        Ok(())
    }
}

/// Which bytes of `block` belong to `range`, counted from the block's start.
pub(super) fn within(block: &Block, range: ByteRange) -> (usize, usize) {
    let from = range.start.max(block.range.start) - block.range.start;
    let to = range.end.min(block.range.end).saturating_sub(block.range.start);
    (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(to).unwrap_or(usize::MAX))
}
