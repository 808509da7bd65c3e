//! From the nodes of a page to entries under names that are free: the one rule of the mount and of `koofs ls`.

use std::collections::HashSet;

use super::{Node, NodeId};
use crate::policy::name::EntryName;

/// Names the nodes of the next page of a listing. `ids` are those of its earlier pages, and grows; a node that was there
/// already is dropped. `is_taken` tells which names earlier pages have.
///
/// Among equal names of one page the smallest id comes first, so that names do not depend on how the service orders ties.
pub fn name_page(
    mut nodes: Vec<Node>,
    ids: &mut HashSet<NodeId>,
    is_taken: impl Fn(&str) -> bool,
) -> Vec<(EntryName, Node)> {
    nodes.retain(|node| ids.insert(node.id.clone()));
    for ties in nodes.chunk_by_mut(|a, b| a.name == b.name) {
        ties.sort_by(|a, b| a.id.cmp(&b.id));
    }
    let mut names = HashSet::with_capacity(nodes.len());
    let mut named = Vec::with_capacity(nodes.len());
    for node in nodes {
        let name = EntryName::assign(&node.name, node.id.as_str(), |name| is_taken(name) || names.contains(name));
        names.insert(name.clone());
        named.push((name, node));
    }
    named
}
