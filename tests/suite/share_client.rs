//! The client of a public share, against a scripted service.

use std::collections::HashSet;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant, SystemTime};

use koofs::clock::{BootTime, Clock, SystemClock};
use koofs::config::{Connection, Edition, Secret, ShareConfig, Source};
use koofs::http::{HttpConfig, ObjectClient};
use koofs::koodrive::OpenError;
use koofs::policy::range::ByteRange;
use koofs::remote::{Cursor, Link, Node, NodeId, NodeKind, Page, Remote, RemoteError, RemoteErrorKind};
use serde_json::{Value, json};

use crate::fakes::ManualClock;
use crate::log_keeper::{keep_log, kept_log};
use crate::scripted_server::{Answer, BUSY, Request, ScriptedServer};
use crate::space_client::open_on;

const ACCESS_CODE: &str = "a1B2c3D4";
const SHORT_CODE: &str = "1808628918203192832";
const TOKEN: &str = "0f1e2d3c4b5a6978";
const SIGNATURE: &str = "deadbeefsignature";
const SECRETS: [&str; 4] = [ACCESS_CODE, SHORT_CODE, TOKEN, SIGNATURE];

const INFO: &str = "/koodrive/ose/v1/share/public/userInfo";
const VERIFY: &str = "/koodrive/ose/v1/share/public/verify";
const FILES: &str = "/koodrive/ose/v1/share/public/files";
const DOWNLOAD: &str = "/koodrive/ose/v1/share/public/download";

/// A code that no page explains, as a stale token or an ended share would give.
const UNEXPLAINED: u64 = 13_009_999;

/// 2025-05-01T08:00:00Z, as date header and as time.
const MAY: &str = "Thu, 01 May 2025 08:00:00 GMT";

fn may() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_746_086_400)
}

/// A machine whose civil clock stands still at the given time.
struct FixedUtc(SystemTime);

impl Clock for FixedUtc {
    fn boot(&self) -> BootTime {
        SystemClock.boot()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn utc(&self) -> SystemTime {
        self.0
    }

    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

fn config(server: &ScriptedServer) -> ShareConfig {
    ShareConfig {
        connection: Connection {
            endpoint: server.url(),
            allow_http: false,
            allow_private_links: false,
            ca_file: None,
            op_timeout: Duration::from_secs(20),
        },
        code: SHORT_CODE.to_owned(),
        access_code: None,
        edition: Edition::Carrier { agent: "carrier".to_owned() },
    }
}

fn protected(server: &ScriptedServer) -> ShareConfig {
    ShareConfig { access_code: Some(Secret::new(ACCESS_CODE)), ..config(server) }
}

fn share_link() -> Value {
    json!({"shareId": "15929", "shortUrl": SHORT_CODE, "ownerName": "Ada", "expireTime": "2999-01-18T11:58:00.000Z", "status": 0})
}

fn info() -> Answer {
    Answer::json(&json!({"link": share_link(), "code": 0, "msg": "Success."}))
}

fn verified() -> Answer {
    Answer::json(&json!({"kdstoken": TOKEN, "code": 0, "msg": "Success."}))
}

fn files(entries: Value) -> Answer {
    Answer::json(&json!({"link": share_link(), "files": entries, "code": 0, "msg": "Success."}))
}

fn refused(status: u16, code: u64) -> Answer {
    Answer::new(status, json!({"code": code, "msg": "no."}).to_string())
}

fn open_with(config: &ShareConfig) -> Result<Arc<dyn Remote>, OpenError> {
    open_on(Source::Share(config.clone()), Arc::new(SystemClock))
}

/// An opened share without an access code; its script goes on with what is pushed next.
fn opened(server: &ScriptedServer) -> Arc<dyn Remote> {
    server.push(info()).push(files(json!([])));
    open_with(&config(server)).unwrap()
}

/// The same with an access code.
fn opened_protected(server: &ScriptedServer) -> Arc<dyn Remote> {
    server.push(info()).push(verified()).push(files(json!([])));
    open_with(&protected(server)).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn list(client: &Arc<dyn Remote>) -> Result<Page, RemoteError> {
    client.list_page(&NodeId::new("Fdir"), None, soon())
}

fn resolve(client: &Arc<dyn Remote>) -> Result<Link, RemoteError> {
    client.resolve_links(&[NodeId::new("Ffile")], soon()).unwrap().remove(0)
}

fn listed(entries: Value) -> Result<Page, RemoteError> {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(files(entries));
    list(&client)
}

fn only(page: Page) -> Node {
    let [node] = <[Node; 1]>::try_from(page.nodes).unwrap();
    node
}

/// The one entry of a listing of one photo, with `key` set to `value`.
fn with(key: &str, value: Value) -> Result<Node, RemoteError> {
    let mut entry = json!({"id": "F1", "fileName": "photo.jpg", "fileType": "15", "size": 7});
    entry[key] = value;
    listed(json!([entry])).map(only)
}

fn chain(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" / {error} {error:?}");
        cause = error.source();
    }
    text
}

// ---- What is sent ----

#[test]
fn opening_asks_verifies_and_lists_with_the_documented_fields() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    let requests = server.requests();
    let calls: Vec<(&str, &str)> = requests.iter().map(|request| (request.method.as_str(), request.path())).collect();
    assert_eq!(calls, [("GET", INFO), ("POST", VERIFY), ("POST", FILES)]);
    assert_eq!(requests[0].target, format!("{INFO}?shortUrl={SHORT_CODE}"));
    assert_eq!(requests[1].json(), json!({"shortUrl": SHORT_CODE, "extractCode": ACCESS_CODE}));
    let first_page = json!({"shortUrl": SHORT_CODE, "pageSize": 100, "sortType": 1, "sortDirection": 1, "kdstoken": TOKEN,
        "refreshCount": false});
    assert_eq!(requests[2].json(), first_page);
    for request in &requests {
        assert_eq!(request.header("x-hw-agentname"), Some("carrier"));
        assert_eq!(request.header("language"), Some("en-US"));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("authorization"), None);
        let trace = request.header("x-traceid").unwrap();
        assert!(trace.len() == 58 && trace.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{trace}");
    }
    assert_ne!(requests[0].header("x-traceid"), requests[1].header("x-traceid"));
    assert_eq!(client.root(), NodeId::new("15929"), "the share's id stands for its top level");
}

#[test]
fn share_without_access_code_sends_an_empty_token_and_never_verifies() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(files(json!([]))).push(Answer::json(&json!({"downloadUrl": "https://b.example/o?s", "code": 0})));
    list(&client).unwrap();
    resolve(&client).unwrap();
    assert_eq!(server.count(VERIFY), 0);
    for request in &server.requests()[1..] {
        assert_eq!(request.json()["kdstoken"], "");
    }
}

#[test]
fn listing_names_folder_and_cursor_as_they_were_given() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(files(json!([])));
    let cursor = Cursor::new("a/+\"=\u{1F600}".to_owned()).unwrap();
    client.list_page(&NodeId::new("Fdir"), Some(&cursor), soon()).unwrap();
    let body = server.requests().last().unwrap().json();
    assert_eq!((&body["parentFolder"], &body["pageCursor"]), (&json!("Fdir"), &json!("a/+\"=\u{1F600}")));
    client.list_page(&client.root(), None, soon()).unwrap();
    let body = server.requests().last().unwrap().json();
    assert_eq!(body["parentFolder"], "Fdir", "the opening's page is handed on");
    server.push(files(json!([])));
    client.list_page(&client.root(), None, soon()).unwrap();
    let body = server.requests().last().unwrap().json();
    assert_eq!((body.get("parentFolder"), body.get("pageCursor")), (None, None));
}

#[test]
fn page_of_the_opening_is_handed_on_only_while_it_is_fresh() {
    for (age, calls) in [(Duration::from_millis(900), 2), (Duration::from_millis(1100), 3)] {
        let server = ScriptedServer::new();
        server.push(info()).push(files(json!([{"id": "F1", "fileName": "a"}])));
        let clock = Arc::new(ManualClock::default());
        let client = open_on(Source::Share(config(&server)), Arc::clone(&clock) as _).unwrap();
        server.push(files(json!([{"id": "F1", "fileName": "a"}])));
        clock.advance(age);
        let page = client.list_page(&client.root(), None, clock.now() + Duration::from_secs(20)).unwrap();
        assert_eq!((page.nodes.len(), server.requests().len()), (1, calls), "{age:?}");
    }
}

#[test]
fn link_is_asked_for_by_share_id_one_file_per_call() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    assert_eq!(client.max_links_per_call(), 1);
    server.push(Answer::json(&json!({"downloadUrl": "https://b.example/1?s", "code": "0"})));
    server.push(refused(400, 13_000_309));
    server.push(Answer::json(&json!({"data": {"downloadUrl": "https://b.example/3?s"}, "code": 0})));
    let ids = ["F1", "F2", "F3"].map(NodeId::new);
    let links = client.resolve_links(&ids, soon()).unwrap();
    assert_eq!(links[0].as_ref().unwrap().secret_url(), "https://b.example/1?s");
    assert_eq!(links[1].as_ref().unwrap_err().kind(), RemoteErrorKind::NotFound);
    assert_eq!(links[2].as_ref().unwrap().secret_url(), "https://b.example/3?s");
    assert_eq!(server.count(DOWNLOAD), 3);
    assert_eq!(
        server.requests().last().unwrap().json(),
        json!({"shareId": "15929", "fileId": "F3", "kdstoken": TOKEN})
    );
}

// ---- What is understood: src/koodrive/API.md, section 12, by row ----

#[test]
fn content_link_is_found_in_every_form() {
    let url = "https://b.example/o?s=%252F";
    for links in [
        json!([{"usage": "thumbnail", "downloadLink": "https://b.example/t"}, {"usage": "content", "downloadLink": url}]),
        json!({"content": url, "thumbnail": "https://b.example/t"}),
        json!({"thumbnail": {"downloadLink": "https://b.example/t"}, "content": {"usage": "content", "downloadLink": url}}),
        json!(url),
    ] {
        let link = with("downloadLinks", links.clone()).unwrap().link;
        assert_eq!(link.map(|link| link.secret_url().to_owned()).as_deref(), Some(url), "{links}");
    }
}

#[test]
fn thumbnail_link_is_never_content() {
    for links in [
        json!([{"usage": "thumbnail", "downloadLink": "https://b.example/t"}]),
        json!([{"usage": "minThumbnail", "downloadLink": "https://b.example/t"}, {"downloadLink": "https://b.example/u"}]),
        json!({"thumbnail": "https://b.example/t"}),
        json!({"thumbnail": {"downloadLink": "https://b.example/t"}, "content": null}),
        json!({"content": {"usage": "content"}}),
        json!([{"usage": "content"}, {"usage": "content", "downloadLink": 7}, "content", null, []]),
        json!([{"usage": "content", "downloadLink": ""}]),
        json!(""),
        json!([]),
        json!({}),
        json!(null),
        json!(17),
        json!(true),
    ] {
        assert_eq!(with("downloadLinks", links.clone()).unwrap().link, None, "{links}");
    }
}

#[test]
fn code_zero_is_success_as_number_and_as_text() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    for code in [json!(0), json!("0"), json!(" 0 "), json!(null), json!("")] {
        server.push(Answer::json(&json!({"files": [], "code": code})));
        assert!(list(&client).is_ok(), "{code}");
    }
    server.push(Answer::json(&json!({"files": []})));
    assert!(list(&client).is_ok(), "no code at all, but a payload");
    for code in [json!(13_000_309), json!("13000309")] {
        server.push(Answer::json(&json!({"files": [], "code": code})));
        assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::NotFound, "{code}");
    }
    for code in [json!("integer"), json!(-1), json!(0.5), json!([0]), json!(true)] {
        server.push(Answer::json(&json!({"files": [], "code": code}))).push(info());
        assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unusable, "{code}");
    }
}

#[test]
fn only_types_ten_and_eleven_are_folders() {
    for file_type in [json!(10), json!("10"), json!(11), json!("11")] {
        let mut entry = json!({"id": "F1", "fileName": "docs", "fileType": file_type, "size": 4096});
        entry["downloadLinks"] = json!("https://b.example/o");
        let node = only(listed(json!([entry])).unwrap());
        assert_eq!((node.kind, node.version.size_bytes, node.link), (NodeKind::Directory, 0, None), "{file_type}");
    }
    for file_type in [json!(15), json!("15"), json!("100"), json!("folder"), json!(""), json!(null), json!(1)] {
        assert_eq!(with("fileType", file_type.clone()).unwrap().kind, NodeKind::File, "{file_type}");
    }
    assert_eq!(with("size", json!(0)).unwrap().kind, NodeKind::File, "an empty file is no folder");
}

#[test]
fn size_is_sixty_four_bits_of_number_or_text() {
    for (size, bytes) in [
        (json!(106_437), 106_437),
        (json!("106437"), 106_437),
        (json!(214_748_364_800_u64), 214_748_364_800),
        (json!("9007199254740993"), 9_007_199_254_740_993),
        (json!(9_007_199_254_740_993_u64), 9_007_199_254_740_993),
        (json!(i64::MAX), i64::MAX.unsigned_abs()),
        (json!(1.06437e5), 106_437),
        (json!(null), 0),
        (json!(""), 0),
        (json!(-1), 0),
        (json!("-1"), 0),
    ] {
        assert_eq!(with("size", size.clone()).unwrap().version.size_bytes, bytes, "{size}");
    }
    let without = listed(json!([{"id": "F1", "fileName": "a"}])).unwrap();
    assert_eq!(only(without).version.size_bytes, 0);
    for size in [
        json!("7 bytes"),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!("99999999999999999999999999999999999999999"),
        json!([7]),
    ] {
        let node = with("size", size.clone()).unwrap();
        let NodeKind::Unreadable(why) = node.kind else { panic!("{size}: {node:?}") };
        assert!(node.name == "photo.jpg" && why.starts_with("its size"), "{size}: {why}");
    }
}

#[test]
fn only_an_absent_or_empty_cursor_ends_a_listing() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    for (cursor, more) in [(json!(""), None), (json!(null), None), (json!("c2"), Some("c2")), (json!(0), Some("0"))] {
        server.push(Answer::json(&json!({"files": [], "nextCursor": cursor, "code": 0})));
        let next = list(&client).unwrap().next;
        assert_eq!(next.as_ref().map(Cursor::as_str), more, "{cursor}");
    }
    server.push(Answer::json(&json!({"files": null, "nextCursor": "c3", "code": 0})));
    let page = list(&client).unwrap();
    assert!(page.nodes.is_empty() && page.next.is_some());
}

#[test]
fn answer_without_files_is_an_error_and_no_empty_directory() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    for body in [
        json!({"code": 0, "msg": "Success."}),
        json!({"code": 0, "link": share_link()}),
        json!({"code": 0, "files": {}}),
        json!({"code": 0, "files": "none"}),
        json!({"code": 0, "files": [7]}),
        json!({"code": 0, "files": [null]}),
        json!({}),
        json!([]),
        json!(null),
    ] {
        server.push(Answer::json(&body));
        assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Malformed, "{body}");
    }
}

#[test]
fn error_object_in_place_of_a_code_is_a_refusal() {
    for (error, parts) in [
        (json!({"errorData": {"visitor": true}}), &["HTTP 400"][..]),
        (json!({"errorData": {}, "code": 13_000_309, "msg": "gone"}), &["13000309", "gone"]),
        (json!({"errorCode": "13009999", "message": "no"}), &["13009999", "no"]),
    ] {
        let server = ScriptedServer::new();
        let client = opened(&server);
        server.push(Answer::new(400, json!({"error": error}).to_string())).push(info());
        let failed = list(&client).unwrap_err();
        let is_known = error["code"] == 13_000_309;
        let kind = if is_known { RemoteErrorKind::NotFound } else { RemoteErrorKind::Unusable };
        assert_eq!(failed.kind(), kind, "{failed}");
        for part in parts {
            assert!(chain(&failed).contains(part), "{failed}");
        }
    }
    // What else a gateway or another service may say with this key is no answer of this service.
    for body in [json!({"error": "Bad Request", "status": 400}), json!({"error": null}), json!({"error": 7})] {
        let server = ScriptedServer::new();
        let client = opened(&server);
        server.push(Answer::new(400, body.to_string()));
        assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Malformed, "{body}");
    }
    // An error beside a payload is not hidden by it, and no error is none.
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(Answer::json(&json!({"files": [], "error": {"errorData": {}}}))).push(info());
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unusable);
    server.push(Answer::json(&json!({"files": [], "error": null})));
    assert!(list(&client).is_ok());
}

#[test]
fn payload_is_found_under_data_as_well() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(Answer::json(&json!({"code": 0, "data": {"files": [{"id": "F1"}], "nextCursor": "c"}})));
    let page = list(&client).unwrap();
    assert_eq!((page.nodes.len(), page.next.is_some()), (1, true));
    server.push(Answer::json(&json!({"code": 0, "files": null, "data": {"files": [{"id": "F1"}]}})));
    assert_eq!(list(&client).unwrap().nodes.len(), 1);
    server.push(Answer::json(&json!({"code": 0, "data": null, "files": [{"id": "F1"}]})));
    assert_eq!(list(&client).unwrap().nodes.len(), 1);
}

#[test]
fn edited_time_is_read_leniently_and_zero_where_it_cannot_be() {
    for (time, ms) in [
        (json!("2025-01-06T11:41:58.806Z"), 1_736_163_718_806),
        (json!("2025-01-06T11:41:58Z"), 1_736_163_718_000),
        (json!("2025-01-06 11:41:58"), 1_736_163_718_000),
        (json!("1969-12-31T23:59:59Z"), -1000),
        (json!("soon"), 0),
        (json!(""), 0),
        (json!(null), 0),
        (json!(1_736_163_718_806_u64), 1_736_163_718_806),
        (json!("1736163718806"), 1_736_163_718_806),
        (json!(0), 0),
        (json!(-5), 0),
        (json!(u64::MAX), 0),
        (json!({}), 0),
    ] {
        assert_eq!(with("editedTime", time.clone()).unwrap().version.edited_ms, ms, "{time}");
    }
}

#[test]
fn directory_is_told_by_its_type_and_where_that_says_nothing_by_its_mime_type() {
    let kind = |file_type: Value, mime_type: Value| {
        let entries = json!([{"id": "F1", "fileName": "a", "size": 0, "fileType": file_type, "mimeType": mime_type}]);
        listed(entries).unwrap().nodes.remove(0).kind
    };
    let folder = "application/vnd.huawei-apps.folder";
    for file_type in [json!(10), json!("10"), json!("11"), json!(" 10 ")] {
        assert_eq!(kind(file_type.clone(), json!("text/plain")), NodeKind::Directory, "{file_type}");
        assert_eq!(kind(file_type.clone(), json!(null)), NodeKind::Directory, "{file_type}");
    }
    for file_type in [json!(null), json!(""), json!("folder"), json!({}), json!(true)] {
        assert_eq!(kind(file_type.clone(), json!(folder)), NodeKind::Directory, "{file_type}");
        assert_eq!(kind(file_type.clone(), json!("APPLICATION/vnd.huawei-apps.folder")), NodeKind::Directory);
        for mime_type in [json!(null), json!(""), json!("application/pdf"), json!([folder])] {
            assert_eq!(kind(file_type.clone(), mime_type), NodeKind::File, "{file_type}");
        }
    }
    // A type that is documented as a file's is a file's.
    assert_eq!(kind(json!("45"), json!(folder)), NodeKind::File);
}

#[test]
fn name_is_kept_as_it_is_whatever_it_holds() {
    for name in ["a/b", "..", "", "\u{0}\n", &"é".repeat(5000), " x "] {
        assert_eq!(with("fileName", json!(name)).unwrap().name, name);
    }
    assert_eq!(with("fileName", json!(2025)).unwrap().name, "2025");
    assert_eq!(with("fileName", json!(null)).unwrap().name, "");
}

#[test]
fn entry_without_an_id_is_unreadable_and_without_a_name_either_the_whole_listing() {
    for id in [json!(null), json!(""), json!({}), json!(true), json!(1e300), json!("F\u{fffd}")] {
        let entries = json!([{"id": "F0", "fileName": "a", "size": 0}, {"id": id, "fileName": "b"},
            {"id": id, "fileName": "b"}, {"id": id, "fileName": "c"}]);
        let nodes = listed(entries).unwrap().nodes;
        let names: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.kind == NodeKind::File)).collect();
        assert_eq!(names, [("a", true), ("b", false), ("b", false), ("c", false)], "{id}");
        let ids: HashSet<&NodeId> = nodes.iter().map(|node| &node.id).collect();
        assert_eq!(ids.len(), 4, "{id}");
        for name in [json!(null), json!(""), json!([]), json!(true)] {
            let entries = json!([{"id": "F0", "fileName": "a"}, {"id": id, "fileName": name, "size": 1}]);
            let error = listed(entries).unwrap_err();
            assert_eq!(error.kind(), RemoteErrorKind::Malformed, "{id}");
            assert!(error.to_string().contains("files[1].id"), "{error}");
        }
    }
    assert_eq!(with("id", json!(1_592_912_345_678_901_824_u64)).unwrap().id.as_str(), "1592912345678901824");
}

#[test]
fn odd_text_is_read_as_far_as_it_goes_and_takes_no_other_entry_with_it() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    let body = r#"{"code": 0, "link": "none", "files": [
        {"id": "F1", "fileName": "half \ud800 a pair.txt", "size": 1, "properties": {"\udfff": "\ud800"}},
        {"id": "F2", "fileName": "good \ud83d\ude00", "size": 2, "size": 3, "downloadLinks": "\ud800"},
        {"id": "F\ud800", "fileName": "no id", "size": 3},
        {"id": "F4", "fileName": "no size", "size": 1e400},
        {"id": "F5", "fileName": {"en": "no name"}, "fileType": ["15"], "size": 5, "editedTime": 1e999}]}"#;
    server.push(Answer::new(200, body));
    let nodes = list(&client).unwrap().nodes;
    let is_file = |node: &Node| node.kind == NodeKind::File;
    let shown: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), is_file(node), node.version.size_bytes)).collect();
    let want = [
        ("half \u{fffd} a pair.txt", true, 1),
        ("good \u{1f600}", true, 3),
        ("no id", false, 0),
        ("no size", false, 0),
        ("", true, 5),
    ];
    assert_eq!(shown, want);
    // A cursor that was not understood leads nowhere, rather than to the end.
    server.push(Answer::new(200, r#"{"code": 0, "files": [], "nextCursor": "c\ud800"}"#));
    assert!(list(&client).unwrap().next.is_some());
}

#[test]
fn recycled_entry_is_not_listed() {
    let entries = json!([{"id": "F1", "recycled": true}, {"id": "F2", "recycled": false}, {"id": "F3", "recycled": "true"}, {"id": "F4", "recycled": null}]);
    let ids: Vec<String> = listed(entries).unwrap().nodes.iter().map(|node| node.id.as_str().to_owned()).collect();
    assert_eq!(ids, ["F2", "F4"]);
}

#[test]
fn id_of_the_share_may_be_a_number_or_come_with_the_listing_only() {
    let server = ScriptedServer::new();
    server.push(Answer::json(&json!({"code": 0, "link": {"shareId": 1_592_912_345_678_901_824_u64, "status": "0"}})));
    server.push(files(json!([])));
    assert_eq!(open_with(&config(&server)).unwrap().root(), NodeId::new("1592912345678901824"));
    server.push(Answer::json(&json!({"code": 0, "link": {"shareId": null}}))).push(files(json!([])));
    assert_eq!(open_with(&config(&server)).unwrap().root(), NodeId::new("15929"));
    server.push(Answer::json(&json!({"code": 0, "link": {}}))).push(Answer::json(&json!({"code": 0, "files": []})));
    assert!(matches!(open_with(&config(&server)), Err(OpenError::NotKooDrive { .. })));
}

// ---- Links and clocks ----

#[test]
fn link_ends_on_the_local_clock_however_wrong_it_is() {
    let url = "https://b.example/o?X-Amz-Date=20250501T075900Z&X-Amz-Expires=3600";
    for hours_off in [-5_i64, 0, 5] {
        let local = if hours_off < 0 {
            may() - Duration::from_secs(18_000)
        } else {
            may() + Duration::from_secs(3600 * hours_off.unsigned_abs())
        };
        let server = ScriptedServer::new();
        server.push(info()).push(files(json!([])));
        let client = open_on(Source::Share(config(&server)), Arc::new(FixedUtc(local))).unwrap();
        server.push(files(json!([{"id": "F1", "downloadLinks": url}])).header("Date", MAY));
        let listed = only(list(&client).unwrap()).link.unwrap();
        server.push(Answer::json(&json!({"code": 0, "downloadUrl": url})).header("Date", MAY));
        for link in [listed, resolve(&client).unwrap()] {
            assert_eq!(link.lifetime, Duration::from_secs(3600));
            // The date is exact to the second: half of it is what may be off.
            let left = link.expires_at.duration_since(local).unwrap();
            assert!(left.abs_diff(Duration::from_secs(3540)) <= Duration::from_millis(500), "{hours_off}: {left:?}");
        }
    }
}

#[test]
fn listed_link_that_has_ended_is_dropped_and_a_fresh_one_is_believed() {
    let url = "https://b.example/o?X-Amz-Date=20200501T075900Z&X-Amz-Expires=3600";
    assert_eq!(with("downloadLinks", json!(url)).unwrap().link, None);
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(Answer::json(&json!({"code": 0, "downloadUrl": url})));
    let link = resolve(&client).unwrap();
    assert!(link.expires_at > SystemTime::now() && link.lifetime == Duration::from_secs(300));
}

#[test]
fn missing_link_is_malformed() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    for url in [json!(null), json!(""), json!({}), json!(true)] {
        server.push(Answer::json(&json!({"code": 0, "downloadUrl": url})));
        let error = resolve(&client).unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::Malformed, "{url}");
        assert!(error.to_string().contains("downloadUrl"), "{error}");
    }
}

// ---- Refusals ----

#[test]
fn status_and_code_are_judged_together() {
    use RemoteErrorKind::*;
    let server = ScriptedServer::new();
    let client = opened(&server);
    for (status, code, kind) in [
        (400, 13_000_201, Unavailable),
        (400, 13_000_301, Unavailable),
        (400, 13_000_302, NotFound),
        (200, 13_000_305, NotFound),
        (400, 13_000_306, NotFound),
        (400, 13_000_308, Malformed),
        (200, 13_000_309, NotFound),
        (400, 13_000_406, Changed),
        (400, 13_000_408, Unavailable),
        (400, 13_000_411, NotFound),
        (429, 13_000_309, Throttled),
        (500, 13_000_309, Unavailable),
        (503, 0, Unavailable),
        (408, 0, Timeout),
        (404, 0, Malformed),
    ] {
        server.push(refused(status, code));
        assert_eq!(list(&client).unwrap_err().kind(), kind, "{status} {code}");
    }
    // These may mean that the share is over: the service is asked.
    for (status, code, kind) in [
        (400, 13_000_102, Unusable),
        (400, 13_000_410, Denied),
        (200, 13_000_412, Denied),
        (400, UNEXPLAINED, Unusable),
        (401, UNEXPLAINED, NeedsLogin),
        (403, 0, Denied),
        (401, 0, NeedsLogin),
    ] {
        let asked = server.count(INFO);
        server.push(refused(status, code)).push(info());
        assert_eq!(list(&client).unwrap_err().kind(), kind, "{status} {code}");
        assert_eq!(server.count(INFO), asked + 1, "{status} {code}");
    }
}

#[test]
fn gateway_answers_in_its_own_words() {
    use RemoteErrorKind::*;
    let server = ScriptedServer::new();
    let client = opened(&server);
    for (status, code, kind) in [
        (429, "APIG.0308", Throttled),
        (400, "APIGW.0308", Throttled),
        (200, "APIG.0308", Throttled),
        (502, "APIG.0202", Unavailable),
        (400, "APIG.0203", Unavailable),
        (404, "APIG.0101", Malformed),
    ] {
        let body = json!({"error_code": code, "error_msg": "x", "request_id": "1"});
        server.push(Answer::new(status, body.to_string()).header("Retry-After", "3"));
        let error = list(&client).unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {code}");
        assert_eq!(error.retry_after(), if kind == Malformed { None } else { Some(Duration::from_secs(3)) });
    }
    server.push(Answer::new(401, json!({"error_code": "APIG.0303", "error_msg": "x"}).to_string())).push(info());
    assert_eq!(list(&client).unwrap_err().kind(), NeedsLogin);
}

#[test]
fn answer_that_is_no_json_is_judged_by_its_status() {
    use RemoteErrorKind::*;
    let server = ScriptedServer::new();
    let client = opened(&server);
    for (status, kind) in
        [(200, Malformed), (404, Malformed), (400, Malformed), (302, Malformed), (502, Unavailable), (429, Throttled)]
    {
        server.push(Answer::new(status, "<html>Bad Gateway</html>"));
        assert_eq!(list(&client).unwrap_err().kind(), kind, "{status}");
    }
    server.push(Answer::new(200, [0xff, 0xfe, b'{']));
    assert_eq!(list(&client).unwrap_err().kind(), Malformed);
    server.push(Answer::new(200, "[".repeat(100_000)));
    assert_eq!(list(&client).unwrap_err().kind(), Malformed);
}

#[test]
fn message_of_the_service_is_shown_on_one_bounded_line() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    let msg = format!("no\r\nsuch\u{1b}[31m file {}", "x".repeat(10_000));
    server.push(Answer::new(400, json!({"code": 13_000_309, "msg": msg}).to_string()));
    let text = list(&client).unwrap_err().to_string();
    assert!(text.contains("HTTP 400, code 13000309: no  such") && text.len() < 300, "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[test]
fn broken_connection_and_silence_are_no_answer() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(Answer::hang_up());
    let error = list(&client).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Interrupted);
    server.push(files(json!([])).cut_at(10));
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Interrupted);
    for answer in
        [Answer::silence(), files(json!([])).stall_at(10), files(json!([])).trickle(Duration::from_millis(50))]
    {
        server.push(answer);
        let start = Instant::now();
        let error = client.list_page(&NodeId::new("Fdir"), None, start + Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::Timeout);
        assert!(start.elapsed() < BUSY, "{:?}", start.elapsed());
    }
}

#[test]
fn answer_beyond_its_bound_is_unusable() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(Answer::new(200, vec![b' '; 16 * 1024 * 1024 + 1]));
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unusable);
}

// ---- The temporary token ----

#[test]
fn refused_kdstoken_is_verified_again_and_the_call_repeated() {
    for (status, code) in
        [(400, UNEXPLAINED), (200, UNEXPLAINED), (401, UNEXPLAINED), (403, 0), (400, 13_000_102), (400, 13_000_410)]
    {
        let server = ScriptedServer::new();
        let client = opened_protected(&server);
        let fresh = Answer::json(&json!({"kdstoken": "fresh", "code": "0"}));
        server.push(refused(status, code)).push(info()).push(fresh).push(files(json!([{"id": "F1"}])));
        assert_eq!(list(&client).unwrap().nodes.len(), 1, "{status} {code}");
        assert_eq!(server.requests().last().unwrap().json()["kdstoken"], "fresh");
        server.push(Answer::json(&json!({"downloadUrl": "https://b.example/1?s", "code": 0})));
        resolve(&client).unwrap();
        assert_eq!(server.requests().last().unwrap().json()["kdstoken"], "fresh", "later calls use it too");
        assert_eq!(server.count(VERIFY), 2);
    }
}

#[test]
fn refused_kdstoken_is_verified_again_at_most_once() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(verified()).push(refused(400, UNEXPLAINED)).push(info());
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unusable);
    assert_eq!((server.count(VERIFY), server.count(FILES)), (2, 3));
}

#[test]
fn verify_that_did_not_help_is_not_repeated_by_the_next_calls() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(verified()).push(refused(400, UNEXPLAINED)).push(info());
    list(&client).unwrap_err();
    for _ in 0..5 {
        server.push(refused(400, UNEXPLAINED)).push(info());
        assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unusable);
    }
    assert_eq!(server.count(VERIFY), 2);
    server.push(files(json!([])));
    list(&client).unwrap();
}

#[test]
fn failure_that_is_not_about_the_token_is_not_answered_with_verify() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    for answer in [
        refused(400, 13_000_309),
        refused(429, 1),
        refused(503, 1),
        refused(200, 13_000_201),
        Answer::hang_up(),
        Answer::new(404, "x"),
    ] {
        server.push(answer);
        list(&client).unwrap_err();
    }
    assert_eq!(server.count(VERIFY), 1);
}

#[test]
fn refused_access_code_is_not_sent_again_at_once() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(refused(400, UNEXPLAINED));
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::NeedsLogin);
    for _ in 0..3 {
        server.push(refused(400, UNEXPLAINED)).push(info());
        assert_eq!(resolve(&client).unwrap_err().kind(), RemoteErrorKind::NeedsLogin);
    }
    assert_eq!(server.count(VERIFY), 2);
}

#[test]
fn verify_that_fails_for_other_reasons_leaves_the_code_good() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(refused(429, 1));
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Throttled);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(Answer::hang_up());
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Interrupted);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(verified()).push(files(json!([])));
    list(&client).unwrap();
}

/// A service whose token is `current`; every other one is refused, after all `threads` have asked once.
fn service(threads: usize, verify: impl Fn(usize) -> Answer + Send + Sync + 'static) -> ScriptedServer {
    let (together, stale, verifies) = (Barrier::new(threads), AtomicUsize::new(0), AtomicUsize::new(0));
    ScriptedServer::with_handler(move |request: &Request| match request.path() {
        INFO => info(),
        VERIFY => verify(verifies.fetch_add(1, Ordering::SeqCst)),
        _ if request.json()["kdstoken"] == "fresh" => files(json!([])),
        // The first is the opening's own.
        _ => match stale.fetch_add(1, Ordering::SeqCst) {
            0 => files(json!([])),
            nth => {
                if nth <= threads {
                    together.wait();
                }
                refused(400, UNEXPLAINED)
            }
        },
    })
}

#[test]
fn many_refusals_at_once_lead_to_one_verify() {
    let server = service(16, |nth| {
        std::thread::sleep(Duration::from_millis(if nth == 0 { 0 } else { 100 }));
        Answer::json(&json!({"kdstoken": if nth == 0 { TOKEN } else { "fresh" }, "code": 0}))
    });
    let client = open_with(&protected(&server)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| list(&client).unwrap());
        }
    });
    assert_eq!((server.count(VERIFY), server.count(FILES)), (2, 1 + 2 * 16));
}

#[test]
fn failed_verify_fails_all_that_waited_for_it() {
    let server = service(8, |nth| match nth {
        0 => verified(),
        _ => {
            std::thread::sleep(Duration::from_millis(300));
            refused(503, 1)
        }
    });
    let client = open_with(&protected(&server)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unavailable));
        }
    });
    assert_eq!(server.count(VERIFY), 2);
}

// ---- The end of a share ----

#[test]
fn unexplained_refusal_of_a_share_that_is_over_says_so() {
    let over = |status: u64, expires: &str| {
        Answer::json(&json!({"code": 0, "link": {"shareId": "1", "status": status, "expireTime": expires}}))
    };
    for (answer, kind, text) in [
        (over(1, "2999-01-01T00:00:00Z"), RemoteErrorKind::NotFound, "deleted"),
        (over(2, "2025-01-18T11:58:00.000Z"), RemoteErrorKind::Denied, "expired on 2025-01-18T11:58:00Z"),
        (over(0, "2025-01-18T11:58:00.000Z"), RemoteErrorKind::Denied, "expired on 2025-01-18T11:58:00Z"),
        (over(2, ""), RemoteErrorKind::Denied, "no longer valid"),
        (over(0, "2999-01-01T00:00:00Z"), RemoteErrorKind::Unusable, "code 13009999"),
        (over(7, "never"), RemoteErrorKind::Unusable, "code 13009999"),
        (Answer::hang_up(), RemoteErrorKind::Unusable, "code 13009999"),
    ] {
        let server = ScriptedServer::new();
        let client = opened(&server);
        server.push(refused(400, UNEXPLAINED)).push(answer);
        let error = list(&client).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

// ---- Opening ----

/// Opens against a script; the error's text.
fn open_fails(script: &[Answer], access_code: bool) -> OpenError {
    let server = ScriptedServer::new();
    for answer in script {
        server.push(answer.clone());
    }
    let config = if access_code { protected(&server) } else { config(&server) };
    let error = open_with(&config).map(|_| ()).unwrap_err();
    assert_eq!(server.requests().len(), script.len(), "{error}");
    error
}

fn says(error: &OpenError, parts: &[&str]) {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 500, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn info_with(key: &str, value: Value) -> Answer {
    let mut link = share_link();
    link[key] = value;
    Answer::json(&json!({"code": 0, "link": link}))
}

#[test]
fn opening_a_share_that_is_over_tells_how_it_ended() {
    says(
        &open_fails(&[info_with("expireTime", json!("2025-01-18T11:58:00.000Z"))], false),
        &["expired on 2025-01-18T11:58:00Z", "owner"],
    );
    says(&open_fails(&[info_with("status", json!(2))], false), &["no longer valid"]);
    says(&open_fails(&[info_with("status", json!("1"))], false), &["deleted"]);
}

#[test]
fn share_without_an_end_or_permission_opens() {
    for answer in [
        info_with("expireTime", json!(null)),
        info_with("expireTime", json!("")),
        info_with("expireTime", json!(0)),
        info_with("permission", json!(null)),
        info_with("permission", json!({"download": true, "edit": false})),
        info_with("permission", json!({})),
        info_with("status", json!(null)),
    ] {
        let server = ScriptedServer::new();
        server.push(answer).push(files(json!([])));
        open_with(&config(&server)).unwrap();
    }
}

#[test]
fn end_of_a_share_is_judged_by_the_clock_of_the_service() {
    let opened_at = |local: SystemTime, expires: &str| {
        let server = ScriptedServer::new();
        server.push(info_with("expireTime", json!(expires)).header("Date", MAY)).push(files(json!([])));
        open_on(Source::Share(config(&server)), Arc::new(FixedUtc(local))).map(|_| ())
    };
    let year = Duration::from_secs(365 * 86_400);
    assert!(opened_at(may() + year, "2025-05-01T08:01:00Z").is_ok(), "our clock is a year ahead");
    let expired = opened_at(may() - year, "2025-05-01T07:59:00Z");
    assert!(matches!(expired, Err(OpenError::Expired { .. })), "our clock is a year behind");
}

#[test]
fn refused_agent_and_unknown_share_name_the_options_to_check() {
    let error = open_fails(&[refused(400, 13_000_102)], false);
    says(&error, &["127.0.0.1", "13000102", "--agent", "\"carrier\"", "share link"]);
    says(&open_fails(&[refused(401, 0)], false), &["--agent"]);
    for code in [13_000_309, UNEXPLAINED] {
        says(&open_fails(&[refused(400, code)], false), &["does not know the share", "--agent", "--endpoint"]);
    }
}

#[test]
fn wrong_access_code_is_told_and_sent_once() {
    for code in [UNEXPLAINED, 13_000_102, 13_000_410] {
        says(
            &open_fails(&[info(), refused(400, code)], true),
            &["does not accept the access code", "--access-code-file"],
        );
    }
    let refused_later = open_fails(&[info(), verified(), refused(400, UNEXPLAINED)], true);
    says(&refused_later, &["does not accept the access code"]);
}

#[test]
fn missing_access_code_is_told() {
    for (status, code) in [(400, UNEXPLAINED), (200, UNEXPLAINED), (403, 0), (400, 13_000_410)] {
        says(&open_fails(&[info(), refused(status, code)], false), &["access code", "--access-code-file"]);
    }
}

#[test]
fn endpoint_that_is_not_koodrive_is_told() {
    for answer in [
        Answer::new(200, "<html>welcome</html>"),
        Answer::new(404, "not found"),
        Answer::new(404, json!({"error_code": "APIG.0101"}).to_string()),
        Answer::new(200, "{}"),
        Answer::new(200, "[]"),
        Answer::json(&json!({"code": 0})),
        Answer::json(&json!({"code": 0, "link": null})),
    ] {
        says(&open_fails(&[answer], false), &["127.0.0.1", "does not answer like KooDrive", "--endpoint"]);
    }
    let moved = open_fails(&[Answer::redirect(301, "https://login.example/sso?token=1")], false);
    says(&moved, &["does not answer like KooDrive", "redirects to https://login.example", "--endpoint"]);
    assert!(!moved.to_string().contains("sso"));
}

#[test]
fn endpoint_that_cannot_be_reached_is_told_at_once() {
    let gone = ScriptedServer::new().url();
    let server = ScriptedServer::new();
    let open_at = |endpoint: &str, allow_http| {
        let start = Instant::now();
        let mut config = config(&server);
        config.connection.endpoint = endpoint.to_owned();
        config.connection.allow_http = allow_http;
        let error = open_with(&config).map(|_| ()).unwrap_err();
        assert!(start.elapsed() < BUSY, "{:?}", start.elapsed());
        error
    };
    says(&open_at(&gone, false), &["cannot reach", &gone, "refused", "--endpoint"]);
    says(&open_at(&server.url().replace("http", "https"), false), &["TLS", "https://127.0.0.1", "--endpoint"]);
    says(&open_at("http://koodrive.example", false), &["http://koodrive.example", "--allow-http"]);
    says(&open_at(&format!("http://{}.invalid", "a".repeat(64)), true), &["does not resolve", "--endpoint"]);
    for nonsense in ["", "koodrive.example", "ftp://x", "https://", "https://user:pw@x"] {
        says(&open_at(nonsense, false), &["https://host[:port]", "--endpoint"]);
    }
    assert!(server.requests().is_empty());
}

#[test]
fn opening_waits_out_a_hiccup_but_not_the_deadline() {
    let server = ScriptedServer::new();
    server.push(refused(503, 1)).push(Answer::hang_up()).push(refused(429, 1).header("Retry-After", "0")).push(info());
    server.push(refused(200, 13_000_201)).push(verified()).push(Answer::new(502, "<html>")).push(files(json!([])));
    open_with(&protected(&server)).unwrap();

    let throttled = open_fails(&[refused(429, 1).header("Retry-After", "3600")], false);
    says(&throttled, &["127.0.0.1", "fewer requests", "later"]);

    let failing = |handler: fn(&Request) -> Answer| {
        let server = ScriptedServer::with_handler(handler);
        let mut config = config(&server);
        config.connection.op_timeout = Duration::from_millis(600);
        let start = Instant::now();
        let error = open_with(&config).map(|_| ()).unwrap_err();
        assert!(start.elapsed() < BUSY, "{:?}", start.elapsed());
        error
    };
    says(&failing(|_| refused(500, 1)), &["out of order", "HTTP 500"]);
    says(&failing(|_| Answer::silence()), &["did not answer in time"]);
}

// ---- Secrets ----

#[test]
fn secret_appears_in_no_error_text() {
    let echo = format!("bad {ACCESS_CODE} {SHORT_CODE} {TOKEN}");
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    let url = format!("https://b.example/o?X-Amz-Signature={SIGNATURE}");
    let entry = |key: &str, value: Value| {
        let mut entry = json!({"id": "F1", "downloadLinks": url});
        entry[key] = value;
        files(json!([entry]))
    };
    let script = [
        vec![Answer::new(400, json!({"code": 13_000_309, "msg": echo}).to_string())],
        vec![Answer::new(400, json!({"code": UNEXPLAINED, "msg": echo}).to_string()); 3],
        vec![Answer::new(200, echo.clone())],
        vec![Answer::hang_up()],
        vec![entry("id", json!([echo]))],
        vec![Answer::json(&json!({"code": 0, "files": echo}))],
        vec![Answer::json(&json!({"code": 0, "files": [url]}))],
        vec![Answer::redirect(302, &format!("https://b.example/{ACCESS_CODE}?{SHORT_CODE}"))],
    ];
    for answers in script {
        for answer in answers {
            server.push(answer);
        }
        let text = chain(&list(&client).unwrap_err());
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let echoed = Answer::new(400, json!({"code": UNEXPLAINED, "msg": echo}).to_string());
    for script in [
        vec![echoed.clone()],
        vec![info(), echoed.clone()],
        vec![info(), verified(), echoed],
        vec![Answer::new(200, echo.clone())],
    ] {
        let text = chain(&open_fails(&script, true));
        // The opening may not know the token that a message repeats before it was given one.
        for secret in [ACCESS_CODE, SHORT_CODE] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn secret_appears_in_no_log_line_and_each_call_does() {
    keep_log();
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    let url = format!("{}/o?X-Amz-Signature={SIGNATURE}", server.url());
    server.push(refused(400, UNEXPLAINED)).push(info()).push(verified());
    server.push(Answer::json(&json!({"code": 0, "downloadUrl": url}))).push(Answer::hang_up());
    let link = resolve(&client).unwrap();
    log::debug!("{link:?}");
    list(&client).unwrap_err();
    // What the service was sent comes back as the code of a refusal.
    for secret in [SHORT_CODE, TOKEN, ACCESS_CODE] {
        server.push(Answer::new(500, json!({"code": secret, "msg": ""}).to_string()));
        list(&client).unwrap_err();
    }
    let near = HttpConfig { allow_private_links: true, ..HttpConfig::new(false, Duration::from_secs(20)) };
    let objects = ObjectClient::new(near, Arc::new(SystemClock)).unwrap();
    let echo = Answer::new(403, format!("<Code>{SIGNATURE}</Code>"));
    for answer in [Answer::new(206, "ab"), Answer::new(403, "<Code>AccessDenied</Code>"), echo, Answer::hang_up()] {
        server.push(answer);
        match objects.get_range(&link, ByteRange::new(0, 2), None, soon()) {
            Ok(answer) => log::debug!("{answer:?}"),
            Err(error) => log::debug!("{error:?}"),
        }
    }
    let log = kept_log();
    for secret in SECRETS {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    let traces: Vec<String> =
        server.requests().iter().filter_map(|request| request.header("x-traceid").map(str::to_owned)).collect();
    for trace in traces {
        let lines = log.lines().filter(|line| line.contains(&trace)).count();
        assert_eq!(lines, 1, "{trace}");
    }
    assert!(log.contains("download trace=") && log.contains("status=400 code=13009999 ms="), "{log}");
}
