//! A listing that is read from both of its ends: what each end has brought, and whether the two have met.
//!
//! How the service orders names is documented nowhere, so no name is compared with another: the proof that nothing lies between the two
//! ends is that they overlap. Where so many entries in a row as a page has come from both ends, in opposite order, and are not all of one
//! name, what came from the last end is the rest of the listing. Anything else that has come from both proves that there is no such order.
//! Plain data.

use std::collections::{HashMap, HashSet};

use crate::remote::{Node, NodeId};

/// So many entries must have come from both ends: a page of a share.
pub(super) const MIN_OVERLAP: usize = 100;

/// What the two ends of one listing have brought.
#[derive(Default)]
pub(super) struct BothEnds {
    /// What came from the first end, in order.
    first: Vec<NodeId>,
    /// Where each of them is.
    places: HashMap<NodeId, usize>,
    /// What came from the last end, the last entry first.
    last: Vec<Node>,
    last_ids: HashSet<NodeId>,
    /// Something came from both.
    do_overlap: bool,
}

/// How far the two ends are from each other.
#[derive(Debug)]
pub(super) enum Meeting {
    /// Entries may lie between them.
    NotYet,
    /// None do: these are left, in the order of the first end.
    Met(Vec<Node>),
    /// The order from one end is not the opposite of that from the other.
    NoOrder,
    /// It is the same from both.
    SameOrder,
}

impl BothEnds {
    /// `ids` have come from the first end.
    pub(super) fn add_first(&mut self, ids: impl IntoIterator<Item = NodeId>) {
        for id in ids {
            self.do_overlap |= self.last_ids.contains(&id);
            if !self.places.contains_key(&id) {
                self.places.insert(id.clone(), self.first.len());
                self.first.push(id);
            }
        }
    }

    /// `nodes` have come from the last end.
    pub(super) fn add_last(&mut self, nodes: Vec<Node>) {
        for node in nodes {
            self.do_overlap |= self.places.contains_key(&node.id);
            if self.last_ids.insert(node.id.clone()) {
                self.last.push(node);
            }
        }
    }

    /// How many entries have come from the last end.
    pub(super) fn last_len(&self) -> usize {
        self.last.len()
    }

    /// Whether the ends have met. Of use once: what is left is given away.
    pub(super) fn meet(&mut self) -> Meeting {
        if !self.do_overlap {
            return Meeting::NotYet;
        }
        // The deepest entry from the last end must be among those from the first, and all from there on be the same.
        let Some(place) = self.last.last().and_then(|deepest| self.places.get(&deepest.id)) else {
            return self.no_order();
        };
        let overlap = self.first.len() - place;
        let is_same = overlap <= self.last.len()
            && self.first[*place..].iter().eq(self.last.iter().rev().take(overlap).map(|node| &node.id));
        if !is_same {
            return self.no_order();
        }
        let common = &self.last[self.last.len() - overlap..];
        let folded = |node: &Node| node.name.to_lowercase();
        let do_differ = common.first().is_some_and(|one| common.iter().any(|other| folded(one) != folded(other)));
        if overlap < MIN_OVERLAP || !do_differ {
            return Meeting::NotYet;
        }
        let left = self.last.len() - overlap;
        Meeting::Met(self.last.drain(..left).rev().collect())
    }

    fn no_order(&self) -> Meeting {
        let is_same = self.last.first().is_some_and(|last| self.first.first() == Some(&last.id));
        if is_same { Meeting::SameOrder } else { Meeting::NoOrder }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::{NodeKind, Version};

    fn node(number: usize) -> Node {
        let version = Version { size_bytes: 0, edited_ms: 0 };
        let id = NodeId::new(&format!("F{number}"));
        Node { id, name: format!("{number:06}"), kind: NodeKind::File, version, link: None }
    }

    fn ids(range: impl Iterator<Item = usize>) -> Vec<NodeId> {
        range.map(|number| node(number).id).collect()
    }

    fn nodes(range: impl Iterator<Item = usize>) -> Vec<Node> {
        range.map(node).collect()
    }

    fn both(first: impl Iterator<Item = usize>, last: impl Iterator<Item = usize>) -> BothEnds {
        let mut ends = BothEnds::default();
        ends.add_first(ids(first));
        ends.add_last(nodes(last));
        ends
    }

    #[test]
    fn ends_that_overlap_by_a_page_have_met_and_what_is_left_is_in_order() {
        for (first, deepest) in [(500, 400), (500, 0), (1000, 900), (1000, 0), (600, 350)] {
            let mut ends = both(0..first, (deepest..1000).rev());
            let Meeting::Met(left) = ends.meet() else { panic!("{first} {deepest}") };
            assert_eq!(left.iter().map(|node| node.id.clone()).collect::<Vec<_>>(), ids(first..1000));
        }
    }

    #[test]
    fn ends_that_do_not_overlap_by_a_page_may_have_something_between_them() {
        for deepest in [1000, 501, 500, 499, 401] {
            assert!(matches!(both(0..500, (deepest..1000).rev()).meet(), Meeting::NotYet), "{deepest}");
        }
        let mut ends = both(0..500, (401..1000).rev());
        assert!(matches!(ends.meet(), Meeting::NotYet));
        ends.add_first(ids(500..501));
        assert!(matches!(ends.meet(), Meeting::Met(left) if left.len() == 499));
    }

    #[test]
    fn overlap_of_one_name_alone_proves_nothing() {
        let mut ends = BothEnds::default();
        let named = |number: usize, name: &str| Node { name: name.to_owned(), ..node(number) };
        ends.add_first(ids(0..500));
        ends.add_last((400..1000).rev().map(|number| named(number, if number % 2 == 0 { "A" } else { "a" })).collect());
        assert!(matches!(ends.meet(), Meeting::NotYet));
        ends.add_last(vec![named(399, "b")]);
        assert!(matches!(ends.meet(), Meeting::Met(_)));
    }

    #[test]
    fn order_that_does_not_hold_is_no_proof() {
        // The same order from both ends; no order; one that is missing, added or moved in the overlap.
        assert!(matches!(both(0..500, 0..100).meet(), Meeting::SameOrder));
        assert!(matches!(both(0..500, 10..110).meet(), Meeting::NoOrder));
        assert!(matches!(both(0..500, (1..600).map(|number| number * 7 % 1000)).meet(), Meeting::NoOrder));
        assert!(matches!(both((0..500).filter(|n| *n != 450), (300..1000).rev()).meet(), Meeting::NoOrder));
        assert!(matches!(both(0..500, (300..1000).rev().filter(|n| *n != 450)).meet(), Meeting::NoOrder));
        let moved = (300..1000).rev().map(|n| {
            if n == 450 {
                460
            } else if n == 460 {
                450
            } else {
                n
            }
        });
        assert!(matches!(both(0..500, moved).meet(), Meeting::NoOrder));
    }

    #[test]
    fn entry_that_an_end_brings_twice_counts_once() {
        let mut ends = both(0..400, (450..1000).rev());
        ends.add_first(ids(350..600));
        ends.add_last(nodes((400..500).rev()));
        let Meeting::Met(left) = ends.meet() else { panic!("they overlap") };
        assert_eq!(left.len(), 400);
    }

    /// Whatever two ends bring of a listing that changes between their pages: what is left is never what the first end has brought,
    /// and with it all that has stayed where it was is there.
    #[test]
    fn union_of_two_ends_that_have_met_has_all_that_stayed() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let count = random.usize(300..2000);
            let mut listing: Vec<usize> = (0..count).map(|number| number * 10).collect();
            let mut stayed: HashSet<usize> = listing.iter().copied().collect();
            let mut ends = BothEnds::default();
            // Cursors that name the entry after which they go on, as a service that sorts has them.
            let (mut after, mut before, mut seen) = (None, None, Vec::new());
            loop {
                if random.u8(..) < 20 {
                    let at = random.usize(..listing.len());
                    if random.bool() {
                        stayed.remove(&listing.remove(at));
                    } else {
                        let new = listing[at] + random.usize(1..10);
                        if !listing.contains(&new) {
                            listing.insert(at + 1, new);
                        }
                    }
                }
                if random.bool() {
                    let page: Vec<_> =
                        listing.iter().copied().filter(|n| after.is_none_or(|after| *n > after)).take(100).collect();
                    let Some(end) = page.last() else { break };
                    after = Some(*end);
                    seen.extend_from_slice(&page);
                    ends.add_first(ids(page.into_iter()));
                } else {
                    let rest = listing.iter().rev().copied().filter(|n| before.is_none_or(|before| *n < before));
                    let page: Vec<_> = rest.take(100).collect();
                    before = page.last().copied().or(before);
                    ends.add_last(nodes(page.into_iter()));
                }
                match ends.meet() {
                    Meeting::NotYet => {}
                    Meeting::NoOrder | Meeting::SameOrder => break,
                    Meeting::Met(left) => {
                        let mut all: HashSet<NodeId> = ids(seen.iter().copied()).into_iter().collect();
                        assert!(left.iter().all(|node| all.insert(node.id.clone())), "seed {seed}");
                        assert!(ids(stayed.iter().copied()).iter().all(|id| all.contains(id)), "seed {seed}");
                        break;
                    }
                }
            }
        }
    }
}
