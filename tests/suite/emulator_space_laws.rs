//! Laws of the emulator behind the login: what a client of spaces may rely on being refused, answered or counted, and
//! of what stands beside it: TLS, the test proxy, the WebDAV view.
//!
//! Expiry is tested by moving the service's clock, not by sleeping.

use crate::emulator::knobs::NumberShape;
use crate::emulator::spaces::{
    DEPARTMENT, DEPARTMENT_ID, FAMILY, GROUP, GROUP_ID, OWN, SECOND, SHARED_FOLDER_ID, USER_ID,
};
use crate::emulator::{
    Emulator, EmulatorConfig, Entry, Fault, FaultKind, Knobs, Space, SpaceKind, SpaceState, Spaces, TestProxy, Tree,
};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// An emulator and a client without opinions.
pub(crate) struct Bench {
    pub(crate) emulator: Emulator,
    pub(crate) http: Client,
    pub(crate) token: String,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> u64 {
        self.json["code"].as_u64().unwrap_or_else(|| panic!("no code in {self:?}"))
    }

    pub(crate) fn session(&self) -> Session {
        let info = match &self.json["data"]["sessionInfo"] {
            Value::Null => &self.json["data"],
            info => info,
        };
        let text = |name: &str| info[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned();
        Session { access: text("accessToken"), refresh: text("refreshToken") }
    }
}

/// What a login or a refresh hands out.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// How an `X-Date` is written.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Now on this side, moved by `seconds`.
pub(crate) fn ago(seconds: i64) -> String {
    stamp(Timestamp::now().saturating_sub(SignedDuration::from_secs(seconds)).unwrap())
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::of(Emulator::synthetic())
    }

    pub(crate) fn of(emulator: Emulator) -> Self {
        let mut http = Client::builder()
            .no_gzip()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(20));
        if let Some(pem) = emulator.ca_pem() {
            http = http.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
        }
        let token = emulator.mint_token();
        Self { emulator, http: http.build().unwrap(), token }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/koodrive/ose/{path}", self.emulator.url())
    }

    pub(crate) fn read(request: RequestBuilder) -> Answer {
        let response = request.send().unwrap();
        let status = response.status().as_u16();
        let text = response.text().unwrap();
        Answer { status, json: serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")) }
    }

    /// A request with a body (a GET if it is null) and nothing else.
    pub(crate) fn bare(&self, path: &str, body: &Value) -> RequestBuilder {
        if body.is_null() {
            return self.http.get(self.url(path));
        }
        self.http.post(self.url(path)).header("Content-Type", "application/json").body(body.to_string())
    }

    /// The same with the headers of an authenticated call.
    pub(crate) fn request(&self, token: &str, path: &str, body: &Value) -> RequestBuilder {
        self.bare(path, body).header("Authorization", token).header("X-User-Id", USER_ID).header("X-Date", ago(2))
    }

    pub(crate) fn call_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        Self::read(self.request(token, path, body))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.call_as(&self.token, path, &Value::Null)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.call_as(&self.token, path, body)
    }

    /// A call that is cheap and needs nothing but a login.
    pub(crate) fn ping(&self, token: &str) -> u16 {
        self.call_as(token, &format!("v1/space/{USER_ID}?type=1"), &Value::Null).status
    }

    pub(crate) fn login_with(&self, password: &str) -> Answer {
        let body = json!({"account": "someone", "authType": "1", "password": password});
        Self::read(self.bare("v1/auth/login", &body).header("X-Hw-Agentname", "carrier"))
    }

    pub(crate) fn login(&self) -> Session {
        self.login_with(&Knobs::default().password).session()
    }

    pub(crate) fn refresh(&self, session: &Session) -> Answer {
        let body = json!({"refreshToken": session.refresh});
        Self::read(self.bare("v1/auth/refreshToken", &body).header("Authorization", &session.access))
    }

    pub(crate) fn list(&self, container: &str, parent: &str, more: &Value) -> Answer {
        self.post("v1/files/0", &listing(container, parent, more))
    }

    pub(crate) fn names(&self, container: &str, parent: &str) -> Vec<String> {
        let mut more = json!({"sortInfo": {"sortType": 1, "sortDirection": 1}, "pageInfo": {"pageSize": 100}});
        let mut names = Vec::new();
        for _ in 0..1000 {
            let answer = self.list(container, parent, &more);
            assert_eq!(answer.code(), 0, "{answer:?}");
            names.extend(
                answer.json["files"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|file| file["fileName"].as_str().unwrap().to_owned()),
            );
            match answer.json["nextCursor"].as_str() {
                None | Some("") => return names,
                Some(cursor) => more["pageInfo"]["pageCursor"] = json!(cursor),
            }
        }
        panic!("this listing does not end");
    }

    pub(crate) fn links(&self, container: &str, ids: &[&str]) -> Answer {
        self.post("v1/files/download", &json!({"containerId": container, "fileIds": ids}))
    }

    /// The same through a shared folder.
    pub(crate) fn inside(&self, path: &str, body: &Value) -> Answer {
        Self::read(self.request(&self.token, path, body).header("x-hw-share-folder-id", SHARED_FOLDER_ID))
    }
}

pub(crate) fn listing(container: &str, parent: &str, more: &Value) -> Value {
    let mut body = json!({"containerId": container, "parentFileId": parent});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

/// The entry of a batch for this id.
pub(crate) fn entry<'a>(answer: &'a Answer, id: &str) -> &'a Value {
    let all = answer.json["downloads"].as_array().unwrap_or_else(|| panic!("no downloads in {answer:?}"));
    all.iter().find(|entry| entry["fileId"] == id).unwrap_or_else(|| panic!("no {id} in {answer:?}"))
}

// ---- spaces ----

#[test]
fn own_space_is_found_by_its_owner() {
    let bench = Bench::new();
    bench.emulator.own().change(|settings| settings.capacity_gb = 7);
    let info = bench.get(&format!("v1/space/{USER_ID}?type=1")).json["data"].clone();
    assert_eq!(info["containerId"], OWN);
    assert_eq!(info["bizRootFileId"], format!("DEUI7pa0C24Aroot{OWN}"));
    assert_eq!((&info["type"], &info["capacity"]), (&json!(1), &json!(7)));
    bench.emulator.knobs(|k| k.space_shape = NumberShape::String);
    let info = bench.get(&format!("v1/space/{USER_ID}?type=1&containerId={SECOND}")).json["data"].clone();
    assert_eq!((&info["containerId"], &info["type"], &info["capacity"]), (&json!(SECOND), &json!("1"), &json!("100")));
    let all = bench.get(&format!("v2/space/{USER_ID}")).json["data"].clone();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(bench.get(&format!("v1/space/{USER_ID}")).code(), 13_000_102, "type is mandatory");
    assert_eq!(bench.get("v1/space/1880000000000000002?type=1").code(), 13_000_410, "somebody else's");
    assert_eq!(bench.get("v1/space/1?type=1").code(), 13_000_301);
    assert_eq!(bench.get(&format!("v1/space/{GROUP_ID}?type=2")).json["data"]["containerId"], GROUP);
    bench.emulator.knobs(|k| k.space_needs_container = true);
    assert_eq!(bench.get(&format!("v1/space/{USER_ID}?type=1")).code(), 13_000_102);
}

#[test]
fn space_that_is_missing_inactive_or_forbidden_has_its_own_code() {
    let bench = Bench::new();
    for (state, code) in
        [(SpaceState::Missing, 13_000_301), (SpaceState::NotActive, 13_000_412), (SpaceState::Forbidden, 13_000_410)]
    {
        bench.emulator.own().change(|settings| settings.state = state);
        assert_eq!(bench.list(OWN, "root", &Value::Null).code(), code);
        assert_eq!(bench.links(OWN, &["F1"]).code(), code);
    }
    assert_eq!(bench.list("IAADnone", "root", &Value::Null).code(), 13_000_301);
    assert_eq!(bench.list(FAMILY, "root", &Value::Null).code(), 13_000_410);
    bench.emulator.knobs(|k| k.business_status = 400);
    assert_eq!(bench.list(FAMILY, "root", &Value::Null).status, 400);
}

#[test]
fn teams_are_listed_in_pages() {
    let mut spaces = Spaces::default();
    for index in 0..25 {
        let (container, owner) = (format!("IAAGmany{index:02}"), format!("17600000000000000{index:02}"));
        spaces.all.push(Space::empty(SpaceKind::Group, &container, &owner, &format!("team {index:02}")));
    }
    let bench = Bench::of(Emulator::start(EmulatorConfig { spaces, ..EmulatorConfig::default() }));
    let page = |query: &str| bench.get(&format!("v1/space/teamList?{query}"));
    let first = page("offset=0&limit=20");
    assert_eq!((first.json["teams"].as_array().unwrap().len(), &first.json["total"]), (20, &json!(27)));
    let second = page("offset=20&limit=20");
    assert_eq!(second.json["teams"].as_array().unwrap().len(), 7);
    let ids: HashSet<String> = [first, second]
        .iter()
        .flat_map(|answer| answer.json["teams"].as_array().unwrap().clone())
        .map(|team| team["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 27);
    assert_eq!(page("").json["teams"].as_array().unwrap().len(), 10);
    assert_eq!(page("teamType=0").json["teams"][0]["id"], DEPARTMENT_ID);
    assert_eq!(page("keyWord=Chess%20club").json["teams"][0]["containerId"], GROUP);
    for wrong in ["limit=0", "limit=101", "offset=-1", "teamType=3"] {
        assert_eq!(page(wrong).code(), 13_000_102, "{wrong}");
    }
    assert_eq!(bench.get("v1/space/departmentList?limit=100").json["departments"][0]["containerId"], DEPARTMENT);
    assert_eq!(bench.get("v1/space/groupList?limit=100").code(), 13_000_410);
    bench.emulator.knobs(|k| k.tenant_admin = true);
    assert_eq!(bench.get("v1/space/groupList?limit=100").json["groups"].as_array().unwrap().len(), 26);
}

#[test]
fn listing_of_a_space_has_files_and_folders_without_links() {
    let bench = Bench::new();
    let tree = &bench.emulator.own().tree;
    let folder = tree.add("", Entry::folder("docs"));
    tree.add(&folder, Entry::file("a.pdf", 1000));
    tree.add("", Entry::bytes("b.txt", "hello"));
    bench.emulator.tree().add("", Entry::file("of the share", 1));
    assert_eq!(bench.names(OWN, "root"), ["b.txt", "docs"]);
    assert_eq!(bench.names(OWN, &format!("DEUI7pa0C24Aroot{OWN}")), ["b.txt", "docs"]);
    let answer = bench.list(OWN, &folder, &Value::Null);
    assert_eq!(answer.json["category"], "drive#fileList");
    let file = &answer.json["files"][0];
    assert_eq!(
        (&file["fileName"], &file["size"], &file["fileType"], &file["recycled"], &file["parentFolder"][0]),
        (&json!("a.pdf"), &json!(1000), &json!("45"), &json!(false), &json!(folder))
    );
    assert!(file.get("downloadLinks").is_none());
    assert_ne!(file["createdTime"], file["editedTime"]);
    bench.emulator.knobs(|k| k.size_shape = NumberShape::String);
    assert_eq!(bench.list(OWN, &folder, &Value::Null).json["files"][0]["size"], "1000");
    let top = bench.list(OWN, "root", &Value::Null);
    assert_eq!(top.json["files"][0]["parentFolder"][0], format!("DEUI7pa0C24Aroot{OWN}"));
}

#[test]
fn pages_of_a_space_join_to_the_directory_and_cursors_stay_in_it() {
    let bench = Bench::new();
    for container in [OWN, SECOND] {
        bench.emulator.space(container).tree.add_many("", (0..250).map(|n| Entry::file(format!("{n:03}"), 1)));
    }
    bench.emulator.knobs(|k| k.empty_pages = 2);
    assert_eq!(bench.names(OWN, "root").len(), 250);
    let cursor = bench.list(OWN, "root", &Value::Null).json["nextCursor"].clone();
    let second_page = json!({"pageInfo": {"pageCursor": cursor, "pageSize": "10"}});
    assert_eq!(bench.list(OWN, "root", &second_page).code(), 0);
    assert_eq!(bench.list(SECOND, "root", &second_page).code(), 13_000_102);
    for wrong in [json!({"pageSize": 0}), json!({"pageSize": 101})] {
        assert_eq!(bench.list(OWN, "root", &json!({"pageInfo": wrong})).code(), 13_000_102);
    }
    for (kind, code) in [(json!(""), 0), (json!("1"), 0), (json!(6), 0), (json!(5), 13_000_102), (json!(7), 13_000_102)]
    {
        assert_eq!(bench.list(OWN, "root", &json!({"sortInfo": {"sortType": kind}})).code(), code, "{kind}");
    }
}

#[test]
fn recycled_entries_show_where_the_knob_wants_them_and_in_the_bin() {
    let bench = Bench::new();
    let tree = &bench.emulator.own().tree;
    let gone = tree.add("", Entry::file("gone", 1));
    let folder = tree.add("", Entry::folder("old"));
    tree.add("", Entry::file("here", 1));
    tree.recycle(&gone);
    tree.recycle(&folder);
    assert_eq!(bench.names(OWN, "root"), ["here"]);
    assert_eq!(bench.list(OWN, &folder, &Value::Null).code(), 13_000_305);
    assert_eq!(entry(&bench.links(OWN, &[&gone]), &gone)["code"], "13000306");
    let bin = bench.post("v1/files/1", &listing(OWN, "root", &Value::Null));
    assert_eq!(bin.json["files"].as_array().unwrap().len(), 2);
    bench.emulator.knobs(|k| k.recycled_in_listings = true);
    assert_eq!(bench.names(OWN, "root"), ["gone", "here", "old"]);
    let all = bench.list(OWN, "root", &Value::Null);
    let recycled = all.json["files"].as_array().unwrap().iter().filter(|file| file["recycled"] == true).count();
    assert_eq!(recycled, 2);
}

#[test]
fn directory_that_cannot_be_listed_has_its_own_code() {
    let bench = Bench::new();
    let file = bench.emulator.own().tree.add("", Entry::file("f", 1));
    let other = bench.emulator.space(SECOND).tree.add("", Entry::folder("d"));
    for (parent, code) in [
        (file.as_str(), 13_000_304),
        (other.as_str(), 13_000_411),
        ("Fnothing", 13_000_309),
        ("", 13_000_102),
        (&"F".repeat(65), 13_000_102),
    ] {
        assert_eq!(bench.list(OWN, parent, &Value::Null).code(), code, "{parent}");
    }
    assert_eq!(bench.post("v1/files/2", &listing(OWN, "root", &Value::Null)).code(), 13_000_102);
}

#[test]
fn team_is_listed_by_its_own_call_and_kind() {
    let bench = Bench::new();
    bench.emulator.space(GROUP).tree.add("", Entry::file("of the group", 1));
    bench.emulator.space(DEPARTMENT).tree.add("", Entry::file("of the department", 1));
    let list = |team: &str, query: &str, container: &str| {
        bench.post(&format!("v1/files/{team}/0{query}"), &listing(container, "root", &Value::Null))
    };
    assert_eq!(list(GROUP_ID, "?team_type=2", GROUP).json["files"][0]["fileName"], "of the group");
    assert_eq!(list(DEPARTMENT_ID, "", DEPARTMENT).json["files"][0]["fileName"], "of the department");
    assert_eq!(list(DEPARTMENT_ID, "?team_type=0", DEPARTMENT).code(), 0);
    assert_eq!(list(GROUP_ID, "", GROUP).code(), 13_000_102, "0 is the default");
    assert_eq!(list(DEPARTMENT_ID, "?team_type=2", DEPARTMENT).code(), 13_000_102);
    assert_eq!(list(GROUP_ID, "?team_type=1", GROUP).code(), 13_000_102);
    assert_eq!(list(GROUP_ID, "?team_type=2", OWN).code(), 13_000_102);
    assert_eq!(list("1", "?team_type=2", GROUP).code(), 13_000_301);
    assert_eq!(bench.list(GROUP, "root", &Value::Null).code(), 13_000_102, "not by the personal call");
    let counters = bench.emulator.counters();
    assert_eq!((counters.calls_of("teamFiles"), counters.calls_of("spaceFiles")), (8, 1));
}

#[test]
fn detail_path_and_statistics_tell_of_a_file() {
    let bench = Bench::new();
    let tree = &bench.emulator.own().tree;
    let folder = tree.add("", Entry::folder("docs"));
    let file = tree.add(&folder, Entry::file("a.bin", 1000));
    let detail = |id: &str| bench.post(&format!("v1/files/{id}/detail"), &json!({"containerId": OWN}));
    let answer = detail(&file);
    assert_eq!((&answer.json["id"], &answer.json["size"]), (&json!(file), &json!(1000)));
    assert!(answer.json.get("code").is_none(), "getFile may have no code");
    bench.emulator.knobs(|k| k.detail_code = true);
    assert_eq!(detail(&file).code(), 0);
    assert_eq!(detail("Fnothing").code(), 13_000_302);
    let path = bench.get(&format!("v1/files/path?fileId={file}&containerId={OWN}"));
    assert_eq!(path.json["namePath"], format!("root{OWN}/docs/a.bin"));
    assert_eq!(path.json["fileIdPath"], format!("DEUI7pa0C24Aroot{OWN}/{folder}/{file}"));
    let stats = bench.get(&format!("v1/files/statsDir?fileId=root&containerId={OWN}")).json["data"].clone();
    assert_eq!(stats, json!({"totalSize": 1000, "subDirCount": 1, "subFileCount": 1}));
    let flat =
        bench.get(&format!("v1/files/statsDir?fileId=root&containerId={OWN}&recursive=false&includeTotalSize=false"));
    assert_eq!(flat.json["data"], json!({"subDirCount": 1, "subFileCount": 0}));
}

// ---- links ----

#[test]
fn batch_of_links_leads_to_the_files_in_another_order() {
    let bench = Bench::new();
    let tree = &bench.emulator.own().tree;
    let ids = tree.add_many("", (0..100).map(|n| Entry::file(format!("{n:03}"), 1000 + n)));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answer = bench.links(OWN, &ids);
    assert_eq!((answer.code(), &answer.json["batchCode"]), (0, &json!(1)));
    let order: Vec<&str> =
        answer.json["downloads"].as_array().unwrap().iter().map(|entry| entry["fileId"].as_str().unwrap()).collect();
    assert_ne!(order, ids);
    for id in [ids[0], ids[41], ids[99]] {
        let entry = entry(&answer, id);
        assert_eq!(entry["code"], "0");
        let link = entry["url"].as_str().unwrap();
        let bytes = bench.http.get(link).header("Accept-Encoding", "identity").send().unwrap().bytes().unwrap();
        assert_eq!(bytes, tree.expected(id, 0, 2000));
    }
    bench.emulator.knobs(|k| k.shuffle_downloads = false);
    let answer = bench.links(OWN, &ids);
    assert_eq!(answer.json["downloads"][7]["fileId"], ids[7]);
    let counters = bench.emulator.counters();
    assert_eq!((counters.batch_sizes.get(&100), counters.batches()), (Some(&2), 2));
    assert_eq!(counters.files[ids[0]].links, 2);
    bench.emulator.assert_polite();
}

#[test]
fn batch_that_is_too_large_or_repeats_itself_is_refused() {
    let bench = Bench::new();
    let ids = bench.emulator.own().tree.add_many("", (0..101).map(|n| Entry::file(format!("{n:03}"), 1)));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(bench.links(OWN, &ids).code(), 13_000_102);
    assert_eq!(bench.links(OWN, &[]).code(), 13_000_102);
    assert_eq!(bench.links(OWN, &[ids[0], ids[1], ids[0]]).code(), 13_000_102);
    let mixed = bench.post("v1/files/download", &json!({"containerId": OWN, "fileIds": [ids[0], 7]}));
    assert_eq!(mixed.code(), 13_000_102);
    assert_eq!(bench.emulator.counters().complaints_total, 4);
}

#[test]
fn entry_that_has_no_link_fails_alone() {
    let bench = Bench::new();
    let tree = &bench.emulator.own().tree;
    let file = tree.add("", Entry::file("f", 10));
    let folder = tree.add("", Entry::folder("d"));
    let gone = tree.add("", Entry::file("gone", 10));
    tree.recycle(&gone);
    let other = bench.emulator.space(SECOND).tree.add("", Entry::file("f", 10));
    let answer = bench.links(OWN, &[&file, &folder, &gone, &other, "Fnothing"]);
    assert_eq!((answer.code(), &answer.json["batchCode"]), (0, &json!(0)));
    for (id, code) in [
        (file.as_str(), "0"),
        (folder.as_str(), "13000406"),
        (gone.as_str(), "13000306"),
        (other.as_str(), "13000411"),
        ("Fnothing", "13000302"),
    ] {
        let entry = entry(&answer, id);
        assert_eq!(entry["code"], code, "{entry}");
        assert_eq!(entry["url"].is_null(), code != "0");
    }
    assert_eq!(bench.links(OWN, &[&folder, "Fnothing"]).json["batchCode"], 2);
    bench.emulator.assert_polite();
}

#[test]
fn fault_fails_part_of_a_batch_or_leaves_an_entry_out() {
    let bench = Bench::new();
    let ids = bench.emulator.own().tree.add_many("", (0..4).map(|n| Entry::file(format!("{n}"), 1)));
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    bench.emulator.fault(Fault::api("spaceDownload", FaultKind::PartialBatch).once());
    let answer = bench.links(OWN, &ids);
    assert_eq!(answer.json["batchCode"], 0);
    assert_eq!(entry(&answer, ids[0])["code"], "13000408");
    assert_eq!(entry(&answer, ids[1])["code"], "0");
    bench.emulator.fault(Fault::api("spaceDownload", FaultKind::BatchGap).once());
    let answer = bench.links(OWN, &ids);
    assert_eq!(answer.json["downloads"].as_array().unwrap().len(), 3);
    assert_eq!(bench.links(OWN, &ids).json["batchCode"], 1);
}

#[test]
fn token_sent_to_the_object_store_is_refused_and_counted() {
    let bench = Bench::new();
    let file = bench.emulator.own().tree.add("", Entry::file("f", 10));
    let answer = bench.links(OWN, &[&file]);
    let link = entry(&answer, &file)["url"].as_str().unwrap();
    let response = bench.http.get(link).header("Authorization", &bench.token).send().unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(bench.emulator.counters().secret_leaks, 1);
}

#[test]
fn places_with_the_same_files_share_no_ids_and_no_objects() {
    let bench = Bench::new();
    let mut ids = HashSet::from([bench.emulator.tree().add("", Entry::file("same", 100))]);
    for container in [OWN, SECOND, DEPARTMENT, GROUP, FAMILY] {
        let tree = &bench.emulator.space(container).tree;
        let id = tree.add("", Entry::file("same", 100));
        if container != FAMILY {
            let answer = bench.links(container, &[&id]);
            let link = entry(&answer, &id)["url"].as_str().unwrap().to_owned();
            let bytes = bench.http.get(&link).header("Accept-Encoding", "identity").send().unwrap().bytes().unwrap();
            assert_eq!(bytes, tree.expected(&id, 0, 100));
        }
        assert!(ids.insert(id), "{container}");
    }
}

#[test]
fn space_with_a_tree_of_another_place_does_not_start() {
    let mut spaces = Spaces::default();
    spaces.all[0] = Space::new(SpaceKind::Individual, OWN, USER_ID, "", Tree::synthetic());
    assert!(Emulator::try_start(EmulatorConfig { spaces, ..EmulatorConfig::default() }).is_err());
}

#[test]
fn directory_is_served_as_a_space() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    std::fs::write(directory.path().join("sub/a.txt"), "from a disk").unwrap();
    let mut spaces = Spaces::default();
    spaces.serve(GROUP, directory.path()).unwrap();
    let bench = Bench::of(Emulator::start(EmulatorConfig { spaces, ..EmulatorConfig::default() }));
    let file = bench.emulator.space(GROUP).tree.find("sub/a.txt").unwrap();
    let answer = bench.links(GROUP, &[&file.id]);
    let link = entry(&answer, &file.id)["url"].as_str().unwrap();
    let text = bench.http.get(link).header("Accept-Encoding", "identity").send().unwrap().text().unwrap();
    assert_eq!(text, "from a disk");
}

// ---- shared folders ----

#[test]
fn shared_folder_is_reachable_through_its_header_and_only_below_itself() {
    let bench = Bench::new();
    let tree = &bench.emulator.space(FAMILY).tree;
    let folder = tree.find("holidays").unwrap().id.clone();
    let below = tree.add(&folder, Entry::folder("2024"));
    let photo = tree.add(&below, Entry::file("a.jpg", 10));
    let beside = tree.add("", Entry::file("diary", 10));
    let beside_folder = tree.add("", Entry::folder("letters"));

    let found = bench.get("v1/sharefolder/list?offset=0&limit=1000").json["folders"][0].clone();
    assert_eq!(
        (&found["id"], &found["containerId"], &found["shareFolderFileId"]),
        (&json!(SHARED_FOLDER_ID), &json!(FAMILY), &json!(folder))
    );
    let metadata = bench.get(&format!("v1/sharefolder/metadata/{SHARED_FOLDER_ID}"));
    assert_eq!(metadata.json["sharefolder"], found);

    let list = |parent: &str| bench.inside("v1/files/0", &listing(FAMILY, parent, &Value::Null));
    assert_eq!(list(&folder).json["files"][0]["fileName"], "2024");
    assert_eq!(list(&below).json["files"][0]["fileName"], "a.jpg");
    assert_eq!(list("root").code(), 13_000_410);
    assert_eq!(list(&beside_folder).code(), 13_000_411);
    let links = bench.inside("v1/files/download", &json!({"containerId": FAMILY, "fileIds": [photo, beside]}));
    assert_eq!(entry(&links, &photo)["code"], "0");
    assert_eq!(entry(&links, &beside)["code"], "13000411");
    let detail = |id: &str| bench.inside(&format!("v1/files/{id}/detail"), &json!({"containerId": FAMILY}));
    assert_eq!(detail(&photo).json["fileName"], "a.jpg");
    assert_eq!(detail(&beside).code(), 13_000_411);

    assert_eq!(bench.list(FAMILY, &folder, &Value::Null).code(), 13_000_410, "without the header");
    assert_eq!(bench.links(FAMILY, &[&photo]).code(), 13_000_410);
    let own = bench.inside("v1/files/0", &listing(OWN, "root", &Value::Null));
    assert_eq!(own.code(), 13_000_102, "another space than the folder's");
    let unknown = bench.request(&bench.token, "v1/files/0", &listing(FAMILY, &folder, &Value::Null));
    assert_eq!(Bench::read(unknown.header("x-hw-share-folder-id", "1")).code(), 13_000_309);
}

#[test]
fn shared_folder_list_wants_offset_and_limit() {
    let bench = Bench::new();
    for (query, code) in [
        ("offset=0&limit=1", 0),
        ("offset=0", 13_000_102),
        ("limit=1", 13_000_102),
        ("offset=0&limit=0", 13_000_102),
        ("offset=0&limit=1001", 13_000_102),
        ("offset=0&limit=1&status=1", 13_000_102),
    ] {
        assert_eq!(bench.get(&format!("v1/sharefolder/list?{query}")).code(), code, "{query}");
    }
    let mine = bench.get("v1/sharefolder/list?offset=0&limit=10&queryType=1");
    assert_eq!(mine.json["folders"], json!([]));
}

// ---- the share with a login ----

#[test]
fn enterprise_share_wants_a_login_and_no_carrier_name() {
    let bench = Bench::new();
    bench.emulator.knobs(|k| k.access_code = Some("a1B2c3D4".to_owned()));
    let file = bench.emulator.tree().add("", Entry::file("f.bin", 10));
    let code = bench.emulator.share_code().to_owned();
    assert_eq!(bench.get(&format!("v1/share/visit?shortUrl={code}")).code(), 0);
    let info = bench.get(&format!("v1/share/userInfo?shortUrl={code}"));
    let share_id = info.json["link"]["shareId"].as_str().unwrap().to_owned();
    let verified = bench.post("v1/share/verify", &json!({"shortUrl": code, "extractCode": "a1B2c3D4"}));
    let token = verified.json["kdstoken"].as_str().unwrap();
    let listed = bench.post("v1/share/files", &json!({"shortUrl": code, "kdstoken": token}));
    assert_eq!(listed.json["files"][0]["id"], file);
    let download = json!({"shareId": share_id, "fileId": file, "kdstoken": token});
    let link = bench.post("v1/share/download", &download).json["downloadUrl"].as_str().unwrap().to_owned();
    assert_eq!(bench.http.get(link).header("Accept-Encoding", "identity").send().unwrap().status(), 200);
    assert_eq!(bench.emulator.counters().calls_with("shareFiles", 200), 1);

    let bare = bench.bare("v1/share/files", &json!({"shortUrl": code, "kdstoken": token}));
    assert_eq!(Bench::read(bare.header("X-Hw-Agentname", "carrier")).status, 401);
    let usage = bench.post("v1/share/files", &json!({"shortUrl": code, "kdstoken": token, "usage": "x"}));
    assert_eq!(usage.code(), 13_000_102, "the twin knows no usage");
}

// ---- TLS, proxies ----

fn with_tls(advertise: Option<&str>) -> Emulator {
    Emulator::start(EmulatorConfig { tls: true, advertise: advertise.map(str::to_owned), ..EmulatorConfig::default() })
}

#[test]
fn tls_is_trusted_by_its_authority_only_and_links_are_https() {
    let bench = Bench::of(with_tls(None));
    assert!(bench.emulator.url().starts_with("https://127.0.0.1:"));
    let file = bench.emulator.own().tree.add("", Entry::file("f", 100_000));
    let answer = bench.links(OWN, &[&file]);
    let link = entry(&answer, &file)["url"].as_str().unwrap();
    assert!(link.starts_with("https://127.0.0.1:"), "{link}");
    let bytes = bench.http.get(link).header("Accept-Encoding", "identity").send().unwrap().bytes().unwrap();
    assert_eq!(bytes, bench.emulator.own().tree.expected(&file, 0, 100_000));
    let localhost = bench.emulator.url().replace("127.0.0.1", "localhost");
    assert_eq!(bench.http.get(format!("{localhost}/emulator")).send().unwrap().status(), 200);
    let stranger = Client::builder().no_gzip().no_proxy().build().unwrap();
    assert!(stranger.get(bench.emulator.url()).send().is_err());
    assert!(bench.http.get(bench.emulator.url().replace("https", "http")).send().is_err());
    bench.emulator.wait_until("two failed handshakes", |counters| counters.tls_failures == 2);
}

#[test]
fn redirect_to_plain_http_leaves_tls_and_is_counted_when_followed() {
    let bench = Bench::of(with_tls(None));
    let file = bench.emulator.own().tree.add("", Entry::file("f", 100));
    let answer = bench.links(OWN, &[&file]);
    let link = entry(&answer, &file)["url"].as_str().unwrap();
    let location = |kind: FaultKind| {
        bench.emulator.fault(Fault::object(kind).once());
        let response = bench.http.get(link).header("Accept-Encoding", "identity").send().unwrap();
        assert_eq!(response.status(), 307);
        response.headers()["location"].to_str().unwrap().to_owned()
    };
    assert!(location(FaultKind::Redirect).starts_with("https://"));
    let plain = location(FaultKind::RedirectPlain);
    assert!(plain.starts_with("http://"), "{plain}");
    assert_eq!(bench.emulator.counters().plain_requests, 0);
    let response = bench.http.get(plain).header("Accept-Encoding", "identity").send().unwrap();
    assert_eq!(response.bytes().unwrap(), bench.emulator.own().tree.expected(&file, 0, 100));
    assert_eq!(bench.emulator.counters().plain_requests, 1);
}

#[test]
fn fault_on_a_body_ends_it_over_tls_too() {
    let bench = Bench::of(with_tls(None));
    let file = bench.emulator.own().tree.add("", Entry::file("f", 3_000_000));
    for kind in [FaultKind::Truncate, FaultKind::ResetBody] {
        let answer = bench.links(OWN, &[&file]);
        bench.emulator.fault(Fault::object(kind).once().after_bytes(100_000));
        let link = entry(&answer, &file)["url"].as_str().unwrap();
        let response = bench.http.get(link).header("Accept-Encoding", "identity").send().unwrap();
        assert_eq!(response.headers()["content-length"], "3000000");
        assert!(response.bytes().is_err(), "{kind:?}");
    }
}

#[test]
fn proxy_tunnels_to_a_name_and_counts() {
    let bench = Bench::of(with_tls(Some("koodrive.test")));
    let proxy = TestProxy::start();
    proxy.route("koodrive.test", IpAddr::V4(Ipv4Addr::LOCALHOST));
    let client = |url: &str| {
        let ca = reqwest::Certificate::from_pem(bench.emulator.ca_pem().unwrap().as_bytes()).unwrap();
        Client::builder().no_gzip().proxy(reqwest::Proxy::all(url).unwrap()).tls_certs_only([ca]).build().unwrap()
    };
    let url = format!("{}/emulator", bench.emulator.url());
    assert!(url.starts_with("https://koodrive.test:"));
    assert_eq!(client(&proxy.url()).get(&url).send().unwrap().status(), 200);
    let counters = proxy.counters();
    assert_eq!((counters.connects, counters.refused, counters.secret_leaks), (1, 0, 0));
    assert_eq!(counters.targets, [format!("koodrive.test:{}", bench.emulator.api_address().port())]);
    assert!(client(&proxy.url()).get("https://elsewhere.test/").send().is_err());
    assert_eq!(proxy.counters().refused, 1);
    proxy.require("me", "secret");
    assert!(client(&proxy.url()).get(&url).send().is_err());
    assert_eq!(client(&proxy.url_with("me", "secret")).get(&url).send().unwrap().status(), 200);
}

#[test]
fn proxy_passes_plain_requests_on() {
    let emulator =
        Emulator::start(EmulatorConfig { advertise: Some("koodrive.test".to_owned()), ..EmulatorConfig::default() });
    let proxy = TestProxy::start();
    proxy.route("koodrive.test", IpAddr::V4(Ipv4Addr::LOCALHOST));
    let client = Client::builder().no_gzip().proxy(reqwest::Proxy::all(proxy.url()).unwrap()).build().unwrap();
    for _ in 0..2 {
        let response =
            client.post(format!("{}/emulator/knobs", emulator.url())).body("{\"page_cap\": 7}").send().unwrap();
        assert_eq!(response.status(), 200);
    }
    assert_eq!(emulator.current_knobs().page_cap, 7);
    assert_eq!((proxy.counters().forwards, proxy.counters().connects), (2, 0));
}

// ---- WebDAV ----

fn dav(bench: &Bench, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let url = format!("{}{path}", bench.emulator.dav_url());
    let mut request = bench.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().unwrap()
}

#[test]
fn webdav_shows_what_the_share_holds() {
    let bench = Bench::new();
    let tree = bench.emulator.tree();
    let folder = tree.add("", Entry::folder("a & <b>"));
    let file = tree.add(&folder, Entry::file("c d.bin", 1000));
    assert_eq!(dav(&bench, "OPTIONS", "", &[]).headers()["dav"], "1");
    let top = dav(&bench, "PROPFIND", "", &[("Depth", "1")]);
    assert_eq!(top.status(), 207);
    let top = top.text().unwrap();
    assert!(
        top.contains("<D:href>/dav/</D:href>") && top.contains("<D:href>/dav/a%20%26%20%3Cb%3E/</D:href>"),
        "{top}"
    );
    assert_eq!(top.matches("<D:collection/>").count(), 2);
    let path = "a%20%26%20%3Cb%3E/c%20d.bin";
    let one = dav(&bench, "PROPFIND", path, &[("Depth", "0")]).text().unwrap();
    let response = dav(&bench, "GET", path, &[("Range", "bytes=5-5")]);
    assert_eq!(response.status(), 206, "no way of OBS's");
    let etag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert!(one.contains("<D:getcontentlength>1000</D:getcontentlength>") && one.contains(&etag), "{one}");
    assert_eq!(response.bytes().unwrap(), tree.expected(&file, 5, 1));
    assert_eq!(dav(&bench, "GET", path, &[]).bytes().unwrap(), tree.expected(&file, 0, 1000));
    let head = dav(&bench, "HEAD", path, &[]);
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "1000"));
    assert!(head.bytes().unwrap().is_empty());
    assert_eq!(dav(&bench, "GET", "nothing", &[]).status(), 404);
    assert_eq!(dav(&bench, "PROPFIND", "nothing", &[("Depth", "0")]).status(), 404);
    assert_eq!(dav(&bench, "PROPFIND", "", &[("Depth", "infinity")]).status(), 403);
    assert_eq!(dav(&bench, "PUT", "x", &[]).status(), 405);
    let counters = bench.emulator.counters();
    assert_eq!((counters.calls_with("davList", 207), counters.calls_of("davGet"), counters.api_calls()), (2, 4, 0));
    bench.emulator.assert_polite();
}

#[test]
fn webdav_path_that_was_renamed_or_moved_is_found_anew() {
    let bench = Bench::new();
    let tree = bench.emulator.tree();
    let folder = tree.add("", Entry::folder("d"));
    let file = tree.add(&folder, Entry::file("a", 10));
    dav(&bench, "PROPFIND", "d/", &[("Depth", "1")]);
    tree.rename(&folder, "e");
    assert_eq!(dav(&bench, "GET", "d/a", &[]).status(), 404);
    assert_eq!(dav(&bench, "GET", "e/a", &[]).bytes().unwrap(), tree.expected(&file, 0, 10));
}

#[test]
fn webdav_takes_the_time_of_the_api_and_of_the_store() {
    let bench = Bench::new();
    bench.emulator.tree().add("", Entry::file("a", 10));
    bench.emulator.knobs(|k| {
        k.api_latency = Duration::from_millis(60);
        k.object_latency = Duration::from_millis(30);
    });
    let started = std::time::Instant::now();
    dav(&bench, "PROPFIND", "", &[("Depth", "1")]);
    let listed = started.elapsed();
    dav(&bench, "GET", "a", &[]);
    let read = started.elapsed() - listed;
    assert!(listed >= Duration::from_millis(60) && read >= Duration::from_millis(30), "{listed:?}, {read:?}");
}

// ---- control ----

#[test]
fn control_mints_revokes_and_changes_spaces() {
    let bench = Bench::new();
    let control = |path: &str, body: &str| {
        let response = bench.http.post(format!("{}/emulator/{path}", bench.emulator.url())).body(body.to_owned());
        let response = response.send().unwrap();
        (response.status().as_u16(), response.text().unwrap().trim().to_owned())
    };
    let (_, token) = control("auth/mint", "");
    assert_eq!(bench.ping(&token), 200);
    assert_eq!(control("auth/revoke", &token).0, 200);
    assert_eq!(control("auth/revoke", &token).0, 400);
    assert_eq!((bench.ping(&token), bench.ping(&bench.token)), (401, 200));
    assert_eq!(control(&format!("spaces?container={OWN}&state=not_active&capacity=5"), "").0, 200);
    let settings = bench.emulator.own().settings();
    assert_eq!((settings.state, settings.capacity_gb), (SpaceState::NotActive, 5));
    assert_eq!(control("spaces?container=none&state=active", "").0, 400);
    assert_eq!(control("auth/revoke", "").0, 200);
    assert_eq!(bench.ping(&bench.token), 401);
}
