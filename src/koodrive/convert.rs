//! From the service's words to the crate's types. Bad data is an error that names the field; there are no panics.
//!
//! Knows `wire` and `remote`; must not know HTTP.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::envelope::{Reason, cleaned_code, reason_of_code};
use super::wire::{
    DownloadAnswer, FilesAnswer, LinkEntry, LinksAnswer, NotAScalar, Scalar, SessionAnswer, SessionInfo, ShareFile,
    ShareLink, SharedFolder, SpaceInfo,
};
use crate::policy::link_expiry::{LinkLife, assumed_life, link_life};
use crate::policy::server_time::ServerOffset;
use crate::remote::{Capacity, Cursor, Link, Node, NodeId, NodeKind, Page, Version};

/// The longest life of a token that is believed, in seconds: 100 years, so that adding it to an instant cannot overflow.
const MAX_LIFE_SECS: u64 = 100 * 365 * 86_400;

/// The largest capacity that is believed, in bytes: 2^53, beyond any space, and exact in every program that reads `statfs`.
const MAX_CAPACITY_BYTES: u64 = 1 << 53;

/// What is wrong with an answer: the name of the field, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadField {
    pub(super) field: String,
    pub(super) why: Cow<'static, str>,
}

pub(super) fn bad(field: impl Into<String>, why: impl Into<Cow<'static, str>>) -> BadField {
    BadField { field: field.into(), why: why.into() }
}

/// When an answer came, and whose clock its dates are on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) received_at: SystemTime,
    pub(super) server: ServerOffset,
}

/// Whether a share can be used, as the service says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShareStatus {
    /// 0: as long as it has not expired. Also any value that is not documented.
    Open,
    /// 1: what was shared has been deleted.
    Deleted,
    /// 2: ended.
    Ended,
}

/// CommonShareLink, checked.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) id: Option<String>,
    pub(super) owner: Option<String>,
    /// On the service's clock; `None` where the share has no end, or none that can be read.
    pub(super) expires_at: Option<SystemTime>,
    pub(super) status: ShareStatus,
    pub(super) download_forbidden: bool,
}

/// CommonShareLink (koodrive-api.md, 5.6). Of its fields only a text where text must be is required.
pub(super) fn share(link: ShareLink) -> Result<Share, BadField> {
    let expires_ms = date_ms(link.expire_time);
    Ok(Share {
        id: text(link.share_id, "link.shareId")?.filter(|id| !id.is_empty()),
        owner: text(link.owner_name, "link.ownerName")?.filter(|name| !name.is_empty()),
        expires_at: expires_ms.map(|ms| UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        status: match link.status.integer() {
            Ok(Some(1)) => ShareStatus::Deleted,
            Ok(Some(2)) => ShareStatus::Ended,
            Ok(_) | Err(NotAScalar) => ShareStatus::Open,
        },
        download_forbidden: link.permission.is_some_and(|permission| permission.download.is_flag(false)),
    })
}

/// One page of a listing. An answer without `files` is bad, not empty: the service's samples keep empty values, so a missing
/// key means another kind of answer, and an empty directory must not come of it. `null` is empty.
pub(super) fn page(answer: FilesAnswer, moment: Moment) -> Result<Page, BadField> {
    let files = answer.files.ok_or_else(|| bad("files", "missing"))?;
    let mut nodes: Vec<Node> = Vec::with_capacity(files.len());
    for (index, file) in files.into_iter().enumerate() {
        // In the recycle bin: no longer a part of the share (6.3).
        if !file.recycled.is_flag(true) {
            let node = node(file, moment, &nodes).map_err(|why| bad(format!("files[{index}].id"), why))?;
            nodes.push(node);
        }
    }
    Ok(Page { nodes, next: text(answer.next_cursor, "nextCursor")?.and_then(Cursor::new) })
}

/// One entry, which follows `before`. A missing or negative size is an unknown one. A directory has neither size nor
/// link, whatever the service says (14). What cannot be believed makes the entry unreadable: a wrong size would be a wrong
/// file, and a directory without one of its names a wrong directory.
///
/// # Errors
/// What is wrong with its id, if it has no name under which that can be told either.
fn node(file: ShareFile, moment: Moment, before: &[Node]) -> Result<Node, &'static str> {
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
    // Folder and smart folder (6.2); an uploader may give any other value.
    let is_directory = matches!(file.file_type.text(), Ok(Some(code)) if ["10", "11"].contains(&code.trim()));
    if is_directory {
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
fn stand_in(name: &str, before: &[Node]) -> NodeId {
    let id = |nth: usize| NodeId::new(&format!("\0{nth}\0{name}"));
    let is_free = |id: &NodeId| before.iter().all(|node| node.id != *id);
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

/// What a login or a refresh gives.
pub(super) struct Session {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    /// None if it is not told, or no time at all.
    pub(super) expires_in: Option<Duration>,
    pub(super) user_id: Option<String>,
}

/// The session of a login's or a refresh's answer, at whichever depth it lies.
pub(super) fn session(answer: SessionAnswer) -> Result<Session, BadField> {
    let at_top = SessionInfo {
        access_token: answer.access_token,
        expires_in: answer.expires_in,
        refresh_token: answer.refresh_token,
    };
    let info = answer.session_info.unwrap_or(at_top);
    let filled = |value, field| text(value, field).map(|text| text.filter(|text| !text.is_empty()));
    let seconds = info.expires_in.integer().ok().flatten().and_then(|seconds| u64::try_from(seconds).ok());
    Ok(Session {
        access_token: filled(info.access_token, "accessToken")?.ok_or_else(|| bad("accessToken", "missing"))?,
        refresh_token: filled(info.refresh_token, "refreshToken")?,
        expires_in: seconds
            .filter(|seconds| *seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.min(MAX_LIFE_SECS))),
        user_id: filled(answer.user_info.unwrap_or_default().user_id, "userInfo.userId")?,
    })
}

/// A space as a list or a call about it tells.
#[derive(Clone, Debug)]
pub(super) struct Space {
    /// The group's id, in a list of teams.
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) container_id: Option<String>,
    /// 0 department, 1 individual, 2 group.
    pub(super) type_code: Option<i128>,
    /// None where the service does not tell.
    pub(super) capacity: Option<Capacity>,
}

/// `type` of an individual space (8.1).
const INDIVIDUAL: i128 = 1;

impl Space {
    /// Whether it is a person's, as far as the service tells.
    pub(super) fn is_individual(&self) -> bool {
        self.type_code.is_none_or(|code| code == INDIVIDUAL)
    }
}

/// SpaceInfo and its kin. `capacity` is in GB (8.2); the unit of `spaceUsed` is not told, and fits bytes. What makes no sense is
/// brought to the nearest value that does.
pub(super) fn space(info: SpaceInfo) -> Result<Space, BadField> {
    let filled = |value, field| text(value, field).map(|text| text.filter(|text| !text.is_empty()));
    let number = |value: &Scalar| value.integer().ok().flatten();
    let capacity = number(&info.capacity).filter(|gb| *gb > 0).map(|gb| {
        let total_bytes = u64::try_from(gb).unwrap_or(u64::MAX).saturating_mul(1 << 30).min(MAX_CAPACITY_BYTES);
        let used = number(&info.space_used).unwrap_or(0).clamp(0, i128::from(total_bytes));
        Capacity { total_bytes, used_bytes: u64::try_from(used).unwrap_or(total_bytes) }
    });
    Ok(Space {
        id: filled(info.id, "id")?,
        name: filled(info.group_name, "groupName")?,
        container_id: filled(info.container_id, "containerId")?,
        type_code: number(&info.kind),
        capacity,
    })
}

/// A shared folder (8.3).
pub(super) struct Folder {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) container_id: Option<String>,
    pub(super) root_id: Option<String>,
    pub(super) is_deleted: bool,
}

/// ShareFolder, checked.
pub(super) fn folder(folder: SharedFolder) -> Result<Folder, BadField> {
    let filled = |value, field| text(value, field).map(|text| text.filter(|text| !text.is_empty()));
    Ok(Folder {
        id: filled(folder.id, "sharefolder.id")?,
        name: filled(folder.name, "sharefolder.name")?,
        container_id: filled(folder.container_id, "sharefolder.containerId")?,
        root_id: filled(folder.share_folder_file_id, "sharefolder.shareFolderFileId")?,
        is_deleted: matches!(folder.status.integer(), Ok(Some(1))),
    })
}

/// Why one file of a batch has no link.
#[derive(Clone, Debug)]
pub(super) enum NoLink {
    /// The service refuses it, with that code.
    Refused(Reason, String),
    Bad(BadField),
    /// The answer does not name the file.
    LeftOut,
}

/// The links of a batch by file id (10.1). Each entry is judged by its own code; without one, by whether it has a link. Of several
/// entries for one file the first with a link counts.
pub(super) fn links(answer: LinksAnswer, moment: Moment) -> Result<HashMap<String, Result<Link, NoLink>>, BadField> {
    let entries = answer.downloads.ok_or_else(|| bad("downloads", "missing"))?;
    let mut links: HashMap<String, Result<Link, NoLink>> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let Ok(Some(id)) = entry.file_id.clone().text() else { continue };
        let found = entry_link(entry, moment);
        let known = links.entry(id).or_insert(Err(NoLink::LeftOut));
        if known.is_err() {
            *known = found;
        }
    }
    Ok(links)
}

fn entry_link(entry: LinkEntry, moment: Moment) -> Result<Link, NoLink> {
    if let Some(reason) = reason_of_code(&entry.code) {
        let code = entry.code.text().ok().flatten().unwrap_or_default();
        return Err(NoLink::Refused(reason, cleaned_code(&code, &[])));
    }
    let url = text(entry.url, "downloads.url").map_err(NoLink::Bad)?.filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| NoLink::Bad(bad("downloads.url", "missing")))?;
    Ok(issued_link(&url, moment))
}

/// The link of a `download` answer.
pub(super) fn fresh_link(answer: DownloadAnswer, moment: Moment) -> Result<Link, BadField> {
    let url = text(answer.download_url, "downloadUrl")?.filter(|url| !url.is_empty());
    let url = url.ok_or_else(|| bad("downloadUrl", "missing"))?;
    Ok(issued_link(&url, moment))
}

/// A link that was issued for us just now.
fn issued_link(url: &str, moment: Moment) -> Link {
    let life = link_life(url, moment.received_at, moment.server);
    // If its date says that it has ended, we do not understand the date.
    let life = if is_over(life, moment) { assumed_life(moment.received_at) } else { life };
    link(url, life)
}

/// The link that came with a listing, which may have been issued long ago; none if it has ended.
fn listed_link(url: &str, moment: Moment) -> Option<Link> {
    let life = link_life(url, moment.received_at, moment.server);
    (!is_over(life, moment)).then(|| link(url, life))
}

fn is_over(life: LinkLife, moment: Moment) -> bool {
    life.expires_at <= moment.received_at
}

fn link(url: &str, life: LinkLife) -> Link {
    Link::new(url, life.expires_at, life.lifetime)
}

/// A text that must be one if it is there at all.
pub(super) fn text(value: Scalar, field: &str) -> Result<Option<String>, BadField> {
    value.text().map_err(|NotAScalar| bad(field, "not a text"))
}

/// Milliseconds since 1970 of an ISO 8601 date, with or without fraction; without offset it is UTC. `None` for anything else
/// (koodrive-api.md, 12, row 18).
fn date_ms(value: Scalar) -> Option<i64> {
    let Scalar::Text(text) = value else { return None };
    let text = text.trim();
    let with_offset = text.parse::<Timestamp>().ok();
    let in_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|date| date.timestamp());
    with_offset.or_else(in_utc).map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_and_without_fraction_and_offset() {
        let ms = |text: &str| date_ms(Scalar::Text(text.to_owned()));
        assert_eq!(ms("2025-01-06T11:41:58.806Z"), Some(1_736_163_718_806));
        for same in
            ["2025-01-06T11:41:58Z", "2025-01-06 11:41:58", "2025-01-06T12:41:58+01:00", " 2025-01-06T11:41:58Z "]
        {
            assert_eq!(ms(same), Some(1_736_163_718_000), "{same}");
        }
        for nonsense in ["", "yesterday", "2025-13-01T00:00:00Z", "99999-01-01T00:00:00Z", "1736163718000", "\u{0}"] {
            assert_eq!(ms(nonsense), None, "{nonsense}");
        }
        assert_eq!(date_ms(Scalar::Integer(7)), None);
    }
}
