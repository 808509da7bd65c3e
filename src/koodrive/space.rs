//! Whatever takes a login as a [`Remote`]: individual spaces, team spaces, shared folders, shares of the enterprise edition.
//!
//! Owns how each of them is found, and the thread that keeps the figures for `statfs` fresh and the login alive. Must not know
//! HTTP or JSON. Threads: any; no lock is held during a call.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::convert::Space;
use super::error::CallError;
use super::open_error::{OpenError, SpaceNames};
use super::service::{Account, Service};
use super::share::ShareClient;
use super::space_calls::{LINKS_PER_CALL, Scope, SpaceCalls};
use crate::clock::{Clock, Ticker, lock};
use crate::config::{SpaceConfig, SpaceSource, TeamKind};
use crate::http::HttpConfig;
use crate::policy::printable::one_line;
use crate::remote::{Capacity, Cursor, LinkResults, NodeId, Page, Remote, RemoteError, RemoteErrorKind};

/// How often the figures for `statfs` are read, which is also the call that keeps a login alive: a token of the enterprise
/// edition dies after 20 minutes without one (koodrive-api.md, 3.4), so three may fail in between.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// The root of a space.
const ROOT: &str = "root";

/// An opened space, team space, shared folder or enterprise share. Shared by all worker threads.
pub struct SpaceClient {
    drive: Arc<Drive>,
    /// Ends when the client goes.
    _upkeep: Ticker,
}

/// What was opened.
enum Drive {
    Space(OpenSpace),
    Share(Box<ShareClient>, Duration),
}

struct OpenSpace {
    calls: SpaceCalls,
    scope: Scope,
    root: NodeId,
    capacity: Mutex<Option<Capacity>>,
    op_timeout: Duration,
}

impl SpaceClient {
    /// Opens what `config` names: logs in, finds the space, and lists its root once, to see that the service lets us. Throttling,
    /// interruptions and 5xx are tried again until the time limit of one operation is over, which is the most that it takes.
    /// Starts a thread, which ends with the client.
    ///
    /// # Errors
    /// [`OpenError`], whose text is for the person who wants the space. A refused password is sent only once.
    pub fn open(config: &SpaceConfig, clock: Arc<dyn Clock>) -> Result<SpaceClient, OpenError> {
        SpaceClient::open_with_upkeep(config, clock, UPKEEP_INTERVAL)
    }

    /// The same with another interval than [`UPKEEP_INTERVAL`].
    ///
    /// # Errors
    /// As [`SpaceClient::open`].
    pub fn open_with_upkeep(
        config: &SpaceConfig,
        clock: Arc<dyn Clock>,
        interval: Duration,
    ) -> Result<SpaceClient, OpenError> {
        let deadline = clock.now() + config.connection.op_timeout;
        let account = log_in(config, clock, deadline)?;
        let drive = match &config.source {
            SpaceSource::Share { code, access_code } => {
                let service = Service::Account(account);
                let share = ShareClient::open_through(service, code, access_code.as_ref(), deadline)?;
                Drive::Share(Box::new(share), config.connection.op_timeout)
            }
            source => Drive::Space(OpenSpace::open(source, account, config, deadline)?),
        };
        let drive = Arc::new(drive);
        let kept = Arc::downgrade(&drive);
        let upkeep = move || {
            let Some(drive) = kept.upgrade() else { return false };
            if let Err(error) = drive.keep_up() {
                log::debug!("upkeep: {}", one_line(&error));
            }
            true
        };
        let first = if drive.lacks_figures() { Duration::ZERO } else { interval };
        let upkeep = Ticker::start("koofs-upkeep", first, interval, upkeep);
        Ok(SpaceClient { drive, _upkeep: upkeep.map_err(|source| OpenError::NoThread { source })? })
    }

    /// See [`ShareClient::http`].
    pub fn http(&self) -> &HttpConfig {
        match self.drive.as_ref() {
            Drive::Space(space) => space.calls.account.caller().http(),
            Drive::Share(share, _) => share.http(),
        }
    }
}

/// Logs in, and sees that there is a user id to send.
pub(super) fn log_in(
    config: &SpaceConfig,
    clock: Arc<dyn Clock>,
    deadline: Instant,
) -> Result<Arc<Account>, OpenError> {
    let connection = &config.connection;
    let caller = Caller::new(connection, clock).map_err(|error| OpenError::of_setup(error, &connection.endpoint))?;
    let endpoint = caller.origin().to_owned();
    let account = Account::open(caller, config, deadline)
        .map_err(|error| OpenError::of_space_call(error, SpaceNames::new(&endpoint, config, "the login")))?;
    // Mandatory since 2024-09 (koodrive-api.md, 2).
    if account.user_id().is_none() {
        return Err(OpenError::UserIdMissing);
    }
    Ok(Arc::new(account))
}

impl Drive {
    /// Whether figures for `statfs` can be had that opening did not bring.
    fn lacks_figures(&self) -> bool {
        match self {
            Drive::Space(space) => space.scope.share_folder_id.is_none() && lock(&space.capacity).is_none(),
            Drive::Share(..) => false,
        }
    }

    fn keep_up(&self) -> Result<(), CallError> {
        match self {
            Drive::Space(space) => space.keep_up(),
            Drive::Share(share, op_timeout) => share.keep_up(*op_timeout),
        }
    }
}

impl OpenSpace {
    fn open(
        source: &SpaceSource,
        account: Arc<Account>,
        config: &SpaceConfig,
        deadline: Instant,
    ) -> Result<OpenSpace, OpenError> {
        let what = described(source);
        let calls = SpaceCalls { account };
        let caller = calls.account.caller();
        let names = SpaceNames::new(caller.origin(), config, &what);
        let failed = |error| OpenError::of_space_call(error, names);
        let found = find(&calls, source, deadline).map_err(failed)?;
        let space = OpenSpace {
            scope: found.scope,
            root: found.root,
            capacity: Mutex::new(found.capacity),
            op_timeout: config.connection.op_timeout,
            calls: calls.clone(),
        };
        caller.patiently(deadline, || space.calls.files(&space.scope, &space.root, None, deadline)).map_err(failed)?;
        Ok(space)
    }

    /// Reads the figures for `statfs`; where there are none, makes another cheap call.
    fn keep_up(&self) -> Result<(), CallError> {
        let (deadline, scope) = (self.calls.account.caller().clock().now() + self.op_timeout, &self.scope);
        let space = match (&scope.share_folder_id, &scope.team) {
            (Some(folder), _) => return self.calls.shared_folder(folder, deadline).map(|_| ()),
            (None, Some((group_id, kind))) => self.calls.space(group_id, Some(*kind), None, deadline)?,
            (None, None) => {
                let user_id = self.calls.account.user_id().unwrap_or_default();
                self.calls.space(user_id, None, Some(&scope.container_id), deadline)?
            }
        };
        if space.capacity.is_some() {
            *lock(&self.capacity) = space.capacity;
        }
        Ok(())
    }

    fn links(&self, ids: &[NodeId], deadline: Instant) -> Result<LinkResults, RemoteError> {
        let failed = |error: CallError| error.into_remote("download");
        let mut found = self.calls.links(&self.scope, ids, deadline).map_err(failed)?;
        let link_of = |id: &NodeId| found.remove(id.as_str()).unwrap_or(Err(CallError::LeftOut)).map_err(failed);
        Ok(ids.iter().map(link_of).collect())
    }
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
            let user_id = calls.account.user_id().unwrap_or_default();
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
        SpaceSource::Share { .. } => Err(CallError::gone("a share is no space")),
    }
}

/// The first individual space of a user who has several: `space/{userId}` may want to be told which (koodrive-api.md, 8.1).
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
            // Of two refusals the one that says most: it is there, but not for this login.
            let says_most = |error: &CallError| !error.may_be_elsewhere() || error.kind() == RemoteErrorKind::Denied;
            find(TeamKind::Group).map_err(|second| if says_most(&second) { second } else { error })
        });
    };
    find(kind)
}

/// What messages call the source.
fn described(source: &SpaceSource) -> String {
    match source {
        SpaceSource::Own => "the login's own space".to_owned(),
        SpaceSource::Container(id) => format!("the space {id}"),
        SpaceSource::Team { group_id, .. } => format!("the team space {group_id}"),
        SpaceSource::SharedFolder(id) => format!("the shared folder {id}"),
        SpaceSource::Share { .. } => "the share".to_owned(),
    }
}

impl Remote for SpaceClient {
    fn root(&self) -> NodeId {
        match self.drive.as_ref() {
            Drive::Space(space) => space.root.clone(),
            Drive::Share(share, _) => share.root(),
        }
    }

    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, deadline: Instant) -> Result<Page, RemoteError> {
        match self.drive.as_ref() {
            Drive::Space(space) => {
                space.calls.files(&space.scope, directory, cursor, deadline).map_err(|error| error.into_remote("files"))
            }
            Drive::Share(share, _) => share.list_page(directory, cursor, deadline),
        }
    }

    fn max_links_per_call(&self) -> usize {
        match self.drive.as_ref() {
            Drive::Space(_) => LINKS_PER_CALL,
            Drive::Share(share, _) => share.max_links_per_call(),
        }
    }

    fn resolve_links(&self, ids: &[NodeId], deadline: Instant) -> Result<LinkResults, RemoteError> {
        match self.drive.as_ref() {
            Drive::Space(space) => space.links(ids, deadline),
            Drive::Share(share, _) => share.resolve_links(ids, deadline),
        }
    }

    fn capacity(&self) -> Option<Capacity> {
        match self.drive.as_ref() {
            Drive::Space(space) => *lock(&space.capacity),
            Drive::Share(share, _) => share.capacity(),
        }
    }
}
