//! An individual space, a team space or a shared folder as a [`Remote`].
//!
//! Owns how each of them is found, and the figures for `statfs`. Must not know HTTP or JSON. Threads: any; no lock is held during
//! a call.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::convert::Space;
use super::error::CallError;
use super::open_error::{OpenError, SpaceNames};
use super::opening_page::OpeningPage;
use super::page_size::{LARGE, LargePages, Place, SMALL};
use super::service::Account;
use super::space_calls::{LINKS_PER_CALL, Scope, SpaceCalls};
use crate::config::{LoginConfig, SpaceSource, TeamKind};
use crate::remote::{
    Capacity, Child, Cursor, LinkResults, NodeId, Page, Remote, RemoteError, RemoteErrorKind, SubtreePage, SubtreeSize,
};
use crate::sync::lock;

/// The root of a space.
const ROOT: &str = "root";

/// An opened space, team space or shared folder. Shared by all worker threads.
pub(super) struct SpaceClient {
    calls: SpaceCalls,
    scope: Scope,
    root: NodeId,
    /// What entries of the root name as their directory, if all agree: the root has an id of its own besides `root`.
    root_alias: Option<String>,
    opening_page: OpeningPage,
    large_pages: LargePages,
    capacity: Mutex<Option<Capacity>>,
}

impl SpaceClient {
    /// Finds what `source` names, and lists its root once, until `deadline` at most.
    pub(super) fn open(
        source: &SpaceSource,
        account: Arc<Account>,
        login: &LoginConfig,
        deadline: Instant,
    ) -> Result<SpaceClient, OpenError> {
        let what = described(source);
        let calls = SpaceCalls { account: Arc::clone(&account) };
        let caller = account.caller();
        let failed = |error| OpenError::of_space_call(error, SpaceNames::new(caller.origin(), login, &what));
        let Found { scope, root, capacity } = find(&calls, source, deadline).map_err(failed)?;
        let asked = caller.clock().now();
        let top =
            caller.patiently(deadline, || calls.files(&scope, &root, None, SMALL, false, deadline)).map_err(failed)?;
        let root_alias = top.common_parent();
        let opening_page = OpeningPage::new(asked, marked(top.into_page(), false));
        let (large_pages, capacity) = (LargePages::default(), Mutex::new(capacity));
        Ok(SpaceClient { calls, scope, root, root_alias, opening_page, large_pages, capacity })
    }

    /// Whether an entry that names `parent` as its directory is in `directory`.
    fn is_directory(&self, parent: &str, directory: &NodeId) -> bool {
        parent == directory.as_str() || *directory == self.root && self.root_alias.as_deref() == Some(parent)
    }

    /// A page of `directory`, of which the first one is small and the others are large where the service gives them.
    fn page(&self, directory: &NodeId, place: &Place, deadline: Instant) -> Result<Page, CallError> {
        let small = |cursor| {
            let rows = self.calls.files(&self.scope, directory, cursor, SMALL, false, deadline)?;
            Ok(marked(rows.into_page(), false))
        };
        let large = |cursor| self.calls.files(&self.scope, directory, cursor, LARGE, false, deadline);
        match place {
            Place::First => small(None),
            Place::Small(cursor) if !self.large_pages.may_ask() => small(Some(cursor)),
            Place::Small(cursor) => match large(None) {
                Ok(rows) if rows.count > SMALL as usize => {
                    self.large_pages.were_given(false);
                    Ok(marked(rows.into_page(), true))
                }
                Ok(_) => {
                    // The directory had more than a small page.
                    self.large_pages.are_not_given("a page had no more entries than a small one");
                    small(Some(cursor))
                }
                Err(error) if error.may_refuse_parameter() => {
                    self.large_pages.are_not_given(&error.to_string());
                    small(Some(cursor))
                }
                Err(error) => {
                    self.note_slow(&error);
                    self.large_pages.are_unclear();
                    Err(error)
                }
            },
            Place::Large(cursor) => {
                let rows = large(Some(cursor)).inspect_err(|error| {
                    self.note_slow(error);
                    if error.kind() == RemoteErrorKind::CursorRefused {
                        self.large_pages.cursor_was_refused();
                    }
                })?;
                self.large_pages.were_given(true);
                Ok(marked(rows.into_page(), true))
            }
        }
    }

    /// A large page that is not answered within the time of an operation is too large.
    fn note_slow(&self, error: &CallError) {
        if error.kind() == RemoteErrorKind::Timeout {
            self.large_pages.are_not_given("one took too long");
        }
    }

    /// The calls themselves, which space they are about, and its top.
    pub(super) fn below(&self) -> (&SpaceCalls, &Scope, &NodeId) {
        (&self.calls, &self.scope, &self.root)
    }

    /// Whether there are figures for `statfs` that opening did not bring.
    pub(super) fn lacks_figures(&self) -> bool {
        self.scope.share_folder_id.is_none() && lock(&self.capacity).is_none()
    }

    /// Reads the figures for `statfs`; of a shared folder, which has none, its metadata. A cheap call, which keeps a login alive.
    pub(super) fn refresh_figures(&self, deadline: Instant) -> Result<(), CallError> {
        let scope = &self.scope;
        let space = match (&scope.share_folder_id, &scope.team) {
            (Some(folder), _) => return self.calls.shared_folder(folder, deadline).map(|_| ()),
            (None, Some((group_id, kind))) => self.calls.space(group_id, Some(*kind), None, deadline)?,
            (None, None) => {
                let user_id = self.calls.account.user_id();
                self.calls.space(user_id, None, Some(&scope.container_id), deadline)?
            }
        };
        if space.capacity.is_some() {
            *lock(&self.capacity) = space.capacity;
        }
        Ok(())
    }
}

/// `page` with a cursor that tells the size of its page.
fn marked(page: Page, is_large: bool) -> Page {
    Page { nodes: page.nodes, next: Place::cursor(is_large, page.next) }
}

/// A space that was found.
struct Found {
    scope: Scope,
    root: NodeId,
    capacity: Option<Capacity>,
}

fn find(calls: &SpaceCalls, source: &SpaceSource, deadline: Instant) -> Result<Found, CallError> {
    let caller = calls.account.caller();
    let space = |container_id, team, capacity| Found {
        scope: Scope { container_id, team, share_folder_id: None },
        root: NodeId::new(ROOT),
        capacity,
    };
    match source {
        SpaceSource::Own => {
            let user_id = calls.account.user_id();
            let own = caller.patiently(deadline, || calls.space(user_id, None, None, deadline));
            let own = own.or_else(|error| first_of_several(calls, user_id, error, deadline))?;
            let container_id = own.container_id.ok_or_else(|| CallError::missing("data.containerId"))?;
            Ok(space(container_id, None, own.capacity))
        }
        SpaceSource::Container(id) => Ok(space(id.clone(), None, None)),
        SpaceSource::Team { group_id, kind } => {
            let (kind, team) = find_team(calls, group_id, *kind, deadline)?;
            let container_id = team.container_id.ok_or_else(|| CallError::missing("data.containerId"))?;
            Ok(space(container_id, Some((group_id.clone(), kind)), team.capacity))
        }
        SpaceSource::SharedFolder(id) => {
            let folder = caller.patiently(deadline, || calls.shared_folder(id, deadline))?;
            if folder.is_deleted {
                return Err(CallError::gone("the shared folder has been deleted"));
            }
            let missing = |field| move || CallError::missing(field);
            let container_id = folder.container_id.ok_or_else(missing("sharefolder.containerId"))?;
            let root = folder.root_id.ok_or_else(missing("sharefolder.shareFolderFileId"))?;
            let scope = Scope { container_id, team: None, share_folder_id: Some(id.clone()) };
            Ok(Found { scope, root: NodeId::new(&root), capacity: None })
        }
    }
}

/// The first individual space of a user who has several: `space/{userId}` may want to be told which (API.md, section 8.1).
/// `error` is how it said so; it is also what is told if there is no list of them.
fn first_of_several(
    calls: &SpaceCalls,
    user_id: &str,
    error: CallError,
    deadline: Instant,
) -> Result<Space, CallError> {
    if !error.may_be_elsewhere() {
        return Err(error);
    }
    let all = calls.spaces_v2(user_id, deadline).unwrap_or_default();
    all.into_iter().find(|space| space.is_individual() && space.container_id.is_some()).ok_or(error)
}

/// The team's space: a department's, or else a group's, unless it is said which.
fn find_team(
    calls: &SpaceCalls,
    group_id: &str,
    kind: Option<TeamKind>,
    deadline: Instant,
) -> Result<(TeamKind, Space), CallError> {
    let caller = calls.account.caller();
    let find = |kind| {
        let space = caller.patiently(deadline, || calls.space(group_id, Some(kind), None, deadline))?;
        match space.container_id {
            Some(_) => Ok((kind, space)),
            None => Err(CallError::missing("data.containerId")),
        }
    };
    let Some(kind) = kind else {
        return find(TeamKind::Department).or_else(|error| {
            if !error.may_be_elsewhere() {
                return Err(error);
            }
            // Of two refusals the more specific one: the space exists, but this login may not open it.
            let says_most = |error: &CallError| !error.may_be_elsewhere() || error.kind() == RemoteErrorKind::Denied;
            find(TeamKind::Group).map_err(|second| if says_most(&second) { second } else { error })
        });
    };
    find(kind)
}

/// The name of the source in messages.
fn described(source: &SpaceSource) -> String {
    match source {
        SpaceSource::Own => "the login's own space".to_owned(),
        SpaceSource::Container(id) => format!("the space {id}"),
        SpaceSource::Team { group_id, .. } => format!("the team space {group_id}"),
        SpaceSource::SharedFolder(id) => format!("the shared folder {id}"),
    }
}

impl Remote for SpaceClient {
    fn root(&self) -> NodeId {
        self.root.clone()
    }

    fn forget(&self) {
        self.opening_page.forget();
    }

    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError> {
        if cursor.is_none()
            && *directory == self.root
            && let Some(page) = self.opening_page.take(self.calls.account.caller().clock().now())
        {
            return Ok(page);
        }
        self.page(directory, &Place::of(cursor), deadline).map_err(|error| error.into_remote("files"))
    }

    fn page_from_end(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Page, RemoteError> {
        let is_large = match Place::of(cursor) {
            Place::First => self.large_pages.are_given(),
            Place::Small(_) => false,
            Place::Large(_) => true,
        };
        let inner = Place::of(cursor).inner();
        let size = if is_large { LARGE } else { SMALL };
        let rows = self.calls.files(&self.scope, directory, inner.as_ref(), size, true, deadline);
        let rows = rows.map_err(|error| error.into_remote("files"))?;
        Ok(marked(rows.into_page(), is_large))
    }

    fn find_child(&self, directory: &NodeId, name: &str, deadline: Instant) -> Result<Child, RemoteError> {
        match self.calls.named(&self.scope, directory, name, deadline) {
            Ok(rows) => Ok(rows.child(name, |parent| self.is_directory(parent, directory))),
            Err(error) if error.may_refuse_parameter() => {
                log::debug!("the service does not look for names: {error}");
                Ok(Child::NotOffered)
            }
            Err(error) => Err(error.into_remote("files")),
        }
    }

    /// The calls do not name the header by which a shared folder is reached (API.md, section 6.6).
    fn may_have_subtrees(&self) -> bool {
        self.scope.share_folder_id.is_none()
    }

    fn subtree_size(&self, directory: &NodeId, deadline: Instant) -> Result<Option<SubtreeSize>, RemoteError> {
        match self.calls.stats(&self.scope, directory, deadline) {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.may_be_no_call() => {
                log::debug!("the service does not count what is below a directory: {error}");
                Ok(None)
            }
            Err(error) => Err(error.into_remote("statsDir")),
        }
    }

    fn subtree_page(
        &self,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Option<SubtreePage>, RemoteError> {
        let rows = match self.calls.walk(&self.scope, directory, cursor, deadline) {
            Ok(rows) => rows,
            Err(error) if cursor.is_none() && error.may_be_no_call() => {
                log::debug!("the service does not list all that is below a directory: {error}");
                return Ok(None);
            }
            Err(error) => return Err(error.into_remote("walkFile")),
        };
        let told = |parent: Option<String>| {
            let parent = parent?;
            Some(if self.is_directory(&parent, directory) { directory.clone() } else { NodeId::new(&parent) })
        };
        let others = rows.rows.into_iter().filter(|(node, _)| !self.is_directory(node.id.as_str(), directory));
        let rows_told: Option<Vec<_>> = others.map(|(node, parent)| Some((node, told(parent)?))).collect();
        if rows_told.is_none() {
            log::debug!("the service does not say which directory holds what is below another");
        }
        Ok(rows_told.map(|rows_told| SubtreePage { rows: rows_told, next: rows.next }))
    }

    fn max_links_per_call(&self) -> usize {
        LINKS_PER_CALL
    }

    fn resolve_links(&self, ids: &[NodeId], deadline: Instant) -> Result<LinkResults, RemoteError> {
        let failed = |error: CallError| error.into_remote("download");
        let mut found = self.calls.links(&self.scope, ids, deadline).map_err(failed)?;
        let link_of = |id: &NodeId| found.remove(id.as_str()).unwrap_or(Err(CallError::NoLink)).map_err(failed);
        Ok(ids.iter().map(link_of).collect())
    }

    fn capacity(&self) -> Option<Capacity> {
        *lock(&self.capacity)
    }
}
