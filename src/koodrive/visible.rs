//! What a login can see: its own spaces, teams and shared folders, each as `koofs mount` takes it.
//!
//! Endpoints that an edition does not have are left out. Threads: any.

use std::sync::Arc;
use std::time::Instant;

use super::convert::Space;
use super::error::CallError;
use super::open::log_in;
use super::open_error::{OpenError, SpaceNames};
use super::space_calls::{FOLDERS_PER_PAGE, SpaceCalls, TEAMS_PER_PAGE};
use crate::clock::Clock;
use crate::config::{Connection, LoginConfig};
use crate::http::HttpConfig;
use crate::policy::printable::one_line;
use crate::remote::Capacity;

/// The most pages that are read of one list: 10,000 teams, above what a company has.
const MAX_PAGES: u32 = 100;

/// What kind of space a login can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisibleKind {
    /// The login's own space.
    Own,
    /// Another individual space of the login.
    Individual,
    /// A team's.
    Team,
    /// A shared folder.
    SharedFolder,
}

/// A space that a login can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleSpace {
    /// As `koofs mount` takes it: `space:`, `space:ID`, `team:ID`, `sharedfolder:ID`.
    pub source: String,
    /// As the service calls it; empty if it has no name. Any text at all.
    pub name: String,
    /// What it is.
    pub kind: VisibleKind,
    /// How large it is, and how full; `None` if the service does not tell.
    pub capacity: Option<Capacity>,
}

/// Everything that `login` can see. Blocks for the time limit of one operation at most.
///
/// # Errors
/// [`OpenError`] if the login fails, or nothing at all could be asked for.
pub fn visible_spaces(
    connection: &Connection,
    login: &LoginConfig,
    clock: Arc<dyn Clock>,
) -> Result<Vec<VisibleSpace>, OpenError> {
    let deadline = clock.now() + connection.op_timeout;
    let calls = SpaceCalls { account: log_in(connection, login, &HttpConfig::of(connection), clock, deadline)? };
    let names = SpaceNames::new(calls.account.caller().origin(), login, "the list of spaces");
    let mut found = Vec::new();
    let mut first_refusal = None;
    let mut is_anything_listed = false;
    for list in [own, teams, shared_folders] {
        match list(&calls, &mut found, deadline) {
            Ok(()) => is_anything_listed = true,
            Err(error) if error.may_be_elsewhere() => {
                log::debug!("spaces: {}", one_line(&error));
                first_refusal.get_or_insert(error);
            }
            Err(error) => return Err(OpenError::of_space_call(error, names)),
        }
    }
    match first_refusal {
        Some(error) if !is_anything_listed => Err(OpenError::of_space_call(error, names)),
        _ => Ok(found),
    }
}

fn own(calls: &SpaceCalls, found: &mut Vec<VisibleSpace>, deadline: Instant) -> Result<(), CallError> {
    let user_id = calls.account.user_id();
    let caller = calls.account.caller();
    let own = caller.patiently(deadline, || calls.space(user_id, None, None, deadline));
    let own_id = own.as_ref().ok().and_then(|space| space.container_id.clone());
    if let Ok(space) = &own {
        found.push(visible("space:".to_owned(), space, VisibleKind::Own));
    }
    // Only the enterprise edition has this list; a user may have several spaces there.
    let all = caller.patiently(deadline, || calls.spaces_v2(user_id, deadline));
    for space in all.iter().flatten().filter(|space| space.is_individual()) {
        if let Some(id) = space.container_id.as_ref().filter(|id| Some(*id) != own_id.as_ref()) {
            found.push(visible(format!("space:{id}"), space, VisibleKind::Individual));
        }
    }
    match (own, all) {
        (Ok(_), Err(error)) if !error.may_be_elsewhere() => Err(error),
        (Err(error), Err(_)) => Err(error),
        _ => Ok(()),
    }
}

fn teams(calls: &SpaceCalls, found: &mut Vec<VisibleSpace>, deadline: Instant) -> Result<(), CallError> {
    for page in 0..MAX_PAGES {
        let offset = page * TEAMS_PER_PAGE;
        let teams = calls.account.caller().patiently(deadline, || calls.teams(offset, deadline))?;
        let is_last = teams.len() < TEAMS_PER_PAGE as usize;
        found.extend(teams.iter().flatten().filter_map(|team| {
            let id = team.id.as_ref()?;
            Some(visible(format!("team:{id}"), team, VisibleKind::Team))
        }));
        if is_last {
            break;
        }
    }
    Ok(())
}

fn shared_folders(calls: &SpaceCalls, found: &mut Vec<VisibleSpace>, deadline: Instant) -> Result<(), CallError> {
    for page in 0..MAX_PAGES {
        let offset = page * FOLDERS_PER_PAGE;
        let folders = calls.account.caller().patiently(deadline, || calls.shared_folders(offset, deadline))?;
        let is_last = folders.len() < FOLDERS_PER_PAGE as usize;
        found.extend(folders.into_iter().flatten().filter(|folder| !folder.is_deleted).filter_map(|folder| {
            Some(VisibleSpace {
                source: format!("sharedfolder:{}", folder.id?),
                name: folder.name.unwrap_or_default(),
                kind: VisibleKind::SharedFolder,
                capacity: None,
            })
        }));
        if is_last {
            break;
        }
    }
    Ok(())
}

fn visible(source: String, space: &Space, kind: VisibleKind) -> VisibleSpace {
    VisibleSpace { source, name: space.name.clone().unwrap_or_default(), kind, capacity: space.capacity }
}
