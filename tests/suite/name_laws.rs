//! The laws of names that are asked for by themselves (`fileName`): the clients, for each thing that a service may answer, and real mounts.

use std::sync::Arc;
use std::time::Duration;

use koofs::config::SpaceSource;
use koofs::remote::{Child, NodeId, Remote, RemoteErrorKind};
use serde_json::{Value, json};

use crate::emulator::knobs::NameFilter;
use crate::emulator::spaces::{DEPARTMENT, DEPARTMENT_ID, FAMILY, SHARED_FOLDER_ID};
use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{Bench, tool};
use crate::mounted::mounts_are_allowed;
use crate::scripted_server::{Answer, ScriptedServer};
use crate::share_client::{
    FILES, UNEXPLAINED, VERIFY, files, info, opened as opened_share, opened_protected, refused, verified,
};
use crate::space_client::{config, open, soon};

const FILTERS: [NameFilter; 5] =
    [NameFilter::Exact, NameFilter::Contains, NameFilter::Below, NameFilter::Ignored, NameFilter::Refused];

fn told(child: Child) -> String {
    match child {
        Child::Only(node) => node.id.as_str().to_owned(),
        Child::Unclear => "unclear".to_owned(),
        Child::NotOffered => "not offered".to_owned(),
    }
}

fn find(client: &Arc<dyn Remote>, directory: &str, name: &str) -> String {
    told(client.find_child(&NodeId::new(directory), name, soon()).unwrap())
}

// ---- The clients ----

#[test]
fn name_is_found_in_every_source_by_every_filter_that_there_is() {
    let emulator = Emulator::synthetic();
    let sources = [
        (FAMILY, SpaceSource::SharedFolder(SHARED_FOLDER_ID.to_owned())),
        (DEPARTMENT, SpaceSource::Team { group_id: DEPARTMENT_ID.to_owned(), kind: None }),
        (crate::emulator::spaces::OWN, SpaceSource::Own),
    ];
    for (container, source) in sources {
        let tree = &emulator.space(container).tree;
        let top = if container == FAMILY { tree.find("holidays").unwrap().id.clone() } else { String::new() };
        let ids = tree.add_many(&top, (0..250).map(|n| Entry::file(format!("f{n:03}"), n)));
        let folder = tree.add(&top, Entry::folder("g"));
        let inner = tree.add(&folder, Entry::file("f1", 1));
        tree.add(&folder, Entry::file("f222", 1));
        let client = open(&config(&emulator, source.clone())).unwrap();
        for filter in FILTERS {
            emulator.knobs(|knobs| knobs.name_filter = filter);
            let found = |id: &String| match filter {
                NameFilter::Ignored | NameFilter::Refused => "not offered".to_owned(),
                _ => id.clone(),
            };
            let root = client.root();
            assert_eq!(find(&client, root.as_str(), "f222"), found(&ids[222]), "{source:?} {filter:?}");
            let in_folder = find(&client, &folder, "f1");
            assert_eq!(in_folder, if filter == NameFilter::Ignored { "not offered".to_owned() } else { found(&inner) });
        }
        emulator.knobs(|knobs| knobs.name_filter = NameFilter::Below);
        assert_eq!(find(&client, client.root().as_str(), "f1"), "unclear", "it is in a directory below");
        assert_eq!(find(&client, client.root().as_str(), "nothing"), "unclear");
    }
    emulator.assert_polite();
}

#[test]
fn request_has_the_name_and_one_row_of_the_directory_is_the_answer() {
    let server = ScriptedServer::new();
    let client = opened_share(&server);
    let row = |id: &str, name: &str, parent: Value| json!({"id": id, "fileName": name, "fileType": "45", "size": 1, "parentFolder": parent});
    for (rows, want) in [
        (json!([row("F1", "a", json!(["Fdir"]))]), "F1"),
        (json!([row("F1", "a", json!(["Fdir", "other"]))]), "F1"),
        (json!([row("F1", "a", json!("Fdir"))]), "F1"),
        (json!([row("F1", "a", json!(["other", "Fdir"]))]), "unclear"),
        (json!([row("F1", "a", json!([]))]), "unclear"),
        (json!([row("F1", "a", json!([[]]))]), "unclear"),
        (json!([row("F1", "a", json!({"id": "Fdir"}))]), "unclear"),
        (json!([row("F1", "a", Value::Null)]), "unclear"),
        (json!([{"id": "F1", "fileName": "a", "fileType": "45", "size": 1}]), "unclear"),
        (json!([row("F1", "a", json!(["Fdir"])), row("F2", "a", json!(["Fdir"]))]), "unclear"),
        (json!([row("F1", "a", json!(["Fdir"])), row("F2", "a.txt", json!(["Fdir"]))]), "F1"),
        (json!([row("F1", "a", json!(["Fdir"])), row("F2", "b", json!(["Fdir"]))]), "not offered"),
        (json!([{"id": "F1", "fileName": "a", "fileType": "45", "parentFolder": ["Fdir"]}]), "unclear"),
        (json!([{"id": "F1", "fileName": "a", "fileType": "45", "size": "odd", "parentFolder": ["Fdir"]}]), "unclear"),
        (json!([]), "unclear"),
    ] {
        server.push(files(rows.clone()));
        assert_eq!(find(&client, "Fdir", "a"), want, "{rows}");
    }
    let body = server.requests().last().unwrap().json();
    assert_eq!((&body["fileName"], &body["parentFolder"]), (&json!("a"), &json!("Fdir")));
    assert_eq!(body.get("pageCursor"), None);
    // A listing has no such field.
    server.push(files(json!([])));
    client.list_page(&NodeId::new("Fdir"), None, soon()).unwrap();
    assert_eq!(server.requests().last().unwrap().json().get("fileName"), None);
}

#[test]
fn answer_that_goes_on_is_unclear() {
    let server = ScriptedServer::new();
    let client = opened_share(&server);
    let row = json!({"id": "F1", "fileName": "a", "fileType": "45", "size": 1, "parentFolder": ["Fdir"]});
    server.push(Answer::json(&json!({"files": [row], "nextCursor": "more", "code": 0})));
    assert_eq!(find(&client, "Fdir", "a"), "unclear");
}

#[test]
fn top_level_of_a_share_is_not_asked_for_names() {
    let server = ScriptedServer::new();
    let client = opened_share(&server);
    let before = server.requests().len();
    assert_eq!(find(&client, client.root().as_str(), "a"), "unclear");
    assert_eq!(server.requests().len(), before);
}

#[test]
fn failure_is_a_refusal_of_names_only_if_it_can_be_nothing_else() {
    let server = ScriptedServer::new();
    let client = opened_share(&server);
    for (answer, kind) in [
        (Answer::new(429, "{}").header("Retry-After", "7"), RemoteErrorKind::Throttled),
        (Answer::new(503, ""), RemoteErrorKind::Unavailable),
        (refused(200, 13_000_309), RemoteErrorKind::NotFound),
        (Answer::hang_up(), RemoteErrorKind::Interrupted),
    ] {
        server.push(answer);
        let failed = client.find_child(&NodeId::new("Fdir"), "a", soon()).unwrap_err();
        assert_eq!(failed.kind(), kind);
        assert_eq!(failed.retry_after(), (kind == RemoteErrorKind::Throttled).then(|| Duration::from_secs(7)));
    }
    for (status, code) in [(200, 13_000_102), (400, 13_000_102), (200, UNEXPLAINED)] {
        server.push(refused(status, code));
        assert_eq!(find(&client, "Fdir", "a"), "not offered");
    }
}

#[test]
fn refused_name_sends_no_access_code_and_a_stale_token_refuses_no_name() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    let verifications = || server.requests().iter().filter(|request| request.path() == VERIFY).count();
    // The same directory is listed with the same token: it is the name that was refused.
    server.push(refused(200, 13_000_102)).push(files(json!([])));
    assert_eq!(find(&client, "Fdir", "a"), "not offered");
    // It is not: the listing beside this call has the token renewed.
    server.push(refused(200, UNEXPLAINED)).push(refused(200, UNEXPLAINED));
    assert_eq!(find(&client, "Fdir", "a"), "unclear");
    assert_eq!(verifications(), 1, "that of the opening");
    server.push(refused(200, UNEXPLAINED)).push(info()).push(verified()).push(files(json!([])));
    client.list_page(&NodeId::new("Fdir"), None, soon()).unwrap();
    let paths: Vec<_> = server.requests().iter().map(|request| request.path().to_owned()).collect();
    assert_eq!(paths.last().map(String::as_str), Some(FILES));
}

// ---- Real mounts ----

/// A share or a space with a long directory `names` of `f00000` and so on, and `other` of 600 `g00000`, mounted.
fn long(count: u64, in_space: bool, filter: NameFilter) -> Bench {
    let emulator = Emulator::synthetic();
    emulator.knobs(|knobs| knobs.name_filter = filter);
    let tree = if in_space { &emulator.own().tree } else { emulator.tree() };
    let folder = tree.add("", Entry::folder("names"));
    tree.add_many(&folder, (0..count).map(|n| Entry::file(format!("f{n:05}"), n + 1)));
    let other = tree.add("", Entry::folder("other"));
    tree.add_many(&other, (0..600).map(|n| Entry::file(format!("g{n:05}"), n + 1)));
    let bench = if in_space { Bench::of_space(emulator, &[]) } else { Bench::new(emulator) };
    bench.emulator.reset_counters();
    bench
}

fn size(bench: &Bench, name: &str) -> String {
    tool("stat", ["-c", "%s", bench.path(name).to_str().unwrap()]).well().trim().to_owned()
}

#[test]
fn known_path_among_thousands_takes_one_call_for_its_name_where_names_are_looked_for() {
    if !mounts_are_allowed() {
        return;
    }
    for (filter, in_space) in [
        (NameFilter::Exact, false),
        (NameFilter::Contains, false),
        (NameFilter::Below, false),
        (NameFilter::Exact, true),
        (NameFilter::Below, true),
    ] {
        let bench = long(6000, in_space, filter);
        let call = if in_space { "spaceFiles" } else { "files" };
        let before = bench.emulator.counters().calls_of(call);
        bench.emulator.knobs(|knobs| knobs.api_latency = Duration::from_millis(20));
        assert_eq!(size(&bench, "names/f05432"), "5433", "{filter:?}");
        assert!(tool("stat", [bench.path("names/absent")]).error.contains("No such file"));
        assert_eq!(size(&bench, "names/f05432"), "5433");
        let counters = bench.emulator.counters();
        // The absent name had the listing completed, from both ends, which overlap by a page, and either may be a page further. The root's
        // may be the one that opening has listed.
        let calls = counters.calls_of(call) - before;
        assert!((60 + 2..=60 + 6).contains(&calls), "{calls} calls, {filter:?}");
        assert_eq!(counters.filtered_listings, 2, "{filter:?}");
        bench.end();
    }
}

#[test]
fn known_path_is_found_and_its_listing_does_not_go_on_for_nobody() {
    if !mounts_are_allowed() {
        return;
    }
    let bench = long(6000, false, NameFilter::Contains);
    assert_eq!(size(&bench, "names/f05432"), "5433");
    std::thread::sleep(Duration::from_millis(500));
    let calls = bench.emulator.counters().calls_of("files");
    assert!(calls <= 1 + 1 + 4, "the root, a call for the name, and at most four pages: {calls}");
    assert_eq!(tool("ls", ["-f", bench.path("names").to_str().unwrap()]).well().lines().count(), 6002);
    let calls = bench.emulator.counters().calls_of("files");
    assert!(
        (1 + 60..=1 + 60 + 4).contains(&calls),
        "{calls} calls, perhaps one for the root, and where both ends meet"
    );
    bench.end();
}

#[test]
fn service_that_ignores_or_refuses_names_is_asked_for_one_in_all() {
    if !mounts_are_allowed() {
        return;
    }
    for filter in [NameFilter::Ignored, NameFilter::Refused] {
        let bench = long(1200, false, filter);
        bench.emulator.knobs(|knobs| knobs.api_latency = Duration::from_millis(20));
        assert_eq!(size(&bench, "names/f01111"), "1112");
        assert_eq!(size(&bench, "other/g00555"), "556");
        assert_eq!(bench.emulator.counters().filtered_listings, 1, "{filter:?}");
        bench.end();
    }
}
