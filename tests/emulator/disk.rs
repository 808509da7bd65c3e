//! A directory on disk as a tree: ids that are functions of the path below its root, and files that are served as the one
//! version that was opened.
//!
//! Owns: where ids lead, the search for those of an earlier run, what tells two versions of a file apart. Two short locks;
//! the disk is read without them, but for the search, of which there is one at a time.

use super::lock;
use super::tree::{ListError, Node, Object, Source, Tree, file_id, hash, object_key};
use hyper::body::Bytes;
use jiff::Timestamp;
use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// After a search that found nothing, unknown ids are refused without another one for this long: asking for what is gone
/// must not read the whole disk each time.
const SEARCH_INTERVAL: Duration = Duration::from_secs(2);
/// How many paths are remembered: about 100 MB. More are forgotten all at once, and found again by searching.
pub const MAX_PATHS: usize = 500_000;
/// A file that was changed more recently is waited for. Times of files are as coarse as the kernel's clock, 10 ms at most,
/// and a write sets the time before its bytes are in: younger, two versions could have one tag.
const SETTLED: Duration = Duration::from_millis(20);
/// How often at most: a file that is written to all the time is served as it is, and its answers end early.
const SETTLE_TRIES: usize = 10;

/// A directory on disk.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    pub(super) place: String,
    index: Mutex<Index>,
    /// Held during a search; when the last one that found nothing ended.
    fruitless: Mutex<Option<Instant>>,
}

/// Where ids and keys lead.
#[derive(Debug)]
struct Index {
    by_id: HashMap<String, Arc<Path>>,
    by_key: HashMap<String, Arc<Path>>,
    paths_max: usize,
    /// Paths were forgotten since the last search began.
    is_incomplete: bool,
}

impl Index {
    fn add(&mut self, node: &Node, path: &Arc<Path>) {
        if self.by_id.contains_key(&node.id) {
            return;
        }
        if self.by_id.len() >= self.paths_max {
            self.by_id.clear();
            self.by_key.clear();
            self.is_incomplete = true;
        }
        self.by_id.insert(node.id.clone(), Arc::clone(path));
        if !node.folder {
            self.by_key.insert(node.object.clone(), Arc::clone(path));
        }
    }

    fn find(&self, wanted: Wanted<'_>) -> Option<Arc<Path>> {
        match wanted {
            Wanted::Id(id) => self.by_id.get(id),
            Wanted::Key(key) => self.by_key.get(key),
        }
        .cloned()
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug)]
enum Wanted<'a> {
    Id(&'a str),
    Key(&'a str),
}

impl Wanted<'_> {
    fn is(self, node: &Node) -> bool {
        match self {
            Wanted::Id(id) => node.id == id,
            Wanted::Key(key) => !node.folder && node.object == key,
        }
    }
}

impl Directory {
    /// Serves `root` as the space `place`, remembering so many paths at a time.
    ///
    /// # Errors
    /// It is not a directory that can be read.
    pub(super) fn new(place: &str, root: &Path, paths_max: usize) -> io::Result<Self> {
        let root = root.canonicalize()?;
        std::fs::read_dir(&root)?;
        let (by_id, by_key) = (HashMap::new(), HashMap::new());
        let index = Mutex::new(Index { by_id, by_key, paths_max, is_incomplete: false });
        Ok(Self { root, place: place.to_owned(), index, fruitless: Mutex::default() })
    }

    /// The path below the root, if the id is known or can be found.
    fn path_of(&self, wanted: Wanted<'_>) -> Option<Arc<Path>> {
        let known = lock(&self.index).find(wanted);
        if known.is_some() {
            return known;
        }
        // An id of an earlier run, or of a file that nobody listed yet. Who comes during a search waits for its end: not to
        // be known yet is not to be unknown.
        let mut fruitless = lock(&self.fruitless);
        {
            let mut index = lock(&self.index);
            if let Some(path) = index.find(wanted) {
                return Some(path);
            }
            if fruitless.is_some_and(|at| at.elapsed() < SEARCH_INTERVAL) && !index.is_incomplete {
                return None;
            }
            index.is_incomplete = false;
        }
        let found = self.search(wanted);
        *fruitless = if found.is_none() { Some(Instant::now()) } else { None };
        found
    }

    /// Looks through the whole directory, so that whatever else was handed out earlier is known from then on.
    fn search(&self, wanted: Wanted<'_>) -> Option<Arc<Path>> {
        let mut found = None;
        let mut left: Vec<Arc<Path>> = vec![Path::new("").into()];
        while let Some(path) = left.pop() {
            for (node, below) in self.scan(&path).unwrap_or_default() {
                if wanted.is(&node) {
                    found = Some(Arc::clone(&below));
                }
                if node.folder {
                    left.push(below);
                }
            }
        }
        found
    }

    /// Reads one directory and indexes what is in it.
    fn scan(&self, path: &Path) -> io::Result<Vec<(Arc<Node>, Arc<Path>)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.root.join(path))? {
            let entry = entry?;
            // Of the entry itself: a symlink is neither file nor directory.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let below: Arc<Path> = path.join(entry.file_name()).into();
            if let Some(node) = node_of(&self.place, &below, &metadata) {
                found.push((Arc::new(node), below));
            }
        }
        let mut index = lock(&self.index);
        for (node, below) in &found {
            index.add(node, below);
        }
        Ok(found)
    }

    pub(super) fn list(&self, parent: &str) -> Result<Vec<Arc<Node>>, ListError> {
        let path = if parent.is_empty() {
            Path::new("").into()
        } else {
            let node = self.lookup(parent).ok_or(ListError::Unknown)?;
            if !node.folder {
                return Err(ListError::NotAFolder);
            }
            self.path_of(Wanted::Id(parent)).ok_or(ListError::Unknown)?
        };
        match self.scan(&path) {
            Ok(found) => Ok(found.into_iter().map(|(node, _)| node).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ListError::Unknown),
            Err(error) => Err(ListError::Io(error)),
        }
    }

    pub(super) fn lookup(&self, id: &str) -> Option<Arc<Node>> {
        let path = self.path_of(Wanted::Id(id))?;
        let metadata = std::fs::symlink_metadata(self.root.join(&path)).ok()?;
        node_of(&self.place, &path, &metadata).map(Arc::new)
    }

    /// The object with this key, opened: its tag, its size and its bytes are of one version.
    pub(super) fn object(&self, key: &str) -> Option<Object> {
        let path = self.path_of(Wanted::Key(key))?;
        let file = OpenFile::open(&self.root.join(&path)).ok()?;
        let node = node_of(&self.place, &path, &file.metadata).filter(|node| !node.folder)?;
        Some(Object {
            key: key.to_owned(),
            file_id: node.id,
            name: node.name,
            size: node.size,
            etag: etag_of(&file.metadata),
            modified: node.edited,
            source: Source::File(Arc::new(file)),
        })
    }

    /// The tag of the object with this key, without opening it.
    pub(super) fn etag(&self, key: &str) -> Option<String> {
        let path = self.path_of(Wanted::Key(key))?;
        std::fs::symlink_metadata(self.root.join(&path)).ok().map(|metadata| etag_of(&metadata))
    }
}

/// A file as it was when it was opened, whatever becomes of its path.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    metadata: Metadata,
}

impl OpenFile {
    /// Opens a file and nothing else. Waits shortly if it has only just been changed.
    fn open(path: &Path) -> io::Result<Self> {
        // What is no file by now must neither be followed nor waited for.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
        let mut metadata = file.metadata()?;
        for _ in 0..SETTLE_TRIES {
            let left = SETTLED.saturating_sub(age_of(&metadata));
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left);
            metadata = file.metadata()?;
        }
        Ok(Self { file, metadata })
    }

    /// The `len` bytes from `offset` of the version that was opened.
    ///
    /// # Errors
    /// It has been rewritten or cut since then, or the disk refuses.
    pub fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset)?;
        // Looked at after the read: a write sets the time before it changes a byte.
        if self.is_rewritten()? {
            return Err(io::Error::other("the file was rewritten while it was served"));
        }
        Ok(Bytes::from(bytes))
    }

    fn is_rewritten(&self) -> io::Result<bool> {
        let (then, now) = (&self.metadata, self.file.metadata()?);
        let written = |of: &Metadata| (of.len(), of.mtime(), of.mtime_nsec());
        let changed = |of: &Metadata| (of.ctime(), of.ctime_nsec());
        // A file whose name was given to another is changed as well, but not its bytes: it has fewer links.
        Ok(written(then) != written(&now) || (changed(then) != changed(&now) && then.nlink() == now.nlink()))
    }
}

/// How long ago a file was changed; long if that is yet to come, as after its clock was set back.
fn age_of(metadata: &Metadata) -> Duration {
    let changed =
        Duration::new(metadata.ctime().try_into().unwrap_or(0), metadata.ctime_nsec().try_into().unwrap_or(0));
    (UNIX_EPOCH + changed).elapsed().unwrap_or(Duration::MAX)
}

/// The tag of a version of a file. The time of its change is part of it: bytes can be replaced and the time of their
/// modification set back.
fn etag_of(metadata: &Metadata) -> String {
    let version = format!(
        "{}/{}/{}/{}.{}/{}.{}",
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec()
    );
    hash(b"etag", version.as_bytes())[..32].to_owned()
}

/// The node of a path below the root; `None` if it is neither a regular file nor a directory.
fn node_of(place: &str, path: &Path, metadata: &Metadata) -> Option<Node> {
    if !metadata.is_file() && !metadata.is_dir() {
        return None;
    }
    let bytes = path.as_os_str().as_bytes();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => file_id(place, parent.as_os_str().as_bytes()),
        _ => Tree::root_id().to_owned(),
    };
    Some(Node {
        id: file_id(place, bytes),
        name: path.file_name()?.to_string_lossy().into_owned(),
        parent,
        folder: metadata.is_dir(),
        size: if metadata.is_dir() { 0 } else { metadata.len() },
        edited: metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH),
        file_type: None,
        object: if metadata.is_dir() { String::new() } else { object_key(place, bytes) },
        described: Vec::new(),
        generation: 0,
    })
}
