//! Laws of the emulator: what a client may rely on being refused, misreported or delayed by it.
//!
//! The client here is plain: `reqwest` without redirects for well-formed requests, a socket for the rest. Expiry is
//! tested by moving the service's clock, not by sleeping.

use crate::emulator::knobs::{DownloadLinks, KNOB_HELP, LastCursor, NumberShape, Paging, TimeShape};
use crate::emulator::sign::LinkStyle;
use crate::emulator::tree::Lookup;
use crate::emulator::{Content, Emulator, EmulatorConfig, Entry, Fault, FaultKind, Knobs, Replacement, Tree};
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An emulator and a client without opinions.
pub(crate) struct Bench {
    pub(crate) emulator: Emulator,
    pub(crate) http: Client,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) json: Value,
}

impl Answer {
    /// The business code as a number.
    pub(crate) fn code(&self) -> u64 {
        self.json["code"].as_u64().unwrap_or_else(|| panic!("no code in {self:?}"))
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::of(Emulator::synthetic())
    }

    pub(crate) fn of(emulator: Emulator) -> Self {
        let http = Client::builder()
            .no_gzip()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .expect("a client");
        Self { emulator, http }
    }

    /// One file of pattern bytes at the top; its id.
    pub(crate) fn file(&self, name: &str, size: u64) -> String {
        self.emulator.tree().add("", Entry::file(name, size))
    }

    pub(crate) fn api(&self, endpoint: &str) -> String {
        format!("{}/koodrive/ose/v1/share/public/{endpoint}", self.emulator.url())
    }

    /// A POST as the documentation has it.
    pub(crate) fn post(&self, endpoint: &str, body: &Value) -> Answer {
        let response = self
            .http
            .post(self.api(endpoint))
            .header("X-Hw-Agentname", "carrier")
            .header("Content-Type", "application/json")
            .body(body.to_string())
            .send()
            .expect("an answer");
        Self::read(response)
    }

    pub(crate) fn read(response: Response) -> Answer {
        let status = response.status().as_u16();
        let text = response.text().expect("a body");
        Answer { status, json: serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")) }
    }

    pub(crate) fn info(&self) -> Answer {
        let url = format!("{}?shortUrl={}", self.api("userInfo"), self.emulator.share_code());
        Self::read(self.http.get(url).header("X-Hw-Agentname", "carrier").send().expect("an answer"))
    }

    /// `files` with the short code and these further fields.
    pub(crate) fn files(&self, more: &Value) -> Answer {
        let mut body = json!({"shortUrl": self.emulator.share_code()});
        for (name, value) in more.as_object().expect("fields") {
            body[name] = value.clone();
        }
        self.post("files", &body)
    }

    /// All entries of a directory, page by page until a cursor is missing or empty; and how many pages there were.
    pub(crate) fn list(&self, more: &Value) -> (Vec<Value>, usize) {
        let mut more = more.clone();
        let mut all = Vec::new();
        for page in 1..10_000 {
            let answer = self.files(&more);
            assert_eq!(answer.code(), 0, "{answer:?}");
            all.extend(answer.json["files"].as_array().expect("files").iter().cloned());
            match answer.json["nextCursor"].as_str() {
                None | Some("") => return (all, page),
                Some(cursor) => more["pageCursor"] = json!(cursor),
            }
        }
        panic!("this listing does not end");
    }

    pub(crate) fn names(&self, more: &Value) -> Vec<String> {
        let (all, _) = self.list(more);
        all.iter().map(|entry| entry["fileName"].as_str().expect("a name").to_owned()).collect()
    }

    pub(crate) fn download(&self, id: &str) -> Answer {
        self.post("download", &json!({"shareId": self.emulator.share_id(), "fileId": id, "kdstoken": ""}))
    }

    /// A fresh link to the content of a file.
    pub(crate) fn link(&self, id: &str) -> String {
        let answer = self.download(id);
        answer.json["downloadUrl"].as_str().unwrap_or_else(|| panic!("no link in {answer:?}")).to_owned()
    }

    pub(crate) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.http.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().expect("an answer")
    }

    pub(crate) fn get_range(&self, url: &str, range: &str) -> Response {
        self.get(url, &[("Range", range)])
    }

    /// Sends raw bytes to the object store and reads what comes until the end, an error, or silence of 300 ms.
    pub(crate) fn raw_objects(&self, request: &str) -> (Vec<u8>, Option<std::io::ErrorKind>) {
        raw(self.emulator.object_host(), request)
    }
}

pub(crate) fn raw(host: &str, request: &str) -> (Vec<u8>, Option<std::io::ErrorKind>) {
    let mut stream = TcpStream::connect(host).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket option");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, None),
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            Err(error) => return (bytes, Some(error.kind())),
        }
    }
}

/// Path and query of a URL.
pub(crate) fn target(url: &str) -> &str {
    let rest = url.strip_prefix("http://").expect("http");
    &rest[rest.find('/').expect("a path")..]
}

pub(crate) fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

pub(crate) fn xml_code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let text = response.text().expect("a body");
    let code = text.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next()).unwrap_or("none");
    (status, code.to_owned())
}

// ---- the API ----

#[test]
fn call_without_an_agent_name_or_with_another_is_refused() {
    let bench = Bench::new();
    let url = format!("{}?shortUrl={}", bench.api("userInfo"), bench.emulator.share_code());
    let answer = Bench::read(bench.http.get(&url).send().expect("an answer"));
    assert_eq!((answer.status, answer.code()), (400, 13_000_102));
    bench.emulator.knobs(|k| k.agent = Some("telco".to_owned()));
    let answer = Bench::read(bench.http.get(&url).header("X-Hw-Agentname", "other").send().expect("an answer"));
    assert_eq!((answer.status, answer.code()), (400, 13_000_102));
    let answer = Bench::read(bench.http.get(&url).header("x-hw-agentName", "telco").send().expect("an answer"));
    assert_eq!((answer.status, answer.code()), (200, 0));
}

#[test]
fn trace_id_must_be_58_letters_digits_or_underscores() {
    let bench = Bench::new();
    let url = format!("{}?shortUrl={}", bench.api("userInfo"), bench.emulator.share_code());
    let status = |trace: &str| {
        let request = bench.http.get(&url).header("X-Hw-Agentname", "c").header("X-Traceid", trace);
        request.send().expect("an answer").status().as_u16()
    };
    assert_eq!(status(&"a_Z9".repeat(14)[..56]), 400);
    assert_eq!(status(&format!("{}ab", "a_Z9".repeat(14))), 200);
    assert_eq!(status(&format!("{}a-", "a_Z9".repeat(14))), 400);
    assert_eq!(status(&"a".repeat(59)), 400);
}

#[test]
fn share_information_is_the_documented_object() {
    let bench = Bench::new();
    let link = &bench.info().json["link"];
    assert_eq!(link["shortUrl"], bench.emulator.share_code());
    assert_eq!(link["shareId"], bench.emulator.share_id());
    assert_ne!(link["shareId"], link["shortUrl"]);
    assert_eq!(link["status"], 0);
    assert!(
        bench.emulator.share_link().ends_with(&format!("/cloudfile/#/sharelink/i/{}", bench.emulator.share_code()))
    );
}

#[test]
fn unknown_field_or_query_or_path_is_refused() {
    let bench = Bench::new();
    assert_eq!(bench.files(&json!({"recursive": true})).code(), 13_000_102);
    let url = format!("{}?shortUrl={}&x=1", bench.api("userInfo"), bench.emulator.share_code());
    let answer = Bench::read(bench.http.get(url).header("X-Hw-Agentname", "c").send().expect("an answer"));
    assert_eq!(answer.code(), 13_000_102);
    let answer = bench.post("fileList", &json!({}));
    assert_eq!((answer.status, answer.json["error_code"].as_str()), (404, Some("APIGW.0101")));
    let response = bench.http.get(bench.api("files")).header("X-Hw-Agentname", "c").send().expect("an answer");
    assert_eq!(response.status(), 405);
    assert_eq!(bench.emulator.counters().complaints_total, 4);
}

#[test]
fn field_of_the_wrong_type_is_refused() {
    let bench = Bench::new();
    for fields in [
        json!({"parentFolder": null}),
        json!({"parentFolder": 5}),
        json!({"refreshCount": "false"}),
        json!({"pageCursor": 0}),
        json!({"kdstoken": null}),
        json!({"pageSize": 10.5}),
        json!({"pageSize": "ten"}),
        json!({"pageSize": null}),
        json!({"sortType": ""}),
        json!({"sortType": 3}),
        json!({"sortDirection": 0}),
        json!({"usage": "x".repeat(101)}),
    ] {
        assert_eq!(bench.files(&fields).code(), 13_000_102, "{fields}");
    }
    let answer = bench.post("files", &json!({"shortUrl": 1_808_628_918_203_192_832_u64}));
    assert_eq!(answer.code(), 13_000_102);
}

#[test]
fn page_size_over_100_or_under_1_is_refused() {
    let bench = Bench::new();
    for size in [json!(0), json!(101), json!("101"), json!(-1)] {
        assert_eq!(bench.files(&json!({"pageSize": size})).code(), 13_000_102, "{size}");
    }
    assert_eq!(bench.files(&json!({"pageSize": 100})).code(), 0);
    assert_eq!(bench.files(&json!({"pageSize": "1", "sortType": "4", "sortDirection": "2"})).code(), 0);
}

#[test]
fn unknown_short_code_does_not_exist() {
    let bench = Bench::new();
    assert_eq!(bench.post("files", &json!({"shortUrl": "1808628918203192833"})).code(), 13_000_309);
    assert_eq!(bench.post("verify", &json!({"shortUrl": "x", "extractCode": "a"})).code(), 13_000_309);
}

#[test]
fn parent_that_is_unknown_or_a_file_or_recycled_has_its_own_code() {
    let bench = Bench::new();
    let file = bench.file("a.bin", 1);
    let folder = bench.emulator.tree().add("", Entry::folder("d"));
    assert_eq!(bench.files(&json!({"parentFolder": "Fnone"})).code(), 13_000_309);
    assert_eq!(bench.files(&json!({"parentFolder": Tree::root_id()})).code(), 13_000_309);
    assert_eq!(bench.files(&json!({"parentFolder": file})).code(), 13_000_304);
    assert_eq!(bench.files(&json!({"parentFolder": folder})).code(), 0);
    bench.emulator.tree().recycle(&folder);
    assert_eq!(bench.files(&json!({"parentFolder": folder})).code(), 13_000_305);
}

#[test]
fn download_takes_the_share_id_and_a_file_only() {
    let bench = Bench::new();
    let file = bench.file("a.bin", 1);
    let folder = bench.emulator.tree().add("", Entry::folder("d"));
    assert_eq!(bench.download(&file).code(), 0);
    assert_eq!(bench.download(&folder).code(), 13_000_406);
    assert_eq!(bench.download("Fnone").code(), 13_000_302);
    let by_code = json!({"shareId": bench.emulator.share_code(), "fileId": file});
    assert_eq!(bench.post("download", &by_code).code(), 13_000_102);
    assert_eq!(bench.post("download", &json!({"shareId": "1", "fileId": file})).code(), 13_000_309);
    bench.emulator.tree().recycle(&file);
    assert_eq!(bench.download(&file).code(), 13_000_306);
}

#[test]
fn business_error_has_the_http_status_of_the_knob() {
    let bench = Bench::new();
    assert_eq!(bench.download("Fnone").status, 200);
    bench.emulator.knobs(|k| k.business_status = 400);
    assert_eq!(bench.download("Fnone").status, 400);
}

#[test]
fn kdstoken_is_required_when_an_access_code_is_set() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1);
    bench.emulator.knobs(|k| k.access_code = Some("a1B2c3D4".to_owned()));
    assert_ne!(bench.files(&json!({})).code(), 0);
    assert_ne!(bench.files(&json!({"kdstoken": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"})).code(), 0);
    assert_ne!(bench.download(&id).code(), 0);
    assert_eq!(bench.info().code(), 0);
    let code = json!({"shortUrl": bench.emulator.share_code(), "extractCode": "a1B2c3D4"});
    let answer = bench.post("verify", &code);
    let token = answer.json["kdstoken"].as_str().expect("a token").to_owned();
    let listing = || bench.files(&json!({"kdstoken": token})).code();
    assert_eq!(listing(), 0);
    let download = json!({"shareId": bench.emulator.share_id(), "fileId": id, "kdstoken": token});
    assert_eq!(bench.post("download", &download).code(), 0);
    bench.emulator.knobs(|k| k.clock_offset_seconds = 1799);
    assert_eq!(listing(), 0);
    bench.emulator.knobs(|k| k.clock_offset_seconds = 1801);
    assert_ne!(listing(), 0, "a token lives half an hour");
    bench.emulator.knobs(|k| k.clock_offset_seconds = 0);
    assert_eq!(listing(), 0);
    bench.emulator.revoke_tokens();
    assert_ne!(listing(), 0);
}

#[test]
fn wrong_access_codes_lock_the_share() {
    let bench = Bench::new();
    bench.emulator.knobs(|k| k.access_code = Some("a1B2c3D4".to_owned()));
    let verify = |code: &str| {
        bench.post("verify", &json!({"shortUrl": bench.emulator.share_code(), "extractCode": code})).code()
    };
    for _ in 0..4 {
        assert_eq!(verify("a1b2c3d4"), 13_009_001);
    }
    assert_eq!(verify("a1B2c3D4"), 0, "a right code in time forgives");
    for _ in 0..5 {
        assert_eq!(verify("wrong"), 13_009_001);
    }
    assert_eq!(verify("a1B2c3D4"), 13_009_003, "locked");
    bench.emulator.unlock_share();
    assert_eq!(verify("a1B2c3D4"), 0);
    assert_eq!(bench.emulator.counters().wrong_codes, 9);
}

#[test]
fn ended_share_lists_nothing_and_says_why_in_its_information() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1);
    for (status, offset) in [(1, 0), (2, 0), (0, 31 * 86_400)] {
        bench.emulator.knobs(|k| {
            k.share_status = status;
            k.clock_offset_seconds = offset;
        });
        assert_ne!(bench.files(&json!({})).code(), 0, "{status}");
        assert_ne!(bench.download(&id).code(), 0, "{status}");
        let info = bench.info();
        assert_eq!((info.code(), info.json["link"]["status"].as_u64()), (0, Some(u64::from(status))));
        bench.emulator.knobs(|k| k.ended_share_info = false);
        assert_ne!(bench.info().code(), 0, "{status}");
        bench.emulator.knobs(|k| k.ended_share_info = true);
    }
    for shape in ["absent", "null"] {
        bench.emulator.knobs(|k| k.expire_time = shape.to_owned());
        assert_eq!(bench.files(&json!({})).code(), 0, "without an end there is none");
        assert!(bench.info().json["link"]["expireTime"].is_null());
    }
}

#[test]
fn share_without_download_permission_gives_no_links() {
    let bench = Bench::new();
    let id = bench.file("a.bin", 1);
    bench.emulator.knobs(|k| k.permission_download = Some(false));
    assert_ne!(bench.download(&id).code(), 0);
    let (entries, _) = bench.list(&json!({}));
    assert!(entries[0]["downloadLinks"].as_array().expect("links").iter().all(|link| link["usage"] != "content"));
    assert_eq!(bench.info().json["link"]["permission"]["download"], false);
}

#[test]
fn views_and_visits_are_counted() {
    let bench = Bench::new();
    bench.files(&json!({"refreshCount": false}));
    bench.files(&json!({"refreshCount": true}));
    let url = format!("{}?shortUrl={}", bench.api("visit"), bench.emulator.share_code());
    let visit = Bench::read(bench.http.get(url).header("X-Hw-Agentname", "c").send().expect("an answer"));
    assert_eq!(visit.code(), 0);
    let counters = bench.emulator.counters();
    assert_eq!((counters.views, counters.visits), (1, 1));
    assert_eq!(counters.calls_with("files", 200), 2);
}

// ---- listings ----

#[test]
fn listing_is_sorted_as_asked_and_by_newest_first_if_not() {
    let bench = Bench::new();
    for (name, size) in [("b", 3), ("B", 2), ("a", 1), ("é", 9), ("", 5)] {
        bench.file(name, size);
    }
    let sorted = |sort: u64, direction: u64| bench.names(&json!({"sortType": sort, "sortDirection": direction}));
    assert_eq!(sorted(1, 1), ["", "B", "a", "b", "é"]);
    assert_eq!(sorted(1, 2), ["é", "b", "a", "B", ""]);
    assert_eq!(sorted(2, 1), ["a", "B", "b", "", "é"]);
    assert_eq!(sorted(4, 1), ["b", "B", "a", "é", ""]);
    assert_eq!(bench.names(&json!({})), ["", "é", "a", "B", "b"]);
    assert_eq!(bench.names(&json!({"fileName": "b"})), ["b"]);
}

#[test]
fn pages_of_any_size_join_to_the_directory() {
    let bench = Bench::new();
    let entries = (0..257).map(|index| Entry::file(format!("{index:03}"), index));
    bench.emulator.tree().add_many("", entries);
    let all: Vec<String> = (0..257).map(|index| format!("{index:03}")).collect();
    for (cap, empty, trailing, last) in [
        (100, 0, false, LastCursor::Absent),
        (7, 2, true, LastCursor::Null),
        (100, 3, true, LastCursor::Empty),
        (1, 5, false, LastCursor::Cycle),
    ] {
        bench.emulator.knobs(|k| {
            (k.page_cap, k.empty_pages, k.trailing_empty_page, k.last_cursor) = (cap, empty, trailing, last);
        });
        assert_eq!(bench.names(&json!({"sortType": 1, "sortDirection": 1})), all, "{cap} {empty} {trailing} {last:?}");
    }
    bench.emulator.knobs(|k| *k = Knobs { trailing_empty_page: true, ..Knobs::default() });
    let (_, pages) = bench.list(&json!({"pageSize": 1}));
    assert_eq!(pages, 258, "257 full pages and the empty one");
}

#[test]
fn cursor_holds_what_naive_clients_break() {
    let bench = Bench::new();
    bench.emulator.tree().add_many("", (0..3).map(|index| Entry::file(format!("{index}"), 1)));
    let answer = bench.files(&json!({"pageSize": 1}));
    let cursor = answer.json["nextCursor"].as_str().expect("a cursor");
    for part in ["\"", "\\", "é", "📄", "%2F", "+", "&", "\t", "\u{1}", "<"] {
        assert!(cursor.contains(part), "{part:?}");
    }
}

#[test]
fn cursor_is_good_for_its_own_listing_only() {
    let bench = Bench::new();
    let tree = bench.emulator.tree();
    let folder = tree.add("", Entry::folder("d"));
    for parent in ["", &folder] {
        tree.add_many(parent, (0..5).map(|index| Entry::file(format!("{index}"), 1)));
    }
    let cursor = bench.files(&json!({"pageSize": 2})).json["nextCursor"].as_str().expect("a cursor").to_owned();
    let with = |fields: Value| {
        let mut fields = fields;
        fields["pageCursor"] = json!(cursor);
        bench.files(&fields).code()
    };
    assert_eq!(with(json!({})), 0);
    assert_eq!(with(json!({"pageSize": 77})), 0, "the page size is free");
    assert_eq!(with(json!({"sortType": 1})), 13_000_102);
    assert_eq!(with(json!({"sortDirection": 1})), 13_000_102);
    assert_eq!(with(json!({"parentFolder": folder})), 13_000_102);
    assert_eq!(bench.files(&json!({"pageCursor": "2"})).code(), 13_000_102);
    assert_eq!(bench.files(&json!({"pageCursor": format!("{cursor} ")})).code(), 13_000_102);
    assert_eq!(bench.files(&json!({"pageCursor": ""})).code(), 0, "an empty cursor is page one");
    bench.emulator.knobs(|k| k.clock_offset_seconds = 601);
    assert_eq!(with(json!({})), 13_000_102, "ten minutes are over");
}

#[test]
fn directory_that_changes_between_pages_is_paged_as_the_knob_says() {
    for (paging, expected) in
        [(Paging::Snapshot, vec!["a", "b", "c", "d"]), (Paging::Live, vec!["a", "b", "b", "c", "d"])]
    {
        let bench = Bench::new();
        bench.emulator.knobs(|k| k.paging = paging);
        for name in ["a", "b", "c", "d"] {
            bench.file(name, 1);
        }
        let by_name = json!({"sortType": 1, "sortDirection": 1, "pageSize": 2});
        let first = bench.files(&by_name);
        bench.file("A", 1);
        let mut more = by_name.clone();
        more["pageCursor"] = first.json["nextCursor"].clone();
        let (rest, _) = bench.list(&more);
        let names: Vec<&str> = first.json["files"]
            .as_array()
            .expect("files")
            .iter()
            .chain(&rest)
            .map(|entry| entry["fileName"].as_str().expect("a name"))
            .collect();
        assert_eq!(names, expected, "{paging:?}");
    }
}

#[test]
fn name_of_any_characters_and_duplicates_arrive_unchanged() {
    let bench = Bench::new();
    let long = "😀".repeat(250);
    let names = [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "nul\0nul",
        "line\nline",
        " blank ",
        "dup",
        "dup",
        "C:\\x",
        "\u{7f}\u{1b}[31m",
        &long,
    ];
    for name in names {
        bench.file(name, 1);
    }
    assert_eq!(bench.names(&json!({"sortType": 4, "sortDirection": 1})), names);
    let (entries, _) = bench.list(&json!({}));
    let ids: HashSet<&str> = entries.iter().map(|entry| entry["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), names.len());
    for id in ids {
        assert!(id.len() == 33 && id.starts_with('F'), "{id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{id}");
        assert_eq!(bench.get(&bench.link(id), &[]).status(), 200);
    }
}

#[test]
fn response_has_the_shape_of_the_knobs() {
    let bench = Bench::new();
    bench.file("a.jpg", 5_000_000_000);
    bench.emulator.tree().add("", Entry::folder("d"));
    let first = |change: &dyn Fn(&mut Knobs)| {
        bench.emulator.knobs(|k| {
            *k = Knobs::default();
            change(k);
        });
        bench.files(&json!({"sortType": 1, "sortDirection": 1})).json
    };
    let json = first(&|_| {});
    assert_eq!((&json["files"][0]["size"], &json["files"][0]["fileType"]), (&json!(5_000_000_000_u64), &json!("15")));
    assert_eq!((&json["files"][1]["size"], &json["files"][1]["fileType"]), (&json!(0), &json!("10")));
    assert!(json["files"][1].get("downloadLinks").is_none() && json.get("nextCursor").is_none());
    assert_eq!(json["files"][0]["editedTime"], "2025-05-01T08:00:00.123Z");

    let json = first(&|k| (k.size_shape, k.code_shape) = (NumberShape::String, NumberShape::String));
    assert_eq!((&json["files"][0]["size"], &json["code"]), (&json!("5000000000"), &json!("0")));
    let json = first(&|k| (k.size_shape, k.code_shape) = (NumberShape::Absent, NumberShape::Absent));
    assert!(json["files"][0].get("size").is_none() && json.get("code").is_none());
    let json = first(&|k| (k.size_shape, k.file_type_shape) = (NumberShape::Null, NumberShape::Number));
    assert_eq!((&json["files"][0]["size"], &json["files"][0]["fileType"]), (&Value::Null, &json!(15)));
    let json = first(&|k| k.time_shape = TimeShape::Seconds);
    assert_eq!(json["files"][0]["editedTime"], "2025-05-01T08:00:00Z");
    let json = first(&|k| k.payload_under_data = true);
    assert_eq!(json["data"]["files"].as_array().map(Vec::len), Some(2));
    let json = first(&|k| k.extra_fields = true);
    assert!(json["traceInfo"].is_object() && json["files"][0]["labels"].is_array());
    let json = first(&|k| k.odd_folders = true);
    assert!(json["files"][1]["size"] == 4096 && json["files"][1]["downloadLinks"].is_array());
    let links =
        |shape: DownloadLinks| first(&move |k| k.download_links = shape)["files"][0].get("downloadLinks").cloned();
    assert!(links(DownloadLinks::Absent).is_none());
    assert_eq!(links(DownloadLinks::Null), Some(Value::Null));
    for (shape, pointer) in [
        (DownloadLinks::Array, "/1/downloadLink"),
        (DownloadLinks::MapOfObjects, "/content/downloadLink"),
        (DownloadLinks::MapOfStrings, "/content"),
        (DownloadLinks::String, ""),
    ] {
        let links = links(shape).expect("links");
        let link = links.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{shape:?}: {links}"));
        assert_eq!(bench.get_range(link, "bytes=0-9").status(), 206, "{shape:?}");
    }
    let json = first(&|k| k.listing_links = false);
    assert_eq!(json["files"][0]["downloadLinks"].as_array().map(Vec::len), Some(1));
    let json = first(&|k| k.last_cursor = LastCursor::Empty);
    assert_eq!(json["nextCursor"], "");
}

// ---- trees ----

#[test]
fn change_of_the_tree_shows_at_once() {
    let bench = Bench::new();
    let tree = bench.emulator.tree();
    let folder = tree.add("", Entry::folder("d"));
    let id = bench.file("a", 10);
    tree.rename(&id, "b");
    tree.move_to(&id, &folder);
    assert_eq!(bench.names(&json!({})), ["d"]);
    assert_eq!(bench.names(&json!({"parentFolder": folder})), ["b"]);
    tree.misreport_size(&id, 77);
    assert_eq!(bench.list(&json!({"parentFolder": folder})).0[0]["size"], 77);
    let link = bench.link(&id);
    tree.delete_object(&id);
    assert_eq!(xml_code(bench.get(&link, &[])), (404, "NoSuchKey".to_owned()));
    assert_eq!(bench.download(&id).code(), 0, "links are still handed out");
    tree.remove(&folder);
    assert_eq!(bench.names(&json!({})), [""; 0]);
    assert_eq!(bench.download(&id).code(), 13_000_302);
    assert!(matches!(tree.lookup(&id), Lookup::Unknown));
}

#[test]
fn replaced_content_behaves_as_chosen() {
    for (how, same_id, old_status, new_bytes) in [
        (Replacement::SameObject, true, 200, true),
        (Replacement::NewObject, true, 404, false),
        (Replacement::NewObjectOldStays, true, 200, false),
        (Replacement::NewId, false, 404, false),
    ] {
        let bench = Bench::new();
        let tree = bench.emulator.tree();
        let id = bench.file("a", 100);
        let old_link = bench.link(&id);
        let old_edit = bench.list(&json!({})).0[0]["editedTime"].clone();
        let new_id = tree.replace(&id, Content::Pattern(200), how);
        assert_eq!(id == new_id, same_id, "{how:?}");
        let entry = &bench.list(&json!({})).0[0];
        assert_eq!((&entry["size"], &entry["id"]), (&json!(200), &json!(new_id)), "{how:?}");
        assert_ne!(entry["editedTime"], old_edit, "{how:?}");
        let right = tree.expected(&new_id, 0, 200);
        assert_eq!(bench.get(&bench.link(&new_id), &[]).bytes().expect("a body"), right, "{how:?}");
        let old = bench.get(&old_link, &[]);
        assert_eq!(old.status().as_u16(), old_status, "{how:?}");
        if old_status == 200 {
            assert_eq!(old.bytes().expect("a body") == right, new_bytes, "{how:?}");
        }
    }
}

#[test]
fn directory_is_served_as_it_is_without_symlinks() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    std::fs::create_dir_all(root.join("sub/deep")).expect("made");
    let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(root.join("sub/deep/a.bin"), &content).expect("written");
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).expect("linked");
    std::os::unix::fs::symlink("sub", root.join("linkdir")).expect("linked");
    let bench = Bench::of(Emulator::serving(root));
    assert_eq!(bench.names(&json!({})), ["sub"]);
    std::fs::write(root.join("later"), b"x").expect("written");
    assert_eq!(bench.names(&json!({"sortType": 1, "sortDirection": 1})), ["later", "sub"]);
    let file = bench.emulator.tree().find("sub/deep/a.bin").expect("served");
    let (entries, _) = bench.list(&json!({"parentFolder": file.parent}));
    assert_eq!((&entries[0]["id"], &entries[0]["size"]), (&json!(file.id), &json!(1_200_000)));
    let response = bench.get(&bench.link(&file.id), &[]);
    let etag = header(&response, "etag").to_owned();
    assert_eq!(response.bytes().expect("a body"), content);
    let part = bench.get_range(&bench.link(&file.id), "bytes=524280-1048600");
    assert_eq!(part.bytes().expect("a body"), content[524_280..=1_048_600]);
    std::fs::write(root.join("sub/deep/a.bin"), b"shorter").expect("written");
    let response = bench.get(&bench.link(&file.id), &[]);
    assert_ne!(header(&response, "etag"), etag);
    assert_eq!(response.text().expect("a body"), "shorter");
}

#[test]
fn id_of_an_earlier_run_is_found_by_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(directory.path().join("a/b")).expect("made");
    std::fs::write(directory.path().join("a/b/c"), b"content").expect("written");
    let id = Emulator::serving(directory.path()).tree().find("a/b/c").expect("served").id.clone();
    let bench = Bench::of(Emulator::serving(directory.path()));
    assert_eq!(bench.get(&bench.link(&id), &[]).text().expect("a body"), "content");
}

#[test]
fn synthetic_specification_makes_the_tree_it_says() {
    let tree = Tree::from_spec("big=1x8G,src/many=2000x4K").expect("a tree");
    assert_eq!(tree.find("big/file-00000.bin").expect("a file").size, 8 << 30);
    let many = tree.find("src/many").expect("a folder");
    assert_eq!(tree.list(&many.id).expect("a listing").len(), 2000);
    for wrong in ["", "a", "a=5", "a=x5", "a=1x5Q"] {
        assert!(Tree::from_spec(wrong).is_err(), "{wrong:?}");
    }
}

// ---- counters, control, knobs ----

#[test]
fn counters_tell_calls_bytes_and_ranges() {
    let bench = Bench::new();
    let id = bench.file("a", 1000);
    let link = bench.link(&id);
    for range in ["bytes=0-99", "bytes=100-299"] {
        bench.get_range(&link, range).bytes().expect("a body");
    }
    bench.get(&link, &[]).bytes().expect("a body");
    let counters = bench.emulator.counters();
    assert_eq!(counters.object_bytes_sent, 1300);
    assert_eq!((counters.gets_of(&id), counters.files[&id].links), (3, 1));
    assert_eq!(counters.files[&id].ranges, ["bytes=0-99", "bytes=100-299", "-"]);
    assert_eq!((counters.calls_with("object", 206), counters.calls_with("object", 200)), (2, 1));
    assert_eq!((counters.calls_of("download"), counters.api_calls()), (1, 1));
    assert_eq!((counters.api_connections, counters.object_connections), (1, 1));
    bench.emulator.reset_counters();
    assert_eq!(bench.emulator.counters().calls.len(), 0);
}

#[test]
fn control_turns_knobs_adds_faults_and_tells_the_right_bytes() {
    let bench = Bench::new();
    let id = bench.file("a b", 1000);
    let control = |path: &str| format!("{}/emulator{path}", bench.emulator.url());
    let post = |path: &str, body: &'static str| bench.http.post(control(path)).body(body).send().expect("an answer");
    let knobs = Bench::read(post(
        "/knobs",
        r#"{"page_cap": 7, "api_latency": "1ms", "link_style": "obs_v2", "bandwidth": "1G"}"#,
    ));
    assert_eq!((&knobs.json["page_cap"], &knobs.json["api_latency"]), (&json!(7), &json!(0.001)));
    let current = bench.emulator.current_knobs();
    assert_eq!((current.page_cap, current.link_style, current.bandwidth), (7, LinkStyle::ObsV2, 1 << 30));
    for wrong in [r#"{"page_cap": 0}"#, r#"{"no_such": 1}"#, r#"{"page_cap": "x"}"#, "[]", "x", r#"{"empty_pages": 1}"#]
    {
        assert_eq!(post("/knobs", wrong).status(), 400, "{wrong}");
    }
    assert_eq!(post("/faults", "object:stall,every=7\napi/files:internal,limit=1").status(), 200);
    assert_eq!(post("/faults", "object:html").status(), 400);
    assert_eq!(bench.files(&json!({})).status, 500);
    let faults = Bench::read(bench.http.get(control("/faults")).send().expect("an answer")).json;
    assert_eq!((&faults[1]["fired"], faults.as_array().map(Vec::len)), (&json!(1), Some(2)));
    assert_eq!(bench.http.delete(control("/faults")).send().expect("an answer").status(), 200);
    let expected = bench.get(&control("/expected?path=a%20b&offset=10&len=20"), &[]);
    assert_eq!(expected.bytes().expect("a body"), bench.emulator.tree().expected(&id, 10, 20));
    let counters = Bench::read(bench.get(&control("/counters"), &[])).json;
    assert_eq!(counters["calls"]["files"]["500"], 1);
    assert_eq!(post("/counters/reset", "").status(), 200);
    assert_eq!(bench.emulator.counters().api_calls(), 0, "control calls are no API calls");
    assert_eq!(bench.get(&control("/nothing"), &[]).status(), 404);
}

#[test]
fn every_knob_has_help_and_survives_json() {
    let knobs = Knobs::default();
    let json = serde_json::to_value(&knobs).expect("JSON");
    let names: BTreeSet<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
    let helped: BTreeSet<&str> = KNOB_HELP.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, helped);
    assert_eq!(Knobs::default().with_json(&json).expect("knobs"), knobs);
}

#[test]
fn emulator_that_cannot_work_does_not_start() {
    let knobs = Knobs { page_cap: 0, ..Knobs::default() };
    assert!(Emulator::try_start(EmulatorConfig { knobs, ..EmulatorConfig::default() }).is_err());
    let faults = vec![Fault::object(FaultKind::Html)];
    assert!(Emulator::try_start(EmulatorConfig { faults, ..EmulatorConfig::default() }).is_err());
}
