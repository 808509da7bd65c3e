//! All that is below one directory, in pages that say of each entry which directory holds it, put together to directories.
//!
//! What comes of it is used only as a whole, and only if it is what the service has counted: the pages are no snapshot, and what they hold
//! is not documented (src/koodrive/API.md, section 6.6).

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::node::{Node, NodeId, NodeKind};
use super::page::Cursor;

/// The service nests directories 30 deep (src/koodrive/API.md, section 11); a way up that is longer is a loop.
const MAX_DEPTH: usize = 64;

/// How much is below a directory, as the service counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubtreeSize {
    /// Directories at any depth, the one itself not among them.
    pub directories: u64,
    /// Files at any depth.
    pub files: u64,
}

impl SubtreeSize {
    /// Directories and files.
    pub fn entries(self) -> u64 {
        self.directories.saturating_add(self.files)
    }
}

/// Some of what is below a directory, in no order that is known.
#[derive(Clone, Debug, Default)]
pub struct SubtreePage {
    /// Each entry with the directory that holds it. May be empty before the end.
    pub rows: Vec<(Node, NodeId)>,
    /// Where to go on; `None` only at the end.
    pub next: Option<Cursor>,
}

/// Why pages are no subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSubtree {
    /// A cursor came twice, or there is more than the service has counted.
    Endless,
    /// An entry is in no directory that is known, or is above itself.
    Orphan,
    /// An entry cannot be read.
    Unreadable,
    /// There is not as much as the service has counted.
    Counts,
}

impl fmt::Display for NoSubtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoSubtree::Endless => "it does not end",
            NoSubtree::Orphan => "an entry is in no directory that is known",
            NoSubtree::Unreadable => "an entry cannot be read",
            NoSubtree::Counts => "there is another number of entries than the service has counted",
        })
    }
}

/// Pages of one subtree so far.
pub struct Subtree {
    top: NodeId,
    size: SubtreeSize,
    rows: HashMap<NodeId, (Node, NodeId)>,
    cursors: HashSet<Cursor>,
}

/// The entries of each directory of a subtree, by name; those of empty directories too.
pub type Directories = HashMap<NodeId, Vec<Node>>;

impl Subtree {
    /// Nothing yet of what is below `top`, which the service has counted.
    pub fn new(top: &NodeId, size: SubtreeSize) -> Subtree {
        Subtree { top: top.clone(), size, rows: HashMap::new(), cursors: HashSet::new() }
    }

    /// Takes in another page; gives back where to go on. Of an entry that comes twice the last counts.
    ///
    /// # Errors
    /// [`NoSubtree::Endless`] and [`NoSubtree::Unreadable`].
    pub fn accept(&mut self, page: SubtreePage) -> Result<Option<Cursor>, NoSubtree> {
        for (node, parent) in page.rows {
            if matches!(node.kind, NodeKind::Unreadable(_)) {
                return Err(NoSubtree::Unreadable);
            }
            self.rows.insert(node.id.clone(), (node, parent));
        }
        if self.rows.len() as u64 > self.size.entries() {
            return Err(NoSubtree::Endless);
        }
        match page.next {
            Some(cursor) if !self.cursors.insert(cursor.clone()) => Err(NoSubtree::Endless),
            next => Ok(next),
        }
    }

    /// All pages are in: the directories, `top` among them.
    ///
    /// # Errors
    /// What is not as it must be.
    pub fn finish(self) -> Result<Directories, NoSubtree> {
        let Subtree { top, size, rows, .. } = self;
        let is_directory = |node: &Node| node.kind == NodeKind::Directory;
        let directories = rows.values().filter(|(node, _)| is_directory(node)).count() as u64;
        if directories != size.directories || rows.len() as u64 != size.entries() {
            return Err(NoSubtree::Counts);
        }
        for (_, parent) in rows.values().filter(|(node, _)| is_directory(node)) {
            let mut at = parent;
            let steps = (0..MAX_DEPTH).find(|_| {
                let above = rows.get(at).filter(|_| *at != top);
                at = above.map_or(at, |(_, parent)| parent);
                above.is_none()
            });
            if steps.is_none() || *at != top {
                return Err(NoSubtree::Orphan);
            }
        }
        let ids = rows.values().filter(|(node, _)| is_directory(node)).map(|(node, _)| node.id.clone());
        let mut found: Directories = ids.chain([top]).map(|id| (id, Vec::new())).collect();
        for (node, parent) in rows.into_values() {
            found.get_mut(&parent).ok_or(NoSubtree::Orphan)?.push(node);
        }
        for nodes in found.values_mut() {
            nodes.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::Version;
    use super::*;

    fn row(id: &str, parent: &str, kind: NodeKind) -> (Node, NodeId) {
        let version = Version { size_bytes: 1, edited_ms: 1 };
        (Node { id: NodeId::new(id), name: id.to_lowercase(), kind, version, link: None }, NodeId::new(parent))
    }

    fn dir(id: &str, parent: &str) -> (Node, NodeId) {
        row(id, parent, NodeKind::Directory)
    }

    fn file(id: &str, parent: &str) -> (Node, NodeId) {
        row(id, parent, NodeKind::File)
    }

    fn page(rows: Vec<(Node, NodeId)>, next: &str) -> SubtreePage {
        SubtreePage { rows, next: Cursor::new(next.to_owned()) }
    }

    fn put_together(rows: Vec<(Node, NodeId)>, directories: u64, files: u64) -> Result<Vec<String>, NoSubtree> {
        let mut subtree = Subtree::new(&NodeId::new("top"), SubtreeSize { directories, files });
        subtree.accept(page(rows, ""))?;
        let mut shown: Vec<String> = subtree
            .finish()?
            .into_iter()
            .map(|(id, nodes)| {
                let ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
                format!("{}: {}", id.as_str(), ids.join(" "))
            })
            .collect();
        shown.sort();
        Ok(shown)
    }

    #[test]
    fn directories_are_put_together_whatever_order_their_entries_come_in() {
        let rows =
            vec![file("C", "B"), dir("B", "A"), file("Z", "top"), file("D", "B"), dir("A", "top"), dir("E", "top")];
        let want = ["A: B", "B: C D", "E: ", "top: A E Z"];
        assert_eq!(put_together(rows.clone(), 3, 3).as_deref(), Ok(&want.map(str::to_owned)[..]));
        let twice = [rows.clone(), vec![file("C", "A")]].concat();
        let want = ["A: B C", "B: D", "E: ", "top: A E Z"];
        assert_eq!(put_together(twice, 3, 3).as_deref(), Ok(&want.map(str::to_owned)[..]), "the last counts");
        let backward: Vec<_> = rows.into_iter().rev().collect();
        assert!(put_together(backward, 3, 3).is_ok());
    }

    #[test]
    fn anything_else_than_what_was_counted_is_no_subtree() {
        for (rows, directories, files, want) in [
            (vec![file("A", "top")], 0, 2, NoSubtree::Counts),
            (vec![file("A", "top")], 1, 0, NoSubtree::Counts),
            (vec![file("A", "top"), file("B", "top")], 0, 1, NoSubtree::Endless),
            (vec![file("A", "gone")], 0, 1, NoSubtree::Orphan),
            (vec![dir("A", "gone")], 1, 0, NoSubtree::Orphan),
            (vec![dir("A", "B"), dir("B", "A")], 2, 0, NoSubtree::Orphan),
            (vec![dir("A", "A")], 1, 0, NoSubtree::Orphan),
            (vec![file("A", "top"), file("B", "A")], 0, 2, NoSubtree::Orphan),
            (vec![dir("A", "top"), dir("B", "F"), file("F", "top")], 2, 1, NoSubtree::Orphan),
            (vec![row("A", "top", NodeKind::Unreadable("odd"))], 0, 1, NoSubtree::Unreadable),
        ] {
            assert_eq!(put_together(rows.clone(), directories, files), Err(want), "{rows:?}");
        }
    }

    #[test]
    fn cursor_that_comes_twice_is_no_end() {
        let mut subtree = Subtree::new(&NodeId::new("top"), SubtreeSize { directories: 0, files: 9 });
        assert_eq!(subtree.accept(page(vec![], "1")), Ok(Cursor::new("1".to_owned())));
        assert_eq!(subtree.accept(page(vec![], "2")), Ok(Cursor::new("2".to_owned())));
        assert_eq!(subtree.accept(page(vec![], "1")), Err(NoSubtree::Endless));
    }
}
