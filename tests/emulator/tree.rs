//! What is served: a local directory, or a synthetic tree that lives in memory and may change while it is served.
//!
//! Owns: nodes, their ids, the objects behind them; `disk.rs` what is special about a directory. Knows nothing of HTTP, JSON,
//! links or knobs. One lock per synthetic tree, held for memory work only. All calls may block shortly (they read
//! directories), so servers call them from blocking threads.

use super::disk::{Directory, MAX_PATHS, OpenFile};
use super::knobs::parse_bytes;
use super::lock;
use super::pattern;
use super::sign::hex;
use base64::Engine as _;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Suffix of the object key of a thumbnail.
const THUMBNAIL: &str = "_thumb";
/// Stands for what no text of Rust can hold: the escape `\ud800` without its other half.
pub const LONE_SURROGATE: char = '\u{f8ff}';
/// Size of every thumbnail in bytes.
const THUMBNAIL_SIZE: u64 = 2000;
/// `editedTime` of the first synthetic entry; each later one is a second younger. 2025-05-01T08:00:00.123Z.
const FIRST_EDIT_MS: i64 = 1_746_086_400_123;

/// One entry of the share.
#[derive(Clone, Debug)]
pub struct Node {
    /// File id: `F` and 32 characters of `[0-9A-Za-z_-]`.
    pub id: String,
    /// Its name, whatever characters it holds.
    pub name: String,
    /// Id of the directory it is in; [`Tree::root_id`] at the top.
    pub parent: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// Size in bytes; 0 for folders.
    pub size: u64,
    /// Modification time.
    pub edited: Timestamp,
    /// `fileType` if it shall not be derived from the name.
    pub file_type: Option<String>,
    /// Key of the object with its content; empty for folders.
    pub object: String,
    /// Fields that listings give another value, however odd.
    pub described: Vec<(&'static str, Value)>,
    pub(super) generation: u32,
}

impl Node {
    /// What follows the last dot of its name; empty for folders and without a dot.
    pub fn suffix(&self) -> &str {
        match self.name.rsplit_once('.') {
            Some((_, suffix)) if !self.folder => suffix,
            _ => "",
        }
    }

    /// Puts what listings say otherwise into `entry`.
    pub fn put_described(&self, entry: &mut Map<String, Value>) {
        entry.extend(self.described.iter().map(|(field, value)| ((*field).to_owned(), value.clone())));
    }

    /// `fileType` (section 6.2).
    pub fn file_type(&self) -> &str {
        match &self.file_type {
            Some(file_type) => file_type,
            None if self.folder => "10",
            None => file_type(self.suffix()),
        }
    }
}

/// An object of the store.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Id of the file it is, or was, the content of.
    pub file_id: String,
    /// Name of that file.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Entity tag without quotes; changes with every content.
    pub etag: String,
    /// Last modification.
    pub modified: Timestamp,
    /// Where its bytes come from.
    pub source: Source,
}

/// Where bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// [`pattern`] with this seed.
    Pattern(u64),
    /// These.
    Bytes(Bytes),
    /// A file on disk, opened.
    File(Arc<OpenFile>),
}

/// What became of an id.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It is there.
    Found(Arc<Node>),
    /// It is in the recycle bin.
    Recycled,
    /// It never was, or is gone.
    Unknown,
}

/// Why a directory has no listing.
#[derive(Debug)]
pub enum ListError {
    /// There is no such id.
    Unknown,
    /// It is in the recycle bin.
    Recycled,
    /// It is a file.
    NotAFolder,
    /// The disk refused.
    Io(io::Error),
}

/// Content of a synthetic file.
#[derive(Clone, Debug)]
pub enum Content {
    /// This many bytes of [`pattern`].
    Pattern(u64),
    /// Exactly these bytes.
    Bytes(Bytes),
}

/// A synthetic entry to be added.
#[derive(Clone, Debug)]
pub struct Entry {
    name: String,
    content: Option<Content>,
    edited: Option<Timestamp>,
    file_type: Option<String>,
}

impl Entry {
    /// A file of `size` pattern bytes. The name may be anything: empty, `..`, with slashes or NUL, a duplicate.
    pub fn file(name: impl Into<String>, size: u64) -> Self {
        Self { name: name.into(), content: Some(Content::Pattern(size)), edited: None, file_type: None }
    }

    /// A file with these bytes.
    pub fn bytes(name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { name: name.into(), content: Some(Content::Bytes(bytes.into())), edited: None, file_type: None }
    }

    /// An empty folder.
    pub fn folder(name: impl Into<String>) -> Self {
        Self { name: name.into(), content: None, edited: None, file_type: None }
    }

    /// Sets the modification time.
    #[must_use]
    pub fn edited(mut self, at: Timestamp) -> Self {
        self.edited = Some(at);
        self
    }

    /// Sets `fileType`, however odd.
    #[must_use]
    pub fn file_type(mut self, text: impl Into<String>) -> Self {
        self.file_type = Some(text.into());
        self
    }
}

/// What happens to id and object when content is replaced (src/koodrive/API.md, section 14: not known).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// Same id, same object key: links that were handed out lead to the new bytes.
    SameObject,
    /// Same id, new object; the old object is gone, old links get 404.
    NewObject,
    /// Same id, new object; old links still lead to the old bytes.
    NewObjectOldStays,
    /// New id and object; the old ones are gone.
    NewId,
}

/// What is served.
#[derive(Debug)]
pub enum Tree {
    /// A tree in memory.
    Synthetic(Mutex<Synthetic>),
    /// A directory on disk.
    Directory(Directory),
}

impl Tree {
    /// An empty synthetic tree.
    pub fn synthetic() -> Self {
        Self::synthetic_of("")
    }

    /// An empty synthetic tree of the space `place`: no two places share an id, whatever they hold.
    pub fn synthetic_of(place: &str) -> Self {
        Self::Synthetic(Mutex::new(Synthetic { place: place.to_owned(), ..Synthetic::default() }))
    }

    /// Serves a directory: regular files and directories; symlinks and special files are left out.
    ///
    /// # Errors
    /// It is not a directory that can be read.
    pub fn directory(root: &Path) -> io::Result<Self> {
        Self::directory_of("", root)
    }

    /// Serves a directory as the space `place`: no two places share an id, whatever they hold.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn directory_of(place: &str, root: &Path) -> io::Result<Self> {
        Directory::new(place, root, MAX_PATHS).map(Self::Directory)
    }

    /// Serves a directory as the share and remembers so many paths of it at a time.
    ///
    /// # Errors
    /// As [`Self::directory`].
    pub fn directory_remembering(root: &Path, paths_max: usize) -> io::Result<Self> {
        Directory::new("", root, paths_max).map(Self::Directory)
    }

    /// What place it was made for; empty for the share.
    pub fn place(&self) -> String {
        match self {
            Self::Synthetic(tree) => lock(tree).place.clone(),
            Self::Directory(tree) => tree.place.clone(),
        }
    }

    /// What is in the recycle bin: of the directory `parent` (empty: the top), or of all if there is none.
    pub fn recycled(&self, parent: Option<&str>) -> Vec<Arc<Node>> {
        match self {
            Self::Synthetic(tree) => lock(tree).recycled(parent),
            Self::Directory(_) => Vec::new(),
        }
    }

    /// The node with this id, in the recycle bin or not.
    pub fn node(&self, id: &str) -> Option<Arc<Node>> {
        match self {
            Self::Synthetic(tree) => lock(tree).nodes.get(id).cloned(),
            Self::Directory(tree) => tree.lookup(id),
        }
    }

    /// Whether an entry is in the recycle bin.
    pub fn is_recycled(&self, id: &str) -> bool {
        match self {
            Self::Synthetic(tree) => lock(tree).recycled.contains(id),
            Self::Directory(_) => false,
        }
    }

    /// The entry and everything it is in, from the top down; empty if there is no such entry.
    pub fn ancestry(&self, id: &str) -> Vec<Arc<Node>> {
        let mut up = Vec::new();
        let mut next = self.node(id);
        while let Some(node) = next {
            // The top is no node; asking a directory for it would search the whole disk.
            next = if node.parent == Self::root_id() { None } else { self.node(&node.parent) };
            up.push(node);
        }
        up.reverse();
        up
    }

    /// A synthetic tree from text: `big=1x8G,src/many=20000x4K` is a folder `big` with one file of 8 GiB and
    /// `src/many` with 20,000 of 4 KiB, named `file-00000.bin` onwards.
    ///
    /// # Errors
    /// Says what was not understood.
    pub fn from_spec(spec: &str) -> Result<Self, String> {
        Self::from_spec_of("", spec)
    }

    /// The same, of the space `place`.
    ///
    /// # Errors
    /// As [`Self::from_spec`].
    pub fn from_spec_of(place: &str, spec: &str) -> Result<Self, String> {
        let tree = Self::synthetic_of(place);
        for part in spec.split(',') {
            let wrong = || format!("{part:?}: write FOLDER=COUNTxSIZE, like many=20000x4K");
            let (path, what) = part.split_once('=').ok_or_else(wrong)?;
            let (count, size) = what.split_once('x').ok_or_else(wrong)?;
            let count: usize = count.parse().map_err(|_| wrong())?;
            let size = parse_bytes(size)?;
            let mut parent = String::new();
            for name in path.split('/').filter(|name| !name.is_empty()) {
                parent = match tree.find_child(&parent, name) {
                    Some(node) => node.id.clone(),
                    None => tree.add(&parent, Entry::folder(name)),
                };
            }
            tree.add_many(&parent, (0..count).map(|index| Entry::file(format!("file-{index:05}.bin"), size)));
        }
        Ok(tree)
    }

    /// Id that top-level entries name as their parent. It is no file id: nothing can be listed by it.
    pub fn root_id() -> &'static str {
        "DFdpAjykCNemulatorRootI8pAjaA1592924124240415488"
    }

    /// What is in the directory `parent` (empty: the top), in no order.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn list(&self, parent: &str) -> Result<Vec<Arc<Node>>, ListError> {
        match self {
            Self::Synthetic(tree) => lock(tree).list(parent),
            Self::Directory(tree) => tree.list(parent),
        }
    }

    /// The node with this id.
    pub fn lookup(&self, id: &str) -> Lookup {
        match self {
            Self::Synthetic(tree) => lock(tree).lookup(id),
            Self::Directory(tree) => tree.lookup(id).map_or(Lookup::Unknown, Lookup::Found),
        }
    }

    /// The object with this key, thumbnails included.
    pub fn object(&self, key: &str) -> Option<Arc<Object>> {
        if let Some(base) = key.strip_suffix(THUMBNAIL) {
            return Some(Arc::new(thumbnail(&*self.object(base)?)));
        }
        match self {
            Self::Synthetic(tree) => lock(tree).objects.get(key).cloned(),
            Self::Directory(tree) => tree.object(key).map(Arc::new),
        }
    }

    /// The tag of the object with this key. Opens no file: for many at once.
    pub fn etag(&self, key: &str) -> Option<String> {
        match self {
            Self::Synthetic(tree) => lock(tree).objects.get(key).map(|object| object.etag.clone()),
            Self::Directory(tree) => tree.etag(key),
        }
    }

    /// Whether a key can be of one of its objects: who asks the wrong tree makes it search its whole disk.
    pub fn owns_key(&self, key: &str) -> bool {
        key.starts_with(&key_prefix(&self.place()))
    }

    /// Key of the thumbnail of the object with `key`.
    pub fn thumbnail_key(key: &str) -> String {
        format!("{key}{THUMBNAIL}")
    }

    /// A number that grows with every change of a synthetic tree; `None` if nobody can tell.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Synthetic(tree) => Some(lock(tree).version),
            Self::Directory(_) => None,
        }
    }

    /// The entry with this name in a directory, the first if there are several.
    pub fn find_child(&self, parent: &str, name: &str) -> Option<Arc<Node>> {
        self.list(parent).ok()?.into_iter().find(|node| node.name == name)
    }

    /// The entry at a path of names separated by slashes.
    pub fn find(&self, path: &str) -> Option<Arc<Node>> {
        let mut parent = String::new();
        let mut found = None;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let node = self.find_child(&parent, name)?;
            parent.clone_from(&node.id);
            found = Some(node);
        }
        found
    }

    /// The `len` bytes that the file with this id holds from `offset`, clamped to its size.
    ///
    /// # Panics
    /// There is no such file, its object was deleted, or the disk refused.
    pub fn expected(&self, id: &str, offset: u64, len: usize) -> Vec<u8> {
        let Lookup::Found(node) = self.lookup(id) else { panic!("no file {id}") };
        let object = self.object(&node.object).unwrap_or_else(|| panic!("no object of {id}"));
        let rest = usize::try_from(object.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = len.min(rest);
        match &object.source {
            Source::Pattern(seed) => pattern::expected(*seed, offset, len),
            Source::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                bytes[start..start + len].to_vec()
            }
            Source::File(file) => file.read(offset, len).unwrap_or_else(|error| panic!("{id}: {error}")).to_vec(),
        }
    }

    /// The synthetic tree behind, for changes.
    ///
    /// # Panics
    /// A directory is served: change the directory instead.
    fn change(&self) -> std::sync::MutexGuard<'_, Synthetic> {
        let Self::Synthetic(tree) = self else { panic!("a directory is served: change the directory itself") };
        let mut tree = lock(tree);
        tree.version += 1;
        tree
    }

    /// Adds an entry to the directory `parent` (empty: the top); returns its id.
    ///
    /// # Panics
    /// A directory on disk is served, as for all changes.
    pub fn add(&self, parent: &str, entry: Entry) -> String {
        self.change().add(parent, entry)
    }

    /// Adds many entries under one lock; returns their ids in order.
    pub fn add_many(&self, parent: &str, entries: impl IntoIterator<Item = Entry>) -> Vec<String> {
        let mut tree = self.change();
        entries.into_iter().map(|entry| tree.add(parent, entry)).collect()
    }

    /// Removes an entry and everything in it, objects included: listings forget it, its links get 404.
    pub fn remove(&self, id: &str) {
        self.change().remove(id);
    }

    /// Moves an entry to the recycle bin: listings forget it, `download` says 13000306, its links still work.
    pub fn recycle(&self, id: &str) {
        let mut tree = self.change();
        tree.detach(id);
        tree.recycled.insert(id.to_owned());
    }

    /// Renames an entry; id, content and times stay.
    pub fn rename(&self, id: &str, name: impl Into<String>) {
        let name = name.into();
        self.change().edit(id, |node| node.name = name);
    }

    /// Moves an entry to another directory; its id stays.
    pub fn move_to(&self, id: &str, parent: &str) {
        let mut tree = self.change();
        let node = tree.node(id);
        tree.detach(id);
        let parent = if parent.is_empty() { Self::root_id() } else { parent };
        tree.children.entry(parent.to_owned()).or_default().push(id.to_owned());
        let node = Node { parent: parent.to_owned(), ..(*node).clone() };
        tree.nodes.insert(id.to_owned(), Arc::new(node));
    }

    /// Replaces the content of a file; `editedTime` grows by a minute. Returns the id, new or old.
    pub fn replace(&self, id: &str, content: Content, how: Replacement) -> String {
        self.change().replace(id, content, how)
    }

    /// Replaces the content of a file by another as long, and leaves its time as it is: only the object's tag tells.
    pub fn overwrite(&self, id: &str, content: Content) {
        self.change().overwrite(id, content);
    }

    /// Changes what listings say about a file's size without touching the object: a listing that lies.
    pub fn misreport_size(&self, id: &str, size: u64) {
        self.change().edit(id, |node| node.size = size);
    }

    /// Gives `field` of an entry this value in listings, whatever it is; the file itself stays as it is. A [`LONE_SURROGATE`] in it
    /// goes out as half of a surrogate pair.
    pub fn describe(&self, id: &str, field: &'static str, value: Value) {
        self.change().edit(id, |node| node.described.push((field, value)));
    }

    /// Deletes the object of a file that stays listed: links are handed out, and get 404.
    pub fn delete_object(&self, id: &str) {
        let mut tree = self.change();
        let key = tree.node(id).object.clone();
        tree.objects.remove(&key);
    }
}

/// A tree in memory.
#[derive(Debug, Default)]
pub struct Synthetic {
    place: String,
    nodes: HashMap<String, Arc<Node>>,
    children: HashMap<String, Vec<String>>,
    objects: HashMap<String, Arc<Object>>,
    recycled: HashSet<String>,
    used: HashSet<String>,
    version: u64,
    added: i64,
}

impl Synthetic {
    fn node(&self, id: &str) -> Arc<Node> {
        Arc::clone(self.nodes.get(id).unwrap_or_else(|| panic!("no entry {id:?}")))
    }

    fn lookup(&self, id: &str) -> Lookup {
        if self.recycled.contains(id) {
            return Lookup::Recycled;
        }
        self.nodes.get(id).map_or(Lookup::Unknown, |node| Lookup::Found(Arc::clone(node)))
    }

    fn recycled(&self, parent: Option<&str>) -> Vec<Arc<Node>> {
        let parent = parent.map(|parent| if parent.is_empty() { Tree::root_id() } else { parent });
        let ids = self.recycled.iter().filter_map(|id| self.nodes.get(id));
        ids.filter(|node| parent.is_none_or(|parent| node.parent == parent)).cloned().collect()
    }

    fn list(&self, parent: &str) -> Result<Vec<Arc<Node>>, ListError> {
        let parent = if parent.is_empty() {
            Tree::root_id()
        } else {
            match self.lookup(parent) {
                Lookup::Found(node) if node.folder => parent,
                Lookup::Found(_) => return Err(ListError::NotAFolder),
                Lookup::Recycled => return Err(ListError::Recycled),
                Lookup::Unknown => return Err(ListError::Unknown),
            }
        };
        let ids = self.children.get(parent).map_or(&[][..], Vec::as_slice);
        Ok(ids.iter().map(|id| self.node(id)).collect())
    }

    fn add(&mut self, parent: &str, entry: Entry) -> String {
        let parent = if parent.is_empty() { Tree::root_id() } else { parent };
        assert!(
            parent == Tree::root_id() || self.nodes.get(parent).is_some_and(|node| node.folder),
            "no folder {parent:?} to add to"
        );
        let id = (0_u32..)
            .map(|again| file_id(&self.place, format!("{parent}/{}/{again}", entry.name).as_bytes()))
            .find(|id| !self.used.contains(id))
            .expect("there is always another id");
        self.used.insert(id.clone());
        let edited = entry.edited.unwrap_or_else(|| {
            Timestamp::from_millisecond(FIRST_EDIT_MS + self.added * 1000).expect("a date of this century")
        });
        self.added += 1;
        let mut node = Node {
            id: id.clone(),
            name: entry.name,
            parent: parent.to_owned(),
            folder: entry.content.is_none(),
            size: 0,
            edited,
            file_type: entry.file_type,
            object: String::new(),
            described: Vec::new(),
            generation: 0,
        };
        if let Some(content) = entry.content {
            node.object = object_key(&self.place, format!("{id}/0").as_bytes());
            self.store(&mut node, content);
        }
        self.children.entry(parent.to_owned()).or_default().push(id.clone());
        self.nodes.insert(id.clone(), Arc::new(node));
        id
    }

    /// Puts `content` under the node's object key.
    fn store(&mut self, node: &mut Node, content: Content) {
        let version = format!("{}/{}", node.id, node.generation);
        let (size, source) = match content {
            Content::Pattern(size) => (size, Source::Pattern(seed(version.as_bytes()))),
            Content::Bytes(bytes) => (bytes.len() as u64, Source::Bytes(bytes)),
        };
        node.size = size;
        let object = Object {
            key: node.object.clone(),
            file_id: node.id.clone(),
            name: node.name.clone(),
            size,
            etag: hash(b"etag", version.as_bytes())[..32].to_owned(),
            modified: node.edited,
            source,
        };
        self.objects.insert(node.object.clone(), Arc::new(object));
    }

    fn edit(&mut self, id: &str, change: impl FnOnce(&mut Node)) {
        let mut node = (*self.node(id)).clone();
        change(&mut node);
        self.nodes.insert(id.to_owned(), Arc::new(node));
    }

    /// Takes an entry out of its directory.
    fn detach(&mut self, id: &str) {
        let parent = self.node(id).parent.clone();
        if let Some(children) = self.children.get_mut(&parent) {
            children.retain(|child| child != id);
        }
    }

    fn remove(&mut self, id: &str) {
        self.detach(id);
        let mut doomed = vec![id.to_owned()];
        while let Some(id) = doomed.pop() {
            if let Some(node) = self.nodes.remove(&id) {
                self.objects.remove(&node.object);
            }
            doomed.extend(self.children.remove(&id).unwrap_or_default());
        }
    }

    fn replace(&mut self, id: &str, content: Content, how: Replacement) -> String {
        let mut node = (*self.node(id)).clone();
        assert!(!node.folder, "a folder has no content");
        node.edited = node.edited.saturating_add(jiff::SignedDuration::from_secs(60)).expect("a date of this century");
        if how == Replacement::NewId {
            let entry = Entry {
                name: node.name.clone(),
                content: Some(content),
                edited: Some(node.edited),
                file_type: node.file_type.clone(),
            };
            self.remove(id);
            return self.add(&node.parent, entry);
        }
        node.generation += 1;
        if how != Replacement::SameObject {
            let old = std::mem::replace(
                &mut node.object,
                object_key(&self.place, format!("{id}/{}", node.generation).as_bytes()),
            );
            if how == Replacement::NewObject {
                self.objects.remove(&old);
            }
        }
        self.store(&mut node, content);
        self.nodes.insert(id.to_owned(), Arc::new(node));
        id.to_owned()
    }

    fn overwrite(&mut self, id: &str, content: Content) {
        let mut node = (*self.node(id)).clone();
        let size = node.size;
        node.generation += 1;
        self.store(&mut node, content);
        assert_eq!(node.size, size, "the size would tell");
        self.nodes.insert(id.to_owned(), Arc::new(node));
    }
}

/// The thumbnail of an object: an object of its own, with bytes that are not the content's.
fn thumbnail(of: &Object) -> Object {
    Object {
        key: Tree::thumbnail_key(&of.key),
        file_id: format!("{}{THUMBNAIL}", of.file_id),
        name: of.name.clone(),
        size: THUMBNAIL_SIZE,
        etag: hash(b"thumbnail etag", of.etag.as_bytes())[..32].to_owned(),
        modified: of.modified,
        source: Source::Pattern(seed(format!("thumbnail of {}", of.key).as_bytes())),
    }
}

/// Hex SHA-256 of `text` for one purpose.
pub(super) fn hash(purpose: &[u8], text: &[u8]) -> String {
    hex(&digest(purpose, text))
}

fn digest(purpose: &[u8], text: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(purpose).chain_update([0]).chain_update(text).finalize().into()
}

/// `F` and 32 characters of `[0-9A-Za-z_-]`, as in the samples.
pub(super) fn file_id(place: &str, path: &[u8]) -> String {
    let text =
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest(format!("file id{place}").as_bytes(), path));
    format!("F{}", &text[..32])
}

/// What the keys of a place's objects begin with: nothing for the share, six hex digits for a space.
fn key_prefix(place: &str) -> String {
    if place.is_empty() { String::new() } else { hash(b"place", place.as_bytes())[..6].to_owned() }
}

/// 35 hex digits, as in the sample of getDownLoadUrl.
pub(super) fn object_key(place: &str, version: &[u8]) -> String {
    let prefix = key_prefix(place);
    format!("{prefix}{}", &hash(b"object", version)[..35 - prefix.len()])
}

fn seed(version: &[u8]) -> u64 {
    let digest = digest(b"seed", version);
    u64::from_le_bytes([digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6], digest[7]])
}

/// `fileType` by file name extension (section 6.2).
fn file_type(suffix: &str) -> &'static str {
    match suffix.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" | "png" | "gif" | "jfif" | "webp" | "bmp" => "15",
        "mp4" | "mkv" | "mov" | "avi" | "webm" => "20",
        "doc" | "docx" => "26",
        "xls" | "xlsx" => "27",
        "ppt" | "pptx" => "28",
        "mp3" | "flac" | "ogg" | "wav" | "m4a" => "30",
        "zip" | "gz" | "xz" | "zst" | "tar" | "7z" | "rar" => "35",
        "exe" | "apk" | "deb" | "rpm" | "msi" => "40",
        _ => "45",
    }
}
