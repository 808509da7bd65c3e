//! What must hold of a listing that lies on the disk, whoever wrote it. For tests and for `scripts/fuzz` only.

use super::inode::{Ino, InodeTable};
use super::remembered::{decode, encode};
use crate::remote::{NodeId, Pages};

/// The least bytes that an entry takes in a listing on the disk.
const LEAST_ENTRY_BYTES: usize = 21;

/// The bytes of a listing: what is read of them is bounded by them, and is the same when it is written and read again.
pub fn kept_listing(data: &[u8]) {
    let Some((nodes, is_of_subtree)) = decode(data) else { return };
    assert!(nodes.len() <= data.len() / LEAST_ENTRY_BYTES, "{} entries of {} bytes", nodes.len(), data.len());
    let inodes = InodeTable::new(NodeId::new("root"), 0);
    let entries = inodes.enlist(Ino::ROOT, Pages::default().name(nodes, |_| false));
    let Some(bytes) = encode(&entries, is_of_subtree) else { return };
    let (again, mark) = decode(&bytes).unwrap_or_default();
    assert_eq!((again.len(), mark), (entries.len(), is_of_subtree));
    for (node, entry) in again.iter().zip(&entries) {
        assert!(node.id == entry.id && node.kind == entry.kind && node.version == entry.version);
        assert_eq!(node.name, entry.name.as_str());
    }
}

#[cfg(test)]
mod tests {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/inputs.rs"));

    #[test]
    fn listing_on_the_disk_is_bounded_by_its_bytes_and_stays_the_same() {
        try_inputs("kept_listing", super::kept_listing);
    }
}
