//! What a mount may hold in memory and do at a time: every share of the memory budget, and every count of threads and requests
//! that depends on another, computed from the size of the budget and the number of readers.
//!
//! The shares of one number of readers add up to the budget. Pure.

use super::linux::MAX_REQUEST_BYTES;

/// What is counted for what the HTTP client holds for a request, in bytes: hyper reads up to 408 KiB at a time (its
/// `DEFAULT_MAX_BUFFER_SIZE`), and one such piece waits to be read. An allowance and no bound: of 100 readers, the allocator's heap
/// was mostly 0.9 MiB for each of 64 requests, and once, with both processors busy, 1.5 (smaps).
pub const CLIENT_BUFFER_BYTES: u64 = 1024 * 1024;

/// Requests and replies on their way may take at most this part of the budget each.
const TRANSIT_PART: u64 = 4;

/// This part of what remains beside replies is not for the look-ahead of readers, but for blocks behind them and for files
/// fetched whole.
const KEPT_PART: u64 = 8;

/// The number of requests ahead of the readers before anything is known of a store, where the budget allows as many.
pub const START_STREAMS: usize = 16;

/// This part of the budget may wait to be written to the disk: 128 MiB of 256. What is read at speed comes faster than a busy machine
/// writes (a quarter was too little for 1 GiB at 600 MB/s on two busy processors), and much of what waits has yet to be read anyway.
const UNWRITTEN_PART: u64 = 2;

/// This part may be in pieces that are not whole yet. Each connection fills one, or two at the end of its part: 56 of them 56 MiB.
const UNFINISHED_PART: u64 = 4;

/// The fewest requests ahead of the readers that any budget allows.
const MIN_STREAMS: usize = 4;

/// Threads that fetch content, as many requests at once: at least, and at most. They mostly sleep.
const MIN_CONTENT_THREADS: usize = 16;
const MAX_CONTENT_THREADS: usize = SHORT_FOR_ONE * MAX_STREAMS + RESERVED_CONTENT_THREADS;

/// So many content threads are reserved for reads that wait: fetches ahead never take them all.
const RESERVED_CONTENT_THREADS: usize = 8;

/// The most requests ahead of all readers together. One alone may have them all: a far store that paces each connection gives one
/// reader as much as many.
pub const MAX_STREAMS: usize = 56;

/// So many requests for small files may be on their way for one of a large file: each holds a block at most, and is over in a round trip.
pub const SHORT_FOR_ONE: usize = 2;

/// Threads that list, as many calls to the service at once. They mostly sleep. What the service allows is not known
/// (src/koodrive/API.md): fs/lister.rs starts with few calls for listings ahead, and halves their number on a refusal.
pub const LISTING_THREADS: usize = 32;

/// So many of them are reserved for listings that somebody waits for.
const RESERVED_LISTING_THREADS: usize = 8;

/// The number of directories listed ahead at a time before anything is known of a service.
pub const START_LISTINGS_AHEAD: usize = 8;
/// The most directories that are listed ahead at a time.
pub const MAX_LISTINGS_AHEAD: usize = LISTING_THREADS - RESERVED_LISTING_THREADS;

/// The memory budget of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    memory_bytes: u64,
}

/// How a budget is shared among a number of readers. `replies_bytes`, all windows and `kept_bytes` add up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// For replies on their way to the kernel, of which each may hold blocks that the cache has given up.
    pub replies_bytes: u64,
    /// How far ahead of each reader bytes may be fetched. What requests hold is not counted on top: it is over when their bytes
    /// are in.
    pub window_bytes: u64,
    /// For what lies behind the readers and for files that are fetched whole.
    pub kept_bytes: u64,
}

impl Budget {
    /// A budget of so many bytes for all that is cached or fetched ahead.
    pub fn new(memory_bytes: u64) -> Budget {
        Budget { memory_bytes }
    }

    /// All of it, in bytes.
    pub fn bytes(self) -> u64 {
        self.memory_bytes
    }

    /// So much may wait to be written to the disk: two blobs of a MiB, at least. It is part of the budget: what of it the cache has given up
    /// goes off the look-ahead of readers.
    pub fn unwritten_bytes(self) -> u64 {
        (self.memory_bytes / UNWRITTEN_PART).max(2 << 20)
    }

    /// So much may be on its way to the disk and not be whole yet, as [`Budget::unwritten_bytes`].
    pub fn unfinished_bytes(self) -> u64 {
        (self.memory_bytes / UNFINISHED_PART).max(2 << 20)
    }

    /// How many threads fetch content: half of the budget may go into what requests hold.
    pub fn content_threads(self) -> usize {
        clamped(self.memory_bytes / 2 / CLIENT_BUFFER_BYTES, MIN_CONTENT_THREADS, MAX_CONTENT_THREADS)
    }

    /// How many requests may be on their way ahead of the readers.
    pub fn max_streams(self) -> usize {
        clamped(self.memory_bytes / TRANSIT_PART / CLIENT_BUFFER_BYTES, MIN_STREAMS, MAX_STREAMS)
    }

    /// The shares of `readers`, of whom there is always one: what is fetched ahead of them is not evicted before it is read.
    pub fn shares(self, readers: usize) -> Shares {
        let count = readers.max(1) as u64;
        let replies_bytes = count.saturating_mul(u64::from(MAX_REQUEST_BYTES)).min(self.memory_bytes / TRANSIT_PART);
        let rest = self.memory_bytes - replies_bytes;
        let window_bytes = (rest - rest / KEPT_PART) / count;
        let kept_bytes = rest - window_bytes * count;
        Shares { replies_bytes, window_bytes, kept_bytes }
    }
}

fn clamped(count: u64, min: usize, max: usize) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).clamp(min, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn shares_add_up_to_the_budget_for_any_number_of_readers() {
        for memory in [0, 1, 4096, 16 * MIB, 256 * MIB + 77, 1 << 40] {
            for readers in [0, 1, 2, 3, 17, 100, 100_000] {
                let Shares { replies_bytes, window_bytes, kept_bytes } = Budget::new(memory).shares(readers);
                let count = readers.max(1) as u64;
                assert_eq!(replies_bytes + window_bytes * count + kept_bytes, memory, "{memory}, {readers}");
                assert!(replies_bytes <= memory / 4 && kept_bytes >= (memory - replies_bytes) / 8);
            }
            let max_streams = Budget::new(memory).max_streams();
            assert!((MIN_STREAMS..=MAX_STREAMS).contains(&max_streams));
            assert!(max_streams <= Budget::new(memory).content_threads());
        }
    }

    #[test]
    fn requests_hold_at_most_a_quarter_of_the_budget_above_the_fewest() {
        for memory in [16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB] {
            let streams = Budget::new(memory).max_streams();
            assert!(streams == MIN_STREAMS || streams as u64 * CLIENT_BUFFER_BYTES <= memory / 4, "{memory}");
        }
    }

    #[test]
    fn usual_budget_allows_fifty_six_requests_or_twice_as_many_for_small_files() {
        let budget = Budget::new(256 * MIB);
        assert_eq!((budget.content_threads(), budget.max_streams()), (120, 56));
    }
}
