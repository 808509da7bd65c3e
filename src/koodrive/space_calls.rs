//! The calls about spaces, teams and shared folders, one attempt each but for the login's own (API.md, sections 6, 8, 10.1).
//! Knows `wire`; decides nothing.
//!
//! Threads: any. No locks.

use std::sync::Arc;
use std::time::Instant;

use super::caller::{Call, payload};
use super::convert::{self, Folder, LinksById, Moment, Rows, Space};
use super::error::{BadField, CallError, bad};
use super::page_size::{LARGE, SMALL};
use super::question::{ASCENDING, Question};
use super::service::Account;
use super::share_calls::SORT_BY_NAME;
use super::shown::cleaned;
use super::wire::{
    Envelope, FilesAnswer, LinksAnswer, LinksRequest, SharedFoldersAnswer, SortInfo, SpaceFilesRequest, TeamsAnswer,
    WalkRequest, to_json,
};
use crate::config::TeamKind;
use crate::policy::percent::percent_encoded;
use crate::remote::{Cursor, NodeId, SubtreeSize};

/// The most ids of one call for links (10.1).
pub(super) const LINKS_PER_CALL: usize = 100;

/// Entries asked for per page of a list of teams and of shared folders, the most that the calls give (8.1, 8.3).
pub(super) const TEAMS_PER_PAGE: u32 = 100;
pub(super) const FOLDERS_PER_PAGE: u32 = 1000;

/// The header that has a call act inside a shared folder (2).
const SHARE_FOLDER_HEADER: &str = "x-hw-share-folder-id";

/// The most characters shown of the keys of an answer that lacks one.
const MAX_KEYS_CHARS: usize = 200;

/// Sort by creation, ascending: moves least while a whole tree changes, and what is new comes last (6.6).
const SORT_BY_CREATION: u32 = 3;

/// `type` of an individual space.
const INDIVIDUAL: &str = "1";

impl TeamKind {
    /// `team_type`, and `type` of the space.
    fn code(self) -> &'static str {
        match self {
            TeamKind::Department => "0",
            TeamKind::Group => "2",
        }
    }
}

/// Which space the calls are about.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) container_id: String,
    /// The team that it belongs to: its listings have a path of their own (6.4).
    pub(super) team: Option<(String, TeamKind)>,
    /// The shared folder, if the space is seen through one (6.5).
    pub(super) share_folder_id: Option<String>,
}

impl Scope {
    /// Path and query of its listings.
    fn listing(&self) -> (String, Option<(&'static str, &'static str)>) {
        match &self.team {
            None => ("/koodrive/ose/v1/files/0".to_owned(), None),
            Some((group_id, kind)) => {
                let path = format!("/koodrive/ose/v1/files/{}/0", percent_encoded(group_id));
                (path, Some(("team_type", kind.code())))
            }
        }
    }

    fn headers(&self) -> Vec<(&'static str, &str)> {
        self.share_folder_id.iter().map(|id| (SHARE_FOLDER_HEADER, id.as_str())).collect()
    }
}

/// Calls the service with a login.
#[derive(Clone)]
pub(super) struct SpaceCalls {
    pub(super) account: Arc<Account>,
}

impl SpaceCalls {
    /// 6.1 and 6.4: a page of `directory`, of `page_size` entries at most, by name or from the last name on.
    pub(super) fn files(
        &self,
        scope: &Scope,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        page_size: u32,
        is_descending: bool,
        deadline: Instant,
    ) -> Result<Rows, CallError> {
        let question = Question { cursor, page_size, is_descending, ..Question::default() };
        self.list(scope, directory, question, deadline).map_err(|error| error.of_page(cursor))
    }

    /// 6.1 and 6.4: the entries called `name` in `directory`, if the service looks for names.
    pub(super) fn named(
        &self,
        scope: &Scope,
        directory: &NodeId,
        name: &str,
        deadline: Instant,
    ) -> Result<Rows, CallError> {
        let question = Question { page_size: SMALL, name: Some(name), ..Question::default() };
        self.list(scope, directory, question, deadline)
    }

    fn list(
        &self,
        scope: &Scope,
        directory: &NodeId,
        question: Question<'_>,
        deadline: Instant,
    ) -> Result<Rows, CallError> {
        let (envelope, moment) = self.asked(scope, directory, question, deadline)?;
        let answer: FilesAnswer = payload(having(envelope, &["files"])?)?;
        convert::rows(answer, moment).map_err(CallError::Bad)
    }

    /// 6.6: a page of all that is below `directory`, of at most [`LARGE`] entries. Not for shared folders.
    pub(super) fn walk(
        &self,
        scope: &Scope,
        directory: &NodeId,
        cursor: Option<&Cursor>,
        deadline: Instant,
    ) -> Result<Rows, CallError> {
        let question = Question { cursor, page_size: LARGE, ..Question::default() };
        let answered = self.walked(scope, directory, question, deadline);
        let (envelope, moment) = answered.map_err(|error| error.of_page(cursor))?;
        convert::rows(payload(envelope)?, moment).map_err(CallError::Bad)
    }

    /// 6.7: how much is below `directory`. Not for shared folders.
    pub(super) fn stats(&self, scope: &Scope, directory: &NodeId, deadline: Instant) -> Result<SubtreeSize, CallError> {
        let query = [("fileId", directory.as_str()), ("containerId", &scope.container_id), ("recursive", "true")];
        let call = Call {
            name: "statsDir",
            path: "/koodrive/ose/v1/files/statsDir",
            query: &query,
            payload_keys: &["subDirCount"],
            ..Call::default()
        };
        let (envelope, _) = self.account.call(&call, deadline)?;
        convert::stats(&payload(envelope)?).map_err(CallError::Bad)
    }

    /// 6.1 and 6.4, the answer as it is. The question's directory is not looked at.
    pub(super) fn asked(
        &self,
        scope: &Scope,
        directory: &NodeId,
        question: Question<'_>,
        deadline: Instant,
    ) -> Result<(Envelope, Moment), CallError> {
        let body = to_json(&SpaceFilesRequest {
            page_info: question.page_info(),
            sort_info: SortInfo { sort_type: SORT_BY_NAME, sort_direction: question.direction() },
            container_id: &scope.container_id,
            parent_file_id: directory.as_str(),
            file_name: question.name,
        });
        let (path, query) = scope.listing();
        let call = Call {
            name: "files",
            path: &path,
            query: query.as_slice(),
            headers: &scope.headers(),
            body: Some(&body),
            payload_keys: &["files"],
            ..Call::default()
        };
        self.account.call(&call, deadline)
    }

    /// 6.6, the answer as it is. Not for shared folders; no question about a name or a direction.
    pub(super) fn walked(
        &self,
        scope: &Scope,
        directory: &NodeId,
        question: Question<'_>,
        deadline: Instant,
    ) -> Result<(Envelope, Moment), CallError> {
        let body = to_json(&WalkRequest {
            page_info: question.page_info(),
            sort_info: SortInfo { sort_type: SORT_BY_CREATION, sort_direction: ASCENDING },
            container_id: &scope.container_id,
            parent_file_id: directory.as_str(),
        });
        let call = Call {
            name: "walkFile",
            path: "/koodrive/ose/v1/file/walkFile",
            body: Some(&body),
            payload_keys: &["files"],
            ..Call::default()
        };
        self.account.call(&call, deadline)
    }

    /// 10.1: the links of at most [`LINKS_PER_CALL`] files, by id.
    pub(super) fn links(&self, scope: &Scope, ids: &[NodeId], deadline: Instant) -> Result<LinksById, CallError> {
        let file_ids = ids.iter().map(NodeId::as_str).collect();
        let body = to_json(&LinksRequest { container_id: &scope.container_id, file_ids });
        let (envelope, moment) = self.account.call(
            &Call {
                name: "download",
                path: "/koodrive/ose/v1/files/download",
                headers: &scope.headers(),
                body: Some(&body),
                payload_keys: &["downloads"],
                ..Call::default()
            },
            deadline,
        )?;
        let answer: LinksAnswer = payload(having(envelope, &["downloads"])?)?;
        convert::links(answer, moment).map_err(CallError::Bad)
    }

    /// 8.1: the individual space of `user_id`, or of the team `user_id`; with `container_id` that one of several.
    pub(super) fn space(
        &self,
        owner_id: &str,
        team: Option<TeamKind>,
        container_id: Option<&str>,
        deadline: Instant,
    ) -> Result<Space, CallError> {
        let path = format!("/koodrive/ose/v1/space/{}", percent_encoded(owner_id));
        let mut query = vec![("type", team.map_or(INDIVIDUAL, TeamKind::code))];
        query.extend(container_id.map(|id| ("containerId", id)));
        let call = Call { name: "space", path: &path, query: &query, payload_keys: SPACE_KEYS, ..Call::default() };
        let (envelope, _) = self.account.call(&call, deadline)?;
        let mut spaces = spaces(having(envelope, SPACE_KEYS)?)?;
        if let Some(wanted) = container_id {
            spaces.retain(|space| space.container_id.as_deref() == Some(wanted));
        }
        spaces.into_iter().next().ok_or_else(|| CallError::Bad(bad("data", "no space in it")))
    }

    /// 8.1: all spaces of `owner_id`; the enterprise edition only.
    pub(super) fn spaces_v2(&self, owner_id: &str, deadline: Instant) -> Result<Vec<Space>, CallError> {
        let path = format!("/koodrive/ose/v2/space/{}", percent_encoded(owner_id));
        let call = Call { name: "spaces", path: &path, payload_keys: SPACE_KEYS, ..Call::default() };
        let (envelope, _) = self.account.call(&call, deadline)?;
        spaces(having(envelope, SPACE_KEYS)?)
    }

    /// 8.1: the teams from number `offset` on; `None` for each that cannot be read.
    pub(super) fn teams(&self, offset: u32, deadline: Instant) -> Result<Vec<Option<Space>>, CallError> {
        let (offset, limit) = (offset.to_string(), TEAMS_PER_PAGE.to_string());
        let call = Call {
            name: "teamList",
            path: "/koodrive/ose/v1/space/teamList",
            query: &[("offset", &offset), ("limit", &limit)],
            payload_keys: &["teams"],
            ..Call::default()
        };
        let (envelope, _) = self.account.call(&call, deadline)?;
        let answer: TeamsAnswer = payload(having(envelope, &["teams"])?)?;
        Ok(readable(answer.teams.unwrap_or_default(), convert::space))
    }

    /// 8.3: the shared folders from number `offset` on; `None` for each that cannot be read.
    pub(super) fn shared_folders(&self, offset: u32, deadline: Instant) -> Result<Vec<Option<Folder>>, CallError> {
        let (offset, limit) = (offset.to_string(), FOLDERS_PER_PAGE.to_string());
        let call = Call {
            name: "sharefolder/list",
            path: "/koodrive/ose/v1/sharefolder/list",
            query: &[("offset", &offset), ("limit", &limit)],
            payload_keys: &["folders"],
            ..Call::default()
        };
        let (envelope, _) = self.account.call(&call, deadline)?;
        let answer: SharedFoldersAnswer = payload(having(envelope, &["folders"])?)?;
        Ok(readable(answer.folders.unwrap_or_default(), convert::folder))
    }

    /// 8.3: one shared folder.
    pub(super) fn shared_folder(&self, id: &str, deadline: Instant) -> Result<Folder, CallError> {
        let path = format!("/koodrive/ose/v1/sharefolder/metadata/{}", percent_encoded(id));
        let headers = [(SHARE_FOLDER_HEADER, id)];
        let call = Call {
            name: "sharefolder/metadata",
            path: &path,
            headers: &headers,
            payload_keys: &["sharefolder"],
            ..Call::default()
        };
        let (envelope, _) = self.account.call(&call, deadline)?;
        let answer: SharedFoldersAnswer = payload(having(envelope, &["sharefolder"])?)?;
        let folder = answer.sharefolder.ok_or_else(|| CallError::Bad(bad("sharefolder", "missing")))?;
        convert::folder(folder).map_err(CallError::Bad)
    }
}

/// Where an answer about spaces has them: under `data`, a list there, or merged into the payload.
const SPACE_KEYS: &[&str] = &["containerId", "data"];

fn spaces(envelope: Envelope) -> Result<Vec<Space>, CallError> {
    let spaces = envelope.payloads().ok_or_else(|| CallError::Bad(bad("data", "not of the documented form")))?;
    Ok(readable(spaces, convert::space).into_iter().flatten().collect())
}

/// The entries of a list, `None` for each that cannot be read: it must not hide the others.
fn readable<T, U>(list: Vec<T>, convert: impl Fn(T) -> Result<U, BadField>) -> Vec<Option<U>> {
    let told = |bad: &BadField| log::warn!("an entry of the service's list cannot be read: {}: {}", bad.field, bad.why);
    list.into_iter().map(|entry| convert(entry).inspect_err(told).ok()).collect()
}

/// `envelope`, if it has one of `keys`. The tables of these answers could not be read to the end (API.md, section 14), so the error
/// names the keys that there are.
fn having(envelope: Envelope, keys: &[&str]) -> Result<Envelope, CallError> {
    if keys.iter().any(|key| envelope.has(key)) {
        return Ok(envelope);
    }
    let found: Vec<&str> = envelope.keys().collect();
    let found = cleaned(&found.join(", "), MAX_KEYS_CHARS, &[]);
    Err(CallError::Bad(bad(keys.join(" or "), format!("missing; the answer has [{found}]"))))
}
