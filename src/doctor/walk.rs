//! The steps about the calls for whole trees.

use std::collections::HashSet;

use super::examination::{Examination, LARGE_PAGE, LARGE_PAGE_BYTES};
use super::finding::{Finding, Found};
use crate::koodrive::{Answered, ProbeError, Question};
use crate::remote::{Cursor, NodeKind};

/// Entries of a page, few enough that a small tree has some pages.
const PAGE: u32 = 25;

/// The most pages that are followed.
const MAX_PAGES: usize = 3;

/// Whether the service counts what is below the top, which a mount asks before it walks.
pub(super) fn count(run: &mut Examination<'_>) -> Found {
    let probe = run.probe()?;
    if !probe.may_have_subtrees() {
        return Err(Finding::left_out("not for this kind of source"));
    }
    Ok(match probe.subtree_size(run.deadline()) {
        Ok(Some(size)) => Finding::good(format!(
            "{} folders and {} files are counted: a walk may come in large pages",
            size.directories, size.files
        )),
        Ok(None) => Finding::lacking("not offered: a walk lists each folder"),
        Err(error) => Finding::lacking(format!("not told ({error}): a walk lists each folder")),
    })
}

pub(super) fn walk(run: &mut Examination<'_>) -> Found {
    let root = run.root()?;
    let has_folders = root.page.nodes.iter().any(|node| node.kind == NodeKind::Directory);
    let top = root.parents.first().cloned().flatten();
    let (mut rows, mut cursor, mut is_whole) = (Vec::new(), None::<Cursor>, false);
    for page in 0..MAX_PAGES {
        let answered = match asked(run, cursor.as_ref(), PAGE)? {
            Ok(answered) => answered,
            Err(error) if page == 0 && error.is_not_offered => {
                return Ok(Finding::lacking(format!("not offered ({error}): a walk lists each folder")));
            }
            Err(error) => {
                let number = page + 1;
                return Ok(Finding::lacking(format!("page {number} fails ({error}): a walk lists each folder")));
            }
        };
        rows.extend(answered.page.nodes.into_iter().zip(answered.parents));
        cursor = answered.page.next;
        is_whole = cursor.is_none();
        if is_whole {
            break;
        }
    }
    let each = "a walk lists each folder";
    if rows.iter().all(|(_, parent)| parent.is_none()) {
        return Ok(Finding::lacking(format!("entries do not say which folder holds them: {each}")));
    }
    let folders: HashSet<&str> =
        rows.iter().filter(|(node, _)| node.kind == NodeKind::Directory).map(|(node, _)| node.id.as_str()).collect();
    if has_folders && is_whole && folders.is_empty() {
        return Ok(Finding::lacking(format!("folders are left out: {each}")));
    }
    let at_top: HashSet<&str> = root.page.nodes.iter().map(|node| node.id.as_str()).collect();
    let with_root = top.as_deref().is_some_and(|top| folders.contains(top));
    let inside = || run.known.iter().filter(|known| known.id.is_some()).flat_map(|known| &known.nodes);
    let is_deep =
        rows.iter().any(|(node, _)| !at_top.contains(node.id.as_str()) && Some(node.id.as_str()) != top.as_deref());
    if is_whole && inside().next().is_some() && !is_deep {
        return Ok(Finding::lacking(format!("only the entries at the top come: {each}")));
    }
    let is_orphan = |parent: &Option<String>| {
        parent.as_deref().is_some_and(|id| !folders.contains(id) && Some(id) != top.as_deref())
    };
    let orphans =
        rows.iter().filter(|(node, parent)| Some(node.id.as_str()) != top.as_deref() && is_orphan(parent)).count();
    if is_whole && orphans > 0 {
        return Ok(Finding::lacking(format!("{orphans} entries are in folders that do not come: {each}")));
    }
    let extent = if is_whole { "all" } else { "the first" };
    let itself = if with_root { ", the top itself among them" } else { "" };
    let seen = format!("{extent} {} entries of the tree come, each with its folder{itself}", rows.len());
    if run.meter.bytes_left() < LARGE_PAGE_BYTES {
        return Ok(Finding::good(format!("{seen}; pages of 1000 were not tried")));
    }
    Ok(match asked(run, None, LARGE_PAGE)? {
        Ok(_) => Finding::good(format!("{seen}; pages of 1000 are taken: a walk takes few calls")),
        Err(error) if error.is_not_offered => Finding::lacking(format!("{seen}; pages of 1000 are refused ({error})")),
        Err(error) => Finding::lacking(format!("{seen}; a page of 1000 fails ({error})")),
    })
}

fn asked(
    run: &Examination<'_>,
    cursor: Option<&Cursor>,
    page_size: u32,
) -> Result<Result<Answered, ProbeError>, Finding> {
    let question = Question { cursor, page_size, ..Question::default() };
    let answered = run.probe()?.walk(question, run.deadline()).transpose();
    answered.ok_or_else(|| Finding::left_out("not for this kind of source"))
}
