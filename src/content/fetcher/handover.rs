//! Which blocks of a run other requests bring than its own: while connections are young, and where one stands still.

use std::sync::Arc;
use std::time::Instant;

use super::super::block::Block;
use super::super::object::Object;
use super::super::runs::Run;
use super::Fetcher;
use crate::jobs::Urgency;
use crate::policy::range::ByteRange;

/// What a read waits for in a file of so many bytes is requested block by block while connections are young: so many connections share
/// it, and are warm for what follows. A shorter file takes one request, as many of them may be read.
const MIN_SHARED_BYTES: u64 = 16 << 20;

impl Fetcher {
    /// Has each block of `run` but the first requested by itself, if that is worth it: what a read waits for until `until`, and the disk
    /// does not have.
    pub(super) fn share_among_young_connections(self: &Arc<Self>, run: &Run, until: Instant) {
        if run.object.size() >= MIN_SHARED_BYTES && self.are_connections_young() {
            for block in run.take_rest() {
                self.request_apart(&run.object, &[block], until);
            }
        }
    }

    /// Requests an overdue block, and what its fetch has planned after it, once more, if that is worth it.
    pub(in crate::content) fn take_over(self: &Arc<Self>, object: &Arc<Object>, block: &Arc<Block>) {
        let (usual, now) = (self.pacer.usual(), self.clock.now());
        let taken = self.runs.take_over(block, usual, now);
        let (Some(first), Some(last)) = (taken.first(), taken.last()) else { return };
        let range = ByteRange::new(first.range.start, last.range.end);
        log::debug!("{range:?} is overdue: it is requested once more, on another connection");
        self.request_apart(object, &taken, now + self.op_timeout);
    }

    /// Requests `blocks`, which were taken out of their run, by a fetch of their own.
    fn request_apart(self: &Arc<Self>, object: &Arc<Object>, blocks: &[Arc<Block>], until: Instant) {
        let run = Arc::new(Run::new(object, blocks.to_vec().into()));
        let ticket = self.new_fetch(&run);
        let awaited_until = blocks.iter().filter_map(|block| block.set_ticket(&ticket)).max();
        ticket.start(Urgency::Awaited(awaited_until.map_or(until, |awaited| awaited.max(until))));
    }
}
