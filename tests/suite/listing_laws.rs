//! Laws of `koofs ls`, over a scripted drive.

use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use koofs::cli::{self, Environment};
use koofs::clock::SystemClock;
use koofs::config::{Command, Connection, Edition, ListConfig, ListFormat, ShareConfig, Source};
use koofs::listing::{self, ListError};
use koofs::remote::{
    Capacity, Child, Cursor, LinkResults, Node, NodeId, NodeKind, Page, Remote, RemoteError, RemoteErrorKind, Version,
};
use koofs::sync::lock;

use crate::fakes::ManualClock;

/// A drive of which each directory is a list of pages; the cursor of page n is its number.
#[derive(Default)]
struct Drive {
    directories: Vec<(&'static str, Vec<Vec<Node>>)>,
    /// The page that fails, or points to itself.
    broken: Option<(usize, Broken)>,
    calls: Mutex<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Broken {
    Fails,
    FailsTwice,
    Repeats,
    RefusesCursors(usize),
}

impl Drive {
    /// How often page `index` of the root was asked for.
    fn asked_for(&self, index: usize) -> usize {
        let page = format!("root {index}");
        lock(&self.calls).iter().filter(|call| **call == page).count()
    }
}

impl Remote for Drive {
    fn root(&self) -> NodeId {
        NodeId::new("root")
    }

    fn list_page(&self, directory: &NodeId, cursor: Option<&Cursor>, _: Instant) -> Result<Page, RemoteError> {
        let index: usize = cursor.map_or(0, |cursor| cursor.as_str().parse().unwrap());
        lock(&self.calls).push(format!("{} {index}", directory.as_str()));
        let pages = &self.directories.iter().find(|(id, _)| *id == directory.as_str()).unwrap().1;
        match self.broken {
            Some((at, broken @ (Broken::Fails | Broken::FailsTwice)))
                if at == index && (broken == Broken::Fails || self.asked_for(index) <= 2) =>
            {
                Err(RemoteError::new(RemoteErrorKind::Unavailable, "HTTP status 503"))
            }
            Some((at, Broken::RefusesCursors(times))) if at == index && self.asked_for(index) <= times => {
                Err(RemoteError::new(RemoteErrorKind::CursorRefused, "code 13000102"))
            }
            Some((at, Broken::Repeats)) if at == index => {
                Ok(Page { nodes: pages[index].clone(), next: Cursor::new(index.to_string()) })
            }
            _ => {
                let next = if index + 1 < pages.len() { Cursor::new((index + 1).to_string()) } else { None };
                Ok(Page { nodes: pages[index].clone(), next })
            }
        }
    }

    fn page_from_end(&self, _: &NodeId, _: Option<&Cursor>, _: Instant) -> Result<Page, RemoteError> {
        Err(RemoteError::new(RemoteErrorKind::Unusable, "not offered"))
    }

    fn find_child(&self, _: &NodeId, _: &str, _: Instant) -> Result<Child, RemoteError> {
        Ok(Child::NotOffered)
    }

    fn max_links_per_call(&self) -> usize {
        1
    }

    fn resolve_links(&self, _: &[NodeId], _: Instant) -> Result<LinkResults, RemoteError> {
        panic!("a listing needs no links")
    }

    fn capacity(&self) -> Option<Capacity> {
        None
    }
}

fn node(id: &str, name: &str, kind: NodeKind, size_bytes: u64) -> Node {
    let version = Version { size_bytes, edited_ms: 1_736_163_718_806 };
    Node { id: NodeId::new(id), name: name.to_owned(), kind, version, link: None }
}

fn file(id: &str, name: &str) -> Node {
    node(id, name, NodeKind::File, 106_437)
}

fn directory(id: &str, name: &str) -> Node {
    node(id, name, NodeKind::Directory, 0)
}

fn drive() -> Drive {
    let root = vec![
        vec![directory("D", "docs"), file("F1", "a\u{1b}[31m")],
        vec![],
        vec![file("F2", "same.txt"), file("F1", "again"), file("F3", "same.txt")],
    ];
    let docs = vec![vec![file("F4", "x/y"), directory("E", "empty")]];
    Drive { directories: vec![("root", root), ("D", docs), ("E", vec![vec![]])], ..Drive::default() }
}

fn config(path: &[&str], format: ListFormat) -> ListConfig {
    let share = ShareConfig {
        connection: Connection {
            endpoint: "https://drive.invalid".to_owned(),
            allow_http: false,
            allow_private_links: false,
            ca_file: None,
            op_timeout: Duration::from_secs(30),
        },
        code: "1".to_owned(),
        access_code: None,
        edition: Edition::Carrier { agent: "a".to_owned() },
    };
    ListConfig {
        source: Source::Share(share),
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        format,
        verbosity: 0,
    }
}

fn listed(drive: &Drive, path: &[&str], format: ListFormat, is_terminal: bool) -> (String, Result<(), ListError>) {
    let mut out = Vec::new();
    let done = listing::list(drive, &config(path, format), &ManualClock::default(), is_terminal, &mut out);
    (String::from_utf8(out).unwrap(), done)
}

fn text(path: &[&str], format: ListFormat) -> String {
    let (out, done) = listed(&drive(), path, format, false);
    done.unwrap();
    out
}

#[test]
fn page_that_fails_for_a_moment_is_asked_for_again() {
    let drive = Drive { broken: Some((1, Broken::FailsTwice)), ..drive() };
    let (out, done) = listed(&drive, &[], ListFormat::Names, false);
    done.unwrap();
    assert_eq!((out.lines().count(), drive.asked_for(1)), (4, 3));
}

#[test]
fn names_are_those_of_the_mount_one_on_a_line() {
    let out = text(&[], ListFormat::Names);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..3], ["docs", "a\u{1b}[31m", "same.txt"]);
    assert!(lines.len() == 4 && lines[3].starts_with("same~") && lines[3].ends_with(".txt"), "{lines:?}");
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    let (out, _) = listed(&drive(), &[], ListFormat::Names, true);
    assert!(out.contains("a\\u{1b}[31m\n") && !out.contains('\u{1b}'), "{out}");
}

#[test]
fn long_format_shows_size_time_and_kind() {
    let out = text(&[], ListFormat::Long);
    let lines: Vec<Vec<_>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["-", "2025-01-06T11:41:58Z", "docs/"]);
    assert_eq!(lines[2], ["106437", "2025-01-06T11:41:58Z", "same.txt"]);
}

#[test]
fn sizes_for_people_are_asked_for_by_h_as_in_ls() {
    let out = text(&[], ListFormat::LongForPeople);
    let lines: Vec<Vec<_>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[0][0], lines[2][0]), ("-", "103K"));
    let format = |options: &str| {
        let arguments = format!("koofs ls {options} --agent a --endpoint intl share:1");
        match cli::parse(arguments.split(' '), &Environment::default()) {
            Ok(Command::List(config)) => config.format,
            other => panic!("{options}: {other:?}"),
        }
    };
    for options in ["-lh", "-hl", "-l -h", "-l --human-readable"] {
        assert_eq!(format(options), ListFormat::LongForPeople, "{options}");
    }
    assert_eq!((format("-l"), format("-h")), (ListFormat::Long, ListFormat::Names));
}

#[test]
fn json_is_one_object_on_a_line() {
    let out = text(&["docs"], ListFormat::JsonLines);
    let objects: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let modified = "2025-01-06T11:41:58Z";
    let want = serde_json::json!([
        {"name": "x\u{ff0f}y", "type": "file", "size": 106_437, "modified": modified},
        {"name": "empty", "type": "directory", "size": 0, "modified": modified},
    ]);
    assert_eq!(serde_json::Value::from(objects), want);
}

#[test]
fn path_is_followed_by_the_names_of_the_mount() {
    assert_eq!(text(&["docs", "x\u{ff0f}y"], ListFormat::Names), "x\u{ff0f}y\n");
    assert_eq!(text(&["docs", "empty"], ListFormat::Names), "");
    for (path, want) in [
        (&["none"][..], "there is no /none in the share"),
        (&["docs", "x"], "no /docs/x in the share"),
        (&["same.txt", "x"], "/same.txt is a file"),
    ] {
        let error = listed(&drive(), path, ListFormat::Names, false).1.unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }
}

#[test]
fn search_for_a_name_stops_at_its_page() {
    let drive = drive();
    listed(&drive, &["docs"], ListFormat::Names, false).1.unwrap();
    assert_eq!(*lock(&drive.calls), ["root 0", "D 0"]);
}

#[test]
fn failed_page_is_an_error_and_not_the_end() {
    let drive = Drive { broken: Some((2, Broken::Fails)), ..drive() };
    let (out, done) = listed(&drive, &[], ListFormat::Names, false);
    assert_eq!(out.lines().count(), 2);
    assert!(matches!(done, Err(ListError::Remote(_, _))), "{done:?}");
}

#[test]
fn repeated_cursor_is_an_error() {
    let drive = Drive { broken: Some((1, Broken::Repeats)), ..drive() };
    let done = listed(&drive, &[], ListFormat::Names, false).1;
    assert!(matches!(done, Err(ListError::Endless(_))), "{done:?}");
}

#[test]
fn refused_cursor_begins_the_listing_again_a_few_times_and_prints_each_entry_once() {
    let whole = listed(&drive(), &[], ListFormat::Names, false).0;
    for times in [1, 3] {
        let drive = Drive { broken: Some((1, Broken::RefusesCursors(times))), ..drive() };
        let (printed, done) = listed(&drive, &[], ListFormat::Names, false);
        assert!(done.is_ok(), "{done:?}");
        assert_eq!(printed, whole);
        assert_eq!(drive.asked_for(0), 1 + times);
    }
    let drive = Drive { broken: Some((1, Broken::RefusesCursors(usize::MAX))), ..drive() };
    let done = listed(&drive, &[], ListFormat::Names, false).1;
    assert!(matches!(done, Err(ListError::Remote(..))), "{done:?}");
    assert_eq!(drive.asked_for(0), 4);
}

#[test]
fn entries_are_written_before_the_next_page_is_asked_for() {
    /// Notes how many calls had been made when each flush came.
    struct Watching<'a>(&'a Drive, Vec<usize>);
    impl Write for Watching<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.1.push(lock(&self.0.calls).len());
            Ok(())
        }
    }
    let drive = drive();
    let mut out = Watching(&drive, Vec::new());
    listing::list(&drive, &config(&[], ListFormat::Names), &SystemClock, false, &mut out).unwrap();
    assert_eq!(out.1, [1, 2, 3]);
}
