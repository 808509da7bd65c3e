//! Laws of compressed answers: the API may compress, within the bound of an answer; object stores are asked not to.

use std::sync::Arc;

use koofs::config::SpaceSource;
use koofs::remote::{Remote, RemoteErrorKind};

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::space_client::{config, names, open, says, soon};

/// The user's own space with so many files, opened.
fn space(files: usize) -> (Emulator, Arc<dyn Remote>) {
    let emulator = Emulator::synthetic();
    emulator.own().tree.add_many("", (0..files).map(|number| Entry::file(format!("file {number:03}"), 10)));
    let client = open(&config(&emulator, SpaceSource::Own)).unwrap();
    (emulator, client)
}

#[test]
fn listings_come_compressed_and_are_the_same() {
    let (emulator, client) = space(300);
    let before = emulator.counters().api_bytes_sent;
    let listed = names(&*client, &client.root());
    let compressed = emulator.counters().api_bytes_sent - before;
    assert_eq!(listed.len(), 300);
    assert!(emulator.counters().api_compressed >= 3);
    emulator.knobs(|knobs| knobs.gzip = false);
    let before = emulator.counters().api_bytes_sent;
    assert_eq!(names(&*client, &client.root()), listed);
    let plain = emulator.counters().api_bytes_sent - before;
    assert!(compressed * 3 < plain, "{compressed} of {plain} bytes");
    emulator.assert_polite();
}

#[test]
fn damaged_compression_is_a_broken_connection_and_never_a_short_page() {
    let (emulator, client) = space(300);
    emulator.fault(Fault::api("spaceFiles", FaultKind::BrokenGzip).limit(1));
    let error = client.list_page(&client.root(), None, soon()).unwrap_err();
    // Of the kind that whoever needs the page asks for it again.
    assert_eq!(error.kind(), RemoteErrorKind::Interrupted, "{error}");
    assert_eq!(names(&*client, &client.root()).len(), 300);
}

#[test]
fn answer_that_unfolds_beyond_the_bound_is_refused() {
    let (emulator, client) = space(300);
    emulator.fault(Fault::api("spaceFiles", FaultKind::GzipBomb));
    // It would be 256 MiB.
    let error = client.list_page(&client.root(), None, soon()).unwrap_err();
    says(&error, &["more than 16777216 bytes"]);
}
