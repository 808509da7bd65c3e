//! The bytes of synthetic files: a pure function of (seed of the file's version, offset), free to serve and free to check.
//!
//! One table of pseudo-random bytes is made once; the byte at `offset` of a file with `seed` is
//! `TABLE[(seed + offset) % PERIOD]`. Serving is slicing the table, so neither a debug build nor a many-GiB file costs
//! time. `PERIOD` is a prime just above 2^20: an answer that is off by any number of bytes, pages, blocks or power-of-two
//! windows differs almost everywhere; only an error that is an exact multiple of 1,048,583 bytes would go unseen. Two
//! files, or two versions of one, have seeds derived from a hash and differ likewise.

use hyper::body::Bytes;
use std::sync::OnceLock;

/// After how many bytes a synthetic file repeats itself: the smallest prime above 2^20.
pub const PERIOD: u64 = 1_048_583;

/// The most bytes one [`slice`] returns: the table holds this much beyond one period, so no slice ever wraps.
pub const MAX_SLICE: usize = 1 << 20;

/// One step of the SplitMix64 generator (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn splitmix64(index: u64) -> u64 {
    let mut z = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The table: one period, then its first [`MAX_SLICE`] bytes again.
fn table() -> &'static Bytes {
    static TABLE: OnceLock<Bytes> = OnceLock::new();
    TABLE.get_or_init(|| {
        let period = usize::try_from(PERIOD).expect("the period fits every address space");
        let mut bytes = Vec::with_capacity(period + MAX_SLICE + 8);
        let mut index = 0;
        while bytes.len() < period {
            bytes.extend_from_slice(&splitmix64(index).to_le_bytes());
            index += 1;
        }
        bytes.truncate(period);
        bytes.extend_from_within(..MAX_SLICE);
        Bytes::from(bytes)
    })
}

/// Up to `len` bytes (at most [`MAX_SLICE`]) of the file with `seed` from `offset`, without copying.
pub fn slice(seed: u64, offset: u64, len: usize) -> Bytes {
    let start = usize::try_from((seed % PERIOD + offset % PERIOD) % PERIOD).expect("smaller than the period");
    table().slice(start..start + len.min(MAX_SLICE))
}

/// The `len` bytes that the file with `seed` holds from `offset`, as one vector to compare with.
pub fn expected(seed: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let at = offset + bytes.len() as u64;
        bytes.extend_from_slice(&slice(seed, at, len - bytes.len()));
    }
    bytes
}
