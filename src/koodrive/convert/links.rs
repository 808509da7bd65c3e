//! Links: those of a batch, that of one file, those that come with a listing; each with its life.

use std::collections::HashMap;
use std::time::SystemTime;

use super::field::text;
use crate::koodrive::envelope::reason_of_code;
use crate::koodrive::error::{BadField, CallError, ServiceRefusal, bad};
use crate::koodrive::shown::cleaned_code;
use crate::koodrive::wire::{DownloadAnswer, LinkEntry, LinksAnswer};
use crate::policy::link_expiry::{LinkLife, assumed_life, link_life};
use crate::policy::server_time::ServerOffset;
use crate::remote::Link;

/// When an answer came, and whose clock its dates are on.
#[derive(Clone, Copy, Debug)]
pub(in crate::koodrive) struct Moment {
    pub(in crate::koodrive) received_at: SystemTime,
    pub(in crate::koodrive) server: ServerOffset,
}

/// For each file of a batch, by its id, the link or why there is none.
pub(in crate::koodrive) type LinksById = HashMap<String, Result<Link, CallError>>;

/// The links of a batch by file id (10.1). Each entry is judged by its own code; without one, by whether it has a link. Of several
/// entries for one file the first with a link counts.
pub(in crate::koodrive) fn links(answer: LinksAnswer, moment: Moment) -> Result<LinksById, BadField> {
    let entries = answer.downloads.ok_or_else(|| bad("downloads", "missing"))?;
    let mut links: LinksById = HashMap::with_capacity(entries.len());
    for entry in entries {
        let Ok(Some(id)) = entry.file_id.clone().text() else { continue };
        let found = entry_link(entry, moment);
        let known = links.entry(id).or_insert(Err(CallError::NoLink));
        if known.is_err() {
            *known = found;
        }
    }
    Ok(links)
}

fn entry_link(entry: LinkEntry, moment: Moment) -> Result<Link, CallError> {
    if let Some(reason) = reason_of_code(&entry.code) {
        let code = entry.code.text().ok().flatten().unwrap_or_default();
        let detail = format!("the file is refused with code {}", cleaned_code(&code, &[]));
        // The call as a whole was no failure.
        return Err(CallError::Refused(ServiceRefusal { reason, status: 200, retry_after: None, detail }));
    }
    let url = text(entry.url, "downloads.url").map_err(CallError::Bad)?.filter(|url| !url.is_empty());
    let url = url.ok_or(CallError::NoLink)?;
    Ok(issued_link(&url, moment))
}

/// The link of a `download` answer.
pub(in crate::koodrive) fn fresh_link(answer: DownloadAnswer, moment: Moment) -> Result<Link, BadField> {
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
pub(in crate::koodrive) fn listed_link(url: &str, moment: Moment) -> Option<Link> {
    let life = link_life(url, moment.received_at, moment.server);
    (!is_over(life, moment)).then(|| link(url, life))
}

fn is_over(life: LinkLife, moment: Moment) -> bool {
    life.expires_at <= moment.received_at
}

fn link(url: &str, life: LinkLife) -> Link {
    Link::new(url, life.expires_at, life.lifetime)
}
