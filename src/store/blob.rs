//! What stands in the file of a blob: a header that says what it is, and the bytes. Pure.
//!
//! ```text
//! offset  bytes  little-endian
//!      0      8  "koofs\r\n\0": a file that passed through a conversion of line ends is told apart at once
//!      8      4  version of this format
//!     12      4  bytes of the identity
//!     16      4  bytes of the ETag; 0 if there is none
//!     20      4  0
//!     24      8  bytes of data
//!     32      8  when it was complete, milliseconds since 1970-01-01 UTC
//!     40      8  XXH3 of the data: of each 128 KiB, and of these hashes if there is more than one
//!     48      .  the identity, then the ETag
//!      .      8  XXH3 of everything before
//!      .      .  the data, up to the end of the file
//! ```
//!
//! Nothing in a file is believed before the checksum over it, and nothing is allocated by what a file says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twox_hash::XxHash3_64;

/// What every blob begins with.
const MAGIC: [u8; 8] = *b"koofs\r\n\0";

/// Raised when a blob of today could be misread by that code; blobs of other formats are misses.
const FORMAT: u32 = 2;

/// The part of the header before the identity, and the checksum behind it.
const FIXED_BYTES: usize = 48;
const CHECKSUM_BYTES: usize = 8;

/// The data is hashed by pieces of so many bytes, as it lies in memory in pieces: one after the other they would be hashed at half the
/// speed, and forty times slower in a build for tests.
const HASHED_BYTES: usize = 128 * 1024;

/// The longest ETag that is kept with a blob: OBS's have 34 bytes; a longer one is not kept, and then no blob is.
const MAX_ETAG_BYTES: usize = 1024;

/// What a whole blob holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// As it was spelled.
    pub identity: Vec<u8>,
    pub etag: Option<String>,
    pub complete_at: SystemTime,
    /// Where the data begins in the file; it goes to the end.
    pub data_at: usize,
}

/// What is wrong with the file of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// It is not as long as it says, or shorter than any blob.
    Length,
    /// It is no blob at all.
    Magic,
    /// Another version of koofs has written it.
    Format,
    /// The header is not what was written.
    Header,
    /// The data is not what was written.
    Data,
    /// It is a blob, of something else than its name says.
    Identity,
}

impl Damage {
    /// What to say of it in a log.
    pub(super) fn text(self) -> &'static str {
        match self {
            Damage::Length => "it is not as long as it was written",
            Damage::Magic => "it is no blob of koofs",
            Damage::Format => "another version of koofs has written it",
            Damage::Header => "the checksum of its header does not match",
            Damage::Data => "the checksum of its data does not match",
            Damage::Identity => "it holds something else than its name says",
        }
    }
}

/// How many bytes the header takes.
pub(super) fn header_bytes(identity: &[u8], etag: Option<&str>) -> usize {
    FIXED_BYTES + identity.len() + etag.map_or(0, str::len) + CHECKSUM_BYTES
}

/// The header of a blob of `identity` whose data is `parts`, one after the other. `None` for an ETag that is empty or too long to be kept.
pub(super) fn header<'a>(
    identity: &[u8],
    etag: Option<&str>,
    complete_at: SystemTime,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Option<Vec<u8>> {
    if etag.is_some_and(|etag| etag.is_empty() || etag.len() > MAX_ETAG_BYTES) {
        return None;
    }
    let etag = etag.unwrap_or_default();
    let (data_bytes, data_hash) = length_and_hash(parts);
    let since = complete_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut header = Vec::with_capacity(header_bytes(identity, Some(etag)));
    header.extend(MAGIC);
    header.extend(FORMAT.to_le_bytes());
    header.extend(u32::try_from(identity.len()).ok()?.to_le_bytes());
    header.extend(u32::try_from(etag.len()).ok()?.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    header.extend(data_bytes.to_le_bytes());
    header.extend(u64::try_from(since.as_millis()).ok()?.to_le_bytes());
    header.extend(data_hash.to_le_bytes());
    header.extend(identity);
    header.extend(etag.as_bytes());
    header.extend(XxHash3_64::oneshot(&header).to_le_bytes());
    Some(header)
}

/// How long the data in `parts` is, one after the other, and its hash. What of a part does not lie as it is hashed is copied.
fn length_and_hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (u64, u64) {
    let (mut data_bytes, mut hashes, mut begun) = (0_u64, Vec::new(), Vec::new());
    for mut part in parts {
        data_bytes += part.len() as u64;
        while !part.is_empty() {
            let piece;
            (piece, part) = part.split_at(part.len().min(HASHED_BYTES - begun.len()));
            if piece.len() == HASHED_BYTES {
                hashes.push(XxHash3_64::oneshot(piece));
                continue;
            }
            begun.extend_from_slice(piece);
            if begun.len() == HASHED_BYTES {
                hashes.push(XxHash3_64::oneshot(&begun));
                begun.clear();
            }
        }
    }
    if !begun.is_empty() || hashes.is_empty() {
        hashes.push(XxHash3_64::oneshot(&begun));
    }
    let hash = match &hashes[..] {
        [hash] => *hash,
        hashes => {
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
            XxHash3_64::oneshot(&bytes)
        }
    };
    (data_bytes, hash)
}

/// What a header says, and has to be compared with the data behind it.
struct Head {
    content: Content,
    data_bytes: u64,
    data_hash: u64,
}

/// What the file of a blob holds, of which all bytes have been read.
///
/// # Errors
/// Whatever is not exactly as it was written.
pub(super) fn content(file: &[u8]) -> Result<Content, Damage> {
    let head = head(file)?;
    let data = &file[head.content.data_at..];
    head.checked(std::iter::once(data))
}

/// As [`content_of`], where the header and the data were read apart, the data in parts.
///
/// # Errors
/// Whatever is not exactly as it was written, or of another identity.
pub(super) fn content_in_parts<'a>(
    header: &[u8],
    parts: impl Iterator<Item = &'a [u8]>,
    identity: &[u8],
) -> Result<Content, Damage> {
    let head = head(header)?;
    if head.content.data_at != header.len() {
        return Err(Damage::Length);
    }
    if head.content.identity != identity {
        return Err(Damage::Identity);
    }
    head.checked(parts)
}

impl Head {
    /// What the file holds, if the data in `parts` is what was written.
    fn checked<'a>(self, parts: impl Iterator<Item = &'a [u8]>) -> Result<Content, Damage> {
        let (data_bytes, data_hash) = length_and_hash(parts);
        if data_bytes != self.data_bytes {
            return Err(Damage::Length);
        }
        if data_hash != self.data_hash {
            return Err(Damage::Data);
        }
        Ok(self.content)
    }
}

/// Reads a header; `file` may go on behind it.
fn head(file: &[u8]) -> Result<Head, Damage> {
    let fixed: &[u8; FIXED_BYTES] = file.first_chunk().ok_or(Damage::Length)?;
    if fixed[..8] != MAGIC {
        return Err(Damage::Magic);
    }
    if number_32(fixed, 8) != FORMAT {
        return Err(Damage::Format);
    }
    let size = |at| usize::try_from(number_32(fixed, at)).unwrap_or(usize::MAX);
    let identity_end = FIXED_BYTES.saturating_add(size(12));
    let etag_end = identity_end.saturating_add(size(16));
    let data_at = etag_end.saturating_add(CHECKSUM_BYTES);
    let checksum = file.get(etag_end..data_at).ok_or(Damage::Length)?;
    if XxHash3_64::oneshot(&file[..etag_end]).to_le_bytes() != checksum {
        return Err(Damage::Header);
    }
    let etag = match &file[identity_end..etag_end] {
        [] => None,
        etag => Some(str::from_utf8(etag).ok().ok_or(Damage::Header)?.to_owned()),
    };
    let since = Duration::from_millis(number_64(fixed, 32));
    let complete_at = UNIX_EPOCH.checked_add(since).ok_or(Damage::Header)?;
    let content = Content { identity: file[FIXED_BYTES..identity_end].to_vec(), etag, complete_at, data_at };
    Ok(Head { content, data_bytes: number_64(fixed, 24), data_hash: number_64(fixed, 40) })
}

/// As [`content`], for the blob of `identity`.
///
/// # Errors
/// Also if it is a blob of another identity.
pub(super) fn content_of(file: &[u8], identity: &[u8]) -> Result<Content, Damage> {
    let content = content(file)?;
    if content.identity != identity {
        return Err(Damage::Identity);
    }
    Ok(content)
}

fn number_32(fixed: &[u8; FIXED_BYTES], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&fixed[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn number_64(fixed: &[u8; FIXED_BYTES], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&fixed[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &[u8] = b"Bthe identity of a block";

    fn complete_at() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_790_000_000_123)
    }

    fn file(identity: &[u8], etag: Option<&str>, data: &[u8]) -> Vec<u8> {
        let halves = data.split_at(data.len() / 3);
        let mut file = header(identity, etag, complete_at(), [halves.0, halves.1].into_iter()).expect("fits");
        assert_eq!(file.len(), header_bytes(identity, etag));
        file.extend(data);
        file
    }

    fn bytes(len: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(len as u64);
        (0..len).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn format_never_changes() {
        // Worked out apart from this code (Python's struct and xxhash): a changed layout needs another FORMAT.
        let file = file(b"id", Some("\"e\""), b"data");
        let hexadecimal: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hexadecimal,
            "6b6f6f66730d0a000200000002000000030000000000000004000000000000007b6c50c4a0010000\
             1e5d7dd53f94b7e4696422652276b75c57802a9b4b64617461"
        );
        let long: Vec<u8> = (0..300_000_u32).map(|at| (at * 7 + (at >> 8)).to_le_bytes()[0]).collect();
        let parts = || long.chunks(HASHED_BYTES);
        assert_eq!(length_and_hash(parts()), (300_000, 0x7418_62b3_5138_80b3));
        for len in [1, 1000, HASHED_BYTES - 1, HASHED_BYTES + 1, 2 * HASHED_BYTES, long.len()] {
            assert_eq!(length_and_hash(long.chunks(len)), length_and_hash(parts()), "{len}");
        }
    }

    #[test]
    fn blob_is_read_as_it_was_written() {
        for len in [0, 1, 16, 17, 239, 240, 241, 4096, 1 << 20] {
            for etag in [None, Some("\"abc\"")] {
                let (data, identity) = (bytes(len), IDENTITY.to_vec());
                let file = file(&identity, etag, &data);
                let content = content_of(&file, &identity).expect("whole");
                let (header, data_read) = file.split_at(content.data_at);
                let parts = || data_read.chunks(HASHED_BYTES);
                assert_eq!(content_in_parts(header, parts(), &identity).as_ref(), Ok(&content));
                assert!(content_in_parts(&file[..content.data_at - 1], parts(), &identity).is_err());
                assert!(len <= HASHED_BYTES || content_in_parts(header, parts().skip(1), &identity).is_err());
                assert_eq!(&file[content.data_at..], data);
                assert_eq!((content.etag.as_deref(), content.complete_at), (etag, complete_at()));
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let file = file(IDENTITY, Some("\"abc\""), &bytes(3000));
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(content_of(&flipped, IDENTITY).is_err(), "bit {bit}");
            let (header, data) = flipped.split_at(header_bytes(IDENTITY, Some("\"abc\"")));
            assert!(content_in_parts(header, std::iter::once(data), IDENTITY).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_length_but_the_right_one_is_seen() {
        let file = file(IDENTITY, Some("\"abc\""), &bytes(300));
        for len in 0..file.len() {
            assert!(content(&file[..len]).is_err(), "{len}");
        }
        for more in [1, 8, 4096] {
            let longer = [&file[..], &vec![0; more]].concat();
            assert!(content(&longer).is_err(), "{more} more");
        }
        assert_eq!(content(&vec![0; 4096]), Err(Damage::Magic));
    }

    #[test]
    fn blob_of_something_else_is_seen() {
        let file = file(b"another", None, b"data");
        assert_eq!(content_of(&file, IDENTITY), Err(Damage::Identity));
        assert!(content(&file).is_ok());
    }

    #[test]
    fn etag_that_cannot_be_kept_makes_no_blob() {
        for etag in ["", &"x".repeat(MAX_ETAG_BYTES + 1)] {
            assert_eq!(header(IDENTITY, Some(etag), complete_at(), std::iter::empty()), None);
        }
    }
}
