//! Laws of `koofs doctor`: what it says is what the service is, within its limits, and nothing of it names the source.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use koofs::doctor::{MAX_BYTES, MAX_REQUESTS};
use serde_json::{Value, json};

use crate::emulator::knobs::KNOB_HELP;
use crate::emulator::spaces::USER_ID;
use crate::emulator::{Emulator, EmulatorConfig, Entry, Fault, FaultKind, Tree};
use crate::mount_bench::{AGENT, Said, run};
use crate::mounted::koofs;

/// A tree in which each knob shows: a long top level with folders first, names that differ in case only, and one that is below only.
fn plant(tree: &Tree) {
    let folder = tree.add("", Entry::folder("0-Secret-folder"));
    let names = ["secret-Alpha", "secret-alpha", "secret-Beta", "secret-gamma"];
    tree.add_many(&folder, names.map(|name| Entry::file(name, 5000)));
    let inner = tree.add(&folder, Entry::folder("secret-inner"));
    tree.add(&inner, Entry::file("secret-deep", 900));
    tree.add(&folder, Entry::file("other", 70));
    tree.add_many("", (0..130).map(|number| Entry::file(format!("secret-{number:03}"), 5_000_000)));
}

fn share() -> Emulator {
    let emulator = Emulator::synthetic();
    plant(emulator.tree());
    emulator
}

fn space() -> Emulator {
    let emulator = Emulator::synthetic();
    let tree = &emulator.own().tree;
    let folder = tree.add("", Entry::folder("0-Secret-folder"));
    tree.add_many(&folder, ["secret-Alpha", "secret-alpha", "secret-Beta"].map(|name| Entry::file(name, 5000)));
    let inner = tree.add(&folder, Entry::folder("secret-inner"));
    tree.add_many(&inner, (0..40).map(|number| Entry::file(format!("secret-deep-{number}"), 900)));
    tree.add("", Entry::file("top.txt", 900));
    emulator
}

fn examine(emulator: &Emulator, options: &[&str]) -> Said {
    let source = format!("share:{}", emulator.share_code());
    let fixed = ["doctor", "--endpoint", &emulator.url(), "--agent", AGENT, "--op-timeout", "3s", &source];
    checked(emulator, run(koofs(&[&fixed, options].concat())))
}

fn examine_space(emulator: &Emulator) -> Said {
    let mut command = koofs(&["doctor", "--endpoint", &emulator.url(), "--op-timeout", "3s", "space:"]);
    command.env("KOOFS_TOKEN", emulator.mint_token()).env("KOOFS_USER_ID", USER_ID);
    checked(emulator, run(command))
}

/// What holds always: the limits, by the emulator's own counters, and that no line names anything.
fn checked(emulator: &Emulator, said: Said) -> Said {
    let counters = emulator.counters();
    let requests: u64 = counters.calls.values().flat_map(|by_status| by_status.values()).sum();
    assert!(requests <= u64::from(MAX_REQUESTS), "{requests} requests: {}", said.out);
    let bytes = counters.api_bytes_sent + counters.object_bytes_sent;
    assert!(bytes <= MAX_BYTES, "{bytes} bytes: {}", said.out);
    assert_eq!((counters.secret_leaks, counters.views, counters.visits), (0, 0, 0), "{:?}", counters.complaints);
    names_nothing(emulator, &said.out);
    said
}

/// No token, code, link, signature, name or id.
fn names_nothing(emulator: &Emulator, text: &str) {
    let words = ["ecret-", "Signature", "http://", "127.0.0.1", "Bearer", "EMULATORKEY", USER_ID];
    let own = [emulator.share_code(), emulator.share_id()];
    let ids: Vec<String> = emulator.tree().list("").unwrap().iter().map(|node| node.id.clone()).collect();
    for word in words.into_iter().chain(own).chain(ids.iter().map(String::as_str)) {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

/// The line of `step`, from its sign on.
fn line<'a>(said: &'a Said, step: &str) -> &'a str {
    let is_its = |line: &&str| line.chars().skip(2).collect::<String>().starts_with(&format!("{step:<12} "));
    said.out.lines().find(is_its).unwrap_or_else(|| panic!("no line of {step}:\n{}{}", said.out, said.error))
}

/// Turns knobs, written as JSON.
fn turn(emulator: &Emulator, knobs: &Value) {
    emulator.knobs(|all| *all = all.with_json(knobs).unwrap());
}

/// Checks the line of `step` and the exit code.
fn says(said: &Said, what: &str, code: i32, step: &str, sign: char, words: &str) {
    let line = line(said, step);
    assert!(line.starts_with(sign) && line.contains(words), "{what}: {sign} {words}\n{}{}", said.out, said.error);
    assert_eq!(said.code, Some(code), "{what}:\n{}{}", said.out, said.error);
}

/// Knobs, the exit code, and the step with its sign and words.
type Row = (Value, i32, &'static str, char, &'static str);

fn rows_of_a_share() -> Vec<Row> {
    vec![
        (json!({"agent": "other"}), 1, "opening", '✗', "--agent"),
        (json!({"access_code": "aB3dE6gH"}), 1, "opening", '✗', "wants an access code"),
        (json!({"share_status": 1}), 1, "opening", '✗', "deleted"),
        (json!({"share_status": 2}), 1, "opening", '✗', "has ended"),
        (json!({"expire_time": "-10"}), 1, "opening", '✗', "has ended"),
        (json!({"expire_time": "+864000"}), 0, "share", '✓', "ends in 10 days"),
        (json!({"expire_time": "absent"}), 0, "share", '✓', "no end is told"),
        (json!({"permission_download": false}), 1, "share", '✗', "forbids downloads"),
        (json!({"permission_download": false}), 1, "links", '✗', "no link to a file"),
        (json!({"clock_offset_seconds": 86_400}), 0, "clock", '!', "24 h ahead of"),
        (json!({"clock_offset_seconds": -300}), 0, "clock", '!', "5 min behind"),
        (json!({"code_shape": "string"}), 0, "forms", '✓', "code: text"),
        (json!({"code_shape": "absent"}), 0, "forms", '✓', "code: none"),
        (json!({"payload_under_data": true}), 0, "forms", '✓', "payload: under data"),
        (json!({"size_shape": "string"}), 0, "forms", '✓', "size: text"),
        (json!({"size_shape": "null"}), 0, "forms", '!', "without a size"),
        (json!({"file_type_shape": "number"}), 0, "forms", '✓', "fileType: number"),
        (json!({"time_shape": "seconds"}), 0, "forms", '✓', "editedTime: seconds"),
        (json!({"time_shape": "empty"}), 0, "forms", '!', "without a time"),
        (json!({"last_cursor": "null"}), 0, "cursors", '✓', "nextCursor: null"),
        (json!({"last_cursor": "empty"}), 0, "cursors", '✓', "nextCursor: empty text"),
        (json!({"empty_pages": 2}), 0, "cursors", '✓', "of them empty"),
        (json!({"trailing_empty_page": true}), 0, "cursors", '✓', "an empty last page"),
        (json!({"cursor_lifetime": 0}), 1, "cursors", '✗', "page 2 cannot be had"),
        (json!({"page_cap": 50}), 0, "page sizes", '!', "at most 50"),
        (json!({"page_cap": 1}), 0, "page sizes", '!', "at most 1 "),
        (json!({"name_filter": "exact"}), 0, "fileName", '✓', "exactly this name"),
        (json!({"name_filter": "exact"}), 0, "known path", '✓', "needs no whole listing"),
        (json!({"name_filter": "ignored"}), 0, "known path", '!', "not looked for"),
        (json!({"name_filter": "refused"}), 0, "known path", '!', "not looked for"),
        (json!({"name_filter": "contains"}), 0, "fileName", '✓', "contain it come, in this case"),
        (json!({"name_filter": "below"}), 0, "fileName", '!', "without regard to case, also from folders below"),
        (json!({"name_filter": "ignored"}), 0, "fileName", '!', "ignored"),
        (json!({"name_filter": "refused"}), 0, "fileName", '!', "refused (HTTP 200, code 13000102)"),
        (json!({"name_filter": "refused", "business_status": 400}), 0, "fileName", '!', "refused (HTTP 400"),
        (json!({"sorting": "direction_ignored"}), 0, "sort order", '!', "always descending"),
        (json!({"sorting": "direction_ignored"}), 0, "both ends", '!', "both directions are the same"),
        (json!({"sorting": "ignored"}), 0, "sort order", '!', "not by name"),
        (json!({"sorting": "descending_refused"}), 0, "both ends", '!', "descending is refused"),
        (json!({"name_order": "any_case"}), 0, "sort order", '✓', "without regard to case"),
        (json!({"name_order": "any_case"}), 0, "both ends", '!', "not the exact reverse"),
        (json!({"download_links": "array"}), 0, "listed links", '✓', "list, with"),
        (json!({"download_links": "map_of_objects"}), 0, "listed links", '✓', "map of objects, with"),
        (json!({"download_links": "map_of_strings"}), 0, "listed links", '✓', "map of texts, with"),
        (json!({"download_links": "string"}), 0, "listed links", '✓', "text, with"),
        (json!({"download_links": "null"}), 0, "listed links", '!', "null, without"),
        (json!({"download_links": "absent"}), 0, "listed links", '!', "absent, without"),
        (json!({"download_links": "absent"}), 0, "thumbnail", '!', "no link to one"),
        (json!({"listing_links": false}), 0, "listed links", '!', "list, without"),
        (json!({"link_style": "v4"}), 0, "links", '✓', "X-Amz-Date, good for 60 min"),
        (json!({"link_style": "obs_v2"}), 0, "links", '✓', "dated by Expires, good for 60 min"),
        (json!({"link_style": "s3_v2"}), 0, "links", '✓', "dated by Expires"),
        (json!({"link_style": "opaque"}), 0, "links", '✓', "without a date"),
        (json!({"link_lifetime": 40}), 0, "links", '!', "renewed often"),
        (json!({"redirect_objects": true}), 0, "ranges", '✓', "after a redirect"),
        (json!({"strict_one_byte_ranges": true}), 0, "one byte", '!', "ignored"),
        (json!({"strict_one_byte_ranges": false}), 0, "one byte", '✓', "comes alone"),
        (json!({"gzip": false}), 0, "gzip", '!', "not compressed"),
    ]
}

fn rows_of_a_space() -> Vec<Row> {
    vec![
        (json!({"walk_file": "works"}), 0, "walkFile", '✓', "all 46 entries"),
        (json!({"walk_file": "with_root"}), 0, "walkFile", '✓', "the top itself"),
        (json!({"walk_file": "missing"}), 0, "walkFile", '!', "not offered"),
        (json!({"walk_file": "no_parents"}), 0, "walkFile", '!', "do not say which folder"),
        (json!({"walk_file": "no_folders"}), 0, "walkFile", '!', "folders are left out"),
        (json!({"walk_file": "children_only"}), 0, "walkFile", '!', "only the entries at the top"),
        (json!({"walk_file": "orphans"}), 0, "walkFile", '!', "in folders that do not come"),
        (json!({"walk_file": "breaks"}), 0, "walkFile", '!', "page 2 fails (HTTP 500"),
        (json!({"walk_page_max": 100}), 0, "walkFile", '!', "pages of 1000 are refused"),
        (json!({"large_pages": "refused"}), 0, "page sizes", '!', "1000 is refused"),
        (json!({"walk_file": "works"}), 0, "statsDir", '✓', "2 folders and 44 files"),
        (json!({"walk_file": "works"}), 0, "df", '✓', "used and total size"),
        (json!({"user_id": "4711"}), 3, "opening", '✗', "the login is refused"),
        (json!({"auth_refusal_status": 400}), 0, "opening", '✓', "opens"),
        (json!({"auth_refusal_body": "business"}), 0, "opening", '✓', "opens"),
        (json!({"space_shape": "string", "space_needs_container": true}), 0, "opening", '✓', "opens"),
        (json!({"shuffle_downloads": false, "batch_refusal": "code"}), 0, "links", '✓', "good for"),
        (json!({"recycled_in_listings": true, "detail_code": true, "extra_fields": true}), 0, "ranges", '✓', ""),
    ]
}

/// Knobs that no step is about: with any of them a mount works, and the doctor says so.
fn rows_without_a_step() -> Vec<Value> {
    vec![
        json!({"wrong_code_limit": 1, "kdstoken_lifetime": 5, "ended_share_info": false}),
        json!({"account": "a", "password": "p", "wrong_password_limit": 1, "token_lifetime": 9, "refresh_lifetime": 9}),
        json!({"refresh_rotates": false, "refresh_ends_old_token": false, "refresh_nesting": "data"}),
        json!({"app_id": "a", "app_secret": "s", "tenant_admin": true, "sliding_lifetime": 60, "odd_folders": true}),
        json!({"api_latency": 0.005, "object_latency": 0.005, "jitter": 0.005, "connect_latency": 0.005}),
        json!({"bandwidth": 1_000_000, "total_bandwidth": 2_000_000, "burst": 4096, "bandwidth_spread": 2}),
        json!({"slow_beyond": 2, "bandwidth": 1_000_000, "stop_every": 100_000, "stop_time": 0.01}),
        json!({"api_rate_limit": 1000, "api_parallel_limit": 1, "requests_per_connection": 1}),
        json!({"idle_timeout": 5, "hold": [], "paging": "live", "object_parallel_limit": 2}),
    ]
}

#[test]
fn what_the_doctor_says_of_a_share_is_what_the_knob_is() {
    for (knobs, code, step, sign, words) in rows_of_a_share() {
        let emulator = share();
        turn(&emulator, &knobs);
        says(&examine(&emulator, &[]), &knobs.to_string(), code, step, sign, words);
    }
}

#[test]
fn what_the_doctor_says_of_a_space_is_what_the_knob_is() {
    for (knobs, code, step, sign, words) in rows_of_a_space() {
        let emulator = space();
        turn(&emulator, &knobs);
        says(&examine_space(&emulator), &knobs.to_string(), code, step, sign, words);
    }
    for (large_pages, sign, words) in
        [("honoured", '✓', "also above 100"), ("clamped", '!', "cut to 100"), ("refused", '!', "refused")]
    {
        let emulator = space();
        let many = (0..120).map(|number| Entry::file(format!("secret-{number}"), 10));
        emulator.own().tree.add_many("", many);
        turn(&emulator, &json!({"large_pages": large_pages}));
        says(&examine_space(&emulator), large_pages, 0, "page sizes", sign, words);
    }
}

#[test]
fn every_knob_is_examined_and_those_without_a_step_leave_a_mount_working() {
    let mut seen: Vec<String> = Vec::new();
    let rows = rows_of_a_share().into_iter().chain(rows_of_a_space()).map(|(knobs, ..)| knobs);
    for knobs in rows.chain(rows_without_a_step()) {
        seen.extend(knobs.as_object().unwrap().keys().cloned());
    }
    let is_missing = |name: &&str| !seen.iter().any(|seen| seen == name);
    let missing: Vec<&str> = KNOB_HELP.iter().map(|(name, _)| *name).filter(is_missing).collect();
    assert_eq!(missing, Vec::<&str>::new());
    for knobs in rows_without_a_step() {
        let emulator = share();
        turn(&emulator, &knobs);
        says(&examine(&emulator, &[]), &knobs.to_string(), 0, "ranges", '✓', "just that range");
    }
}

#[test]
fn what_is_broken_is_named_and_has_its_exit_code() {
    for (fault, code, step, sign, words) in [
        (Fault::any_api(FaultKind::Internal), 1, "opening", '✗', "does not work at the moment"),
        (Fault::any_api(FaultKind::Html), 1, "opening", '✗', "something else than KooDrive"),
        (Fault::any_api(FaultKind::Reset), 1, "connection", '✗', "breaks"),
        (Fault::any_api(FaultKind::Hang), 1, "connection", '✗', "no answer in time"),
        (Fault::api("files", FaultKind::CursorLoop), 1, "cursors", '✗', "names a page that was there"),
        (Fault::api("files", FaultKind::PageSizeIgnored), 0, "page sizes", '!', "ignored: "),
        (Fault::api("files", FaultKind::Throttle).skip(3).limit(1), 0, "throttling", '!', "1 of"),
        (Fault::object(FaultKind::IgnoredRange), 1, "ranges", '✗', "ranges are ignored"),
        (Fault::object(FaultKind::WrongRange), 1, "ranges", '✗', "another range"),
        (Fault::object(FaultKind::WrongTotal), 1, "ranges", '✗', "another length"),
        (Fault::object(FaultKind::Forbidden), 1, "ranges", '✗', "refuses a link that has just come"),
        (Fault::object(FaultKind::Internal), 1, "ranges", '✗', "HTTP 500"),
        (Fault::object(FaultKind::NoEtag), 0, "ETag", '!', "there is none"),
        (Fault::object(FaultKind::OtherEtag), 1, "If-Match", '✗', "the tag it has just given"),
    ] {
        let emulator = share();
        let what = fault.to_string();
        emulator.fault(fault);
        says(&examine(&emulator, &[]), &what, code, step, sign, words);
    }
    let emulator = share();
    turn(&emulator, &json!({"link_style": "opaque", "link_lifetime": 0}));
    says(&examine(&emulator, &[]), "dead links", 1, "ranges", '✗', "refuses a link that has just come");
}

#[test]
fn refused_credentials_are_exit_code_3_and_sent_once() {
    let emulator = share();
    turn(&emulator, &json!({"access_code": "aB3dE6gH"}));
    let source = format!("share:{}", emulator.share_code());
    let mut command = koofs(&["doctor", "--endpoint", &emulator.url(), "--agent", AGENT, &source]);
    command.env("KOOFS_ACCESS_CODE", "wr0ngC0d");
    let said = checked(&emulator, run(command));
    says(&said, "wrong code", 3, "opening", '✗', "the access code is refused");
    assert!(line(&said, "a page").starts_with("- ") && !said.out.contains("wr0ng"), "{}", said.out);
    assert_eq!(emulator.counters().wrong_codes, 1);
}

#[test]
fn host_that_is_not_found_and_certificate_that_is_not_trusted_are_told_apart() {
    let at = |endpoint: &str| run(koofs(&["doctor", "--endpoint", endpoint, "--agent", AGENT, "share:4711"]));
    let said = at("https://nowhere.invalid");
    says(&said, "no host", 1, "name lookup", '✗', "no address");
    says(&said, "no host", 1, "connection", '-', "left out");
    let emulator = Emulator::start(EmulatorConfig { tls: true, ..EmulatorConfig::default() });
    says(&at(&emulator.url()), "no trust", 1, "connection", '✗', "no trustworthy TLS");
}

#[test]
fn report_has_the_same_lines_is_private_and_overwrites_nothing() {
    let emulator = share();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.txt");
    let said = examine(&emulator, &["--report", path.to_str().unwrap()]);
    let report = std::fs::read_to_string(&path).unwrap();
    assert!(report.starts_with("koofs doctor ") && report.ends_with(&said.out), "{report}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    names_nothing(&emulator, &report);

    emulator.reset_counters();
    let again = examine(&emulator, &["--report", path.to_str().unwrap()]);
    assert!(again.code == Some(1) && again.error.contains("exists already"), "{}", again.error);
    assert_eq!(emulator.counters().api_calls(), 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), report);
}

#[test]
fn each_step_names_sections_that_there_are() {
    let facts = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/koodrive/API.md")).unwrap();
    let said = examine(&share(), &[]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 27, "{}", said.out);
    for line in &lines[..26] {
        let sections: String = line.chars().skip(15).take(10).collect();
        for section in sections.split(',').map(str::trim) {
            let heading = if section.contains('.') { format!("\n### {section} ") } else { format!("\n## {section}. ") };
            assert!(facts.contains(&heading), "{section}: {line}");
        }
    }
}
