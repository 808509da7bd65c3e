//! What the service's pages leave open or contradict: the client copes with each form, and takes no error for absence.

use std::sync::Arc;

use koofs::clock::SystemClock;
use koofs::config::{Edition, ShareConfig, Source};
use koofs::remote::{NodeId, Remote, RemoteErrorKind};

use crate::emulator::{Emulator, Entry};
use crate::log_keeper::{keep_log, kept_log};
use crate::mount_bench::{Bench, tool};
use crate::mounted::mounts_are_allowed;
use crate::space_client::{connection, names, open_on, says, soon};

/// The emulator's share, opened without a login.
fn share(emulator: &Emulator) -> Arc<dyn Remote> {
    let config = ShareConfig {
        connection: connection(&emulator.url()),
        code: emulator.share_code().to_owned(),
        access_code: None,
        edition: Edition::Carrier { agent: "carrier".to_owned() },
    };
    open_on(Source::Share(config), Arc::new(SystemClock)).unwrap()
}

// ---- A share whose owner forbids downloads (permission.download) ----

#[test]
fn files_of_a_share_without_permission_to_download_are_listed_and_denied() {
    keep_log();
    let emulator = Emulator::synthetic();
    let id = NodeId::new(&emulator.tree().add("", Entry::file("a", 10)));
    emulator.knobs(|knobs| knobs.permission_download = Some(false));
    let client = share(&emulator);
    assert!(kept_log().contains("does not permit downloads"));
    assert_eq!(names(&*client, &client.root()), ["a"]);
    let denied = client.resolve_links(std::slice::from_ref(&id), soon()).unwrap().remove(0).unwrap_err();
    assert_eq!(denied.kind(), RemoteErrorKind::Denied);
    says(&denied, &["the owner of the share does not permit downloads"]);
    // The owner's mind can change in both directions.
    emulator.knobs(|knobs| knobs.permission_download = Some(true));
    client.resolve_links(std::slice::from_ref(&id), soon()).unwrap().remove(0).unwrap();
    emulator.knobs(|knobs| knobs.permission_download = Some(false));
    let denied = client.resolve_links(&[id], soon()).unwrap().remove(0).unwrap_err();
    assert_eq!(denied.kind(), RemoteErrorKind::Denied);
    emulator.assert_polite();
}

#[test]
fn reader_of_a_share_without_permission_to_download_is_denied_and_the_log_says_why() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::bytes("a", "hello"));
    emulator.knobs(|knobs| knobs.permission_download = Some(false));
    let bench = Bench::new(emulator);
    assert_eq!(tool("ls", [bench.mountpoint.path()]).well(), "a\n");
    let said = tool("cat", [bench.path("a")]);
    assert!(said.code == Some(1) && said.error.contains("Permission denied"), "{said:?}");
    let log = bench.log();
    let why = "the owner of the share does not permit downloads";
    assert!(log.lines().any(|line| line.contains("/a") && line.contains(why)), "{log}");
    bench.emulator.knobs(|knobs| knobs.permission_download = None);
    assert_eq!(tool("cat", [bench.path("a")]).well(), "hello");
    bench.end();
}
