//! How much of a file is here: in memory or on the disk.

use std::time::Instant;

use super::blocks::BlockCache;
use super::kept::{KeptBlocks, unit_around};
use super::object::Object;
use crate::clock::Clock;
use crate::policy::range::ByteRange;

/// The bytes of `object` that `blocks` or `kept` has. Blocks as long as the disk takes for the names of its pieces, until `until` at most:
/// what is not looked at by then does not count. Opens nothing, so a damaged piece counts.
pub(super) fn held_bytes(
    object: &Object,
    blocks: &BlockCache,
    kept: Option<&KeptBlocks>,
    clock: &dyn Clock,
    until: Instant,
) -> u64 {
    let (mut held, mut offset) = (0, 0);
    while offset < object.size() && clock.now() < until {
        let unit = unit_around(offset, object.size());
        let in_memory = |index: &u64| {
            let block = ByteRange::of_block(*index, object.size());
            let inside = ByteRange::new(block.start.max(unit.start), block.end.min(unit.end));
            blocks.get(object, inside).map_or(0, |_| inside.len())
        };
        let in_blocks: u64 = unit.blocks().map(|index| in_memory(&index)).sum();
        let is_kept = in_blocks < unit.len() && kept.is_some_and(|kept| kept.has_name(object, offset));
        held += if is_kept { unit.len() } else { in_blocks };
        offset = unit.end;
    }
    held
}
