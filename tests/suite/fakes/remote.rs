//! A remote drive in memory: it counts calls, fails on demand and holds still.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use koofs::policy::hash::stable_hash;
use koofs::remote::{
    Capacity, Child, Cursor, Link, LinkResults, Node, NodeId, NodeKind, Page, Remote, RemoteError, RemoteErrorKind,
    SubtreePage, SubtreeSize, Version,
};
use koofs::sync::lock;

use super::Gate;

/// A drive in memory.
pub struct FakeRemote {
    pub page_size: AtomicUsize,
    pub batch: AtomicUsize,
    pub state: Mutex<RemoteState>,
    pub list_calls: AtomicUsize,
    /// How often it was told to forget what it has heard.
    pub forgotten: AtomicUsize,
    /// The directory and the deadline of each listing call.
    pub listed: Mutex<Vec<(String, Instant)>>,
    /// Names that were asked for by themselves, each with its directory.
    pub named: Mutex<Vec<(String, String)>>,
    /// Calls for a page from the last end of a listing.
    pub pages_from_end: AtomicUsize,
    /// Every one of them passes here.
    pub from_end_gate: Gate,
    /// Directories of which it was asked how much is below, and calls for a page of that.
    pub counted: Mutex<Vec<String>>,
    pub subtree_pages: AtomicUsize,
    /// Every call for a page of a subtree passes here.
    pub subtree_gate: Gate,
    pub link_calls: AtomicUsize,
    pub links_asked: AtomicUsize,
    /// Every listing call passes here.
    pub list_gate: Gate,
    /// Listing calls beyond the first so many of each directory pass here.
    pub later_page_gate: Gate,
    /// Every call for a name passes here.
    pub name_gate: Gate,
    pub link_gate: Gate,
}

/// What asking for all below a directory does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Subtrees {
    /// There is no such call.
    #[default]
    NotOffered,
    /// All that is below, in pages.
    Works,
    /// It is not counted.
    NotCounted,
    /// It is counted, and there is no call for it.
    CountedOnly,
    /// The last directory is left out.
    Orphans,
    /// The last file is left out.
    Short,
    /// A file of the directory itself is of another version than listed.
    NotAsListed,
    /// The page after the first fails like this.
    Fails(RemoteErrorKind),
}

/// What a listing from its last end is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum FromEnd {
    /// There is no such thing.
    #[default]
    NotOffered,
    /// The listing in the opposite order.
    Works,
    /// The listing as it is from its first end.
    NotSorted,
    /// The page after the first fails like this.
    Fails(RemoteErrorKind),
}

/// What asking for a name does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Names {
    /// There is no such thing.
    #[default]
    NotOffered,
    /// Entries of exactly this name.
    Exact,
    /// Entries with this in their names.
    Contains,
    /// The same, of the directories below too.
    Below,
    /// The first page of the listing.
    Ignored,
    /// Fails like this.
    Fails(RemoteErrorKind),
}

#[derive(Default)]
pub struct RemoteState {
    /// Children by directory id, in listing order.
    pub dirs: BTreeMap<String, Vec<Node>>,
    pub names: Names,
    pub subtrees: Subtrees,
    pub from_end: FromEnd,
    /// Failures to come, for the next listing calls.
    pub list_failures: VecDeque<RemoteErrorKind>,
    pub link_failures: VecDeque<RemoteErrorKind>,
    /// Every listing call is throttled, and told to come again after this.
    pub throttled: Option<Duration>,
    /// A call for links that names one of these is refused as a whole, like this.
    pub refuses_links: Option<RemoteErrorKind>,
    pub refused_ids: HashSet<String>,
    /// Fails the page at this index of every directory for good.
    pub broken_page: Option<(usize, RemoteErrorKind)>,
    pub loops: bool,
    pub links_in_listing: bool,
    pub empty_pages: bool,
    /// Numbers the links, so that a fresh one differs.
    pub links_made: u64,
}

pub fn file(id: &str, name: &str, size_bytes: u64) -> Node {
    let version = Version { size_bytes, edited_ms: 1_700_000_000_000 };
    Node { id: NodeId::new(id), name: name.to_owned(), kind: NodeKind::File, version, link: None }
}

pub fn dir(id: &str, name: &str) -> Node {
    Node { kind: NodeKind::Directory, ..file(id, name, 0) }
}

impl FakeRemote {
    pub fn new(dirs: impl IntoIterator<Item = (&'static str, Vec<Node>)>) -> Arc<FakeRemote> {
        let dirs = dirs.into_iter().map(|(id, nodes)| (id.to_owned(), nodes)).collect();
        Arc::new(FakeRemote {
            page_size: AtomicUsize::new(100),
            batch: AtomicUsize::new(1),
            state: Mutex::new(RemoteState { dirs, ..RemoteState::default() }),
            list_calls: AtomicUsize::new(0),
            forgotten: AtomicUsize::new(0),
            listed: Mutex::default(),
            named: Mutex::default(),
            pages_from_end: AtomicUsize::new(0),
            from_end_gate: Gate::default(),
            counted: Mutex::default(),
            subtree_pages: AtomicUsize::new(0),
            subtree_gate: Gate::default(),
            link_calls: AtomicUsize::new(0),
            links_asked: AtomicUsize::new(0),
            list_gate: Gate::default(),
            later_page_gate: Gate::default(),
            name_gate: Gate::default(),
            link_gate: Gate::default(),
        })
    }

    pub fn change(&self, change: impl FnOnce(&mut RemoteState)) {
        change(&mut lock(&self.state));
    }

    /// How often a name was asked for by itself.
    pub fn probes(&self) -> usize {
        lock(&self.named).len()
    }

    pub fn lists(&self) -> usize {
        self.list_calls.load(Ordering::SeqCst)
    }
}

/// All that is below `directory`, each entry with the directory that holds it.
fn below(state: &RemoteState, directory: &NodeId) -> Vec<(Node, NodeId)> {
    let (mut rows, mut left): (Vec<(Node, NodeId)>, _) = (Vec::new(), vec![directory.clone()]);
    while let Some(id) = left.pop() {
        for node in state.dirs.get(id.as_str()).into_iter().flatten() {
            left.extend((node.kind == NodeKind::Directory).then(|| node.id.clone()));
            rows.push((node.clone(), id.clone()));
        }
    }
    rows
}

fn make_link(state: &mut RemoteState, id: &str) -> Link {
    state.links_made += 1;
    let lifetime = Duration::from_secs(3600);
    Link::new(&format!("http://127.0.0.1/{id}?{}", state.links_made), SystemTime::now() + lifetime, lifetime)
}

impl Remote for FakeRemote {
    fn root(&self) -> NodeId {
        NodeId::new("root")
    }

    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError> {
        lock(&self.listed).push((directory.as_str().to_owned(), deadline));
        self.list_calls.fetch_add(1, Ordering::SeqCst);
        self.list_gate.pass();
        let index: usize = cursor.map_or(0, |cursor| cursor.as_str().parse().unwrap());
        if index > 0 {
            self.later_page_gate.pass();
        }
        let mut state = lock(&self.state);
        if let Some(kind) = state.list_failures.pop_front() {
            return Err(RemoteError::new(kind, "scripted failure"));
        }
        if let Some(pause) = state.throttled {
            return Err(RemoteError::new(RemoteErrorKind::Throttled, "throttled").with_retry_after(Some(pause)));
        }
        let page_size = self.page_size.load(Ordering::SeqCst);
        if let Some((page, kind)) = state.broken_page
            && page == index / page_size
        {
            return Err(RemoteError::new(kind, "broken page"));
        }
        let children = state.dirs.get(directory.as_str()).cloned();
        let Some(children) = children else {
            return Err(RemoteError::new(RemoteErrorKind::NotFound, "no such directory"));
        };
        // An empty page before each full one, told apart by an odd cursor far away.
        const EMPTY_MARK: usize = 1 << 40;
        if state.empty_pages && index < EMPTY_MARK {
            return Ok(Page { nodes: vec![], next: Cursor::new((index + EMPTY_MARK).to_string()) });
        }
        let index = index % EMPTY_MARK;
        let end = (index + page_size).min(children.len());
        let mut nodes = children[index.min(end)..end].to_vec();
        if state.links_in_listing {
            for node in &mut nodes {
                node.link = Some(make_link(&mut state, node.id.as_str()));
            }
        }
        let next = match end < children.len() {
            _ if state.loops => Cursor::new("0".to_owned()),
            true => Cursor::new(end.to_string()),
            false => None,
        };
        Ok(Page { nodes, next })
    }

    fn page_from_end(&self, directory: &NodeId, cursor: Option<&Cursor>, _: Instant) -> Result<Page, RemoteError> {
        self.pages_from_end.fetch_add(1, Ordering::SeqCst);
        self.from_end_gate.pass();
        let state = lock(&self.state);
        let mut children = state.dirs.get(directory.as_str()).cloned().unwrap_or_default();
        match state.from_end {
            FromEnd::NotOffered => return Err(RemoteError::new(RemoteErrorKind::Unusable, "not offered")),
            FromEnd::Fails(kind) if cursor.is_some() => return Err(RemoteError::new(kind, "scripted failure")),
            FromEnd::Works | FromEnd::Fails(_) => children.reverse(),
            FromEnd::NotSorted => {}
        }
        let start: usize = cursor.map_or(0, |cursor| cursor.as_str().parse().unwrap());
        let end = (start + self.page_size.load(Ordering::SeqCst)).min(children.len());
        let next = if end < children.len() { Cursor::new(end.to_string()) } else { None };
        Ok(Page { nodes: children[start.min(end)..end].to_vec(), next })
    }

    fn find_child(&self, directory: &NodeId, name: &str, _deadline: Instant) -> Result<Child, RemoteError> {
        lock(&self.named).push((directory.as_str().to_owned(), name.to_owned()));
        self.name_gate.pass();
        let state = lock(&self.state);
        let page_size = self.page_size.load(Ordering::SeqCst);
        let folded = name.to_lowercase();
        let is_match = |node: &Node| match state.names {
            Names::Exact => node.name == name,
            Names::Ignored => true,
            _ => node.name.to_lowercase().contains(&folded),
        };
        let mut rows: Vec<_> = match state.names {
            Names::NotOffered => return Ok(Child::NotOffered),
            Names::Fails(kind) => {
                return Err(RemoteError::new(kind, "scripted failure").with_retry_after(state.throttled));
            }
            Names::Below => state
                .dirs
                .iter()
                .flat_map(|(id, nodes)| nodes.iter().map(move |node| (node.clone(), Some(id == directory.as_str()))))
                .collect(),
            Names::Exact | Names::Contains | Names::Ignored => {
                let children = state.dirs.get(directory.as_str()).into_iter().flatten();
                children.map(|node| (node.clone(), Some(true))).collect()
            }
        };
        rows.retain(|(node, _)| is_match(node));
        let is_whole = rows.len() <= page_size;
        rows.truncate(page_size);
        Ok(Child::among(name, rows, is_whole))
    }

    fn may_have_subtrees(&self) -> bool {
        lock(&self.state).subtrees != Subtrees::NotOffered
    }

    fn subtree_size(&self, directory: &NodeId, _deadline: Instant) -> Result<Option<SubtreeSize>, RemoteError> {
        lock(&self.counted).push(directory.as_str().to_owned());
        let state = lock(&self.state);
        let rows = below(&state, directory);
        let directories = rows.iter().filter(|(node, _)| node.kind == NodeKind::Directory).count() as u64;
        let size = SubtreeSize { directories, files: rows.len() as u64 - directories };
        Ok((state.subtrees != Subtrees::NotCounted).then_some(size))
    }

    fn subtree_page(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        _deadline: Instant,
    ) -> Result<Option<SubtreePage>, RemoteError> {
        self.subtree_pages.fetch_add(1, Ordering::SeqCst);
        self.subtree_gate.pass();
        let state = lock(&self.state);
        let mut rows = below(&state, directory);
        let mut without_last = |kind| rows.remove(rows.iter().rposition(|(node, _)| node.kind == kind).unwrap());
        match state.subtrees {
            Subtrees::NotOffered | Subtrees::NotCounted | Subtrees::CountedOnly => return Ok(None),
            Subtrees::Fails(kind) if cursor.is_some() => return Err(RemoteError::new(kind, "scripted failure")),
            Subtrees::Works | Subtrees::Fails(_) => {}
            Subtrees::Orphans => drop(without_last(NodeKind::Directory)),
            Subtrees::Short => drop(without_last(NodeKind::File)),
            Subtrees::NotAsListed => {
                let file = rows.iter_mut().find(|(node, parent)| node.kind == NodeKind::File && parent == directory);
                file.unwrap().0.version.size_bytes += 1;
            }
        }
        // No order that would be of help.
        rows.sort_by_key(|(node, _)| stable_hash(&[node.id.as_str().as_bytes()]));
        let start: usize = cursor.map_or(0, |cursor| cursor.as_str().parse().unwrap());
        let end = (start + 10 * self.page_size.load(Ordering::SeqCst)).min(rows.len());
        let next = if end < rows.len() { Cursor::new(end.to_string()) } else { None };
        Ok(Some(SubtreePage { rows: rows[start..end].to_vec(), next }))
    }

    fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
    }

    fn max_links_per_call(&self) -> usize {
        self.batch.load(Ordering::SeqCst)
    }

    fn resolve_links(&self, ids: &[NodeId], _deadline: Instant) -> Result<LinkResults, RemoteError> {
        self.link_calls.fetch_add(1, Ordering::SeqCst);
        self.links_asked.fetch_add(ids.len(), Ordering::SeqCst);
        self.link_gate.pass();
        let mut state = lock(&self.state);
        if ids.iter().any(|id| state.refused_ids.contains(id.as_str())) {
            let kind = state.refuses_links.unwrap_or(RemoteErrorKind::NotFound);
            return Err(RemoteError::new(kind, "one of the ids is bad"));
        }
        let resolve = |id: &NodeId| match state.link_failures.pop_front() {
            Some(kind) => Err(RemoteError::new(kind, "scripted failure")),
            None => Ok(make_link(&mut state, id.as_str())),
        };
        Ok(ids.iter().map(resolve).collect())
    }

    fn capacity(&self) -> Option<Capacity> {
        Some(Capacity { total_bytes: 1 << 40, used_bytes: 1 << 20 })
    }
}
