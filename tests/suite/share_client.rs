//! The client of a public share, against a scripted service.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use koofs::clock::{BootTime, Clock, SystemClock};
use koofs::config::{Connection, Edition, Secret, ShareConfig, Source};
use koofs::http::{HttpConfig, ObjectClient};
use koofs::koodrive::OpenError;
use koofs::policy::range::ByteRange;
use koofs::remote::{Cursor, Link, Node, NodeId, Page, Remote, RemoteError, RemoteErrorKind};
use serde_json::{Value, json};

use crate::fakes::ManualClock;
use crate::log_keeper::{keep_log, kept_log};
use crate::scripted_server::{Answer, BUSY, Request, ScriptedServer};
use crate::space_client::open_on;

pub(crate) const ACCESS_CODE: &str = "a1B2c3D4";
pub(crate) const SHORT_CODE: &str = "1808628918203192832";
pub(crate) const TOKEN: &str = "0f1e2d3c4b5a6978";
pub(crate) const SIGNATURE: &str = "deadbeefsignature";
pub(crate) const SECRETS: [&str; 4] = [ACCESS_CODE, SHORT_CODE, TOKEN, SIGNATURE];

pub(crate) const INFO: &str = "/koodrive/ose/v1/share/public/userInfo";
pub(crate) const VERIFY: &str = "/koodrive/ose/v1/share/public/verify";
pub(crate) const FILES: &str = "/koodrive/ose/v1/share/public/files";
pub(crate) const DOWNLOAD: &str = "/koodrive/ose/v1/share/public/download";

/// A code that no page explains, as a stale token or an ended share would give.
pub(crate) const UNEXPLAINED: u64 = 13_009_999;

/// 2025-05-01T08:00:00Z, as date header and as time.
pub(crate) const MAY: &str = "Thu, 01 May 2025 08:00:00 GMT";

pub(crate) fn may() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_746_086_400)
}

/// A machine whose civil clock stands still at the given time.
pub(crate) struct FixedUtc(SystemTime);

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

pub(crate) fn config(server: &ScriptedServer) -> ShareConfig {
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

pub(crate) fn protected(server: &ScriptedServer) -> ShareConfig {
    ShareConfig { access_code: Some(Secret::new(ACCESS_CODE)), ..config(server) }
}

pub(crate) fn share_link() -> Value {
    json!({"shareId": "15929", "shortUrl": SHORT_CODE, "ownerName": "Ada", "expireTime": "2999-01-18T11:58:00.000Z", "status": 0})
}

pub(crate) fn info() -> Answer {
    Answer::json(&json!({"link": share_link(), "code": 0, "msg": "Success."}))
}

pub(crate) fn verified() -> Answer {
    Answer::json(&json!({"kdstoken": TOKEN, "code": 0, "msg": "Success."}))
}

pub(crate) fn files(entries: Value) -> Answer {
    Answer::json(&json!({"link": share_link(), "files": entries, "code": 0, "msg": "Success."}))
}

pub(crate) fn refused(status: u16, code: u64) -> Answer {
    Answer::new(status, json!({"code": code, "msg": "no."}).to_string())
}

pub(crate) fn open_with(config: &ShareConfig) -> Result<Arc<dyn Remote>, OpenError> {
    open_on(Source::Share(config.clone()), Arc::new(SystemClock))
}

/// An opened share without an access code; its script goes on with what is pushed next.
pub(crate) fn opened(server: &ScriptedServer) -> Arc<dyn Remote> {
    server.push(info()).push(files(json!([])));
    open_with(&config(server)).unwrap()
}

/// The same with an access code.
pub(crate) fn opened_protected(server: &ScriptedServer) -> Arc<dyn Remote> {
    server.push(info()).push(verified()).push(files(json!([])));
    open_with(&protected(server)).unwrap()
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(crate) fn list(client: &Arc<dyn Remote>) -> Result<Page, RemoteError> {
    client.list_page(&NodeId::new("Fdir"), None, soon())
}

pub(crate) fn resolve(client: &Arc<dyn Remote>) -> Result<Link, RemoteError> {
    client.resolve_links(&[NodeId::new("Ffile")], soon()).unwrap().remove(0)
}

pub(crate) fn listed(entries: Value) -> Result<Page, RemoteError> {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(files(entries));
    list(&client)
}

pub(crate) fn only(page: Page) -> Node {
    let [node] = <[Node; 1]>::try_from(page.nodes).unwrap();
    node
}

/// The one entry of a listing of one photo, with `key` set to `value`.
pub(crate) fn with(key: &str, value: Value) -> Result<Node, RemoteError> {
    let mut entry = json!({"id": "F1", "fileName": "photo.jpg", "fileType": "15", "size": 7});
    entry[key] = value;
    listed(json!([entry])).map(only)
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
        assert_eq!(request.header("accept-encoding"), Some("gzip"));
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
fn page_of_the_opening_is_no_answer_once_it_is_to_be_forgotten() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(files(json!([{"id": "F1", "fileName": "new"}])));
    client.forget();
    assert_eq!(client.list_page(&client.root(), None, soon()).unwrap().nodes.len(), 1);
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

// ---- Opening ----

/// Opens against a script; the error's text.
pub(crate) fn open_fails(script: &[Answer], access_code: bool) -> OpenError {
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

pub(crate) fn info_with(key: &str, value: Value) -> Answer {
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
    says(&failing(|_| refused(500, 1)), &["does not work at the moment", "HTTP 500"]);
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
