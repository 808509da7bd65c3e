//! A page of a listing, entry by entry.

use super::field::{date_ms, text};
use super::links::{Moment, listed_link};
use crate::koodrive::error::{BadField, bad};
use crate::koodrive::wire::{FilesAnswer, NotAScalar, Scalar, ShareFile};
use crate::remote::{Child, Cursor, Node, NodeId, NodeKind, Page, Version};

/// `fileType` of a folder and of a smart folder.
const FOLDER: u32 = 10;
const SMART_FOLDER: u32 = 11;

/// `mimeType` of a folder.
const FOLDER_MIME_TYPE: &str = "application/vnd.huawei-apps.folder";

/// A page of a listing whose entries say which directory holds them.
pub(in crate::koodrive) struct Rows {
    /// Each entry with the id of its directory, if the service gives one.
    pub(in crate::koodrive) rows: Vec<(Node, Option<String>)>,
    pub(in crate::koodrive) next: Option<Cursor>,
    /// How many entries the answer had, recycled ones among them.
    pub(in crate::koodrive) count: usize,
}

impl Rows {
    /// The entries alone.
    pub(in crate::koodrive) fn into_page(self) -> Page {
        Page { nodes: self.rows.into_iter().map(|(node, _)| node).collect(), next: self.next }
    }

    /// The directory that all entries name; `None` if one names none or another, or there are none.
    pub(in crate::koodrive) fn common_parent(&self) -> Option<String> {
        let (_, first) = self.rows.first()?;
        let is_common = self.rows.iter().all(|(_, parent)| parent == first);
        first.clone().filter(|_| is_common)
    }

    /// What they say of `name` in the directory that `is_here` knows by its id.
    pub(in crate::koodrive) fn child(self, name: &str, is_here: impl Fn(&str) -> bool) -> Child {
        let is_whole = self.next.is_none();
        let told = |(node, parent): (Node, Option<String>)| (node, parent.map(|parent| is_here(&parent)));
        Child::among(name, self.rows.into_iter().map(told).collect(), is_whole)
    }
}

/// One page of a listing. An answer without `files` is bad, not empty: the service's samples keep empty values, so a missing
/// key means another kind of answer, and an empty directory must not come of it. `null` is empty.
pub(in crate::koodrive) fn rows(answer: FilesAnswer, moment: Moment) -> Result<Rows, BadField> {
    let files = answer.files.ok_or_else(|| bad("files", "missing"))?;
    let count = files.len();
    let mut rows: Vec<(Node, Option<String>)> = Vec::with_capacity(files.len());
    for (index, mut file) in files.into_iter().enumerate() {
        // In the recycle bin: no longer a part of the share (6.3).
        if !file.recycled.is_flag(true) {
            let parent = std::mem::take(&mut file.parent_folder).text().ok().flatten().filter(|id| !id.is_empty());
            let node = node(file, moment, &rows).map_err(|why| bad(format!("files[{index}].id"), why))?;
            rows.push((node, parent));
        }
    }
    Ok(Rows { rows, count, next: text(answer.next_cursor, "nextCursor")?.and_then(Cursor::new) })
}

/// One entry, which follows `before`. A missing or negative size is an unknown one. A directory has neither size nor
/// link, whatever the service says (14). What cannot be believed makes the entry unreadable: a wrong size would be a wrong
/// file, and a directory without one of its names a wrong directory.
///
/// # Errors
/// What is wrong with its id, if it has no name under which that can be told either.
fn node(file: ShareFile, moment: Moment, before: &[(Node, Option<String>)]) -> Result<Node, &'static str> {
    let name = text(file.file_name, "").ok().flatten().unwrap_or_default();
    let edited_ms = date_ms(file.edited_time).unwrap_or(0);
    let unreadable = |id, name, why| {
        let version = Version { size_bytes: 0, edited_ms };
        Node { id, name, kind: NodeKind::Unreadable(why), version, link: None }
    };
    let id = match id(file.id) {
        Ok(id) => id,
        Err(why) if name.is_empty() => return Err(why),
        Err(why) => return Ok(unreadable(stand_in(&name, before), name, why)),
    };
    if is_directory(file.file_type, file.mime_type) {
        let version = Version { size_bytes: 0, edited_ms };
        return Ok(Node { id, name, kind: NodeKind::Directory, version, link: None });
    }
    match size(&file.size) {
        Ok(size) => {
            let link = file.download_links.content.and_then(|url| listed_link(&url, moment));
            let version = Version { size_bytes: size.unwrap_or(0), edited_ms };
            let kind = if size.is_some() { NodeKind::File } else { NodeKind::Unsized };
            Ok(Node { id, name, kind, version, link })
        }
        Err(why) => Ok(unreadable(id, name, why)),
    }
}

/// Folder and smart folder are types of their own; every other number is a file's. The one who uploads may give any text as type:
/// then the MIME type tells.
fn is_directory(file_type: Scalar, mime_type: Scalar) -> bool {
    let code = file_type.text().ok().flatten().unwrap_or_default();
    match code.trim().parse::<u32>() {
        Ok(code) => [FOLDER, SMART_FOLDER].contains(&code),
        Err(_) => matches!(mime_type.text(), Ok(Some(mime)) if mime.trim().eq_ignore_ascii_case(FOLDER_MIME_TYPE)),
    }
}

/// An id that the service will know again. Ids are ASCII (8.1), so one with U+FFFD in it is not as the service has it.
fn id(value: Scalar) -> Result<NodeId, &'static str> {
    match value.text() {
        Ok(Some(id)) if id.contains(char::REPLACEMENT_CHARACTER) => Err("its id is no text"),
        Ok(Some(id)) if !id.is_empty() => Ok(NodeId::new(&id)),
        Ok(_) => Err("its id is missing"),
        Err(NotAScalar) => Err("its id is no text"),
    }
}

/// What no service has as an id, for an entry without one: the same on every listing, and another for the next of the same name.
fn stand_in(name: &str, before: &[(Node, Option<String>)]) -> NodeId {
    let id = |nth: usize| NodeId::new(&format!("\0{nth}\0{name}"));
    let is_free = |id: &NodeId| before.iter().all(|(node, _)| node.id != *id);
    // One more than there are entries before it cannot all be taken.
    (0..=before.len()).map(id).find(is_free).unwrap_or_else(|| id(before.len()))
}

/// A length in bytes; none where there is none, or a negative one.
fn size(value: &Scalar) -> Result<Option<u64>, &'static str> {
    let size = value.integer().map_err(|NotAScalar| "its size is no whole number")?.filter(|size| *size >= 0);
    // Offsets of files are signed 64 bit in Linux.
    let fits = |size| i64::try_from(size).map(i64::unsigned_abs);
    size.map(fits).transpose().map_err(|_: std::num::TryFromIntError| "its size is too large")
}
