//! Steps about listings: pages, cursors, sizes, names, orders.

use std::collections::HashSet;

use super::examination::{Examination, FULL_PAGE, Known, LARGE_PAGE, LARGE_PAGE_BYTES, Orders};
use super::finding::{Finding, Found};
use crate::koodrive::{Answered, ProbeError, Question};
use crate::remote::{Child, Cursor, Node, NodeId, NodeKind};

/// The most folders at the top that are looked into for files and names.
const MAX_FOLDERS: usize = 3;

/// Entries of a page that is asked for to compare.
const SHORT_PAGE: u32 = 20;

/// The most pages of one listing that are followed.
const MAX_PAGES: usize = 8;

/// The longest folder whose cursors are followed to its end: more would need larger pages, or more of them.
const MAX_FOLLOWED: usize = 40;

pub(super) fn page(run: &mut Examination<'_>) -> Found {
    let root = match run.ask(Question { page_size: FULL_PAGE, ..Question::default() })? {
        Ok(answered) => answered,
        Err(error) => return Ok(Finding::bad(format!("the top cannot be listed: {error}"))),
    };
    let of_kind = |wanted: fn(&NodeKind) -> bool| root.page.nodes.iter().filter(|node| wanted(&node.kind)).count();
    let folders = of_kind(|kind| *kind == NodeKind::Directory);
    let odd = of_kind(|kind| matches!(kind, NodeKind::Unreadable(_)));
    let rest = if root.page.next.is_some() { "and more" } else { "all there are" };
    let seen = format!("folders: {folders}, files: {}, {rest}", root.page.nodes.len() - folders - odd);
    let inside: Vec<NodeId> = root
        .page
        .nodes
        .iter()
        .filter(|node| node.kind == NodeKind::Directory)
        .map(|node| node.id.clone())
        .take(MAX_FOLDERS)
        .collect();
    run.thumbnail.clone_from(&root.thumbnail);
    run.known.push(known(None, &root));
    run.root = Some(root);
    for id in inside {
        let question = Question { directory: Some(&id), page_size: SHORT_PAGE, ..Question::default() };
        if let Ok(answered) = run.ask(question)? {
            run.thumbnail = run.thumbnail.take().or_else(|| answered.thumbnail.clone());
            run.known.push(known(Some(id), &answered));
        }
    }
    Ok(match odd {
        0 => Finding::good(seen),
        _ => Finding::lacking(format!("{seen}; {odd} entries cannot be read, and are EIO")),
    })
}

fn known(id: Option<NodeId>, answered: &Answered) -> Known {
    Known { id, nodes: answered.page.nodes.clone(), is_whole: answered.page.next.is_none() }
}

/// How values are written, of which the documents have several ways.
pub(super) fn shapes(run: &mut Examination<'_>) -> Found {
    let shapes = &run.root()?.shapes;
    let joined = |words: &std::collections::BTreeSet<&'static str>| {
        if words.is_empty() { "none".to_owned() } else { words.iter().copied().collect::<Vec<_>>().join("/") }
    };
    let place = if shapes.is_under_data { "under data" } else { "beside the code" };
    let seen = format!(
        "code: {}; payload: {place}; size: {}; fileType: {}; editedTime: {}",
        shapes.code,
        joined(&shapes.size),
        joined(&shapes.file_type),
        joined(&shapes.time)
    );
    let files = || run.known.iter().flat_map(|known| &known.nodes);
    let unsized_files = files().filter(|node| node.kind == NodeKind::Unsized).count();
    let undated = files().filter(|node| node.version.edited_ms == 0).count();
    Ok(match (unsized_files, undated) {
        (0, 0) => Finding::good(seen),
        (0, _) => Finding::lacking(format!("{seen}; {undated} entries without a time: shown as of 1970")),
        _ => Finding::lacking(format!("{seen}; {unsized_files} files without a size: the store is asked for each")),
    })
}

pub(super) fn cursors(run: &mut Examination<'_>) -> Found {
    run.root()?;
    let whole = run.known.iter().filter(|known| known.is_whole && (2..=MAX_FOLLOWED).contains(&known.nodes.len()));
    // Of few entries, yet of some pages.
    let followed = whole.min_by_key(|known| known.nodes.len().abs_diff(4));
    let Some(known) = followed.or_else(|| run.known.iter().find(|known| !known.is_whole)) else {
        return Err(Finding::left_out("no folder with two entries was found"));
    };
    let count = known.nodes.len();
    // A full last page tells whether an empty one follows.
    let pages = (2..=6).find(|pages| count.is_multiple_of(*pages)).unwrap_or(3);
    let page_size = if known.is_whole { count.div_ceil(pages) } else { 2 };
    let (mut seen_ids, mut seen_cursors) = (HashSet::new(), Vec::<Cursor>::new());
    let (mut asked, mut empty, mut again, mut end) = (0, 0, 0, None);
    while asked < MAX_PAGES {
        let question = Question {
            directory: known.id.as_ref(),
            cursor: seen_cursors.last(),
            page_size: u32::try_from(page_size).unwrap_or(FULL_PAGE),
            ..Question::default()
        };
        let answered = match run.ask(question)? {
            Ok(answered) => answered,
            Err(error) if asked == 0 => return Ok(Finding::bad(format!("a short page cannot be had: {error}"))),
            Err(error) => {
                return Ok(Finding::bad(format!("page {} cannot be had ({error}): long folders are EIO", asked + 1)));
            }
        };
        asked += 1;
        empty += usize::from(answered.page.nodes.is_empty());
        again += answered.page.nodes.iter().filter(|node| !seen_ids.insert(node.id.clone())).count();
        match answered.page.next {
            None => {
                end = Some((answered.shapes.next_cursor, answered.page.nodes.is_empty()));
                break;
            }
            Some(next) if seen_cursors.contains(&next) => {
                return Ok(Finding::bad(format!("page {asked} names a page that was there: every folder is EIO")));
            }
            Some(next) => seen_cursors.push(next),
        }
    }
    let mut text = format!("{asked} pages follow each other");
    let has_empty_end = matches!(end, Some((_, true)));
    match empty - usize::from(has_empty_end) {
        0 => {}
        some => text = format!("{text}, {some} of them empty"),
    }
    if let Some((shape, is_empty)) = end {
        let last = if is_empty { "an empty last page has" } else { "the last has" };
        text = format!("{text}; {last} nextCursor: {shape}");
    }
    if known.is_whole && end.is_some() && seen_ids.len() < count {
        return Ok(Finding::bad(format!(
            "{text}; {} entries never came: folders are shorter than they are",
            count - seen_ids.len()
        )));
    }
    Ok(match again {
        0 => Finding::good(text),
        _ => Finding::lacking(format!("{text}; {again} entries came twice: shown once")),
    })
}

pub(super) fn page_sizes(run: &mut Examination<'_>) -> Found {
    let root = run.root()?;
    let largest = run.known.iter().max_by_key(|known| (!known.is_whole, known.nodes.len()));
    let Some(known) = largest.filter(|known| known.nodes.len() >= 3 || !known.is_whole) else {
        return Err(Finding::left_out("no folder with three entries was found"));
    };
    let directory = known.id.as_ref();
    let two = match run.ask(Question { directory, page_size: 2, ..Question::default() })? {
        Ok(answered) => answered.page.nodes.len(),
        Err(error) => return Ok(Finding::bad(format!("a page of 2 cannot be had: {error}"))),
    };
    let full = root.page.nodes.len();
    let is_cut = root.page.next.is_some() && full < FULL_PAGE as usize;
    if two > 2 {
        return Ok(Finding::lacking(format!("ignored: {two} entries came for 2; pages are as the service likes")));
    }
    if is_cut || two < 2 {
        let few = if is_cut { full } else { two };
        return Ok(Finding::lacking(format!("at most {few} entries of a page come: long folders take more calls")));
    }
    if !run.is_space() {
        return Ok(Finding::good("pages are as long as asked; 100 is the most for a share"));
    }
    if run.meter.bytes_left() < LARGE_PAGE_BYTES {
        return Ok(Finding::good("pages are as long as asked; pages of 1000 were not tried"));
    }
    let large = run.ask(Question { directory, page_size: LARGE_PAGE, ..Question::default() })?;
    Ok(match large {
        Ok(answered) if answered.page.nodes.len() > FULL_PAGE as usize => {
            Finding::good("pages are as long as asked, also above 100: long folders come in large pages")
        }
        Ok(answered) if answered.page.next.is_some() => {
            Finding::lacking("pages are as long as asked, but cut to 100: long folders come 100 at a time")
        }
        Ok(_) => Finding::good("pages are as long as asked; 1000 is taken, but no folder is long enough to tell"),
        Err(error) => Finding::lacking(format!("1000 is refused ({error}): long folders come 100 at a time")),
    })
}

/// Whether an answer has this entry.
fn has(answered: &Answered, node: &Node) -> bool {
    answered.page.nodes.iter().any(|one| one.id == node.id)
}

pub(super) fn file_name(run: &mut Examination<'_>) -> Found {
    run.root()?;
    let contains = |node: &Node, part: &str| node.name.to_lowercase().contains(&part.to_lowercase());
    // A name of which a part tells it from some other entry.
    let candidates = run.known.iter().flat_map(|known| known.nodes.iter().map(move |node| (known, node)));
    let chosen = candidates.filter_map(|(known, node)| {
        let part = part_of(&node.name)?;
        let is_telling = known.nodes.iter().any(|other| !contains(other, part));
        is_telling.then_some((known, node, part))
    });
    // At the top, where folders are below.
    let Some((known, node, part)) = chosen.min_by_key(|(known, ..)| known.id.is_some()) else {
        return Err(Finding::left_out("no folder with two names that differ was found"));
    };
    let by_name = |name: &str| {
        run.ask(Question {
            directory: known.id.as_ref(),
            page_size: SHORT_PAGE,
            name: Some(name),
            ..Question::default()
        })
    };
    let whole = match by_name(&node.name)? {
        Ok(answered) => answered,
        Err(error) if error.is_not_offered => {
            return Ok(Finding::lacking(format!("refused ({error}): a name is found by listing its folder")));
        }
        Err(error) => return Ok(Finding::lacking(format!("{error}: a name is found by listing its folder"))),
    };
    if whole.page.nodes.iter().any(|other| !contains(other, &node.name)) {
        return Ok(Finding::lacking("ignored, all entries come: a name is found by listing its folder"));
    }
    if !has(&whole, node) {
        return Ok(Finding::lacking("the entry of this name does not come: a name is found by listing its folder"));
    }
    let found = |asked: Result<Answered, ProbeError>, node: &Node| asked.is_ok_and(|answered| has(&answered, node));
    if !found(by_name(part)?, node) {
        return Ok(Finding::good("only the entry of exactly this name comes: a name can be looked for alone"));
    }
    let in_any_case = found(by_name(&other_case(part))?, node);
    let is_new = |node: &&Node| known.nodes.iter().all(|other| other.name != node.name);
    let below = run.known.iter().filter(|other| other.id.is_some() && known.id.is_none());
    let below = match below.flat_map(|known| &known.nodes).find(is_new) {
        Some(node) => found(by_name(&node.name)?, node),
        None => false,
    };
    let case = if in_any_case { "without regard to case" } else { "in this case" };
    Ok(match below {
        true => Finding::lacking(format!(
            "names that contain it come, {case}, also from folders below: answers hold others than asked for"
        )),
        false => Finding::good(format!("names that contain it come, {case}: a name can be looked for alone")),
    })
}

/// Whether a mount finds a name without the listing around it.
pub(super) fn known_path(run: &mut Examination<'_>) -> Found {
    run.root()?;
    let is_plain = |node: &&Node| matches!(node.kind, NodeKind::File | NodeKind::Directory);
    // Among several, so that an answer with all of them tells; a share's top is never asked for a name.
    let several = run.known.iter().filter(|known| known.nodes.len() > 1 && (run.is_space() || known.id.is_some()));
    let chosen = several.filter_map(|known| Some((known, known.nodes.iter().find(is_plain)?)));
    let Some((known, node)) = chosen.min_by_key(|(known, _)| known.id.is_none()) else {
        return Err(Finding::left_out("no folder with several entries was found to try it in"));
    };
    let waits = "a known path waits for the page that it is on";
    Ok(match run.probe()?.child(known.id.as_ref(), &node.name, run.deadline()) {
        Ok(Child::Only(found)) if found.id == node.id => {
            Finding::good("a name is found alone: a known path needs no whole listing")
        }
        Ok(Child::Only(_) | Child::Unclear) => Finding::lacking(format!("the answer is not this entry alone: {waits}")),
        Ok(Child::NotOffered) => Finding::lacking(format!("names are not looked for: {waits}")),
        Err(error) => Finding::lacking(format!("asking for a name fails ({error}): {waits}")),
    })
}

/// All but the last character of a name, if that has a letter of two cases.
fn part_of(name: &str) -> Option<&str> {
    let (last, _) = name.char_indices().next_back()?;
    let part = &name[..last];
    (part.chars().count() >= 2 && part.contains(|c: char| c.is_ascii_alphabetic())).then_some(part)
}

fn other_case(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
}

pub(super) fn sort_order(run: &mut Examination<'_>) -> Found {
    run.root()?;
    let rank = |known: &&Known| (known.is_whole && known.nodes.len() <= SHORT_PAGE as usize, known.nodes.len());
    let Some(known) = run.known.iter().filter(|known| known.nodes.len() >= 2).max_by_key(rank) else {
        return Err(Finding::left_out("no folder with two entries was found"));
    };
    let ordered = |is_descending| {
        run.ask(Question { directory: known.id.as_ref(), page_size: SHORT_PAGE, is_descending, ..Question::default() })
    };
    let ascending = match ordered(false)? {
        Ok(answered) => answered.page,
        Err(error) => return Ok(Finding::bad(format!("a page cannot be had: {error}"))),
    };
    let descending = ordered(true)?.map(|answered| answered.page);
    let is_whole = ascending.next.is_none() && descending.as_ref().is_ok_and(|page| page.next.is_none());
    let orders = Orders { ascending: ascending.nodes, descending: descending.map(|page| page.nodes), is_whole };
    let names: Vec<&str> = orders.ascending.iter().map(|node| node.name.as_str()).collect();
    let by_bytes = names.is_sorted();
    let by_letters = names.is_sorted_by_key(|name| name.to_lowercase());
    let backwards: Vec<&str> = names.iter().rev().copied().collect();
    let is_backwards = backwards.is_sorted() || backwards.is_sorted_by_key(|name| name.to_lowercase());
    let found = match (by_bytes, by_letters) {
        (true, true) => Finding::good("by name, ascending as asked (whether capitals come first is not told)"),
        (true, false) => Finding::good("by name, ascending as asked, by bytes: capitals first"),
        (false, true) => Finding::good("by name, ascending as asked, without regard to case"),
        (false, false) if is_backwards => Finding::lacking(
            "always descending, whatever is asked: folders that change meanwhile may show less at once",
        ),
        (false, false) => {
            Finding::lacking("not by name: folders that change while they are listed may show an entry late")
        }
    };
    run.orders = Some(orders);
    Ok(found)
}

pub(super) fn both_ends(run: &mut Examination<'_>) -> Found {
    let orders = run.orders.as_ref().ok_or_else(|| Finding::left_out("there is no sorted page"))?;
    let descending = match &orders.descending {
        Ok(nodes) => nodes,
        Err(error) if error.is_not_offered => {
            return Ok(Finding::lacking(format!("descending is refused ({error}): folders are listed from one end")));
        }
        Err(error) => return Ok(Finding::lacking(format!("not told: {error}"))),
    };
    let ids = |nodes: &[Node]| nodes.iter().map(|node| node.id.clone()).collect::<Vec<NodeId>>();
    let (there, mut back) = (ids(&orders.ascending), ids(descending));
    if there == back {
        return Ok(Finding::lacking("both directions are the same: folders are listed from one end"));
    }
    back.reverse();
    let is_same_set = there.iter().collect::<HashSet<_>>() == back.iter().collect::<HashSet<_>>();
    Ok(match (orders.is_whole, there == back) {
        (true, true) => Finding::good("descending is the exact reverse: long folders are listed from both ends"),
        (true, false) if is_same_set => {
            Finding::lacking("descending is not the exact reverse: long folders may be listed from one end alone")
        }
        (true, false) => Finding::lacking("descending has other entries: folders are listed from one end"),
        (false, _) => Finding::good("descending begins at another end; a folder of 2 to 20 entries would tell more"),
    })
}
