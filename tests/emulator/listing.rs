//! Listings cut into pages: cursors, snapshots, and the ways a listing may end.
//!
//! Owns: which entries a page holds and what its cursor says; for shares and spaces alike. Knows no JSON but the
//! cursor's. One short lock; directories are read without it.
//!
//! A cursor names the listing that it goes on in by a hash of its entries. So a listing that was forgotten, also by a restart,
//! goes on as long as the directory is what it was, and one that was begun many times is kept once.

use super::api::{BAD_PARAMETER, Call, FOLDER_RECYCLED, NO_RESOURCE, NOT_A_FOLDER, Refusal};
use super::faults::FaultKind;
use super::knobs::{Knobs, LastCursor, NameFilter, NameOrder, Paging, Sorting, WalkFile};
use super::lock;
use super::sign::{hex, hmac_sha256};
use super::tree::{ListError, Node, Tree};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How many sorted listings are kept for their later pages; the one that was used longest ago is forgotten first.
const SNAPSHOTS: usize = 256;
/// How many bytes they may take, the latest excepted. Entries of a directory on disk are no one else's: a listing of 100,000
/// takes about 40 MB.
pub const MAX_SNAPSHOT_BYTES: usize = 128 << 20;
/// Sorted by nothing but the id, which tells nothing.
const UNSORTED: u64 = 0;
/// Characters that a client must carry through JSON unharmed; every cursor begins with them.
const CURSOR_PREFIX: &str = "{\"c\":\"\\\u{e9}\u{1F4C4}\t&+%2F=/\u{1}<";

/// Sorted listings that later pages are cut from.
#[derive(Debug, Default)]
pub struct Listings {
    recent: Mutex<Recent>,
    last_pages: AtomicU64,
}

/// The listings that are kept, the one that was used last at the end.
#[derive(Debug, Default)]
struct Recent {
    snapshots: VecDeque<Snapshot>,
}

#[derive(Clone, Debug)]
struct Snapshot {
    bound: String,
    version: Option<u64>,
    /// A hash of what the entries say.
    fingerprint: u64,
    /// About how much memory it takes.
    bytes: usize,
    entries: Arc<Vec<Arc<Node>>>,
}

impl Listings {
    /// How many listings are kept, and about how many bytes they take.
    pub fn kept(&self) -> (usize, usize) {
        let recent = lock(&self.recent);
        (recent.snapshots.len(), recent.bytes())
    }
}

impl Recent {
    fn bytes(&self) -> usize {
        self.snapshots.iter().map(|snapshot| snapshot.bytes).sum()
    }

    /// The latest snapshot that fits; it is in use now.
    fn find(&mut self, fits: impl Fn(&Snapshot) -> bool) -> Option<Snapshot> {
        let at = self.snapshots.iter().rposition(fits)?;
        let found = self.snapshots.remove(at)?;
        self.snapshots.push_back(found.clone());
        Some(found)
    }

    /// Keeps a snapshot, in the place of one with the same entries.
    fn keep(&mut self, snapshot: Snapshot) {
        self.snapshots.retain(|kept| kept.bound != snapshot.bound || kept.fingerprint != snapshot.fingerprint);
        self.snapshots.push_back(snapshot);
        while self.snapshots.len() > SNAPSHOTS || (self.snapshots.len() > 1 && self.bytes() > MAX_SNAPSHOT_BYTES) {
            self.snapshots.pop_front();
        }
    }
}

impl Snapshot {
    fn new(bound: &str, version: Option<u64>, entries: Vec<Arc<Node>>) -> Self {
        let mut hasher = DefaultHasher::new();
        let mut bytes = entries.len() * size_of::<Arc<Node>>();
        for node in &entries {
            (&node.id, &node.name, node.size, node.edited.as_nanosecond(), &node.object).hash(&mut hasher);
            for (field, value) in &node.described {
                (field, value.to_string()).hash(&mut hasher);
            }
            // The entries of a synthetic tree are the tree's.
            if version.is_none() {
                bytes += size_of::<Node>() + node.id.len() + node.name.len() + node.parent.len() + node.object.len();
            }
        }
        let (bound, entries) = (bound.to_owned(), Arc::new(entries));
        Self { bound, version, fingerprint: hasher.finish(), bytes, entries }
    }
}

/// Entries of one page, and `nextCursor` if there is to be one.
#[derive(Debug)]
pub struct Page {
    /// The entries, in order.
    pub nodes: Vec<Arc<Node>>,
    /// What `nextCursor` holds.
    pub next: Option<Value>,
}

/// Which entries of a directory a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Those that are not recycled.
    Plain,
    /// Recycled ones too, where they were.
    WithRecycled,
    /// The recycle bin: recycled ones alone, wherever they were.
    Bin,
    /// Everything below, and what a walk makes of it.
    Walk(WalkFile),
}

impl View {
    /// The same with everything below, if a name is looked for there.
    fn of_filter(self, filter: NameFilter, name: &str) -> Self {
        match self {
            Self::Plain | Self::WithRecycled if filter == NameFilter::Below && !name.is_empty() => {
                Self::Walk(WalkFile::Works)
            }
            view => view,
        }
    }
}

impl Call<'_> {
    /// Cuts one page of at most `page_size` entries, or fewer if the knobs say so.
    ///
    /// # Errors
    /// The directory cannot be listed, or the cursor is not good for it.
    pub fn page(&self, tree: &Tree, bound: &Bound<'_>, cursor: Option<&str>, page_size: u64) -> Result<Page, Refusal> {
        let page_size = if self.fault == Some(FaultKind::PageSizeIgnored) { 100 } else { page_size };
        let page_size = usize::try_from(page_size.min(u64::from(self.knobs.page_cap))).unwrap_or(100);
        let bound = &self.as_deployed(bound)?;
        let tag = bound.tag(self.knobs);
        let place = match cursor {
            None => Place { index: 0, page: 1, issued_ms: self.now.as_millisecond(), snapshot: 0 },
            Some(text) => self.read_cursor(text, &tag)?,
        };
        let begun = if cursor.is_some() && self.knobs.paging == Paging::Snapshot { Some(place.snapshot) } else { None };
        let snapshot = self.listing(tree, bound, &tag, begun)?;
        let entries = snapshot.entries.as_slice();
        let index = place.index.min(entries.len());
        let empty = self.knobs.empty_pages > 0 && place.page.is_multiple_of(u64::from(self.knobs.empty_pages));
        let end = if empty { index } else { (index + page_size).min(entries.len()) };
        let full_last = self.knobs.trailing_empty_page && end == entries.len() && end - index == page_size;
        let issued_ms = self.now.as_millisecond();
        let next = Place { index: end, page: place.page + 1, issued_ms, snapshot: snapshot.fingerprint };

        let next_cursor =
            if self.fault == Some(FaultKind::CursorLoop) {
                Some(json!(cursor.map_or_else(
                    || write_cursor(&tag, &Place { snapshot: snapshot.fingerprint, ..place }),
                    str::to_owned
                )))
            } else if end < entries.len() || full_last {
                Some(json!(write_cursor(&tag, &next)))
            } else {
                self.last_cursor()
            };
        Ok(Page { nodes: entries[index..end].to_vec(), next: next_cursor })
    }

    /// What a listing is in this deployment, whatever was asked for.
    fn as_deployed<'b>(&self, asked: &Bound<'b>) -> Result<Bound<'b>, Refusal> {
        let knobs = self.knobs;
        let mut bound = Bound { view: asked.view.of_filter(knobs.name_filter, asked.filter), ..*asked };
        if !asked.filter.is_empty() {
            self.shared.counters.update(|all| all.filtered_listings += 1);
            match knobs.name_filter {
                NameFilter::Refused => return Err(self.not_offered("fileName")),
                NameFilter::Ignored => bound.filter = "",
                NameFilter::Exact | NameFilter::Contains | NameFilter::Below => {}
            }
        }
        if asked.descending {
            self.shared.counters.update(|all| all.descending_listings += 1);
        }
        match knobs.sorting {
            Sorting::Honoured => {}
            Sorting::DirectionIgnored => bound.descending = true,
            Sorting::Ignored => (bound.sort, bound.descending) = (UNSORTED, false),
            Sorting::DescendingRefused if bound.descending => return Err(self.not_offered("sortDirection")),
            Sorting::DescendingRefused => {}
        }
        Ok(bound)
    }

    /// A parameter that the documentation does not exclude, but this deployment does: one may ask once, and is told.
    pub fn not_offered(&self, what: &str) -> Refusal {
        self.shared.counters.update(|all| *all.not_offered.entry(what.to_owned()).or_default() += 1);
        Refusal::business(BAD_PARAMETER, format!("{what}: parameter check failed"))
    }

    /// What stands for "no more pages".
    fn last_cursor(&self) -> Option<Value> {
        let shape = match self.knobs.last_cursor {
            LastCursor::Cycle => match self.shared.listings.last_pages.fetch_add(1, Ordering::Relaxed) % 3 {
                0 => LastCursor::Absent,
                1 => LastCursor::Null,
                _ => LastCursor::Empty,
            },
            fixed => fixed,
        };
        match shape {
            LastCursor::Null => Some(Value::Null),
            LastCursor::Empty => Some(json!("")),
            LastCursor::Absent | LastCursor::Cycle => None,
        }
    }

    /// The sorted listing a page is cut from: the one that was `begun`, or the directory as it is now.
    fn listing(&self, tree: &Tree, bound: &Bound<'_>, tag: &str, begun: Option<u64>) -> Result<Snapshot, Refusal> {
        let version = tree.version();
        let kept = lock(&self.shared.listings.recent).find(|kept| {
            let fits = match begun {
                Some(fingerprint) => kept.fingerprint == fingerprint,
                None => version.is_some() && kept.version == version,
            };
            fits && kept.bound == tag
        });
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let listed = match bound.view {
            View::Plain => tree.list(bound.parent),
            View::Bin => Ok(tree.recycled(None)),
            View::WithRecycled => tree.list(bound.parent).map(|mut all| {
                all.extend(tree.recycled(Some(bound.parent)));
                all
            }),
            View::Walk(walk) => walked(tree, bound.parent, walk, self.knobs.recycled_in_listings),
        };
        let mut entries = listed.map_err(|error| match error {
            ListError::Unknown => Refusal::business(NO_RESOURCE, "the directory does not exist"),
            ListError::Recycled => Refusal::business(FOLDER_RECYCLED, "the directory is in the recycle bin"),
            ListError::NotAFolder => Refusal::business(NOT_A_FOLDER, "this is not a directory"),
            ListError::Io(error) => Refusal { status: Some(500), ..Refusal::business(13_000_201, error.to_string()) },
        })?;
        if !bound.filter.is_empty() {
            let lower = bound.filter.to_lowercase();
            entries.retain(|node| match self.knobs.name_filter {
                NameFilter::Exact => node.name == bound.filter,
                NameFilter::Below => node.name.to_lowercase().contains(&lower),
                _ => node.name.contains(bound.filter),
            });
        }
        if !bound.file_type.is_empty() {
            entries.retain(|node| node.file_type() == bound.file_type);
        }
        let descending = bound.descending;
        entries.sort_by(|a, b| {
            let order = match bound.sort {
                1 if self.knobs.name_order == NameOrder::AnyCase => {
                    let order = a.name.to_lowercase().cmp(&b.name.to_lowercase());
                    return if descending { order.reverse() } else { order }.then_with(|| a.id.cmp(&b.id));
                }
                1 => a.name.cmp(&b.name),
                2 => a.size.cmp(&b.size),
                6 => a.suffix().cmp(b.suffix()),
                UNSORTED => std::cmp::Ordering::Equal,
                _ => a.edited.cmp(&b.edited),
            };
            let order = order.then_with(|| a.id.cmp(&b.id));
            if descending { order.reverse() } else { order }
        });
        let snapshot = Snapshot::new(tag, version, entries);
        if begun.is_some_and(|fingerprint| fingerprint != snapshot.fingerprint) {
            return Err(expired());
        }
        let mut recent = lock(&self.shared.listings.recent);
        // A directory on disk cannot say that nothing has changed: its entries are kept once all the same.
        if let Some(kept) = recent.find(|kept| kept.bound == tag && kept.fingerprint == snapshot.fingerprint) {
            let snapshot = Snapshot { version, ..kept };
            recent.keep(snapshot.clone());
            return Ok(snapshot);
        }
        recent.keep(snapshot.clone());
        Ok(snapshot)
    }

    /// Reads a cursor that must be ours, of this listing, and young enough.
    fn read_cursor(&self, text: &str, tag: &str) -> Result<Place, Refusal> {
        let wrong = || Refusal::parameter("pageCursor: not a cursor of this listing");
        let inner = text.strip_prefix(CURSOR_PREFIX).ok_or_else(wrong)?;
        let numbers: Vec<&str> = inner.split('.').collect();
        let [_, index, page, issued_ms, snapshot, _] = numbers.as_slice() else {
            return Err(wrong());
        };
        let place = Place {
            index: index.parse().map_err(|_| wrong())?,
            page: page.parse().map_err(|_| wrong())?,
            issued_ms: issued_ms.parse().map_err(|_| wrong())?,
            snapshot: snapshot.parse().map_err(|_| wrong())?,
        };
        if write_cursor(tag, &place) != text {
            return Err(wrong());
        }
        let lifetime = i64::try_from(self.knobs.cursor_lifetime.as_millis()).unwrap_or(i64::MAX);
        if place.issued_ms.saturating_add(lifetime) <= self.now.as_millisecond() {
            return Err(expired());
        }
        Ok(place)
    }
}

/// A cursor that was good once: too old, or its listing is forgotten and the directory has changed.
fn expired() -> Refusal {
    Refusal { complaint: false, ..Refusal::parameter("pageCursor: expired") }
}

/// Everything below a directory, as `walkFile` gives it: directories first as they are found, and none of their order promised.
fn walked(tree: &Tree, parent: &str, walk: WalkFile, recycled: bool) -> Result<Vec<Arc<Node>>, ListError> {
    let list = |parent: &str| {
        tree.list(parent).map(|mut all| {
            if recycled {
                all.extend(tree.recycled(Some(parent)));
            }
            all
        })
    };
    let mut all = list(parent)?;
    let mut at = 0;
    while at < all.len() && walk != WalkFile::ChildrenOnly {
        let node = Arc::clone(&all[at]);
        if node.folder && !tree.is_recycled(&node.id) {
            match list(&node.id) {
                Ok(more) => all.extend(more),
                // It has gone meanwhile: a walk is no snapshot.
                Err(ListError::Unknown | ListError::Recycled | ListError::NotAFolder) => {}
                Err(error) => return Err(error),
            }
        }
        at += 1;
    }
    match walk {
        WalkFile::NoFolders => all.retain(|node| !node.folder),
        WalkFile::Orphans => {
            let mut folders = 0_u64;
            all.retain(|node| {
                folders += u64::from(node.folder);
                !node.folder || !folders.is_multiple_of(2)
            });
        }
        _ => {}
    }
    Ok(all)
}

/// What a listing is of; a cursor is good for nothing else.
#[derive(Clone, Copy)]
pub struct Bound<'a> {
    /// What holds the directory: the short code of a share, the container of a space, with whatever else must not mix.
    pub place: &'a str,
    /// Id of the directory; empty at the top.
    pub parent: &'a str,
    /// 1 name, 2 size, 3 creation, 4 modification, 5 recycling, 6 file format; [`UNSORTED`].
    pub sort: u64,
    /// Largest, or latest, first.
    pub descending: bool,
    /// Only names with this in them.
    pub filter: &'a str,
    /// Only this `fileType`.
    pub file_type: &'a str,
    /// Which entries.
    pub view: View,
}

impl Bound<'_> {
    fn tag(&self, knobs: &Knobs) -> String {
        let text = format!(
            "{:?}/{:?}/{}/{}/{:?}/{:?}/{:?}/{:?}/{:?}/{}",
            self.place,
            self.parent,
            self.sort,
            self.descending,
            self.filter,
            self.file_type,
            self.view,
            knobs.name_filter,
            knobs.name_order,
            knobs.recycled_in_listings
        );
        hex(&hmac_sha256(b"listing", text.as_bytes())[..12])
    }
}

/// A place in a listing.
struct Place {
    index: usize,
    page: u64,
    issued_ms: i64,
    snapshot: u64,
}

fn write_cursor(tag: &str, place: &Place) -> String {
    let text = format!("{tag}.{}.{}.{}.{}", place.index, place.page, place.issued_ms, place.snapshot);
    let mac = hex(&hmac_sha256(b"cursor", text.as_bytes())[..8]);
    format!("{CURSOR_PREFIX}{text}.{mac}")
}
