//! The laws of pages larger than 100 entries, which spaces may give: tried once, taken back for good, never mixed with small ones.

use std::sync::Arc;
use std::time::Duration;

use koofs::config::SpaceSource;
use koofs::remote::{NodeId, Remote, RemoteErrorKind};
use serde_json::{Value, json};

use crate::emulator::knobs::LargePages;
use crate::emulator::{Emulator, Entry};
use crate::fakes::{Bench as CoreBench, FakeRemote, file};
use crate::mount_bench::{Bench, tool};
use crate::mounted::{await_that, mounts_are_allowed};
use crate::scripted_server::{Answer, ScriptedServer};
use crate::space_client::{config, names, open, scripted_config, soon};

/// A user's space with a folder of so many entries, and its id.
fn space(count: u64, large_pages: LargePages) -> (Emulator, String) {
    let emulator = Emulator::synthetic();
    emulator.knobs(|knobs| knobs.large_pages = large_pages);
    let tree = &emulator.own().tree;
    let folder = tree.add("", Entry::folder("d"));
    tree.add_many(&folder, (0..count).map(|n| Entry::file(format!("f{n:05}"), n)));
    (emulator, folder)
}

/// All names of a directory, each once, and how many calls that took.
fn listed(emulator: &Emulator, client: &Arc<dyn Remote>, folder: &str) -> (Vec<String>, u64) {
    let before = emulator.counters().calls_of("spaceFiles");
    let mut all = names(&**client, &NodeId::new(folder));
    // The first small page comes again with the first large one; the core drops what it knows.
    all.sort();
    all.dedup();
    (all, emulator.counters().calls_of("spaceFiles") - before)
}

#[test]
fn long_directory_of_a_space_comes_in_large_pages_after_a_small_one() {
    let want = |count: u64| (0..count).map(|n| format!("f{n:05}")).collect::<Vec<_>>();
    for (count, calls) in [(0, 1), (100, 1), (101, 2), (1000, 2), (1001, 3), (2500, 4)] {
        let (emulator, folder) = space(count, LargePages::Honoured);
        let client = open(&config(&emulator, SpaceSource::Own)).unwrap();
        assert_eq!(listed(&emulator, &client, &folder), (want(count), calls), "{count} entries");
        emulator.assert_polite();
    }
}

#[test]
fn service_that_refuses_or_clamps_large_pages_is_asked_for_one_in_all() {
    let want: Vec<_> = (0..2500).map(|n| format!("f{n:05}")).collect();
    for large_pages in [LargePages::Refused, LargePages::Clamped] {
        for status in [200, 400] {
            let (emulator, folder) = space(2500, large_pages);
            emulator.knobs(|knobs| knobs.business_status = status);
            let client = open(&config(&emulator, SpaceSource::Own)).unwrap();
            let (all, first) = listed(&emulator, &client, &folder);
            assert_eq!(all, want);
            // A login that may be what was refused is looked at once more.
            assert!((26..=28).contains(&first), "{first} calls, {large_pages:?}, {status}");
            assert_eq!(listed(&emulator, &client, &folder), (want.clone(), 25), "{large_pages:?}");
            emulator.assert_polite();
        }
    }
}

#[test]
fn odd_pages_and_cursors_lose_no_entry() {
    let want: Vec<_> = (0..1234).map(|n| format!("f{n:05}")).collect();
    for large_pages in [LargePages::Honoured, LargePages::Clamped, LargePages::Refused] {
        for page_cap in [7, 100, 150, 333, 1000] {
            for (empty_pages, trailing_empty_page) in [(0, false), (2, false), (3, true)] {
                let (emulator, folder) = space(1234, large_pages);
                emulator.knobs(|knobs| {
                    (knobs.page_cap, knobs.empty_pages) = (page_cap, empty_pages);
                    knobs.trailing_empty_page = trailing_empty_page;
                    knobs.last_cursor = crate::emulator::knobs::LastCursor::Cycle;
                });
                let client = open(&config(&emulator, SpaceSource::Own)).unwrap();
                let said = format!("{large_pages:?} {page_cap} {empty_pages}");
                assert_eq!(listed(&emulator, &client, &folder).0, want, "{said}");
                emulator.assert_polite();
            }
        }
    }
}

/// A service with a space whose directory `D` pages by number, counted in pages of the size that is asked for: a cursor that is used
/// with another size skips entries, or gives them twice.
fn paging_by_number(count: usize, most: usize) -> ScriptedServer {
    ScriptedServer::with_handler(move |request| match request.path() {
        "/koodrive/ose/v1/space/7" => Answer::json(&json!({"data": {"containerId": "IAAD1"}, "code": 0})),
        "/koodrive/ose/v1/files/0" => {
            let body = request.json();
            let size = usize::try_from(body["pageInfo"]["pageSize"].as_u64().unwrap()).unwrap().min(most);
            let page: usize = body["pageInfo"]["pageCursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
            let (start, end) = (page * size, ((page + 1) * size).min(count));
            let row = |n: usize| json!({"id": format!("F{n}"), "fileName": format!("f{n:05}"), "size": 1});
            let files: Vec<Value> = (start..end.max(start)).map(row).collect();
            let next = if end < count { json!((page + 1).to_string()) } else { Value::Null };
            Answer::json(&json!({"files": files, "nextCursor": next, "code": 0}))
        }
        _ => Answer::new(404, ""),
    })
}

#[test]
fn page_that_opening_has_listed_is_used_once() {
    let (emulator, _) = space(1, LargePages::Honoured);
    let source = koofs::config::Source::Space(config(&emulator, SpaceSource::Own));
    let http = koofs::http::HttpConfig::of(source.connection());
    let client = koofs::koodrive::open(&source, &http, Arc::new(koofs::clock::SystemClock)).unwrap();
    let calls = || emulator.counters().calls_of("spaceFiles");
    let page = client.list_page(&client.root(), None, soon()).unwrap();
    assert_eq!((page.nodes.len(), calls()), (1, 1));
    client.list_page(&client.root(), None, soon()).unwrap();
    assert_eq!(calls(), 2);
}

#[test]
fn cursor_that_counts_in_pages_loses_no_entry() {
    let want: Vec<_> = (0..3456).map(|n| format!("f{n:05}")).collect();
    for most in [30, 100, 101, 500, 1000] {
        let server = paging_by_number(3456, most);
        let client = open(&scripted_config(&server, SpaceSource::Own)).unwrap();
        let mut all = names(&*client, &NodeId::new("D"));
        all.sort();
        all.dedup();
        assert_eq!(all, want, "pages of {most} at most");
    }
}

#[test]
fn failure_that_says_nothing_of_large_pages_leaves_them_to_be_tried() {
    let (emulator, folder) = space(2500, LargePages::Honoured);
    let client = open(&config(&emulator, SpaceSource::Own)).unwrap();
    let directory = NodeId::new(&folder);
    let first = client.list_page(&directory, None, soon()).unwrap();
    emulator.fault(crate::emulator::Fault::api("spaceFiles", crate::emulator::FaultKind::Throttle).limit(1));
    let failed = client.list_page(&directory, first.next.as_ref(), soon()).unwrap_err();
    assert_eq!(failed.kind(), RemoteErrorKind::Throttled);
    let second = client.list_page(&directory, first.next.as_ref(), soon()).unwrap();
    assert_eq!(second.nodes.len(), 1000);
}

#[test]
fn refused_cursor_of_a_large_page_has_the_listing_begin_again_in_small_ones_if_none_ever_went_on() {
    let (emulator, folder) = space(2500, LargePages::Honoured);
    let client = open(&config(&emulator, SpaceSource::Own)).unwrap();
    let directory = NodeId::new(&folder);
    let first = client.list_page(&directory, None, soon()).unwrap();
    let second = client.list_page(&directory, first.next.as_ref(), soon()).unwrap();
    emulator.knobs(|knobs| knobs.cursor_lifetime = Duration::ZERO);
    let refused = client.list_page(&directory, second.next.as_ref(), soon()).unwrap_err();
    assert_eq!(refused.kind(), RemoteErrorKind::CursorRefused);
    emulator.knobs(|knobs| knobs.cursor_lifetime = Duration::from_secs(600));
    let again = client.list_page(&directory, None, soon()).unwrap();
    assert_eq!(client.list_page(&directory, again.next.as_ref(), soon()).unwrap().nodes.len(), 100);
}

#[test]
fn directory_of_large_pages_is_listed_ahead_no_further_than_a_page() {
    let numbered = |dir: &str, count: usize| -> Vec<_> {
        (0..count).map(|n| file(&format!("{dir}{n}"), &format!("f{n:05}"), 1)).collect()
    };
    let dirs = (0..4).map(|n| crate::fakes::dir(["A", "B", "C", "D"][n], ["a", "b", "c", "d"][n])).collect();
    let bench = CoreBench::new(FakeRemote::new([
        ("root", dirs),
        ("A", vec![]),
        ("B", vec![]),
        ("C", numbered("C", 5000)),
        ("D", vec![]),
    ]));
    bench.remote.page_size.store(1000, std::sync::atomic::Ordering::SeqCst);
    bench.names(koofs::fs::Ino::ROOT, 1000).unwrap();
    for name in ["a", "b"] {
        let ino = bench.ino(koofs::fs::Ino::ROOT, name);
        bench.names(ino, 1000).unwrap();
    }
    await_that("all that is listed ahead", || bench.remote.lists() >= 5);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(bench.remote.lists(), 5, "the root, each directory, and one page of the long one");
}

#[test]
fn all_names_of_a_space_come_in_a_tenth_of_the_calls() {
    if !mounts_are_allowed() {
        return;
    }
    for (large_pages, calls) in
        [(LargePages::Honoured, 1 + 6), (LargePages::Clamped, 1 + 60), (LargePages::Refused, 1 + 60)]
    {
        let (emulator, _) = space(6000, large_pages);
        let bench = Bench::of_space(emulator, &[]);
        tool("ls", [bench.mountpoint.path()]).well();
        let before = bench.emulator.counters().calls_of("spaceFiles");
        let names = tool("ls", ["-f", bench.path("d").to_str().unwrap()]).well();
        assert_eq!(names.lines().count(), 6002);
        let mut unique: Vec<&str> = names.lines().collect();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), 6002);
        let made = bench.emulator.counters().calls_of("spaceFiles") - before;
        // Both ends overlap, and either may be on its way for one more page.
        assert!((calls..=calls + 3).contains(&made), "{large_pages:?}: {made} calls");
        bench.end();
    }
}
