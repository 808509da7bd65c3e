//! What the service's pages leave open or contradict: the client copes with each form, and takes no error for absence.

use std::sync::Arc;
use std::time::Duration;

use koofs::clock::SystemClock;
use koofs::config::{Edition, ShareConfig, Source, SpaceSource};
use koofs::remote::{NodeId, Remote, RemoteErrorKind};

use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::log_keeper::{keep_log, kept_log};
use crate::mount_bench::{Bench, mount_command, run, tool};
use crate::mounted::{Mountpoint, await_that, koofs, mounts_are_allowed};
use crate::space_client::{config, connection, names, open, open_on, says, soon};

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

// ---- A cursor that the service does not accept any more: its life is not documented ----

/// How a page at a cursor fails that is too old.
fn at_an_old_cursor(emulator: &Emulator, client: &dyn Remote) -> RemoteErrorKind {
    let first = client.list_page(&client.root(), None, soon()).unwrap();
    emulator.knobs(|knobs| knobs.cursor_lifetime = Duration::ZERO);
    let refused = client.list_page(&client.root(), first.next.as_ref(), soon()).unwrap_err();
    // Without a cursor the same code says nothing of one.
    let nonsense = NodeId::new(&"F".repeat(100));
    let other = client.list_page(&nonsense, None, soon()).unwrap_err();
    assert_ne!(other.kind(), RemoteErrorKind::CursorRefused);
    client.list_page(&client.root(), None, soon()).unwrap();
    refused.kind()
}

#[test]
fn cursor_that_is_too_old_is_told_from_other_refusals() {
    let entries = || (0..150).map(|n| Entry::file(format!("f{n:04}"), 10));
    for status in [200, 400] {
        let emulator = Emulator::synthetic();
        emulator.knobs(|knobs| knobs.business_status = status);
        emulator.tree().add_many("", entries());
        assert_eq!(at_an_old_cursor(&emulator, &*share(&emulator)), RemoteErrorKind::CursorRefused);
        let emulator = Emulator::synthetic();
        emulator.knobs(|knobs| knobs.business_status = status);
        emulator.own().tree.add_many("", entries());
        let space = open(&config(&emulator, SpaceSource::Own)).unwrap();
        assert_eq!(at_an_old_cursor(&emulator, &*space), RemoteErrorKind::CursorRefused);
    }
}

#[test]
fn directory_is_whole_although_its_cursors_expire_while_it_is_listed() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let names: Vec<String> = (0..450).map(|n| format!("f{n:04}")).collect();
    let folder = emulator.tree().add("", Entry::folder("d"));
    emulator.tree().add_many(&folder, names.iter().map(|name| Entry::file(name.as_str(), 10)));
    let bench = Bench::new(emulator);
    bench.emulator.knobs(|knobs| {
        knobs.cursor_lifetime = Duration::ZERO;
        knobs.api_latency = Duration::from_millis(300);
    });
    let before = bench.emulator.counters().calls_of("files");
    let path = bench.path("d");
    std::thread::scope(|scope| {
        let listed = scope.spawn(|| tool("ls", [path]).well());
        await_that("a cursor to be refused", || bench.emulator.counters().calls_of("files") >= before + 2);
        bench.emulator.knobs(|knobs| knobs.cursor_lifetime = Duration::from_secs(600));
        assert_eq!(listed.join().unwrap().lines().collect::<Vec<_>>(), names);
    });
    bench.end();
}

// ---- Refused credentials: a supervisor must not send them again and again ----

#[test]
fn refused_credentials_end_every_command_with_3_and_other_failures_with_1() {
    let emulator = Emulator::synthetic();
    let mountpoint = Mountpoint::new();
    let file = mountpoint.beside("secret");
    std::fs::write(&file, "wrong").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (url, file) = (emulator.url(), file.to_str().unwrap().to_owned());
    let mount = |options: &[&str]| run(mount_command(&emulator, mountpoint.path(), options)).code;
    emulator.knobs(|knobs| {
        knobs.access_code = Some("right-one".to_owned());
        knobs.wrong_code_limit = u32::MAX;
    });
    if mounts_are_allowed() {
        // In the background the exit code passes from the child to the command that waits.
        assert_eq!(mount(&["--access-code-file", &file]), Some(3));
        assert_eq!(mount(&["--access-code-file", &file, "-f"]), Some(3));
        assert_eq!(mount(&["-f"]), Some(1), "no code was sent");
        emulator.knobs(|knobs| knobs.share_status = 1);
        assert_eq!(mount(&["--access-code-file", &file]), Some(1), "the share is over");
        emulator.knobs(|knobs| knobs.share_status = 0);
    }
    let by_password =
        ["--endpoint", &url, "--agent", "carrier", "--account", "0010000000000", "--password-file", &file];
    let by_token = ["--endpoint", &url, "--user-id", "17", "--token-file", &file];
    for command in [&["ls", "space:"][..], &["spaces"]] {
        for login in [&by_password[..], &by_token] {
            let said = run(koofs(&[command, login].concat()));
            assert_eq!(said.code, Some(3), "{said:?}");
        }
    }
    emulator.fault(Fault::api("login", FaultKind::Unavailable));
    let said = run(koofs(&[&["ls", "--op-timeout", "2", "space:"], &by_password[..]].concat()));
    assert_eq!(said.code, Some(1), "{said:?}");
}
