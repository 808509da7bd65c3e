//! What a service says when it is asked for the entries of one name, and what of that may be believed.
//!
//! The answer may only find. What asking for a name means is documented nowhere (src/koodrive/API.md, section 5.4): the service may
//! give the entries of exactly this name, those that contain it, those of the directories below as well, or all of them.

use super::node::{Node, NodeKind};

/// What came of asking for the entry of one name in one directory.
#[derive(Clone, Debug)]
pub enum Child {
    /// The one entry of this name in this directory, a file with its length or a directory.
    Only(Box<Node>),
    /// Nothing that can be relied on, not that there is no such entry either: the listing tells.
    Unclear,
    /// The service does not look for names: there is no use in asking again.
    NotOffered,
}

impl Child {
    /// What the rows of an answer say of `name`; with each row comes whether it is of the directory that was asked about, if the
    /// service says so. `is_whole` if there are no more rows than these.
    pub fn among(name: &str, rows: Vec<(Node, Option<bool>)>, is_whole: bool) -> Child {
        let folded = name.to_lowercase();
        if rows.iter().any(|(node, _)| !node.name.to_lowercase().contains(&folded)) {
            return Child::NotOffered;
        }
        let mut namesakes = rows.into_iter().filter(|(node, is_here)| node.name == name && *is_here != Some(false));
        match (namesakes.next(), namesakes.next()) {
            (Some((node, Some(true))), None)
                if is_whole && matches!(node.kind, NodeKind::Directory | NodeKind::File) =>
            {
                Child::Only(Box::new(node))
            }
            _ => Child::Unclear,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::node::{NodeId, Version};
    use super::*;

    fn row(id: &str, name: &str, is_here: Option<bool>) -> (Node, Option<bool>) {
        let version = Version { size_bytes: 1, edited_ms: 1 };
        (Node { id: NodeId::new(id), name: name.to_owned(), kind: NodeKind::File, version, link: None }, is_here)
    }

    fn found(child: Child) -> Option<String> {
        match child {
            Child::Only(node) => Some(node.id.as_str().to_owned()),
            Child::Unclear => None,
            Child::NotOffered => Some("not offered".to_owned()),
        }
    }

    #[test]
    fn only_entry_of_its_name_and_directory_in_a_whole_answer_is_found() {
        let here = Some(true);
        for (rows, is_whole, want) in [
            (vec![row("1", "a", here)], true, Some("1")),
            (vec![row("1", "a", here)], false, None),
            (vec![], true, None),
            (vec![row("1", "a", None)], true, None),
            (vec![row("1", "a", Some(false))], true, None),
            (vec![row("1", "a", here), row("2", "a", here)], true, None),
            (vec![row("1", "a", here), row("2", "a", None)], true, None),
            (vec![row("1", "a", here), row("2", "a", Some(false))], true, Some("1")),
            (vec![row("1", "ab", here), row("2", "a", here), row("3", "Ba", here)], true, Some("2")),
            (vec![row("1", "A", here)], true, None),
            (vec![row("1", "a", here), row("2", "b", here)], true, Some("not offered")),
            (vec![row("1", "b", here)], false, Some("not offered")),
        ] {
            let shown = format!("{rows:?} {is_whole}");
            assert_eq!(found(Child::among("a", rows, is_whole)).as_deref(), want, "{shown}");
        }
    }

    #[test]
    fn entry_without_a_length_or_that_cannot_be_read_waits_for_the_listing() {
        for (kind, is_found) in [
            (NodeKind::Directory, true),
            (NodeKind::File, true),
            (NodeKind::Unsized, false),
            (NodeKind::Unreadable("odd"), false),
        ] {
            let (node, is_here) = row("1", "a", Some(true));
            let child = Child::among("a", vec![(Node { kind, ..node }, is_here)], true);
            assert_eq!(found(child).is_some(), is_found, "{kind:?}");
        }
    }
}
