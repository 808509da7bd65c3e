//! What the client of a share understands of the answers: src/koodrive/API.md, section 12, by row.

use std::collections::HashSet;

use koofs::koodrive::OpenError;
use koofs::remote::{Cursor, Node, NodeId, NodeKind, RemoteErrorKind};
use serde_json::{Value, json};

use crate::scripted_server::{Answer, ScriptedServer};
use crate::share_client::{chain, config, files, info, list, listed, only, open_with, opened, share_link, with};

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
        let kind = list(&client).unwrap_err().kind();
        // What is no object at all is somebody else's answer.
        let want = if body.is_object() { RemoteErrorKind::Malformed } else { RemoteErrorKind::Foreign };
        assert_eq!(kind, want, "{body}");
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
