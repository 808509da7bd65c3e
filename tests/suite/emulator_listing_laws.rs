//! Laws of what the documentation leaves open about listings: a filter by name, the order, large pages, and the call that walks a
//! space. Each deployment may do any of it; the emulator does what its knobs say.

use crate::emulator::knobs::{LargePages, NameFilter, NameOrder, Sorting, WalkFile};
use crate::emulator::spaces::{DEPARTMENT, FAMILY, OWN};
use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::emulator_laws;
use crate::emulator_space_laws::{Answer, Bench};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Parameter check failed.
const REFUSED: u64 = 13_000_102;

fn names(files: &[Value]) -> Vec<&str> {
    files.iter().map(|file| file["fileName"].as_str().unwrap()).collect()
}

/// `page` called with each cursor in turn until there is none; all entries, and how many pages there were.
fn pages(page: impl Fn(&str) -> Answer) -> (Vec<Value>, usize) {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    for count in 1..1000 {
        let answer = page(&cursor);
        all.extend(answer.json["files"].as_array().unwrap_or_else(|| panic!("no files in {answer:?}")).iter().cloned());
        match answer.json["nextCursor"].as_str() {
            None | Some("") => return (all, count),
            Some(next) => cursor = next.to_owned(),
        }
    }
    panic!("this listing does not end");
}

fn not_offered(emulator: &Emulator, what: &str) -> u64 {
    emulator.counters().not_offered.get(what).copied().unwrap_or_default()
}

// ---- fileName ----

/// A share and a space with the same entries; the space is listed as a share is.
fn two_of_a_kind() -> (emulator_laws::Bench, Bench) {
    let share = emulator_laws::Bench::of(Emulator::synthetic());
    let space = Bench::new();
    for tree in [share.emulator.tree(), &space.emulator.own().tree] {
        let below = tree.add("", Entry::folder("Report"));
        tree.add("", Entry::file("report", 1));
        tree.add("", Entry::file("a report of reports", 1));
        tree.add("", Entry::file("other", 1));
        tree.add(&below, Entry::file("report", 2));
    }
    (share, space)
}

#[test]
fn name_filter_finds_what_the_knob_says_in_shares_and_spaces() {
    let (share, space) = two_of_a_kind();
    for (filter, wanted) in [
        (NameFilter::Exact, vec!["report"]),
        (NameFilter::Contains, vec!["a report of reports", "report"]),
        (NameFilter::Below, vec!["Report", "a report of reports", "report", "report"]),
        (NameFilter::Ignored, vec!["Report", "a report of reports", "other", "report"]),
    ] {
        share.emulator.knobs(|k| k.name_filter = filter);
        space.emulator.knobs(|k| k.name_filter = filter);
        let (found, _) = share.list(&json!({"fileName": "report", "sortType": 1, "sortDirection": 1, "pageSize": 1}));
        assert_eq!(names(&found), wanted, "{filter:?}");
        let (found, _) = pages(|cursor| {
            let more = json!({"fileName": "report", "sortInfo": {"sortType": 1, "sortDirection": 1},
                "pageInfo": {"pageSize": 1, "pageCursor": cursor}});
            space.list(OWN, "root", &more)
        });
        assert_eq!(names(&found), wanted, "{filter:?}");
    }
    for emulator in [&share.emulator, &space.emulator] {
        emulator.assert_polite();
        assert_eq!(emulator.counters().filtered_listings, 1 + 2 + 4 + 4);
    }
}

#[test]
fn name_filter_that_looks_below_tells_where_each_entry_is() {
    let (_, space) = two_of_a_kind();
    space.emulator.knobs(|k| k.name_filter = NameFilter::Below);
    let answer = space.list(OWN, "root", &json!({"fileName": "REPORT"}));
    let files = answer.json["files"].as_array().unwrap();
    let folder = files.iter().find(|file| file["fileName"] == "Report").unwrap();
    let inside: Vec<_> = files.iter().filter(|file| file["parentFolder"][0] == folder["id"]).collect();
    assert_eq!((inside.len(), &inside[0]["size"]), (1, &json!(2)));
}

#[test]
fn name_filter_that_is_not_offered_is_refused_and_counted_without_complaint() {
    let (share, space) = two_of_a_kind();
    share.emulator.knobs(|k| k.name_filter = NameFilter::Refused);
    space.emulator.knobs(|k| k.name_filter = NameFilter::Refused);
    assert_eq!(share.files(&json!({"fileName": "report"})).code(), REFUSED);
    assert_eq!(share.files(&json!({"fileName": ""})).code(), 0, "an empty one is none");
    assert_eq!(space.list(OWN, "root", &json!({"fileName": "report"})).code(), REFUSED);
    for emulator in [&share.emulator, &space.emulator] {
        emulator.assert_polite();
        assert_eq!(not_offered(emulator, "fileName"), 1);
    }
}

// ---- order ----

#[test]
fn order_is_what_was_asked_for_or_what_the_knob_makes_of_it() {
    let (share, _) = two_of_a_kind();
    let listed = |direction: u64| {
        let (all, _) = share.list(&json!({"sortType": 1, "sortDirection": direction, "pageSize": 1}));
        names(&all).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let up = ["Report", "a report of reports", "other", "report"];
    let down = ["report", "other", "a report of reports", "Report"];
    assert_eq!((listed(1), listed(2)), (up.map(str::to_owned).to_vec(), down.map(str::to_owned).to_vec()));
    share.emulator.knobs(|k| k.sorting = Sorting::DirectionIgnored);
    assert_eq!((listed(1), listed(2)), (down.map(str::to_owned).to_vec(), down.map(str::to_owned).to_vec()));
    share.emulator.knobs(|k| k.sorting = Sorting::Ignored);
    assert_eq!(listed(1), listed(2));
    assert!(listed(1) != up && listed(1) != down, "{:?}", listed(1));
    share.emulator.knobs(|k| k.sorting = Sorting::DescendingRefused);
    assert_eq!(listed(1), up);
    share.emulator.assert_polite();
    assert_eq!(share.files(&json!({"sortType": 1, "sortDirection": 2})).code(), REFUSED);
    assert_eq!(not_offered(&share.emulator, "sortDirection"), 1);
    share.emulator.assert_polite();
}

#[test]
fn names_without_regard_to_case_are_not_reversed_where_they_are_equal() {
    let share = emulator_laws::Bench::of(Emulator::synthetic());
    for name in ["b", "A", "a", "B", "c"] {
        share.emulator.tree().add("", Entry::file(name, 1));
    }
    share.emulator.knobs(|k| k.name_order = NameOrder::AnyCase);
    let listed = |direction: u64| share.list(&json!({"sortType": 1, "sortDirection": direction})).0;
    let (up, down) = (listed(1), listed(2));
    let folded = |all: &[Value]| names(all).concat().to_lowercase();
    assert_eq!((folded(&up), folded(&down)), ("aabbc".to_owned(), "cbbaa".to_owned()));
    assert_eq!(names(&up)[..2], names(&down)[3..], "equal ones keep their order");
}

// ---- large pages ----

#[test]
fn page_of_a_space_above_100_is_honoured_clamped_or_refused() {
    let bench = Bench::new();
    bench.emulator.own().tree.add_many("", (0..1200).map(|n| Entry::file(format!("{n:04}"), 1)));
    let page = |size: u64| bench.list(OWN, "root", &json!({"pageInfo": {"pageSize": size}}));
    let len = |answer: &Answer| answer.json["files"].as_array().unwrap().len();
    assert_eq!((page(100).code(), page(101).code(), page(1000).code()), (0, REFUSED, REFUSED));
    assert_eq!(not_offered(&bench.emulator, "pageSize"), 2);
    bench.emulator.knobs(|k| k.large_pages = LargePages::Clamped);
    assert_eq!((len(&page(1000)), len(&page(7))), (100, 7));
    bench.emulator.knobs(|k| k.large_pages = LargePages::Honoured);
    assert_eq!((len(&page(1000)), len(&page(101))), (1000, 101));
    let (all, count) =
        pages(|cursor| bench.list(OWN, "root", &json!({"pageInfo": {"pageSize": 1000, "pageCursor": cursor}})));
    assert_eq!((all.len(), count), (1200, 2));
    bench.emulator.assert_polite();
    assert_eq!(page(1001).code(), REFUSED);
    assert_eq!(bench.emulator.counters().complaints_total, 1, "nobody has promised more than 1000");
}

// ---- walkFile ----

/// A space of 3 folders in each other, two files in each, and one at the top; and how to walk it.
fn forest() -> Bench {
    let bench = Bench::new();
    let tree = &bench.emulator.own().tree;
    let mut parent = String::new();
    for depth in 0..3 {
        parent = tree.add(&parent, Entry::folder(format!("folder-{depth}")));
        tree.add_many(&parent, (0..2).map(|n| Entry::file(format!("file-{depth}-{n}"), 7)));
    }
    tree.add("", Entry::file("top", 1));
    bench
}

fn walk_from(bench: &Bench, parent: &str, more: &Value) -> Answer {
    let mut body = json!({"containerId": OWN, "parentFileId": parent, "sortInfo": {"sortType": 3, "sortDirection": 1}});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    bench.post("v1/file/walkFile", &body)
}

fn walked(bench: &Bench, size: u64) -> (Vec<Value>, usize) {
    pages(|cursor| walk_from(bench, "root", &json!({"pageInfo": {"pageSize": size, "pageCursor": cursor}})))
}

/// Paths of what can be reached from the top by `parentFolder`.
fn paths(rows: &[Value]) -> BTreeSet<String> {
    let by_id: BTreeMap<&str, &Value> = rows.iter().map(|row| (row["id"].as_str().unwrap(), row)).collect();
    let root = format!("DEUI7pa0C24Aroot{OWN}");
    let path = |row: &Value| {
        let mut path = row["fileName"].as_str()?.to_owned();
        let mut parent = row["parentFolder"][0].as_str()?;
        while parent != root {
            let above = by_id.get(parent)?;
            path = format!("{}/{path}", above["fileName"].as_str()?);
            parent = above["parentFolder"][0].as_str()?;
        }
        Some(path)
    };
    rows.iter().filter_map(path).collect()
}

#[test]
fn walk_gives_a_space_in_pages_of_1000_and_the_listings_give_the_same() {
    let bench = forest();
    let mut listed = BTreeSet::new();
    let mut left = vec![("root".to_owned(), String::new())];
    while let Some((id, path)) = left.pop() {
        for file in bench.list(OWN, &id, &Value::Null).json["files"].as_array().unwrap() {
            let path = format!("{path}{}", file["fileName"].as_str().unwrap());
            if file["fileType"] == "10" {
                left.push((file["id"].as_str().unwrap().to_owned(), format!("{path}/")));
            }
            listed.insert(path);
        }
    }
    let (rows, count) = walked(&bench, 1000);
    assert_eq!((rows.len(), count), (10, 1));
    assert_eq!(paths(&rows), listed);
    let (rows, count) = walked(&bench, 3);
    assert_eq!((paths(&rows), count), (listed, 4));
    let answer = walk_from(&bench, "root", &Value::Null);
    assert_eq!((&answer.json["nextCursor"], &answer.json["code"]), (&json!(""), &Value::Null), "as documented");
    assert_eq!(bench.emulator.counters().calls_of("walkFile"), 6);
    bench.emulator.assert_polite();
}

#[test]
fn walk_of_a_directory_is_of_what_is_below_it_and_its_type_filters() {
    let bench = forest();
    let folder = bench.emulator.own().tree.find("folder-0/folder-1").unwrap();
    let rows = walk_from(&bench, &folder.id, &Value::Null).json["files"].as_array().unwrap().clone();
    assert_eq!(names(&rows).len(), 5);
    assert!(names(&rows).contains(&"folder-2") && names(&rows).contains(&"file-1-0"), "{rows:?}");
    let folders = walk_from(&bench, "root", &json!({"type": "10"}));
    assert_eq!(names(folders.json["files"].as_array().unwrap()), ["folder-0", "folder-1", "folder-2"]);
    assert_eq!(bench.post("v1/file/walkFile", &json!({"containerId": DEPARTMENT, "parentFileId": "root"})).status, 200);
}

#[test]
fn walk_leaves_out_or_adds_what_the_knob_says() {
    let bench = forest();
    let turned = |walk: WalkFile| {
        bench.emulator.knobs(|k| k.walk_file = walk);
        walked(&bench, 1000).0
    };
    let folders = |rows: &[Value]| rows.iter().filter(|row| row["fileType"] == "10").count();
    let rows = turned(WalkFile::NoParents);
    assert!(rows.len() == 10 && rows.iter().all(|row| row.get("parentFolder").is_none()));
    let rows = turned(WalkFile::NoFolders);
    assert_eq!((rows.len(), folders(&rows)), (7, 0));
    let rows = turned(WalkFile::ChildrenOnly);
    assert_eq!((names(&rows), folders(&rows)), (vec!["folder-0", "top"], 1));
    let rows = turned(WalkFile::Orphans);
    assert_eq!((rows.len(), folders(&rows)), (9, 2));
    assert!(paths(&rows).len() < 9, "some hang in the air");
    let rows = turned(WalkFile::WithRoot);
    assert_eq!((rows.len(), folders(&rows)), (11, 4));
    let root = rows.iter().find(|row| row["id"] == format!("DEUI7pa0C24Aroot{OWN}")).unwrap();
    assert_eq!(root["parentFolder"][0], format!("DEUI7pa0C24A{OWN}"));
    bench.emulator.assert_polite();
}

#[test]
fn walk_that_is_missing_or_breaks_fails_without_complaint() {
    let bench = forest();
    bench.emulator.knobs(|k| k.walk_file = WalkFile::Missing);
    let answer = walk_from(&bench, "root", &Value::Null);
    assert_eq!((answer.status, &answer.json["error_code"]), (404, &json!("APIGW.0101")));
    assert_eq!(not_offered(&bench.emulator, "walkFile"), 1);
    bench.emulator.knobs(|k| k.walk_file = WalkFile::Breaks);
    let answer = walk_from(&bench, "root", &json!({"pageInfo": {"pageSize": 4}}));
    assert_eq!((answer.status, answer.json["files"].as_array().unwrap().len()), (200, 4));
    let next = json!({"pageInfo": {"pageSize": 4, "pageCursor": answer.json["nextCursor"]}});
    assert_eq!(walk_from(&bench, "root", &next).status, 500);
    bench.emulator.knobs(|k| k.walk_file = WalkFile::Works);
    bench.emulator.fault(Fault::api("walkFile", FaultKind::GatewayTimeout));
    assert_eq!(walk_from(&bench, "root", &next).status, 504);
    bench.emulator.clear_faults();
    bench.emulator.knobs(|k| k.walk_page_max = 100);
    assert_eq!(walk_from(&bench, "root", &json!({"pageInfo": {"pageSize": 1000}})).code(), REFUSED);
    assert_eq!(not_offered(&bench.emulator, "pageSize"), 1);
    bench.emulator.assert_polite();
}

#[test]
fn walk_is_as_strict_as_its_documentation() {
    let bench = forest();
    let folder = bench.emulator.own().tree.find("folder-0").unwrap();
    let file = bench.emulator.own().tree.find("top").unwrap();
    let first = walk_from(&bench, "root", &json!({"pageInfo": {"pageSize": 4}}));
    let next = json!({"pageInfo": {"pageSize": 4, "pageCursor": first.json["nextCursor"]}});
    assert_eq!(walk_from(&bench, &folder.id, &next).code(), REFUSED, "the same start in every request");
    for wrong in [
        json!({"pageInfo": {"pageSize": 1001}}),
        json!({"pageInfo": {"pageSize": 0}}),
        json!({"sortInfo": {"sortType": 5}}),
        json!({"recursive": true}),
        json!({"fileName": "top"}),
        json!({"containerId": ""}),
    ] {
        assert_eq!(walk_from(&bench, "root", &wrong).code(), REFUSED, "{wrong}");
    }
    assert_eq!(bench.emulator.counters().complaints_total, 7);
    assert_eq!(walk_from(&bench, &file.id, &Value::Null).code(), 13_000_304);
    assert_eq!(
        bench.post("v1/file/walkFile", &json!({"containerId": FAMILY, "parentFileId": "root"})).code(),
        13_000_410
    );
    let inside = bench.inside("v1/file/walkFile", &json!({"containerId": FAMILY, "parentFileId": "root"}));
    assert_eq!(inside.code(), REFUSED, "not of shared folders");
}

#[test]
fn walk_shows_recycled_entries_where_listings_do_and_nothing_below_them() {
    let bench = forest();
    let tree = &bench.emulator.own().tree;
    tree.recycle(&tree.find("folder-0/folder-1").unwrap().id);
    assert_eq!(walked(&bench, 1000).0.len(), 4);
    bench.emulator.knobs(|k| k.recycled_in_listings = true);
    let rows = walked(&bench, 1000).0;
    let recycled: Vec<_> = rows.iter().filter(|row| row["recycled"] == true).collect();
    assert_eq!((rows.len(), recycled.len()), (5, 1));
}
