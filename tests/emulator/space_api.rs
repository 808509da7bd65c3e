//! Spaces: finding them, listing them, links to their files in batches, shared folders (sections 6, 7, 8 and 10.1).
//!
//! Owns: what a call must look like and what it answers. Knows nothing of tokens, sockets or object bytes.
//! Runs on blocking threads.
//!
//! Made up, because the documentation does not say: which of the documented codes is answered where; that team lists
//! have pages of ten if nobody asks; that listings are sorted as shares' are (latest change first) if nobody asks; that
//! `pageSize` ends at 1000; that `createdTime` is a day before `editedTime`; that `rootFileId` can be listed by nobody.

use super::api::{
    BAD_PARAMETER, Call, DOWNLOAD_FAILED, FILE_RECYCLED, IS_A_FOLDER, NO_FILE, NO_PERMISSION, NO_RESOURCE, NO_SPACE,
    NOT_A_FOLDER, NOT_ACTIVE, OTHER_SPACE, Payload, Refusal, check_fields, integer, mandatory, put, put_type_and_size,
    text, truth,
};
use super::faults::FaultKind;
use super::knobs::{BatchRefusal, LargePages, WalkFile};
use super::listing::{Bound, View};
use super::spaces::{SharedFolder, Space, SpaceKind, SpaceState};
use super::tree::{Lookup, Node, Tree};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;

/// The most ids of one batch (section 10.1).
const MAX_BATCH: usize = 100;
/// The largest page anybody may ask for: as for walkFile (section 6.5).
const MAX_PAGE: u64 = 1000;
/// Team lists hold so many if nobody asks.
const DEFAULT_LIMIT: u64 = 10;

/// Answers a call.
///
/// # Errors
/// [`Refusal`].
pub fn answer(call: &Call<'_>, name: &str) -> Result<Payload, Refusal> {
    let call = SpaceCall(call);
    match name {
        "space" => call.space(),
        "spaceV2" => call.space_v2(),
        "teamList" => call.team_list(&[SpaceKind::Department, SpaceKind::Group], "teams"),
        "departmentList" => call.team_list(&[SpaceKind::Department], "departments"),
        "groupList" => call.team_list(&[SpaceKind::Group], "groups"),
        "spaceFiles" => call.personal_files(),
        "teamFiles" => call.team_files(),
        "walkFile" => call.walk_file(),
        "spaceDownload" => call.download(),
        "detail" => call.detail(),
        "path" => call.path(),
        "statsDir" => call.stats_dir(),
        "shareFolderList" => call.share_folder_list(),
        _ => call.share_folder_metadata(),
    }
}

/// A call about spaces.
struct SpaceCall<'a>(&'a Call<'a>);

impl<'a> Deref for SpaceCall<'a> {
    type Target = Call<'a>;

    fn deref(&self) -> &Call<'a> {
        self.0
    }
}

/// A space as far as this call may look into it.
struct Access<'a> {
    space: &'a Space,
    /// Id of the shared folder's directory, if the call came through it: nothing above or beside it is there.
    below: Option<String>,
}

impl SpaceCall<'_> {
    // ---- finding spaces ----

    fn space(&self) -> Result<Payload, Refusal> {
        let query = &self.query(&["type", "containerId"])?;
        mandatory(query, "type")?;
        let kind = integer(query, "type", 1, |kind| kind <= 2)?;
        let container = text(query, "containerId")?.filter(|container| !container.is_empty());
        let owner = &self.route.args[0];
        let spaces = self.of_owner(owner, Some(kind))?;
        let space = match container {
            Some(container) => spaces.iter().find(|space| space.container == container),
            None if spaces.len() > 1 && self.knobs.space_needs_container => {
                return Err(Refusal::parameter("containerId is mandatory: the user has several spaces"));
            }
            None => spaces.first(),
        };
        let space = space.ok_or_else(|| Refusal::business(NO_SPACE, "there is no such space"))?;
        Ok(Payload::Data(self.space_info(space)))
    }

    fn space_v2(&self) -> Result<Payload, Refusal> {
        let query = &self.query(&["type"])?;
        let kind = match query.get("type") {
            None => None,
            Some(_) => Some(integer(query, "type", 1, |kind| kind <= 2)?),
        };
        let spaces = self.of_owner(&self.route.args[0], kind)?;
        Ok(Payload::Data(spaces.into_iter().map(|space| self.space_info(space)).collect()))
    }

    /// The spaces of an owner that the user may know of: the user, or a team.
    fn of_owner(&self, owner: &str, kind: Option<u64>) -> Result<Vec<&Space>, Refusal> {
        let all = self.shared.spaces.all.iter();
        let mut found: Vec<&Space> = all
            .filter(|space| self.owner_of(space) == owner && kind.is_none_or(|kind| space.kind.number() == kind))
            .collect();
        let foreign = found.iter().any(|space| {
            space.settings().state == SpaceState::Forbidden
                || (space.kind == SpaceKind::Individual && owner != self.user.id)
        });
        if foreign {
            return Err(Refusal::business(NO_PERMISSION, "the user has no permission on this space"));
        }
        found.retain(|space| space.settings().state != SpaceState::Missing);
        if found.is_empty() {
            return Err(Refusal::business(NO_SPACE, "there is no such space"));
        }
        Ok(found)
    }

    /// The owner's id. The user's may be turned by a knob; the spaces follow.
    fn owner_of<'s>(&'s self, space: &'s Space) -> &'s str {
        if space.owner == super::spaces::USER_ID { &self.knobs.user_id } else { &space.owner }
    }

    fn space_info(&self, space: &Space) -> Value {
        let settings = space.settings();
        let mut info = Map::from_iter([
            ("ownerId".to_owned(), json!(self.owner_of(space))),
            ("containerId".to_owned(), json!(space.container)),
            ("bizRootFileId".to_owned(), json!(space.root_file())),
            ("bizSboxFileId".to_owned(), json!(format!("DEUI7pa0C24Asbox{}", space.container))),
            ("rootFileId".to_owned(), json!(format!("DEUI7pa0C24A{}", space.container))),
            ("tenantId".to_owned(), json!("1700000000000000001")),
            ("creator".to_owned(), json!(self.owner_of(space))),
            ("createTime".to_owned(), json!("2025-01-06T11:41:58.806Z")),
            ("modifier".to_owned(), Value::Null),
            ("updateTime".to_owned(), json!("2025-05-01T08:00:00.000Z")),
        ]);
        self.put_numbers(&mut info, space, &settings);
        let shape = self.knobs.space_shape;
        put(&mut info, "type", shape, Some(space.kind.number()), &space.kind.number().to_string());
        Value::Object(info)
    }

    /// What tables call strings and samples show as numbers.
    fn put_numbers(&self, info: &mut Map<String, Value>, _space: &Space, settings: &super::spaces::SpaceSettings) {
        let shape = self.knobs.space_shape;
        let status = u64::from(settings.state == SpaceState::NotActive);
        for (name, number) in [("status", status), ("capacity", settings.capacity_gb), ("spaceUsed", settings.used)] {
            put(info, name, shape, Some(number), &number.to_string());
        }
    }

    fn team_list(&self, kinds: &[SpaceKind], field: &str) -> Result<Payload, Refusal> {
        let teams_of_all = field == "teams";
        let known: &[&str] =
            if teams_of_all { &["offset", "limit", "keyWord", "teamType"] } else { &["offset", "limit", "keyWord"] };
        let query = &self.query(known)?;
        let offset = integer(query, "offset", 0, |_| true)?;
        let limit = integer(query, "limit", DEFAULT_LIMIT, |limit| (1..=100).contains(&limit))?;
        let key_word = text(query, "keyWord")?.unwrap_or_default();
        if field == "groups" && !self.knobs.tenant_admin {
            return Err(Refusal::business(NO_PERMISSION, "only an administrator of the tenant may list all groups"));
        }
        // 0 department, 1 owned groups, 2 joined groups; the user owns none.
        let wanted = match query.get("teamType") {
            None => None,
            Some(_) => Some(integer(query, "teamType", 0, |kind| kind <= 2)?),
        };
        let found: Vec<&Space> = self
            .shared
            .spaces
            .all
            .iter()
            .filter(|space| kinds.contains(&space.kind) && space.name.contains(key_word))
            .filter(|space| !matches!(space.settings().state, SpaceState::Missing | SpaceState::Forbidden))
            .filter(|space| match wanted {
                None => true,
                Some(0) => space.kind == SpaceKind::Department,
                Some(1) => false,
                Some(_) => space.kind == SpaceKind::Group,
            })
            .collect();
        let page: Vec<Value> =
            found.iter().skip(index(offset)).take(index(limit)).map(|space| self.team(space)).collect();
        let mut payload = Map::from_iter([(field.to_owned(), Value::Array(page))]);
        put(&mut payload, "total", self.knobs.space_shape, Some(found.len() as u64), &found.len().to_string());
        Ok(Payload::Top(payload))
    }

    fn team(&self, space: &Space) -> Value {
        let mut info = Map::from_iter([
            ("id".to_owned(), json!(space.owner)),
            ("groupName".to_owned(), json!(space.name)),
            ("containerId".to_owned(), json!(space.container)),
            ("userNum".to_owned(), json!(7)),
            ("ownerId".to_owned(), json!("1880000000000000002")),
            ("ownerName".to_owned(), json!("")),
            ("tenantId".to_owned(), json!("1700000000000000001")),
            ("createTime".to_owned(), json!("2025-01-06T11:41:58.806Z")),
        ]);
        self.put_numbers(&mut info, space, &space.settings());
        Value::Object(info)
    }

    // ---- looking into one ----

    /// The space with this container, if the user may look into it.
    fn access(&self, container: &str) -> Result<Access<'_>, Refusal> {
        let space = self.shared.spaces.get(container);
        let no_space = || Refusal::business(NO_SPACE, "the space does not exist or is in a bad state");
        let space = space.ok_or_else(no_space)?;
        let state = space.settings().state;
        if state == SpaceState::Missing {
            return Err(no_space());
        }
        let below = match self.header("x-hw-share-folder-id")? {
            None => None,
            Some(id) => {
                let (folder, directory) = self.shared_folder(id)?;
                if folder.container != container {
                    return Err(Refusal::parameter("containerId is not the space of this shared folder"));
                }
                Some(directory.id.clone())
            }
        };
        let foreign = space.kind == SpaceKind::Individual && self.owner_of(space) != self.user.id;
        if state == SpaceState::Forbidden || (foreign && below.is_none()) {
            return Err(Refusal::business(NO_PERMISSION, "the user has no permission on this space"));
        }
        if state == SpaceState::NotActive {
            return Err(Refusal::business(NOT_ACTIVE, "the space is not active"));
        }
        Ok(Access { space, below })
    }

    /// A shared folder that is not deleted, and its directory.
    fn shared_folder(&self, id: &str) -> Result<(&SharedFolder, Arc<Node>), Refusal> {
        let missing = || Refusal::business(NO_RESOURCE, "there is no such shared folder");
        let folder = self.shared.spaces.shared_folders.iter().find(|folder| folder.id == id).ok_or_else(missing)?;
        if folder.status != 0 {
            return Err(missing());
        }
        let space = self.shared.spaces.get(&folder.container).ok_or_else(missing)?;
        let directory = space.tree.find(&folder.path).filter(|node| node.folder).ok_or_else(missing)?;
        Ok((folder, directory))
    }

    /// The file or folder with this id, which must be of this space and within reach.
    fn find(&self, access: &Access<'_>, id: &str) -> Result<Arc<Node>, Refusal> {
        let tree = &access.space.tree;
        let node = match tree.lookup(id) {
            Lookup::Found(node) => node,
            Lookup::Recycled => return Err(Refusal::business(FILE_RECYCLED, "the file is in the recycle bin")),
            Lookup::Unknown => {
                let elsewhere = self.shared.spaces.all.iter().any(|space| space.tree.node(id).is_some());
                return Err(if elsewhere {
                    Refusal::business(OTHER_SPACE, "the file is not in this space")
                } else {
                    Refusal::business(NO_FILE, "the file does not exist in the space")
                });
            }
        };
        match &access.below {
            Some(folder) if !tree.ancestry(id).iter().any(|node| node.id == *folder) => {
                Err(Refusal::business(OTHER_SPACE, "the file is not in this shared folder"))
            }
            _ => Ok(node),
        }
    }

    /// The directory that `parentFileId` means: empty for the top of the space.
    fn directory(&self, access: &Access<'_>, id: &str) -> Result<String, Refusal> {
        if id == "root" || id == access.space.root_file() {
            return match access.below {
                None => Ok(String::new()),
                Some(_) => Err(Refusal::business(NO_PERMISSION, "the space is above the shared folder")),
            };
        }
        let node = self.find(access, id).map_err(|refusal| match refusal.code {
            FILE_RECYCLED => Refusal::business(super::api::FOLDER_RECYCLED, "the directory is in the recycle bin"),
            NO_FILE => Refusal::business(NO_RESOURCE, "the directory does not exist"),
            _ => refusal,
        })?;
        if node.folder { Ok(node.id.clone()) } else { Err(Refusal::business(NOT_A_FOLDER, "this is not a directory")) }
    }

    // ---- listing ----

    fn personal_files(&self) -> Result<Payload, Refusal> {
        let bin = self.bin(&self.route.args[0])?;
        let body = &self.listing_fields()?;
        let access = self.access(mandatory(body, "containerId")?)?;
        if access.space.kind != SpaceKind::Individual {
            return Err(Refusal::parameter("containerId: a team's space is listed by files/{groupId}/{type}"));
        }
        self.list(&access, bin, body)
    }

    fn team_files(&self) -> Result<Payload, Refusal> {
        let (team, bin) = (&self.route.args[0], self.bin(&self.route.args[1])?);
        let query = &self.query(&["team_type"])?;
        let kind = integer(query, "team_type", 0, |kind| kind == 0 || kind == 2)?;
        let body = &self.listing_fields()?;
        let container = mandatory(body, "containerId")?;
        let mut all = self.shared.spaces.all.iter();
        let Some(space) = all.find(|space| space.kind != SpaceKind::Individual && space.owner == *team) else {
            return Err(Refusal::business(NO_SPACE, "there is no such team"));
        };
        if space.kind.number() != kind {
            return Err(Refusal::parameter(format!("team_type {kind} is not the kind of this team")));
        }
        if space.container != container {
            return Err(Refusal::parameter("containerId is not the space of this team"));
        }
        self.list(&self.access(container)?, bin, body)
    }

    /// `type` in the path: 0 the files, 1 the recycle bin.
    fn bin(&self, text: &str) -> Result<bool, Refusal> {
        match text {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(Refusal::parameter(format!("type {other:?} is neither 0 nor 1"))),
        }
    }

    fn listing_fields(&self) -> Result<Map<String, Value>, Refusal> {
        self.fields(&[
            "containerId",
            "parentFileId",
            "pageInfo",
            "sortInfo",
            "fileType",
            "imageProcess",
            "fileName",
            "hidden",
        ])
    }

    fn list(&self, access: &Access<'_>, bin: bool, body: &Map<String, Value>) -> Result<Payload, Refusal> {
        let parent_id = mandatory(body, "parentFileId")?;
        if parent_id.len() > 64 {
            return Err(Refusal::parameter("parentFileId: 64 characters at most"));
        }
        let page_info = &object(body, "pageInfo", &["pageSize", "pageCursor"])?;
        let sort_info = &object(body, "sortInfo", &["sortType", "sortDirection"])?;
        let mut page_size = integer(page_info, "pageSize", 100, |size| (1..=MAX_PAGE).contains(&size))?;
        if page_size > 100 {
            match self.knobs.large_pages {
                LargePages::Honoured => {}
                LargePages::Clamped => page_size = 100,
                LargePages::Refused => return Err(self.not_offered("pageSize")),
            }
        }
        let cursor = text(page_info, "pageCursor")?.filter(|cursor| !cursor.is_empty());
        let sort = integer(&non_empty(sort_info), "sortType", 4, |sort| (1..=6).contains(&sort) && (sort != 5 || bin))?;
        let direction = integer(&non_empty(sort_info), "sortDirection", 2, |direction| [1, 2].contains(&direction))?;
        let file_type = text(body, "fileType")?.unwrap_or_default();
        let filter = text(body, "fileName")?.unwrap_or_default();
        text(body, "imageProcess")?;
        truth(body, "hidden")?;
        let parent = self.directory(access, parent_id)?;
        let view = match (bin, self.knobs.recycled_in_listings) {
            (true, _) => View::Bin,
            (false, true) => View::WithRecycled,
            (false, false) => View::Plain,
        };
        let bound = Bound {
            place: &access.space.container,
            parent: &parent,
            sort,
            descending: direction == 2,
            filter,
            file_type,
            view,
        };
        let page = self.page(&access.space.tree, &bound, cursor, page_size)?;
        let files: Vec<Value> = page
            .nodes
            .iter()
            .enumerate()
            .map(|(nth, node)| Value::Object(self.file(access.space, node, nth)))
            .collect();
        let mut payload = Map::from_iter([
            ("category".to_owned(), json!("drive#fileList")),
            ("files".to_owned(), Value::Array(files)),
        ]);
        if let Some(next) = page.next {
            payload.insert("nextCursor".to_owned(), next);
        }
        Ok(Payload::Top(payload))
    }

    /// Everything below a directory (section 6.5), of spaces of any kind.
    fn walk_file(&self) -> Result<Payload, Refusal> {
        let walk = self.knobs.walk_file;
        let body = &self.fields(&["containerId", "parentFileId", "pageInfo", "sortInfo", "type", "includeHidden"])?;
        if self.header("x-hw-share-folder-id")?.is_some() {
            return Err(Refusal::parameter("x-hw-share-folder-id has no place in this call"));
        }
        let access = self.access(mandatory(body, "containerId")?)?;
        let parent_id = mandatory(body, "parentFileId")?;
        if parent_id.len() > 64 {
            return Err(Refusal::parameter("parentFileId: 64 characters at most"));
        }
        let page_info = &object(body, "pageInfo", &["pageSize", "pageCursor"])?;
        let sort_info = &object(body, "sortInfo", &["sortType", "sortDirection"])?;
        let page_size = integer(page_info, "pageSize", 100, |size| (1..=MAX_PAGE).contains(&size))?;
        if page_size > u64::from(self.knobs.walk_page_max) {
            return Err(self.not_offered("pageSize"));
        }
        let cursor = text(page_info, "pageCursor")?.filter(|cursor| !cursor.is_empty());
        let sort = integer(&non_empty(sort_info), "sortType", 4, |sort| (1..=4).contains(&sort))?;
        let direction = integer(&non_empty(sort_info), "sortDirection", 2, |direction| [1, 2].contains(&direction))?;
        let file_type = text(body, "type")?.unwrap_or_default();
        truth(body, "includeHidden")?;
        if walk == WalkFile::Breaks && cursor.is_some() {
            return Err(Refusal { status: Some(500), ..Refusal::business(13_000_201, "INNER_INVOKE_FAILURE") });
        }
        let parent = self.directory(&access, parent_id)?;
        let bound = Bound {
            place: &access.space.container,
            parent: &parent,
            sort,
            descending: direction == 2,
            filter: "",
            file_type,
            view: View::Walk(walk),
        };
        let page = self.page(&access.space.tree, &bound, cursor, page_size)?;
        let mut rows: Vec<Map<String, Value>> =
            page.nodes.iter().enumerate().map(|(nth, node)| self.file(access.space, node, nth)).collect();
        if walk == WalkFile::WithRoot && cursor.is_none() {
            rows.push(match access.space.tree.node(&parent) {
                Some(node) => self.file(access.space, &node, 0),
                None => Map::from_iter([
                    ("category".to_owned(), json!("drive#file")),
                    ("id".to_owned(), json!(access.space.root_file())),
                    ("fileName".to_owned(), json!("root")),
                    ("fileType".to_owned(), json!("10")),
                    ("size".to_owned(), json!(0)),
                    ("parentFolder".to_owned(), json!([format!("DEUI7pa0C24A{}", access.space.container)])),
                ]),
            });
        }
        if walk == WalkFile::NoParents {
            for row in &mut rows {
                row.remove("parentFolder");
            }
        }
        // Empty on the last page, as documented, unless a knob says otherwise.
        Ok(Payload::Bare(Map::from_iter([
            ("files".to_owned(), rows.into_iter().map(Value::Object).collect()),
            ("nextCursor".to_owned(), page.next.unwrap_or(json!(""))),
        ])))
    }

    /// The File object (section 6.3), without links.
    fn file(&self, space: &Space, node: &Node, nth: usize) -> Map<String, Value> {
        let parent = if node.parent == Tree::root_id() { space.root_file() } else { node.parent.clone() };
        let created = node.edited.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(node.edited);
        let mut file = Map::from_iter([
            ("category".to_owned(), json!("drive#file")),
            ("id".to_owned(), json!(node.id)),
            ("fileName".to_owned(), json!(node.name)),
            ("fileSuffix".to_owned(), json!(node.suffix())),
            ("mimeType".to_owned(), json!(if node.folder { "" } else { "application/octet-stream" })),
            ("description".to_owned(), json!("")),
            ("recycled".to_owned(), json!(space.tree.is_recycled(&node.id))),
            ("favorite".to_owned(), json!(false)),
            ("parentFolder".to_owned(), json!([parent])),
            ("containers".to_owned(), json!([space.container])),
            ("properties".to_owned(), json!({})),
            ("createdTime".to_owned(), json!(self.time(created, nth))),
            ("editedTime".to_owned(), json!(self.time(node.edited, nth))),
        ]);
        put_type_and_size(self.knobs, &mut file, node);
        if self.knobs.extra_fields {
            file.insert("owners".to_owned(), json!([{"id": "F0", "fileName": "not this one", "size": -1}]));
            file.insert("version".to_owned(), json!(7));
        }
        node.put_described(&mut file);
        file
    }

    // ---- one file ----

    fn detail(&self) -> Result<Payload, Refusal> {
        let body = &self.fields(&["containerId", "imageProcess"])?;
        let access = self.access(mandatory(body, "containerId")?)?;
        let node = self.find(&access, &self.route.args[0])?;
        let file = self.file(access.space, &node, 1);
        Ok(if self.knobs.detail_code { Payload::Top(file) } else { Payload::Bare(file) })
    }

    fn path(&self) -> Result<Payload, Refusal> {
        let query = &self.query(&["fileId", "containerId"])?;
        let access = self.access(mandatory(query, "containerId")?)?;
        let node = self.find(&access, mandatory(query, "fileId")?)?;
        let mut ids = vec![access.space.root_file()];
        let mut names = vec![format!("root{}", access.space.container)];
        for node in access.space.tree.ancestry(&node.id) {
            ids.push(node.id.clone());
            names.push(node.name.clone());
        }
        Ok(Payload::Top(Map::from_iter([
            ("fileIdPath".to_owned(), json!(ids.join("/"))),
            ("namePath".to_owned(), json!(names.join("/"))),
        ])))
    }

    fn stats_dir(&self) -> Result<Payload, Refusal> {
        let query = &self.query(&[
            "fileId",
            "containerId",
            "recursive",
            "includeDirCount",
            "includeFileCount",
            "includeTotalSize",
            "type",
            "extensions",
            "categorys",
            "hidden",
            "isRecycled",
        ])?;
        let access = self.access(mandatory(query, "containerId")?)?;
        let top = self.directory(&access, mandatory(query, "fileId")?)?;
        let flag = |name: &str| match text(query, name)? {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Refusal::parameter(format!("{name}: {other:?} is not a boolean"))),
        };
        let recursive = flag("recursive")?;
        let (mut size, mut folders, mut files) = (0, 0, 0);
        let mut left = vec![top];
        while let Some(directory) = left.pop() {
            for node in access.space.tree.list(&directory).unwrap_or_default() {
                size += node.size;
                if node.folder {
                    folders += 1;
                    if recursive {
                        left.push(node.id.clone());
                    }
                } else {
                    files += 1;
                }
            }
        }
        let mut data = Map::new();
        for (name, wanted, number) in [
            ("totalSize", "includeTotalSize", size),
            ("subDirCount", "includeDirCount", folders),
            ("subFileCount", "includeFileCount", files),
        ] {
            if flag(wanted)? {
                put(&mut data, name, self.knobs.space_shape, Some(number), &number.to_string());
            }
        }
        Ok(Payload::Data(Value::Object(data)))
    }

    // ---- links ----

    fn download(&self) -> Result<Payload, Refusal> {
        let body = &self.fields(&["containerId", "fileIds"])?;
        let container = mandatory(body, "containerId")?;
        let Some(Value::Array(ids)) = body.get("fileIds") else {
            return Err(Refusal::parameter("fileIds: a list is mandatory"));
        };
        let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).filter(|id| !id.is_empty()).collect();
        self.shared.counters.update(|all| *all.batch_sizes.entry(ids.len() as u64).or_default() += 1);
        if ids.len() != body["fileIds"].as_array().map_or(0, Vec::len) {
            return Err(Refusal::parameter("fileIds: ids are strings"));
        }
        if ids.is_empty() || ids.len() > MAX_BATCH {
            return Err(Refusal::parameter(format!("fileIds: {} ids, not 1 to {MAX_BATCH}", ids.len())));
        }
        if ids.iter().collect::<HashSet<_>>().len() != ids.len() {
            return Err(Refusal::parameter("fileIds: the same id twice"));
        }
        let access = self.access(container)?;
        let signer = self.shared.keys.signer(self.now);
        let mut good = 0;
        let mut downloads: Vec<Value> = Vec::with_capacity(ids.len());
        for (nth, id) in ids.iter().enumerate() {
            let failed = match self.fault {
                // At least one of a batch, and never all of a longer one.
                Some(FaultKind::PartialBatch) if nth.is_multiple_of(2) => {
                    Err(Refusal::business(DOWNLOAD_FAILED, "download failed"))
                }
                Some(FaultKind::BatchGap) if nth == 0 => continue,
                _ => Ok(()),
            };
            let found = failed.and_then(|()| self.find(&access, id)).and_then(|node| {
                if node.folder {
                    Err(Refusal::business(IS_A_FOLDER, "a folder cannot be downloaded"))
                } else {
                    Ok(node)
                }
            });
            downloads.push(match found {
                Ok(node) => {
                    good += 1;
                    self.shared.counters.file(&node.id, &node.name, |file| file.links += 1);
                    json!({"fileId": id, "fileName": node.name, "url": self.content_link(&node, &signer), "code": "0",
                        "msg": "success"})
                }
                Err(refusal) if self.knobs.batch_refusal == BatchRefusal::Code => return Err(refusal),
                Err(_) if self.knobs.batch_refusal == BatchRefusal::Parameter => {
                    return Err(Refusal::business(BAD_PARAMETER, "fileIds: one of them has no link"));
                }
                Err(refusal) => {
                    log::info!("spaceDownload: {id}: {} ({})", refusal.message, refusal.code);
                    json!({"fileId": id, "fileName": null, "url": null, "code": refusal.code.to_string(),
                        "msg": refusal.message})
                }
            });
        }
        if self.knobs.shuffle_downloads {
            // Last first, and not even that in its place: neither position nor reversal helps.
            downloads.reverse();
            if downloads.len() > 2 {
                downloads.rotate_left(1);
            }
        }
        // 1 is all, 0 is some (section 10.1).
        let batch_code = match good {
            0 => 2,
            all if all == ids.len() => 1,
            _ => 0,
        };
        Ok(Payload::Top(Map::from_iter([
            ("downloads".to_owned(), Value::Array(downloads)),
            ("batchCode".to_owned(), json!(batch_code)),
        ])))
    }

    // ---- shared folders ----

    fn share_folder_list(&self) -> Result<Payload, Refusal> {
        let query = &self.query(&["offset", "limit", "keyWord", "status", "queryType"])?;
        mandatory(query, "offset")?;
        mandatory(query, "limit")?;
        let offset = integer(query, "offset", 0, |_| true)?;
        let limit = integer(query, "limit", 1, |limit| (1..=1000).contains(&limit))?;
        let key_word = text(query, "keyWord")?.unwrap_or_default();
        if key_word.chars().count() > 32 {
            return Err(Refusal::parameter("keyWord: 32 characters at most"));
        }
        if text(query, "status")?.is_some_and(|status| status != "0") {
            return Err(Refusal::parameter("status: only 0 can be asked for"));
        }
        // 1 created by the user: none.
        let kind = integer(query, "queryType", 0, |kind| kind <= 2)?;
        let all = self.shared.spaces.shared_folders.iter();
        let folders: Vec<Value> = all
            .filter(|folder| folder.status == 0 && kind != 1 && folder.name.contains(key_word))
            .filter_map(|folder| self.shared_folder(&folder.id).ok())
            .skip(index(offset))
            .take(index(limit))
            .map(|(folder, directory)| self.folder_info(folder, &directory))
            .collect();
        Ok(Payload::field("folders", Value::Array(folders)))
    }

    fn share_folder_metadata(&self) -> Result<Payload, Refusal> {
        self.query(&[])?;
        let id = &self.route.args[0];
        if id.chars().count() > 100 {
            return Err(Refusal::parameter("shareFolderId: 100 characters at most"));
        }
        let (folder, directory) = self.shared_folder(id)?;
        Ok(Payload::field("sharefolder", self.folder_info(folder, &directory)))
    }

    fn folder_info(&self, folder: &SharedFolder, directory: &Node) -> Value {
        json!({
            "id": folder.id,
            "name": folder.name,
            "containerId": folder.container,
            "shareFolderFileId": directory.id,
            "groupId": "1760000000000000001",
            // A Long: it must not pass through a double (section 12, row 23).
            "ownerId": 1_880_000_000_000_000_002_u64,
            "creator": "1880000000000000002",
            "createTime": "2025-01-06T11:41:58.806Z",
            "tenantId": "1700000000000000001",
            "status": folder.status,
            "maxMember": 20,
        })
    }
}

/// An optional object with none but these fields.
fn object(body: &Map<String, Value>, name: &str, known: &[&str]) -> Result<Map<String, Value>, Refusal> {
    match body.get(name) {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => {
            check_fields(object, known)?;
            Ok(object.clone())
        }
        Some(other) => Err(Refusal::parameter(format!("{name}: {other} is not an object"))),
    }
}

/// Without fields that hold `""`, which the samples show for "as you like".
fn non_empty(object: &Map<String, Value>) -> Map<String, Value> {
    object.iter().filter(|(_, value)| **value != json!("")).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
