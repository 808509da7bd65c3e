//! The client of spaces: against the emulator, and against a scripted service where odd answers are wanted.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use koofs::clock::{BootTime, Clock, SystemClock};
use koofs::config::{
    Connection, Credentials, Edition, LoginConfig, Secret, ShareConfig, Source, SpaceConfig, SpaceSource, TeamKind,
};
use koofs::content::LinkStore;
use koofs::http::{HttpConfig, ObjectClient};
use koofs::koodrive::{self, OpenError, UPKEEP_INTERVAL, VisibleKind, VisibleSpace};
use koofs::policy::printable::one_line;
use koofs::policy::range::ByteRange;
use koofs::policy::retry::FailureKind;
use koofs::remote::{Capacity, Cursor, Link, NodeId, NodeKind, Page, Remote, RemoteError, RemoteErrorKind, Revision};
use serde_json::{Value, json};

use crate::emulator::knobs::NumberShape;
use crate::emulator::spaces::{
    DEPARTMENT, DEPARTMENT_ID, FAMILY, GROUP, GROUP_ID, OWN, SECOND, SHARED_FOLDER_ID, USER_ID,
};
use crate::emulator::{Emulator, Entry, Fault, FaultKind, SpaceState};
use crate::fakes::ManualClock;
use crate::link_laws::Gathering;
use crate::object_client::read_all;
use crate::scripted_server::{Answer, BUSY, Request, ScriptedServer};

pub(crate) const TOKEN: &str = "Bearer 5ca1ab1e0123456789abcdef";

pub(crate) fn connection(endpoint: &str) -> Connection {
    Connection {
        endpoint: endpoint.to_owned(),
        allow_http: false,
        allow_private_links: false,
        ca_file: None,
        op_timeout: Duration::from_secs(20),
    }
}

/// `source` with a token that the emulator has made.
pub(crate) fn config(emulator: &Emulator, source: SpaceSource) -> SpaceConfig {
    SpaceConfig { connection: connection(&emulator.url()), source, login: token_login(emulator) }
}

/// A login by a token that the emulator has made.
fn token_login(emulator: &Emulator) -> LoginConfig {
    LoginConfig {
        credentials: Credentials::Token(Secret::new(emulator.mint_token())),
        user_id: Some(USER_ID.to_owned()),
        agent: None,
    }
}

/// The emulator's share, with a login.
pub(crate) fn enterprise_share(emulator: &Emulator, access_code: Option<&str>) -> ShareConfig {
    ShareConfig {
        connection: connection(&emulator.url()),
        code: emulator.share_code().to_owned(),
        access_code: access_code.map(Secret::new),
        edition: Edition::Enterprise(token_login(emulator)),
    }
}

/// Opens whatever it is, with time by `clock`. Of a space, the page that opening has listed is used up: whatever is listed later is
/// asked of the service.
pub(crate) fn open_on(source: Source, clock: Arc<dyn Clock>) -> Result<Arc<dyn Remote>, OpenError> {
    let remote = koodrive::open(&source, &HttpConfig::of(source.connection()), clock)?;
    if matches!(source, Source::Space(_)) {
        let _ = remote.list_page(&remote.root(), None, soon());
    }
    Ok(remote)
}

pub(crate) fn open(config: &SpaceConfig) -> Result<Arc<dyn Remote>, OpenError> {
    open_on(Source::Space(config.clone()), Arc::new(SystemClock))
}

fn opened(emulator: &Emulator, source: SpaceSource) -> Arc<dyn Remote> {
    open(&config(emulator, source)).unwrap()
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(crate) fn names(client: &dyn Remote, directory: &NodeId) -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let page = client.list_page(directory, cursor.as_ref(), soon()).unwrap();
        names.extend(page.nodes.into_iter().map(|node| node.name));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return names,
        }
    }
}

/// The bytes behind the link of `id`.
fn read(client: &dyn Remote, id: &str, len: u64) -> Vec<u8> {
    let link = client.resolve_links(&[NodeId::new(id)], soon()).unwrap().remove(0).unwrap();
    let config = HttpConfig { allow_private_links: true, ..HttpConfig::new(false, Duration::from_secs(30)) };
    let objects = ObjectClient::new(config, Arc::new(SystemClock)).unwrap();
    let mut answer = objects.get_range(&link, ByteRange::new(0, len), None, soon()).unwrap();
    read_all(&mut answer).unwrap()
}

pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" / {error} {error:?}");
        cause = error.source();
    }
    text
}

/// The text of a refusal, with its causes as the log shows them, has all of `parts`.
pub(crate) fn says(error: &dyn Error, parts: &[&str]) {
    let text = one_line(error);
    assert!(!error.to_string().contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

// ---- Every source ----

#[test]
fn every_source_is_found_listed_and_read() {
    let emulator = Emulator::synthetic();
    let sources = [
        (OWN, "", SpaceSource::Own),
        (OWN, "", SpaceSource::Container(OWN.to_owned())),
        (SECOND, "", SpaceSource::Container(SECOND.to_owned())),
        (DEPARTMENT, "", SpaceSource::Team { group_id: DEPARTMENT_ID.to_owned(), kind: None }),
        (GROUP, "", SpaceSource::Team { group_id: GROUP_ID.to_owned(), kind: None }),
        (GROUP, "", SpaceSource::Team { group_id: GROUP_ID.to_owned(), kind: Some(TeamKind::Group) }),
        (FAMILY, "holidays", SpaceSource::SharedFolder(SHARED_FOLDER_ID.to_owned())),
    ];
    for (container, top, source) in sources {
        let tree = &emulator.space(container).tree;
        let top = if top.is_empty() { String::new() } else { tree.find(top).unwrap().id.clone() };
        let folder = match tree.find_child(&top, "docs") {
            Some(folder) => folder.id.clone(),
            None => tree.add(&top, Entry::folder("docs")),
        };
        if tree.find_child(&folder, "a.bin").is_none() {
            tree.add(&folder, Entry::file("a.bin", 1000));
        }
        let client = opened(&emulator, source.clone());
        let root = client.list_page(&client.root(), None, soon()).unwrap();
        let docs = root.nodes.iter().find(|node| node.name == "docs").unwrap();
        assert_eq!((docs.kind, docs.id.as_str()), (NodeKind::Directory, folder.as_str()), "{source:?}");
        let page = client.list_page(&docs.id, None, soon()).unwrap();
        let file = &page.nodes[0];
        assert_eq!((file.name.as_str(), file.version.size_bytes), ("a.bin", 1000), "{source:?}");
        assert_eq!(read(&*client, file.id.as_str(), 1000), tree.expected(file.id.as_str(), 0, 1000), "{source:?}");
    }
    emulator.assert_polite();
}

#[test]
fn own_space_of_a_user_who_must_say_which_is_the_first() {
    let emulator = Emulator::synthetic();
    emulator.own().tree.add("", Entry::file("mine", 1));
    emulator.knobs(|knobs| knobs.space_needs_container = true);
    let client = opened(&emulator, SpaceSource::Own);
    assert_eq!(names(&*client, &client.root()), ["mine"]);
}

#[test]
fn enterprise_share_opens_with_a_login_and_its_access_code() {
    let emulator = Emulator::synthetic();
    let id = emulator.tree().add("", Entry::file("shared.bin", 100));
    emulator.knobs(|knobs| knobs.access_code = Some("a1B2c3D4".to_owned()));
    let open = |access_code| open_on(Source::Share(enterprise_share(&emulator, access_code)), Arc::new(SystemClock));
    let client = open(Some("a1B2c3D4")).unwrap();
    assert_eq!(names(&*client, &client.root()), ["shared.bin"]);
    assert_eq!(read(&*client, &id, 100), emulator.tree().expected(&id, 0, 100));
    // A new token for the share, not for the login.
    emulator.revoke_tokens();
    assert_eq!(names(&*client, &client.root()), ["shared.bin"]);
    assert_eq!(client.max_links_per_call(), 1);
    emulator.assert_polite();
    says(&open(None).err().unwrap(), &["access code", "--access-code-file"]);
    let calls = emulator.counters().calls;
    assert!(
        calls.keys().all(|name| !["userInfo", "files", "verify", "download"].contains(&name.as_str())),
        "{calls:?}"
    );
}

#[test]
fn listing_is_whole_in_order_and_without_the_recycle_bin() {
    let emulator = Emulator::synthetic();
    let tree = &emulator.own().tree;
    let ids = tree.add_many("", (0..250).map(|n| Entry::file(format!("f{n:04}"), n)));
    tree.recycle(&ids[100]);
    for recycled_in_listings in [false, true] {
        emulator.knobs(|knobs| knobs.recycled_in_listings = recycled_in_listings);
        let client = opened(&emulator, SpaceSource::Own);
        let want: Vec<String> = (0..250).filter(|n| *n != 100).map(|n| format!("f{n:04}")).collect();
        assert_eq!(names(&*client, &client.root()), want);
    }
    emulator.assert_polite();
}

// ---- What is sent ----

/// Answers like a service with one space, `IAAD1`, of user 7.
fn scripted(answer: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::with_handler(move |request| {
        answer(request).unwrap_or_else(|| match request.path() {
            "/koodrive/ose/v1/space/7" => {
                Answer::json(&json!({"data": {"containerId": "IAAD1", "capacity": 2, "spaceUsed": 5}, "code": 0}))
            }
            "/koodrive/ose/v1/files/0" => Answer::json(&json!({"files": [], "code": 0, "msg": "success"})),
            _ => Answer::new(404, ""),
        })
    })
}

pub(crate) fn scripted_config(server: &ScriptedServer, source: SpaceSource) -> SpaceConfig {
    SpaceConfig {
        connection: connection(&server.url()),
        source,
        login: LoginConfig {
            credentials: Credentials::Token(Secret::new(TOKEN)),
            user_id: Some("7".to_owned()),
            agent: None,
        },
    }
}

#[test]
fn requests_have_the_documented_headers_and_fields() {
    let server = scripted(|_| None);
    let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
    let cursor = Cursor::new("c/2".to_owned()).unwrap();
    client.list_page(&NodeId::new("F9"), Some(&cursor), soon()).unwrap();
    let requests = server.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].target.as_str()), ("GET", "/koodrive/ose/v1/space/7?type=1"));
    let lists: Vec<Value> =
        requests.iter().filter(|request| request.path().ends_with("files/0")).map(Request::json).collect();
    assert_eq!(
        lists[0],
        json!({"pageInfo": {"pageSize": 100}, "sortInfo": {"sortType": 1, "sortDirection": 1},
            "containerId": "IAAD1", "parentFileId": "root"})
    );
    // Pages above 100 are tried, from the first entry on; the cursor then goes with the size that it came with.
    assert_eq!(lists[1]["pageInfo"], json!({"pageSize": 1000}));
    assert_eq!(
        lists[2],
        json!({"pageInfo": {"pageSize": 100, "pageCursor": "c/2"}, "sortInfo": {"sortType": 1, "sortDirection": 1},
            "containerId": "IAAD1", "parentFileId": "F9"})
    );
    for request in &requests {
        assert_eq!(request.header("authorization"), Some(TOKEN));
        assert_eq!(request.header("x-user-id"), Some("7"));
        assert_eq!(request.header("x-hw-agentname"), None);
        assert_eq!(request.header("x-hw-share-folder-id"), None);
        let date = request.header("x-date").unwrap();
        let date: jiff::civil::DateTime = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
        let age = jiff::Timestamp::now().duration_since(date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp());
        assert!((2..20).contains(&age.as_secs()), "{date}");
    }
}

#[test]
fn shared_folder_is_named_in_every_call() {
    let server = scripted(|request| match request.path() {
        "/koodrive/ose/v1/sharefolder/metadata/SF%2F1" => Some(Answer::json(&json!({"code": 0, "sharefolder":
            {"id": "SF/1", "containerId": "IAAD9", "shareFolderFileId": "Froot", "ownerId": 1_880_000_000_000_000_001_u64, "status": "0"}}))),
        "/koodrive/ose/v1/files/download" => Some(Answer::json(
            &json!({"code": 0, "batchCode": 1, "downloads": [{"fileId": "F1", "url": "https://b.example/o?s", "code": "0"}]}),
        )),
        _ => None,
    });
    let client = open(&scripted_config(&server, SpaceSource::SharedFolder("SF/1".to_owned()))).unwrap();
    assert_eq!(client.root(), NodeId::new("Froot"));
    client.resolve_links(&[NodeId::new("F1")], soon()).unwrap().remove(0).unwrap();
    for request in server.requests() {
        assert_eq!(request.header("x-hw-share-folder-id"), Some("SF/1"), "{}", request.path());
        if request.method == "POST" {
            assert_eq!(request.json()["containerId"], "IAAD9");
        }
    }
}

// ---- What is understood ----

fn listed(answer: Value) -> Result<Page, RemoteError> {
    let server = scripted(move |request| {
        let asks_f1 = request.path().ends_with("files/0") && request.json()["parentFileId"] == "F1";
        asks_f1.then(|| Answer::json(&answer))
    });
    let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
    client.list_page(&NodeId::new("F1"), None, soon())
}

#[test]
fn answer_without_files_is_malformed_and_names_the_keys_it_has() {
    let error = listed(json!({"code": 0, "category": "drive#fileList", "items": []})).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Malformed);
    says(&error, &["files", "category", "items"]);
    assert!(listed(json!({"code": 0, "data": {"files": [{"id": "F2", "fileName": "a"}]}})).unwrap().nodes.len() == 1);
    assert!(listed(json!({"files": []})).is_ok(), "without a code");
    let page = listed(json!({"code": "0", "files": [
        {"id": "F2", "fileName": "a", "size": "12", "fileType": 15}, {"id": "F3", "fileName": "b", "fileType": "10", "recycled": true}]}))
    .unwrap();
    assert_eq!((page.nodes.len(), page.nodes[0].version.size_bytes), (1, 12));
}

#[test]
fn space_is_found_in_every_documented_form() {
    for data in [
        json!({"data": {"containerId": "IAAD1", "capacity": "2", "spaceUsed": "5", "type": "1"}, "code": "0"}),
        json!({"data": [{"containerId": "IAAD1", "capacity": 2, "spaceUsed": 5, "type": 1}], "code": 0}),
        json!({"containerId": "IAAD1", "capacity": 2, "spaceUsed": 5}),
    ] {
        let answer = data.clone();
        let server = scripted(move |request| request.path().contains("/space/").then(|| Answer::json(&answer)));
        let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
        assert_eq!(client.capacity(), Some(Capacity { total_bytes: 2 << 30, used_bytes: 5 }), "{data}");
    }
}

// ---- Links in batches ----

type Told = (RemoteErrorKind, FailureKind);

/// What a service answers for a batch, and what becomes of the ids F1, F2, F3.
fn batch(answer: Answer) -> Result<Vec<Result<String, Told>>, Told> {
    let server = scripted(move |request| request.path().ends_with("files/download").then(|| answer.clone()));
    let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
    let links = client.resolve_links(&["F1", "F2", "F3"].map(NodeId::new), soon());
    let sent = server.requests().into_iter().find(|request| request.path().ends_with("files/download")).unwrap();
    assert_eq!(sent.json(), json!({"containerId": "IAAD1", "fileIds": ["F1", "F2", "F3"]}));
    let told = |error: RemoteError| (error.kind(), error.failure_kind());
    let urls = |link: Result<Link, RemoteError>| link.map(|link| link.secret_url().to_owned()).map_err(told);
    links.map(|links| links.into_iter().map(urls).collect()).map_err(told)
}

#[test]
fn batch_is_matched_by_id_and_each_entry_fails_alone() {
    use FailureKind::{Permanent, Transient, Unclear};
    use RemoteErrorKind::{Denied, Malformed, NotFound, Unavailable, Unusable};
    let good =
        |id: &str| json!({"fileId": id, "url": format!("https://b.example/{id}?s"), "code": "0", "msg": "success"});
    let bad = |id: &str, code: &str| json!({"fileId": id, "url": null, "fileName": null, "code": code, "msg": "no"});
    let link = |id: &str| Ok(format!("https://b.example/{id}?s"));
    let answer = |entries: Value, batch_code: Value| {
        Answer::json(&json!({"downloads": entries, "batchCode": batch_code, "code": 0, "msg": "Success."}))
    };
    let all = answer(json!([good("F3"), good("F1"), good("F2")]), json!(1));
    assert_eq!(batch(all).unwrap(), [link("F1"), link("F2"), link("F3")]);
    let some = answer(json!([bad("F3", "13000410"), good("F2"), bad("F1", "13000306")]), json!("0"));
    assert_eq!(batch(some).unwrap(), [Err((NotFound, Permanent)), link("F2"), Err((Denied, Permanent))]);
    let none =
        json!({"downloads": [bad("F1", "13000408"), bad("F2", "13009999"), bad("F3", "13000411")], "batchCode": 2});
    let want = [Err((Unavailable, Transient)), Err((Unusable, Permanent)), Err((NotFound, Permanent))];
    for (status, code) in [(200, json!(0)), (200, json!(13_000_408)), (400, json!(13_000_408))] {
        let mut none = none.clone();
        none["code"] = code;
        assert_eq!(batch(Answer::new(status, none.to_string())).unwrap(), want, "HTTP {status}");
    }
    // Left out, without a url, and one of two entries for an id.
    let odd = json!([{"fileId": "F2", "code": "0"}, bad("F3", "13000306"), good("F3"), good("Fother"), {"url": "https://b/x"}]);
    assert_eq!(
        batch(answer(odd, json!(1))).unwrap(),
        [Err((Malformed, Unclear)), Err((Malformed, Unclear)), link("F3")]
    );
}

#[test]
fn file_that_a_batch_gives_no_link_for_is_an_error_that_says_why_it_may_be() {
    let entries = json!([{"fileId": "F1", "url": null, "code": "0"}, {"fileId": "F2", "url": "https://b.example/o?s"}]);
    let answer = Answer::json(&json!({"downloads": entries, "batchCode": 1, "code": 0}));
    let server = scripted(move |request| request.path().ends_with("files/download").then(|| answer.clone()));
    let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
    let mut links = client.resolve_links(&["F1", "F2", "F3"].map(NodeId::new), soon()).unwrap();
    for without in [links.remove(2), links.remove(0)] {
        says(&without.unwrap_err(), &["no link for this file", "audited", "rules"]);
    }
    assert!(links.remove(0).is_ok());
}

#[test]
fn batch_that_is_refused_as_a_whole_fails_as_a_whole() {
    let refused = Answer::new(400, json!({"code": 13_000_410, "msg": "no"}).to_string());
    assert_eq!(batch(refused), Err((RemoteErrorKind::Denied, FailureKind::Permanent)));
}

#[test]
fn batches_hold_a_hundred_ids_and_faults_hit_only_their_own_files() {
    let emulator = Emulator::synthetic();
    let tree = &emulator.own().tree;
    let ids = tree.add_many("", (0..250).map(|n| Entry::file(format!("f{n:04}"), 10)));
    tree.recycle(&ids[7]);
    let client = opened(&emulator, SpaceSource::Own);
    let ids: Vec<NodeId> = ids.iter().map(|id| NodeId::new(id)).collect();
    let max = client.max_links_per_call();
    let links: Vec<_> = ids.chunks(max).flat_map(|batch| client.resolve_links(batch, soon()).unwrap()).collect();
    assert_eq!(links.len(), 250);
    for (index, link) in links.iter().enumerate() {
        match link {
            Err(error) if index == 7 => assert_eq!(error.kind(), RemoteErrorKind::NotFound),
            link => assert!(link.is_ok(), "{index}: {link:?}"),
        }
    }
    assert_eq!(emulator.counters().batch_sizes.into_iter().collect::<Vec<_>>(), [(50, 1), (100, 2)]);
    emulator.fault(Fault::api("spaceDownload", FaultKind::PartialBatch).limit(1));
    let links = client.resolve_links(&ids[20..40], soon()).unwrap();
    let failed: Vec<_> = links.iter().filter_map(|link| link.as_ref().err()).collect();
    assert!(!failed.is_empty() && failed.len() < 20);
    assert!(failed.iter().all(|error| error.failure_kind() == FailureKind::Transient));
    emulator.assert_polite();
}

#[test]
fn four_thousand_files_wanted_by_their_siblings_cost_at_most_sixty_calls() {
    let emulator = Emulator::synthetic();
    emulator.knobs(|knobs| knobs.api_latency = Duration::from_millis(20));
    let tree = &emulator.own().tree;
    let ids: Vec<Revision> = tree
        .add_many("", (0..4000).map(|n| Entry::file(format!("f{n:04}"), 10)))
        .iter()
        .map(|id| Revision { id: NodeId::new(id), edited_ms: 0 })
        .collect();
    let client = opened(&emulator, SpaceSource::Own);
    let clock = Arc::new(Gathering::default());
    let links = Arc::new(LinkStore::new(client, Arc::clone(&clock) as _));
    // As the read-ahead of a copy asks: a hundred siblings at about the same time. (Who completes a hundred does not wait.)
    for siblings in ids.chunks(99) {
        clock.expect(siblings.len());
        std::thread::scope(|scope| {
            for id in siblings {
                scope.spawn(|| links.get(id, soon()).unwrap());
            }
        });
    }
    let calls = emulator.totals().batches();
    assert!((40..=60).contains(&calls), "{calls} calls");
    emulator.assert_polite();
}

// ---- Figures for statfs ----

#[test]
fn statfs_figures_come_from_memory_and_follow_the_service() {
    let emulator = Emulator::synthetic();
    for shape in [NumberShape::Number, NumberShape::String] {
        emulator.knobs(|knobs| knobs.space_shape = shape);
        emulator.own().change(|space| (space.capacity_gb, space.used) = (100, 7));
        let clock = Arc::new(ManualClock::default());
        let source = Source::Space(config(&emulator, SpaceSource::Own));
        let client = open_on(source, Arc::clone(&clock) as _).unwrap();
        assert_eq!(client.capacity(), Some(Capacity { total_bytes: 100 << 30, used_bytes: 7 }));
        emulator.own().change(|space| (space.capacity_gb, space.used) = (200, 8));
        clock.advance(UPKEEP_INTERVAL);
        wait_for("new figures", || client.capacity() == Some(Capacity { total_bytes: 200 << 30, used_bytes: 8 }));
        // The service hangs: the figures of before are at hand all the same.
        emulator.knobs(|knobs| knobs.hold = vec!["space".to_owned()]);
        clock.advance(UPKEEP_INTERVAL);
        let started = Instant::now();
        assert_eq!(client.capacity().map(|figures| figures.used_bytes), Some(8));
        assert!(started.elapsed() < BUSY);
        emulator.knobs(|knobs| knobs.hold = Vec::new());
    }
}

#[test]
fn nonsense_figures_are_brought_to_sense_or_are_none() {
    let figures = |total_bytes, used_bytes| Some(Capacity { total_bytes, used_bytes });
    for (capacity, used, want) in [
        (json!(1), json!(654_777), figures(1 << 30, 654_777)),
        (json!(1), json!(u64::MAX), figures(1 << 30, 1 << 30)),
        (json!("1"), json!(-5), figures(1 << 30, 0)),
        (json!("1"), json!("many"), figures(1 << 30, 0)),
        (json!(u64::MAX), json!(1), figures(1 << 53, 1)),
        (json!(0), json!(1), None),
        (json!(-1), json!(1), None),
        (json!(null), json!(1), None),
        (json!("much"), json!({}), None),
    ] {
        let data = json!({"data": {"containerId": "IAAD1", "capacity": capacity, "spaceUsed": used}, "code": 0});
        let answer = data.clone();
        let server = scripted(move |request| request.path().contains("/space/").then(|| Answer::json(&answer)));
        let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
        assert_eq!(client.capacity(), want, "{data}");
    }
}

#[test]
fn upkeep_ends_with_its_client() {
    let emulator = Emulator::synthetic();
    let clock = Arc::new(ManualClock::default());
    let client = open_on(Source::Space(config(&emulator, SpaceSource::Own)), Arc::clone(&clock) as _).unwrap();
    for _ in 0..3 {
        let before = emulator.counters().calls_of("space");
        clock.advance(UPKEEP_INTERVAL);
        emulator.wait_until("upkeep", |counters| counters.calls_of("space") > before);
    }
    drop(client);
    // The call that was under way, which may be repeated as the clock has moved.
    std::thread::sleep(Duration::from_millis(100));
    let calls = emulator.counters().calls_of("space");
    clock.advance(100 * UPKEEP_INTERVAL);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(emulator.counters().calls_of("space"), calls);
}

#[test]
fn upkeep_keeps_a_sliding_token_alive() {
    let emulator = Emulator::synthetic();
    emulator.knobs(|knobs| knobs.sliding_lifetime = Duration::from_millis(400));
    let folder = SpaceSource::SharedFolder(SHARED_FOLDER_ID.to_owned());
    let sources: [&dyn Fn() -> Source; 3] = [
        &|| Source::Space(config(&emulator, SpaceSource::Own)),
        &|| Source::Space(config(&emulator, folder.clone())),
        &|| Source::Share(enterprise_share(&emulator, None)),
    ];
    for source in sources {
        let clock = Arc::new(ManualClock::default());
        let source = source();
        let client = open_on(source.clone(), Arc::clone(&clock) as _).unwrap();
        for _ in 0..12 {
            let before = emulator.totals().api_calls();
            clock.advance(UPKEEP_INTERVAL);
            emulator.wait_until("upkeep", |_| emulator.totals().api_calls() > before);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(client.list_page(&client.root(), None, clock.now() + UPKEEP_INTERVAL).is_ok(), "{source:?}");
    }
}

// ---- The clock ----

/// A machine whose civil clock is wrong by so many seconds.
struct WrongClock(i64);

impl Clock for WrongClock {
    fn boot(&self) -> BootTime {
        SystemClock.boot()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn utc(&self) -> SystemTime {
        let by = Duration::from_secs(self.0.unsigned_abs());
        if self.0 < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

#[test]
fn wrong_clock_is_set_by_the_first_refusal_and_opens_all_the_same() {
    for (seconds, status) in
        [(600, 401), (-600, 400), (-20 * 60, 401), (5 * 3600, 400), (-86_400 * 400, 401), (30, 401)]
    {
        let emulator = Emulator::synthetic();
        emulator.own().tree.add("", Entry::file("a", 1));
        emulator.knobs(|knobs| knobs.auth_refusal_status = status);
        let config = config(&emulator, SpaceSource::Own);
        let client = open_on(Source::Space(config), Arc::new(WrongClock(seconds))).unwrap();
        assert_eq!(names(&*client, &client.root()), ["a"], "{seconds} s");
        let refused = emulator.counters().refused_dates;
        // The upkeep's first call may come at the same time as the first of the opening.
        assert!(refused <= 1, "{seconds} s: refused {refused} times");
        emulator.assert_polite();
    }
}

// ---- What a login can see ----

fn visible_spaces(config: &SpaceConfig) -> Result<Vec<VisibleSpace>, OpenError> {
    koodrive::visible_spaces(&config.connection, &config.login, Arc::new(SystemClock))
}

#[test]
fn visible_spaces_are_listed_as_mount_takes_them() {
    let emulator = Emulator::synthetic();
    let seen = visible_spaces(&config(&emulator, SpaceSource::Own)).unwrap();
    let by_source: HashMap<&str, (VisibleKind, &str)> =
        seen.iter().map(|space| (space.source.as_str(), (space.kind, space.name.as_str()))).collect();
    let second = format!("space:{SECOND}");
    let (department, group) = (format!("team:{DEPARTMENT_ID}"), format!("team:{GROUP_ID}"));
    let folder = format!("sharedfolder:{SHARED_FOLDER_ID}");
    let want = HashMap::from([
        ("space:", (VisibleKind::Own, "")),
        (second.as_str(), (VisibleKind::Individual, "")),
        (department.as_str(), (VisibleKind::Team, "Engineering")),
        (group.as_str(), (VisibleKind::Team, "Chess club")),
        (folder.as_str(), (VisibleKind::SharedFolder, "holidays")),
    ]);
    assert_eq!(by_source, want);
    assert_eq!(seen[0].capacity.map(|capacity| capacity.total_bytes), Some(100 << 30));
    emulator.assert_polite();
}

#[test]
fn endpoints_that_an_edition_lacks_are_left_out_of_what_is_seen() {
    let server = scripted(|_| None);
    let seen = visible_spaces(&scripted_config(&server, SpaceSource::Own)).unwrap();
    assert_eq!(seen.iter().map(|space| space.source.as_str()).collect::<Vec<_>>(), ["space:"]);
    let nothing = ScriptedServer::with_handler(|_| Answer::new(404, ""));
    let error = visible_spaces(&scripted_config(&nothing, SpaceSource::Own)).unwrap_err();
    says(&error, &["does not answer like KooDrive", "--endpoint"]);
}

#[test]
fn team_that_cannot_be_read_hides_no_other() {
    let team = |number: usize| match number {
        7 => json!({"id": {"odd": true}, "groupName": "odd"}),
        8 => json!({"id": "108", "groupName": ["odd"]}),
        number => json!({"id": format!("{}", 100 + number), "groupName": format!("team {number}")}),
    };
    let server = scripted(move |request| match request.path() {
        "/koodrive/ose/v1/space/teamList" => {
            let offset = if request.target.contains("offset=0") { 0 } else { 100 };
            let teams: Vec<Value> = (offset..(offset + 100).min(130)).map(team).collect();
            Some(Answer::json(&json!({"code": 0, "total": 130, "teams": teams})))
        }
        _ => None,
    });
    let seen = visible_spaces(&scripted_config(&server, SpaceSource::Own)).unwrap();
    assert_eq!(seen.iter().filter(|space| space.kind == VisibleKind::Team).count(), 128);
}

// ---- Refusals that a person meets ----

#[test]
fn refusal_of_a_space_names_it_and_the_remedy() {
    let emulator = Emulator::synthetic();
    let team = |id: &str| SpaceSource::Team { group_id: id.to_owned(), kind: None };
    let fails = |source: SpaceSource| open(&config(&emulator, source)).err().unwrap();
    let missing = fails(SpaceSource::Container("IAADnone".to_owned()));
    assert!(matches!(missing, OpenError::SpaceMissing { .. }), "{missing:?}");
    says(&missing, &["the space IAADnone", "koofs spaces"]);
    says(&fails(team("17")), &["the team space 17", "koofs spaces"]);
    says(&fails(SpaceSource::SharedFolder("17".to_owned())), &["the shared folder 17", "koofs spaces"]);
    says(
        &fails(SpaceSource::Container(FAMILY.to_owned())),
        &["no permission", FAMILY, "ask its owner", "koofs spaces"],
    );
    emulator.own().change(|space| space.state = SpaceState::Forbidden);
    says(&fails(SpaceSource::Own), &["no permission", "own space", "ask its owner"]);
    emulator.own().change(|space| space.state = SpaceState::NotActive);
    says(&fails(SpaceSource::Own), &["no permission", "own space"]);
    emulator.space(GROUP).change(|space| space.state = SpaceState::Forbidden);
    says(&fails(team(GROUP_ID)), &["no permission", GROUP_ID]);
}

#[test]
fn refusal_comes_at_once_and_is_not_tried_until_the_deadline() {
    let emulator = Emulator::synthetic();
    let started = Instant::now();
    for source in [
        SpaceSource::Container("IAADnone".to_owned()),
        SpaceSource::Team { group_id: "17".to_owned(), kind: None },
        SpaceSource::SharedFolder("17".to_owned()),
    ] {
        open(&config(&emulator, source)).err().unwrap();
    }
    assert!(started.elapsed() < BUSY, "{:?}", started.elapsed());
}

#[test]
fn interrupted_connection_and_unexplained_refusal_carry_what_they_mean_for_another_attempt() {
    let server = scripted(|request| match request.path() {
        "/koodrive/ose/v1/files/0" if request.json()["parentFileId"] == "Fcut" => Some(Answer::hang_up()),
        "/koodrive/ose/v1/files/0" if request.json()["parentFileId"] == "Fodd" => {
            Some(Answer::new(400, json!({"code": 13_009_999, "msg": "?"}).to_string()))
        }
        _ => None,
    });
    let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
    let cut = client.list_page(&NodeId::new("Fcut"), None, soon()).unwrap_err();
    assert_eq!((cut.kind(), cut.failure_kind()), (RemoteErrorKind::Interrupted, FailureKind::Interrupted));
    let odd = client.list_page(&NodeId::new("Fodd"), None, soon()).unwrap_err();
    assert_eq!((odd.kind(), odd.failure_kind()), (RemoteErrorKind::Unusable, FailureKind::Permanent));
    assert!(!chain(&odd).contains(TOKEN.split(' ').next_back().unwrap()));
}

#[test]
fn space_of_a_team_by_its_container_alone_is_refused_with_the_way_to_its_name() {
    let emulator = Emulator::synthetic();
    let error = open(&config(&emulator, SpaceSource::Container(DEPARTMENT.to_owned()))).err().unwrap();
    says(&error, &[DEPARTMENT, "koofs spaces"]);
}
