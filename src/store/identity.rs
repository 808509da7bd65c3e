//! What a blob is of: which bytes of which version of which file, or which directory as whom; from which source.
//!
//! An identity has one spelling in bytes, which stands in the blob itself, and a hash of it, which is the blob's name. Nothing in it
//! is a secret: a source stands there as a hash. Pure.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::policy::range::ByteRange;

/// The most bytes of a file that one blob holds: a MiB, which a disk reads in about the time of finding it. Shorter files are one blob.
pub const BLOB_BYTES: u64 = 1 << 20;

/// The longest id of a node, and the longest name of a login, in bytes, that a blob is kept of. Real ones have some dozens.
const MAX_ID_BYTES: usize = 1024;

/// Changed whenever the same bytes under the same name would mean something else.
const SPELLING: &[u8] = b"koofs blob 1";

/// What is hashed for the key of a source.
const SOURCE_SPELLING: &[u8] = b"koofs source 1";

/// What the label of a source ends with under which its listings are kept apart from its files.
pub const LISTINGS_LABEL: &str = " (listings)";

/// Tells a source from all others: a hash of where it is and what it is called there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceKey(pub(super) [u8; 16]);

/// The name of a blob: a hash of its identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobName(pub(super) [u8; 16]);

/// A share or space that blobs are of. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    key: SourceKey,
    label: Arc<str>,
}

/// Which content of a file is meant. The id alone is never enough: content can change under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// The file's length in bytes.
    pub size_bytes: u64,
    /// `editedTime`, milliseconds since 1970-01-01 UTC.
    pub edited_ms: i64,
    /// The hash of the content, if the service lists one.
    pub sha256: Option<[u8; 32]>,
}

/// What a blob is of. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    source: Source,
    /// The one spelling of all that identifies the blob.
    bytes: Arc<[u8]>,
    name: BlobName,
    kind: Kind,
}

/// The kinds of blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// These bytes of a file; never empty.
    Block(ByteRange),
    /// A complete listing, or what an opening has told: of any length.
    Listing,
}

impl Source {
    /// The source that is called `exact` at `endpoint`: equal for two mounts only if whoever may open the one may open the other, so
    /// a login's own space is called by its id. `label` is shown to the user, and stands on the disk: no secret, and no share's code.
    pub fn new(endpoint: &str, exact: &str, label: &str) -> Source {
        let key = SourceKey(hash(&[SOURCE_SPELLING, endpoint.as_bytes(), exact.as_bytes()]));
        Source { key, label: label.into() }
    }

    /// Its key.
    pub fn key(&self) -> SourceKey {
        self.key
    }

    /// What to call it.
    pub fn label(&self) -> &str {
        &self.label
    }
}

impl Identity {
    /// The `block_bytes` bytes (fewer at the end of the file) from `index` times `block_bytes` on, of one version of the file `node`.
    /// The same bytes in blocks of another size are another blob. `None` if the file has no such bytes, if a block is empty or longer
    /// than [`BLOB_BYTES`], or for an id of which no blob is kept.
    pub fn block(source: &Source, node: &str, version: &FileVersion, index: u64, block_bytes: u64) -> Option<Identity> {
        if block_bytes > BLOB_BYTES {
            return None;
        }
        let start = index.checked_mul(block_bytes).filter(|start| *start < version.size_bytes)?;
        let range = ByteRange::clamped(start, block_bytes, version.size_bytes);
        if range.is_empty() {
            return None;
        }
        let FileVersion { size_bytes, edited_ms, sha256 } = version;
        let mut spelling = Spelling::new(b'B', source);
        spelling.text(node)?;
        spelling.bytes.extend(size_bytes.to_le_bytes());
        spelling.bytes.extend(edited_ms.to_le_bytes());
        spelling.bytes.push(u8::from(sha256.is_some()));
        spelling.bytes.extend(sha256.unwrap_or_default());
        spelling.bytes.extend(index.to_le_bytes());
        spelling.bytes.extend(block_bytes.to_le_bytes());
        Some(spelling.identity(source, Kind::Block(range)))
    }

    /// The listing of `directory` as it is shown to `who`: the login, or the empty text where there is none. `None` for an id of which
    /// no blob is kept.
    pub fn listing(source: &Source, who: &str, directory: &str) -> Option<Identity> {
        let mut spelling = Spelling::new(b'L', source);
        spelling.text(who)?;
        spelling.text(directory)?;
        Some(spelling.identity(source, Kind::Listing))
    }

    /// What the opening of the source has told that was opened as `how`, from the directory `path` on. `None` for a path of which
    /// no blob is kept.
    pub fn opening(source: &Source, how: &str, path: &str) -> Option<Identity> {
        let mut spelling = Spelling::new(b'O', source);
        spelling.text(how)?;
        spelling.text(path)?;
        Some(spelling.identity(source, Kind::Listing))
    }

    /// The source that it is of.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The name of the blob.
    pub fn name(&self) -> BlobName {
        self.name
    }

    /// The one spelling of this identity in bytes: what a blob has to say of itself, and what a seal has to cover.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the file that the blob is of; `None` for a listing.
    pub fn range(&self) -> Option<ByteRange> {
        match self.kind {
            Kind::Block(range) => Some(range),
            Kind::Listing => None,
        }
    }
}

/// The source that an identity says it is of, from its spelling.
pub(super) fn source_of(bytes: &[u8]) -> Option<SourceKey> {
    bytes.get(1..17)?.try_into().ok().map(SourceKey)
}

/// An identity as it is being spelled.
struct Spelling {
    bytes: Vec<u8>,
}

impl Spelling {
    fn new(kind: u8, source: &Source) -> Spelling {
        let mut bytes = Vec::with_capacity(160);
        bytes.push(kind);
        bytes.extend(source.key.0);
        Spelling { bytes }
    }

    fn text(&mut self, text: &str) -> Option<()> {
        let len = u16::try_from(text.len()).ok().filter(|len| usize::from(*len) <= MAX_ID_BYTES)?;
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend(text.as_bytes());
        Some(())
    }

    fn identity(self, source: &Source, kind: Kind) -> Identity {
        let name = BlobName::of(&self.bytes);
        Identity { source: source.clone(), bytes: self.bytes.into(), name, kind }
    }
}

impl BlobName {
    /// The name of the blob whose identity is spelled `bytes`.
    pub(super) fn of(bytes: &[u8]) -> BlobName {
        BlobName(hash(&[SPELLING, bytes]))
    }

    /// Which of the 256 directories it lies in.
    pub(super) fn shard(self) -> u8 {
        self.0[0]
    }
}

/// The first 128 bits of SHA-256 over `parts`, each behind its length: at 2^64 blobs two would meet by chance, and nobody can make
/// them meet. If they did, it would be a miss: the identity itself stands in the blob.
fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

macro_rules! hexadecimal {
    ($name:ident) => {
        impl $name {
            /// Reads back what `Display` writes; `None` for anything else.
            pub fn parse(text: &str) -> Option<$name> {
                let digits = text.as_bytes();
                let is_hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
                if digits.len() != 32 || !digits.iter().all(is_hex) {
                    return None;
                }
                u128::from_str_radix(text, 16).ok().map(|number| $name(number.to_be_bytes()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hexadecimal!(SourceKey);
hexadecimal!(BlobName);

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: FileVersion = FileVersion { size_bytes: 5 * BLOB_BYTES / 2, edited_ms: 7, sha256: None };

    fn source(exact: &str) -> Source {
        Source::new("https://koo.example", exact, "label")
    }

    fn block(version: FileVersion, index: u64) -> Identity {
        Identity::block(&source("share:1"), "node", &version, index, BLOB_BYTES).expect("there are such bytes")
    }

    #[test]
    fn names_never_change() {
        // Worked out apart from this code (Python's hashlib); a changed name would make every store on every disk useless.
        let listing = Identity::listing(&source("share:1"), "who", "dir").expect("short ids");
        let names =
            [source("share:1").key().to_string(), block(VERSION, 1).name().to_string(), listing.name().to_string()];
        assert_eq!(
            names,
            [
                "0e72d49f88d96a0789c198c542b6d655",
                "907e145cd660ffa1822f3c6e6335b8ca",
                "48adb319231a2a66af437caa6a0399a4"
            ]
        );
    }

    #[test]
    fn each_part_of_an_identity_makes_another_name() {
        let sha256 = Some([0; 32]);
        let mut all = vec![
            block(VERSION, 0),
            block(VERSION, 1),
            block(FileVersion { size_bytes: VERSION.size_bytes + 1, ..VERSION }, 0),
            block(FileVersion { edited_ms: 8, ..VERSION }, 0),
            block(FileVersion { sha256, ..VERSION }, 0),
        ];
        all.extend(Identity::block(&source("share:1"), "node", &VERSION, 0, BLOB_BYTES / 8));
        for exact in ["share:1", "share:2"] {
            all.extend(Identity::block(&source(exact), "other", &VERSION, 0, BLOB_BYTES));
            for (who, directory) in [("", "ab"), ("a", "b"), ("ab", ""), ("", "node")] {
                all.extend(Identity::listing(&source(exact), who, directory));
                all.extend(Identity::opening(&source(exact), who, directory));
            }
        }
        let count = all.len();
        all.sort_by_key(Identity::name);
        all.dedup_by_key(|identity| identity.name());
        assert_eq!((all.len(), count), (24, 24));
    }

    #[test]
    fn blocks_cover_the_file_and_nothing_behind_it() {
        let ranges: Vec<_> =
            (0..4).map(|index| Identity::block(&source("s"), "n", &VERSION, index, BLOB_BYTES)?.range()).collect();
        let half = BLOB_BYTES / 2;
        let want = [(0, 2 * half), (2 * half, 4 * half), (4 * half, 5 * half)];
        let mut want: Vec<_> = want.into_iter().map(|(start, end)| Some(ByteRange::new(start, end))).collect();
        want.push(None);
        assert_eq!(ranges, want);
        assert_eq!(Identity::block(&source("s"), "n", &VERSION, u64::MAX, BLOB_BYTES), None);
        assert_eq!(Identity::block(&source("s"), "n", &FileVersion { size_bytes: 0, ..VERSION }, 0, BLOB_BYTES), None);
        assert_eq!(Identity::block(&source("s"), "n", &VERSION, 0, BLOB_BYTES + 1), None);
        assert_eq!(Identity::block(&source("s"), "n", &VERSION, 0, 0), None);
    }

    #[test]
    fn ids_of_any_length_are_taken_or_left() {
        assert!(Identity::listing(&source("s"), "", &"x".repeat(MAX_ID_BYTES)).is_some());
        assert!(Identity::listing(&source("s"), "", &"x".repeat(MAX_ID_BYTES + 1)).is_none());
        assert!(Identity::listing(&source("s"), &"x".repeat(70_000), "").is_none());
        assert!(Identity::block(&source("s"), &"x".repeat(70_000), &VERSION, 0, BLOB_BYTES).is_none());
    }

    #[test]
    fn names_are_read_as_they_are_written_and_no_others() {
        let name = block(VERSION, 0).name();
        assert_eq!(BlobName::parse(&name.to_string()), Some(name));
        let text = name.to_string();
        for odd in ["", "0", &text[1..], &format!("{text}0"), &text.replace(&text[..1], "+"), &text.to_uppercase()] {
            let is_same = *odd == text;
            assert!(is_same || BlobName::parse(odd).is_none(), "{odd}");
        }
    }
}
