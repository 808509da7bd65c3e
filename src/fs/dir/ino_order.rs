//! The entries of a complete listing in the order of their inode numbers.

use super::super::inode::Ino;

/// A permutation of the entries of a listing: 8 bytes for each, and 4 more for each subdirectory.
#[derive(Debug)]
pub(in crate::fs) struct InoOrder {
    /// The index in the listing, by rank.
    indices: Box<[u32]>,
    /// The rank, by index in the listing.
    ranks: Box<[u32]>,
    /// The ranks of the subdirectories, ascending.
    subdirs: Box<[u32]>,
}

impl InoOrder {
    /// The order of entries with these numbers, as listed; `subdirs` are the indices of the directories among them.
    pub(in crate::fs) fn new(inos: &[Ino], subdirs: &[u32]) -> InoOrder {
        // A listing has far fewer than 2^32 entries (remote/pages.rs).
        let count = u32::try_from(inos.len()).unwrap_or(u32::MAX);
        let mut indices: Vec<u32> = (0..count).collect();
        indices.sort_unstable_by_key(|index| inos[*index as usize]);
        let mut ranks = vec![0; indices.len()];
        for (rank, index) in (0..count).zip(&indices) {
            ranks[*index as usize] = rank;
        }
        let mut subdirs: Vec<u32> = subdirs.iter().map(|index| ranks[*index as usize]).collect();
        subdirs.sort_unstable();
        InoOrder { indices: indices.into(), ranks: ranks.into(), subdirs: subdirs.into() }
    }

    /// The rank of the entry that is listed at `index`.
    pub(in crate::fs) fn rank(&self, index: usize) -> Option<usize> {
        self.ranks.get(index).map(|rank| *rank as usize)
    }

    /// The index in the listing of the entry at `rank`.
    pub(in crate::fs) fn index(&self, rank: usize) -> Option<usize> {
        self.indices.get(rank).map(|index| *index as usize)
    }

    /// The rank of the first subdirectory at or after `rank`.
    pub(in crate::fs) fn subdir_from(&self, rank: usize) -> Option<usize> {
        let nth = self.subdirs.partition_point(|subdir| (*subdir as usize) < rank);
        self.subdirs.get(nth).map(|rank| *rank as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_and_indices_are_each_others_inverse_and_subdirectories_are_found_by_rank() {
        let order = InoOrder::new(&[9, 2, 5, 3].map(Ino), &[0, 3]);
        let indices: Vec<_> = (0..5).map(|rank| order.index(rank)).collect();
        assert_eq!(indices, [Some(1), Some(3), Some(2), Some(0), None]);
        let ranks: Vec<_> = (0..5).map(|index| order.rank(index)).collect();
        assert_eq!(ranks, [Some(3), Some(0), Some(2), Some(1), None]);
        let subdirs: Vec<_> = (0..5).map(|rank| order.subdir_from(rank)).collect();
        assert_eq!(subdirs, [Some(1), Some(1), Some(3), Some(3), None]);
    }
}
