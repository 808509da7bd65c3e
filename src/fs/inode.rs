//! The inode table: which number stands for which entry, and how often the kernel knows it.
//!
//! A number derives from the file's id and version, so it is the same on the next mount, and changed content is a new
//! inode: pages that the kernel keeps can never be stale. A directory's number derives from its id alone.
//! An inode lives as long as a listing shows it or the kernel holds lookups on it. For as long its content is one object of the
//! store: if that turns out to be another although the listing says the same, the inode is outdated. It cannot be opened any more,
//! and the file gets another number, as the kernel may still have pages of the old one.
//! Locks: one, for the length of a table operation.

use std::collections::HashMap;
use std::collections::hash_map;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::FsError;
use crate::content::FileContent;
use crate::policy::hash::stable_hash;
use crate::policy::name::EntryName;
use crate::remote::{Node, NodeId, NodeKind, Version};
use crate::sync::lock;

/// KooDrive has 30 levels (src/koodrive/API.md, section 11); a way up that is longer would be a loop.
const MAX_DEPTH: usize = 64;

/// The most inodes before files that no listing shows any more are given up by the kernel: twice what the listings in memory may show.
/// At some 250 bytes an inode this bounds what the kernel can make this process hold at half a GiB, but for files in use.
const MAX_INODES: usize = 2_000_000;

/// The most files that wait to be given up by the kernel; others follow when theirs is done.
const MAX_SURPLUS: usize = 65_536;

/// An inode number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(pub u64);

impl Ino {
    /// The root's number (`FUSE_ROOT_ID`).
    pub const ROOT: Ino = Ino(1);
}

impl fmt::Debug for Ino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ino {:x}", self.0)
    }
}

/// One name in one directory and what it stands for. Never changes; a changed entry is another one.
#[derive(Debug)]
pub struct Entry {
    /// Its inode number.
    pub ino: Ino,
    /// The directory that holds it; the root holds itself.
    pub parent: Ino,
    /// Its name there; `_` for the root, which has none.
    pub name: EntryName,
    /// The service's id.
    pub id: NodeId,
    /// Directory or file, or what shows its name only.
    pub kind: NodeKind,
    /// Length and time.
    pub version: Version,
    /// Its name at the service, if that is another; see [`Entry::original_name`].
    original: Option<Box<OriginalName>>,
}

/// A name as the service has it. Few entries have one that Linux does not take as it is, so what they have is a thin pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OriginalName(Box<str>);

impl OriginalName {
    /// That of `node`, which is shown as `name`; `None` if they are the same.
    fn of(node: &Node, name: &EntryName) -> Option<Box<OriginalName>> {
        (node.name != name.as_str()).then(|| Box::new(OriginalName(node.name.as_str().into())))
    }
}

impl Entry {
    /// Its name at the service, whatever that is.
    pub fn original_name(&self) -> &str {
        self.original.as_ref().map_or(self.name.as_str(), |original| &original.0)
    }

    /// Whether more than its name is known.
    ///
    /// # Errors
    /// [`FsError::Unreadable`]; and [`FsError::Outdated`] for a file whose length has to be asked for: looking it up does that, and
    /// brings another inode.
    pub fn readable(&self) -> Result<(), FsError> {
        match self.kind {
            NodeKind::Directory | NodeKind::File => Ok(()),
            NodeKind::Unsized => Err(FsError::Outdated),
            NodeKind::Unreadable(why) => Err(FsError::Unreadable(why)),
        }
    }
}

/// All inodes that the kernel or a listing knows.
pub struct InodeTable {
    slots: Mutex<HashMap<Ino, Slot>>,
    /// See [`InodeTable::take_surplus`].
    surplus: Mutex<Vec<Arc<Entry>>>,
    inodes_max: usize,
}

struct Slot {
    entry: Arc<Entry>,
    /// Lookups that the kernel has not forgotten.
    lookups: u64,
    /// Listings that show it.
    listings: u32,
    /// Of a file that was opened.
    content: Option<FileContent>,
    /// The store has other content than this inode's.
    is_outdated: bool,
}

impl Slot {
    fn new(entry: Arc<Entry>) -> Slot {
        Slot { entry, lookups: 0, listings: 1, content: None, is_outdated: false }
    }
}

impl InodeTable {
    /// A table that knows the root only; the root is never forgotten.
    pub fn new(root: NodeId, root_edited_ms: i64) -> InodeTable {
        let entry = Entry {
            ino: Ino::ROOT,
            parent: Ino::ROOT,
            name: EntryName::assign("", "", |_| false),
            id: root,
            kind: NodeKind::Directory,
            version: Version { size_bytes: 0, edited_ms: root_edited_ms },
            original: None,
        };
        let slot = Slot { lookups: 1, ..Slot::new(Arc::new(entry)) };
        let slots = Mutex::new(HashMap::from([(Ino::ROOT, slot)]));
        InodeTable { slots, surplus: Mutex::default(), inodes_max: MAX_INODES }
    }

    /// The entry of a number that is alive.
    pub fn get(&self, ino: Ino) -> Option<Arc<Entry>> {
        lock(&self.slots).get(&ino).map(|slot| Arc::clone(&slot.entry))
    }

    /// A file that is alive and can be opened, and its content; `make` is asked for that at the first opening.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::IsADirectory`], [`FsError::Unreadable`], and [`FsError::Outdated`] where the store has other
    /// content by now.
    pub fn open(
        &self,
        ino: Ino,
        make: impl FnOnce(&Entry) -> FileContent,
    ) -> Result<(Arc<Entry>, FileContent), FsError> {
        let (entry, content) = self.openable(ino)?;
        if let Some(content) = content {
            return Ok((entry, content));
        }
        let made = make(&entry);
        let mut slots = lock(&self.slots);
        let slot = slots.get_mut(&ino).ok_or(FsError::NotFound)?;
        Ok((entry, slot.content.get_or_insert(made).clone()))
    }

    fn openable(&self, ino: Ino) -> Result<(Arc<Entry>, Option<FileContent>), FsError> {
        let slots = lock(&self.slots);
        let slot = slots.get(&ino).ok_or(FsError::NotFound)?;
        slot.entry.readable()?;
        if slot.entry.kind == NodeKind::Directory {
            return Err(FsError::IsADirectory);
        }
        if slot.is_outdated || slot.content.as_ref().is_some_and(FileContent::is_changed) {
            return Err(FsError::Outdated);
        }
        Ok((Arc::clone(&slot.entry), slot.content.clone()))
    }

    /// The path of a version of a file, if it is known under the number that derives from both.
    pub fn path_of_file(&self, id: &NodeId, version: Version) -> Option<String> {
        let node = Node { id: id.clone(), name: String::new(), kind: NodeKind::File, version, link: None };
        let ino = candidate(Ino::ROOT, &node, 0);
        self.get(ino).filter(|entry| entry.id == *id).map(|_| self.path(ino))
    }

    /// The store has other content than that of `ino`: it cannot be opened any more. Whether that is new.
    pub fn outdate(&self, ino: Ino) -> bool {
        lock(&self.slots).get_mut(&ino).is_some_and(|slot| !std::mem::replace(&mut slot.is_outdated, true))
    }

    /// The file `entry` as a file of this version; it counts as listed once. Under another number than `entry` if that is outdated, or
    /// had another version.
    pub fn enlist_again(&self, entry: &Entry, version: Version) -> Arc<Entry> {
        let (id, name) = (entry.id.clone(), entry.name.as_str().to_owned());
        let node = Node { id, name, kind: NodeKind::File, version, link: None };
        enlist_one(&mut lock(&self.slots), entry.parent, entry.name.clone(), node)
    }

    /// Enters what one page of `parent`'s listing shows; each entry counts as listed once more. Logs those that are new and
    /// unreadable.
    pub fn enlist(&self, parent: Ino, named_nodes: Vec<(EntryName, Node)>) -> Vec<Arc<Entry>> {
        let mut slots = lock(&self.slots);
        let mut new_unreadable = Vec::new();
        let mut enlist = |(name, node)| {
            let entry = enlist_one(&mut slots, parent, name, node);
            let is_new = || slots.get(&entry.ino).is_some_and(|slot| slot.listings == 1 && slot.lookups == 0);
            if let NodeKind::Unreadable(why) = entry.kind
                && is_new()
            {
                new_unreadable.push((Arc::clone(&entry), why));
            }
            entry
        };
        let entries = named_nodes.into_iter().map(&mut enlist).collect();
        drop(slots);
        if let Some((first, why)) = new_unreadable.first() {
            let (dir, name, count) = (self.path(parent), first.name.as_str().escape_debug(), new_unreadable.len());
            log::warn!("{dir}: {count} of the entries cannot be read, the first is {name}: {why}");
        }
        entries
    }

    /// A listing that showed `entries` is gone.
    pub fn delist(&self, entries: &[Arc<Entry>]) {
        let mut surplus = Vec::new();
        let mut slots = lock(&self.slots);
        let is_full = slots.len() > self.inodes_max;
        for entry in entries {
            if let hash_map::Entry::Occupied(mut slot) = slots.entry(entry.ino) {
                slot.get_mut().listings = slot.get().listings.saturating_sub(1);
                if is_full && slot.get().listings == 0 && slot.get().lookups > 0 && entry.kind == NodeKind::File {
                    surplus.push(Arc::clone(entry));
                }
                remove_if_unused(slot);
            }
        }
        drop(slots);
        if !surplus.is_empty() {
            let mut waiting = lock(&self.surplus);
            surplus.truncate(MAX_SURPLUS.saturating_sub(waiting.len()));
            waiting.extend(surplus);
        }
    }

    /// If the table is above its limit: files that only the kernel still knows, which the kernel is to give up unless they are
    /// open.
    pub fn take_surplus(&self) -> Vec<Arc<Entry>> {
        std::mem::take(&mut *lock(&self.surplus))
    }

    /// The kernel is about to be told of each of `inos` once: taken before the reply, so that a forget cannot overtake it.
    pub fn remember(&self, inos: &[Ino]) {
        let mut slots = lock(&self.slots);
        for ino in inos {
            if let Some(slot) = slots.get_mut(ino) {
                slot.lookups += 1;
            }
        }
    }

    /// The kernel has forgotten `lookups` of the lookups on each inode.
    pub fn forget(&self, forgotten: impl IntoIterator<Item = (Ino, u64)>) {
        let mut slots = lock(&self.slots);
        for (ino, lookups) in forgotten {
            if ino == Ino::ROOT {
                continue;
            }
            if let hash_map::Entry::Occupied(mut slot) = slots.entry(ino) {
                slot.get_mut().lookups = slot.get().lookups.saturating_sub(lookups);
                remove_if_unused(slot);
            }
        }
    }

    /// Whether `ino` is `dir` or below it, as far as that is known.
    pub fn is_below(&self, ino: Ino, dir: Ino) -> bool {
        let slots = lock(&self.slots);
        let mut at = ino;
        for _ in 0..MAX_DEPTH {
            if at == dir {
                return true;
            }
            match slots.get(&at) {
                Some(slot) if at != Ino::ROOT => at = slot.entry.parent,
                _ => return false,
            }
        }
        false
    }

    /// How many inodes are alive.
    pub fn len(&self) -> usize {
        lock(&self.slots).len()
    }

    /// Never: there is always the root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The path from the root to `ino`, for log lines; `?` where a part is no longer known.
    pub fn path(&self, ino: Ino) -> String {
        let slots = lock(&self.slots);
        let mut names = Vec::new();
        let mut at = ino;
        while at != Ino::ROOT && names.len() < MAX_DEPTH {
            let Some(slot) = slots.get(&at) else {
                names.push("?".to_owned());
                break;
            };
            names.push(slot.entry.name.as_str().escape_debug().to_string());
            at = slot.entry.parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }
}

fn remove_if_unused(slot: hash_map::OccupiedEntry<'_, Ino, Slot>) {
    if slot.get().lookups == 0 && slot.get().listings == 0 && *slot.key() != Ino::ROOT {
        slot.remove();
    }
}

fn enlist_one(slots: &mut HashMap<Ino, Slot>, parent: Ino, name: EntryName, node: Node) -> Arc<Entry> {
    // Each round either ends or finds one more number in use, so it ends.
    for attempt in 0_u32.. {
        let ino = candidate(parent, &node, attempt);
        match slots.entry(ino) {
            hash_map::Entry::Vacant(vacant) => {
                let entry = Arc::new(entry_of(ino, parent, name, node));
                vacant.insert(Slot::new(Arc::clone(&entry)));
                return entry;
            }
            hash_map::Entry::Occupied(mut occupied)
                if is_same(&occupied.get().entry, parent, &node) && !occupied.get().is_outdated =>
            {
                let slot = occupied.get_mut();
                slot.listings += 1;
                let is_same_name = slot.entry.name == name && slot.entry.original_name() == node.name;
                if !is_same_name || slot.entry.version != node.version {
                    slot.entry = Arc::new(entry_of(ino, parent, name, node));
                }
                return Arc::clone(&slot.entry);
            }
            hash_map::Entry::Occupied(_) => {}
        }
    }
    unreachable!("there are more numbers than entries")
}

/// The number to try at the given attempt: first from id and version alone; where that is taken (the same file in two places of a
/// share, an inode that is outdated, or a collision of hashes), from the place as well.
fn candidate(parent: Ino, node: &Node, attempt: u32) -> Ino {
    let version = match node.kind {
        NodeKind::Directory => [0; 16],
        // No version of a file: a size of 2^64 - 1 bytes is none.
        NodeKind::Unsized | NodeKind::Unreadable(_) => [u8::MAX; 16],
        NodeKind::File => {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&node.version.size_bytes.to_le_bytes());
            bytes[8..].copy_from_slice(&node.version.edited_ms.to_le_bytes());
            bytes
        }
    };
    let id = node.id.as_str().as_bytes();
    let hash = match attempt {
        0 => stable_hash(&[id, &version]),
        _ => stable_hash(&[id, &version, &parent.0.to_le_bytes(), &attempt.to_le_bytes()]),
    };
    // 0 means "no entry" to FUSE, 1 is the root.
    Ino(hash.max(2))
}

fn is_same(entry: &Entry, parent: Ino, node: &Node) -> bool {
    entry.parent == parent
        && entry.id == node.id
        && entry.kind == node.kind
        && (entry.kind == NodeKind::Directory || entry.version == node.version)
}

fn entry_of(ino: Ino, parent: Ino, name: EntryName, node: Node) -> Entry {
    let original = OriginalName::of(&node, &name);
    Entry { ino, parent, name, id: node.id, kind: node.kind, version: node.version, original }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, kind: NodeKind, size_bytes: u64) -> Node {
        let version = Version { size_bytes, edited_ms: 1 };
        Node { id: NodeId::new(id), name: id.to_owned(), kind, version, link: None }
    }

    fn enlist(table: &InodeTable, parent: Ino, node: Node) -> Arc<Entry> {
        let name = EntryName::assign(&node.name, node.id.as_str(), |_| false);
        table.enlist(parent, vec![(name, node)]).remove(0)
    }

    fn table() -> InodeTable {
        InodeTable::new(NodeId::new("root"), 0)
    }

    #[test]
    fn number_is_the_same_on_every_mount_and_new_for_changed_content() {
        let (one, other) = (table(), table());
        let first = enlist(&one, Ino::ROOT, node("F1", NodeKind::File, 10)).ino;
        enlist(&other, Ino::ROOT, node("F0", NodeKind::File, 10));
        assert_eq!(first, enlist(&other, Ino::ROOT, node("F1", NodeKind::File, 10)).ino);
        assert_ne!(first, enlist(&one, Ino::ROOT, node("F1", NodeKind::File, 11)).ino);
    }

    #[test]
    fn directory_keeps_its_number_when_its_time_changes() {
        let table = table();
        let before = enlist(&table, Ino::ROOT, node("D", NodeKind::Directory, 0));
        let mut changed = node("D", NodeKind::Directory, 0);
        changed.version.edited_ms = 99;
        let after = enlist(&table, Ino::ROOT, changed);
        assert_eq!(before.ino, after.ino);
        assert_eq!(table.get(after.ino).map(|entry| entry.version.edited_ms), Some(99));
    }

    #[test]
    fn same_file_in_two_places_has_two_numbers() {
        let table = table();
        let folder = enlist(&table, Ino::ROOT, node("D", NodeKind::Directory, 0)).ino;
        let top = enlist(&table, Ino::ROOT, node("E", NodeKind::Directory, 0)).ino;
        let inner = enlist(&table, folder, node("E", NodeKind::Directory, 0)).ino;
        assert_ne!(top, inner);
        assert_eq!(inner, enlist(&table, folder, node("E", NodeKind::Directory, 0)).ino);
    }

    #[test]
    fn inode_lives_while_the_kernel_or_a_listing_knows_it() {
        let table = table();
        let entry = enlist(&table, Ino::ROOT, node("F1", NodeKind::File, 1));
        table.remember(&[entry.ino, entry.ino]);
        table.delist(std::slice::from_ref(&entry));
        assert!(table.get(entry.ino).is_some());
        table.forget([(entry.ino, 1)]);
        assert!(table.get(entry.ino).is_some());
        table.forget([(entry.ino, 1)]);
        assert!(table.get(entry.ino).is_none());
        table.forget([(Ino::ROOT, u64::MAX), (entry.ino, 5)]);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn files_that_only_the_kernel_knows_are_surplus_in_a_full_table() {
        let table = InodeTable { inodes_max: 10, ..table() };
        let files: Vec<Arc<Entry>> =
            (0..20).map(|i| enlist(&table, Ino::ROOT, node(&format!("F{i}"), NodeKind::File, 1))).collect();
        let folder = enlist(&table, Ino::ROOT, node("D", NodeKind::Directory, 0));
        let known: Vec<Ino> = files[..15].iter().map(|file| file.ino).chain([folder.ino]).collect();
        table.remember(&known);
        table.delist(&files);
        table.delist(std::slice::from_ref(&folder));
        let surplus = table.take_surplus();
        assert_eq!(surplus.iter().map(|file| file.ino).collect::<Vec<_>>(), known[..15]);
        assert!(table.take_surplus().is_empty(), "told once");
        table.forget(known.iter().map(|ino| (*ino, 1)));
        assert_eq!(table.len(), 1);

        let small = enlist(&table, Ino::ROOT, node("F", NodeKind::File, 1));
        table.remember(&[small.ino]);
        table.delist(std::slice::from_ref(&small));
        assert!(table.take_surplus().is_empty(), "there is room");
    }

    #[test]
    fn path_names_every_directory_and_escapes_control_characters() {
        let table = table();
        let folder = enlist(&table, Ino::ROOT, node("D", NodeKind::Directory, 0)).ino;
        let file = enlist(&table, folder, node("a\nb", NodeKind::File, 0)).ino;
        assert_eq!(table.path(file), "/D/a\\nb");
        assert_eq!(table.path(Ino::ROOT), "/");
        assert_eq!(table.path(Ino(77)), "/?");
    }
}
