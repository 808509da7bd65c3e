//! JSON exactly as the service's pages document it, and as tolerantly as koodrive-api.md, 12, asks for. Private to this room.
//!
//! Must not know any other type of the crate. Nothing here fails because one field has an odd value: a [`Scalar`] keeps it, and
//! `convert` says which field is bad. Answers have no `Debug`: they hold links and tokens.

mod value;

use serde::{Deserialize, Serialize};

pub(super) use value::{Answer, DownloadLinks, Envelope, NotAScalar, Scalar};
use value::{all_objects, object_or_none, objects};

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
    pub(super) owner_name: Scalar,
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
impl Answer for SpaceInfo {}
impl Answer for TeamsAnswer {}
impl Answer for SharedFoldersAnswer {}

/// The JSON text of a request.
pub(super) fn to_json(request: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(request).expect("strings and numbers always have a JSON form")
}

/// Answers of the documented form, changed at random: whatever comes of them, it is no panic.
#[cfg(test)]
mod hostile_answers {
    use fastrand::Rng;
    use serde_json::{Value, json};

    use std::time::{Duration, UNIX_EPOCH};

    use super::super::convert::{Moment, fresh_link, page, share, text};
    use super::super::envelope::{CallError, judge};
    use super::*;
    use crate::http::ApiAnswer;
    use crate::policy::server_time::ServerOffset;
    use crate::remote::NodeKind;

    const ROUNDS: usize = 30_000;

    fn valid() -> Value {
        json!({
            "link": {"shareId": "15929", "ownerName": "", "expireTime": "2025-01-18T11:58:00.000Z", "status": 0,
                "permission": {"download": true}},
            "files": [
                {"id": "F1", "fileName": "docs", "fileType": "10", "size": 0, "editedTime": "2025-05-01T08:00:00.000Z"},
                {"id": "F2", "fileName": "photo.jpg", "fileType": "15", "size": 106_437, "recycled": false,
                 "downloadLinks": [{"usage": "content", "downloadLink": "https://b.example/o?X-Amz-Date=20250501T080000Z&X-Amz-Expires=3600"},
                                   {"usage": "thumbnail", "downloadLink": "https://b.example/t?Expires=1746086400"}],
                 "editedTime": "2025-05-01T08:01:02.345Z"}],
            "nextCursor": "opaque", "kdstoken": "0f1e", "downloadUrl": "https://b.example/o?Expires=1746086400",
            "data": {"files": null}, "code": 0, "msg": "Success."})
    }

    /// Stands for the escape of half a surrogate pair, which no text of Rust can hold.
    const HALF_A_PAIR: &str = "\u{f8ff}";

    /// Stands for a number that no type of Rust can hold.
    const HUGE: &str = "1e999";

    /// How many entries a listing must have that is read from `answer`; none if there is no list.
    fn entries(answer: &Value) -> Option<usize> {
        let at = |value: &Value| value.get("files").filter(|files| !files.is_null()).cloned();
        let files = at(answer).or_else(|| at(answer.get("data")?))?;
        let is_recycled = |entry: &&Value| match &entry["recycled"] {
            Value::Bool(flag) => *flag,
            Value::String(text) => text.eq_ignore_ascii_case("true"),
            _ => false,
        };
        Some(files.as_array()?.iter().filter(|entry| !is_recycled(entry)).count())
    }

    /// Something that may stand where something else was expected.
    fn odd(random: &mut Rng) -> Value {
        let numbers = [json!(-1), json!(u64::MAX), json!(i64::MIN), json!(1e308), json!(-0.0), json!(0.1)];
        let texts = [
            "",
            "\u{0}",
            "-",
            "9999999999999999999999999999999999999999",
            "9999-12-31T23:59:60Z",
            "1e9",
            "%",
            "content",
            HALF_A_PAIR,
            HUGE,
        ];
        match random.u8(..6) {
            0 => Value::Null,
            1 => json!(random.bool()),
            2 => numbers[random.usize(..numbers.len())].clone(),
            3 => json!(texts[random.usize(..texts.len())]),
            4 => json!([odd(random)]),
            _ => json!({"content": odd(random), "usage": odd(random)}),
        }
    }

    /// Changes one place of `value`: replaces it, drops a part, or goes down into one.
    fn mutate(value: &mut Value, random: &mut Rng) {
        let action = random.u8(..8);
        match value {
            Value::Object(map) if action > 0 && !map.is_empty() => {
                let key = map.keys().nth(random.usize(..map.len())).expect("in range").clone();
                if action == 1 {
                    map.remove(&key);
                } else {
                    mutate(&mut map[&key], random);
                }
            }
            Value::Array(list) if action > 0 && !list.is_empty() => {
                let index = random.usize(..list.len());
                if action == 1 {
                    list.remove(index);
                } else {
                    mutate(&mut list[index], random);
                }
            }
            value => *value = odd(random),
        }
    }

    fn payload<T: Answer>(answer: &ApiAnswer, key: &str) -> Option<T> {
        match judge(answer, &[key], &["0f1e"]) {
            Ok(envelope) => envelope.payload(),
            Err(error) => {
                let _ = (error.detail(), error.kind(), matches!(error, CallError::Bad(_)));
                None
            }
        }
    }

    #[test]
    fn hostile_answer_never_panics_and_bad_data_is_neither_a_node_nor_a_shorter_listing() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let moment =
            Moment { received_at: UNIX_EPOCH + Duration::from_secs(1_746_086_400), server: ServerOffset::default() };
        let (mut pages, mut unreadable) = (0, 0);
        for _ in 0..ROUNDS {
            let mut value = valid();
            for _ in 0..random.usize(..6) {
                mutate(&mut value, &mut random);
            }
            let body = value.to_string().replace(HALF_A_PAIR, "\\ud800").replace(&format!("\"{HUGE}\""), HUGE);
            let mut body = body.into_bytes();
            let is_damaged = random.bool();
            if is_damaged {
                for _ in 0..random.usize(..3) {
                    let at = random.usize(..body.len());
                    body[at] = random.u8(..);
                }
                if random.u8(..8) == 0 {
                    body.truncate(random.usize(..body.len()));
                }
            }
            let status = [200, 200, 200, 200, 400, 401, 429, 500][random.usize(..8)];
            let answer = ApiAnswer { status, date: None, retry_after: None, body };
            if let Some(Ok(page)) = payload(&answer, "files").map(|files| page(files, moment)) {
                pages += 1;
                if !is_damaged {
                    assert_eq!(page.nodes.len(), entries(&value).unwrap_or(0), "no shorter than it is: {value}");
                }
                unreadable += page.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Unreadable(_))).count();
                assert!(page.nodes.iter().all(|node| !node.id.as_str().is_empty()));
                assert!(page.nodes.iter().all(|node| i64::try_from(node.version.size_bytes).is_ok()));
            }
            let _ = payload(&answer, "downloadUrl").map(|download| fresh_link(download, moment));
            let _ = payload::<UserInfoAnswer>(&answer, "link").and_then(|info| info.link).map(share);
            let _ = payload::<VerifyAnswer>(&answer, "kdstoken").map(|verified| text(verified.kdstoken, "kdstoken"));
        }
        assert!(pages > ROUNDS / 20, "only {pages} mutants were still a page");
        assert!(unreadable > ROUNDS / 1000, "only {unreadable} entries were unreadable");
    }
}
