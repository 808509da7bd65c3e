//! JSON exactly as the service's pages document it, and as tolerantly as API.md, section 12, asks for. Private to this room.
//!
//! Must not know any other type of the crate. Nothing here fails because one field has an odd value: a [`Scalar`] keeps it, and
//! `convert` says which field is bad. Answers have no `Debug`: they hold links and tokens.

mod shape;
mod value;

use serde::{Deserialize, Serialize};

pub use shape::Shapes;
pub(super) use value::{Answer, DownloadLinks, Envelope, NotAScalar, Scalar};
use value::{all_objects, first, object_or_none, objects};

/// `POST /koodrive/ose/v1/share/public/files` (5.4).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilesRequest<'a> {
    pub(super) short_url: &'a str,
    /// Absent for the top level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_folder: Option<&'a str>,
    pub(super) page_size: u32,
    /// Absent for the first page (12, row 8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) page_cursor: Option<&'a str>,
    pub(super) sort_type: u32,
    pub(super) sort_direction: u32,
    pub(super) kdstoken: &'a str,
    pub(super) refresh_count: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_name: Option<&'a str>,
}

/// `POST /koodrive/ose/v1/share/public/verify` (5.3).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifyRequest<'a> {
    pub(super) short_url: &'a str,
    pub(super) extract_code: &'a str,
}

/// `POST /koodrive/ose/v1/share/public/download` (5.5).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DownloadRequest<'a> {
    pub(super) share_id: &'a str,
    pub(super) file_id: &'a str,
    pub(super) kdstoken: &'a str,
}

/// `POST /koodrive/ose/v1/auth/login` (3.2).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoginRequest<'a> {
    pub(super) account: &'a str,
    pub(super) auth_type: &'a str,
    pub(super) password: &'a str,
}

/// `POST /koodrive/ose/v1/auth/refreshToken` (3.3).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefreshRequest<'a> {
    pub(super) refresh_token: &'a str,
}

/// `POST /koodrive/ose/v1/files/{type}` and `…/files/{groupId}/{type}` (6.1, 6.4).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpaceFilesRequest<'a> {
    pub(super) page_info: PageInfo<'a>,
    pub(super) sort_info: SortInfo,
    pub(super) container_id: &'a str,
    pub(super) parent_file_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageInfo<'a> {
    pub(super) page_size: u32,
    /// Absent for the first page (12, row 8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) page_cursor: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SortInfo {
    pub(super) sort_type: u32,
    pub(super) sort_direction: u32,
}

/// `POST /koodrive/ose/v1/file/walkFile` (6.6).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WalkRequest<'a> {
    pub(super) page_info: PageInfo<'a>,
    pub(super) sort_info: SortInfo,
    pub(super) container_id: &'a str,
    pub(super) parent_file_id: &'a str,
}

/// `POST /koodrive/ose/v1/files/download` (10.1).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LinksRequest<'a> {
    pub(super) container_id: &'a str,
    pub(super) file_ids: Vec<&'a str>,
}

/// The answer to `login` and to `refreshToken`, whose session may lie at either of two depths (12, row 9).
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SessionAnswer {
    #[serde(deserialize_with = "object_or_none")]
    pub(super) user_info: Option<UserInfo>,
    #[serde(deserialize_with = "object_or_none")]
    pub(super) session_info: Option<SessionInfo>,
    pub(super) access_token: Scalar,
    pub(super) expires_in: Scalar,
    pub(super) refresh_token: Scalar,
}

/// SessionInfo (3.2).
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SessionInfo {
    pub(super) access_token: Scalar,
    pub(super) expires_in: Scalar,
    pub(super) refresh_token: Scalar,
}

/// UserInfo (3.2).
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UserInfo {
    pub(super) user_id: Scalar,
}

/// The answer to `files/statsDir` (6.7).
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StatsAnswer {
    pub(super) sub_dir_count: Scalar,
    pub(super) sub_file_count: Scalar,
}

/// The answer to `files/download` (10.1).
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LinksAnswer {
    #[serde(deserialize_with = "objects")]
    pub(super) downloads: Option<Vec<LinkEntry>>,
}

/// One file's link, or why there is none.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LinkEntry {
    pub(super) file_id: Scalar,
    pub(super) url: Scalar,
    pub(super) code: Scalar,
}

/// SpaceInfo, SpaceInfoV2 and TeamSpaceInfo (8.1); of their fields those that are used.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SpaceInfo {
    /// Of a team; `groupId` of its calls.
    pub(super) id: Scalar,
    pub(super) group_name: Scalar,
    #[serde(rename = "type")]
    pub(super) kind: Scalar,
    pub(super) container_id: Scalar,
    pub(super) capacity: Scalar,
    pub(super) space_used: Scalar,
}

/// The answer to `space/teamList` (8.1).
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct TeamsAnswer {
    #[serde(deserialize_with = "all_objects")]
    pub(super) teams: Option<Vec<SpaceInfo>>,
}

/// The answers of the shared folders' calls (8.3).
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SharedFoldersAnswer {
    #[serde(deserialize_with = "all_objects")]
    pub(super) folders: Option<Vec<SharedFolder>>,
    #[serde(deserialize_with = "object_or_none")]
    pub(super) sharefolder: Option<SharedFolder>,
}

/// ShareFolder (8.3); of its fields those that are used.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SharedFolder {
    pub(super) id: Scalar,
    pub(super) name: Scalar,
    pub(super) container_id: Scalar,
    pub(super) share_folder_file_id: Scalar,
    pub(super) status: Scalar,
}

/// The answer to `files`. Both keys are optional to serde; `convert` tells an absent `files` from an empty one.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FilesAnswer {
    /// `None` if there is no such key; `null` counts as empty.
    #[serde(deserialize_with = "all_objects")]
    pub(super) files: Option<Vec<ShareFile>>,
    pub(super) next_cursor: Scalar,
    #[serde(deserialize_with = "object_or_none")]
    pub(super) link: Option<ShareLink>,
}

/// The answer to `userInfo` (5.2).
#[derive(Deserialize)]
pub(super) struct UserInfoAnswer {
    #[serde(default, deserialize_with = "object_or_none")]
    pub(super) link: Option<ShareLink>,
}

/// The answer to `verify` (5.3).
#[derive(Deserialize)]
pub(super) struct VerifyAnswer {
    #[serde(default)]
    pub(super) kdstoken: Scalar,
}

/// The answer to `download` (5.5).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DownloadAnswer {
    #[serde(default)]
    pub(super) download_url: Scalar,
}

/// ShareFile (5.4); of its fields those that are used.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ShareFile {
    pub(super) id: Scalar,
    pub(super) file_name: Scalar,
    pub(super) file_type: Scalar,
    /// The directory that holds it: a list of which the first counts.
    #[serde(deserialize_with = "first")]
    pub(super) parent_folder: Scalar,
    /// Not documented for shares either.
    pub(super) mime_type: Scalar,
    pub(super) size: Scalar,
    pub(super) edited_time: Scalar,
    /// Not documented for shares; the file object elsewhere has it (6.3).
    pub(super) recycled: Scalar,
    pub(super) download_links: DownloadLinks,
}

/// CommonShareLink (5.6).
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ShareLink {
    pub(super) share_id: Scalar,
    pub(super) expire_time: Scalar,
    pub(super) status: Scalar,
    #[serde(deserialize_with = "object_or_none")]
    pub(super) permission: Option<Permission>,
}

/// What the owner permits (5.6); "to be supported later".
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Permission {
    pub(super) download: Scalar,
}

impl Answer for FilesAnswer {}
impl Answer for UserInfoAnswer {}
impl Answer for VerifyAnswer {}
impl Answer for DownloadAnswer {}
impl Answer for SessionAnswer {}
impl Answer for LinksAnswer {}
impl Answer for StatsAnswer {}
impl Answer for SpaceInfo {}
impl Answer for TeamsAnswer {}
impl Answer for SharedFoldersAnswer {}

/// The JSON text of a request.
pub(super) fn to_json(request: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(request).expect("strings and numbers always have a JSON form")
}
