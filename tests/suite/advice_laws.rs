//! What a message says to do fits what was done, and what it says to type can be typed as it stands.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::emulator::spaces::USER_ID;
use crate::emulator::{Emulator, Entry};
use crate::mount_bench::{AGENT, Said, mount_command, run, tool};
use crate::mounted::{Mountpoint, koofs, mounts_are_allowed};

/// The one line of a command that failed with `code`.
#[track_caller]
fn refused(code: i32, said: Said) -> String {
    assert!(said.code == Some(code) && said.out.is_empty(), "{said:?}");
    let line = said.error.strip_suffix('\n').and_then(|line| line.strip_prefix("koofs: ")).unwrap_or_default();
    assert!(!line.is_empty() && !line.contains('\n'), "{said:?}");
    line.to_owned()
}

/// Types what stands in `line` behind `before` into a shell that knows koofs.
#[track_caller]
fn type_what_follows(before: &str, line: &str) {
    let (_, typed) = line.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {line}"));
    let bin = Path::new(env!("CARGO_BIN_EXE_koofs")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-c", typed]).env("PATH", path).env("KOOFS_NO_CACHE", "true");
    let said = run(command);
    assert!(said.code == Some(0), "{typed}: {said:?}");
}

#[test]
fn what_a_message_says_to_type_works_with_any_name() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::bytes("hello", "hello\n"));
    let mountpoint = Mountpoint::new();
    for name in ["plain", "two words", "it's $HOME; `true`", "line\nbreak", "-rf", "ü"] {
        let path = mountpoint.beside(name);
        let mount = || run(mount_command(&emulator, &path, &[]));
        type_what_follows("create it: ", &refused(1, mount()));
        assert_eq!(mount().well(), "");
        type_what_follows("unmount it first: ", &refused(1, mount()));

        let file = path.join("hello");
        std::fs::write(&file, "a1B2c3D4\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let open = |option: &str| {
            let mut command = koofs(&["ls", "--endpoint", &emulator.url(), "--agent", AGENT, option]);
            command.arg(&file).arg(format!("share:{}", emulator.share_code()));
            run(command)
        };
        type_what_follows("run: ", &refused(2, open("--access-code-file")));
        let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        type_what_follows("run: ", &refused(2, open("--config")));
        assert_eq!(mode(), 0o644);
    }
}

#[test]
fn unmount_of_what_is_not_there_does_not_say_to_create_it() {
    let line = refused(1, run(koofs(&["unmount", "/nope"])));
    assert_eq!(line, "nothing to unmount: /nope does not exist");
}

#[test]
fn refresh_of_what_is_not_there_fails_and_says_where_it_should_be() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    let folder = emulator.tree().add("", Entry::folder("two words"));
    emulator.tree().add(&folder, Entry::bytes("old", "old\n"));
    let mountpoint = Mountpoint::new();
    run(mount_command(&emulator, mountpoint.path(), &[])).well();
    let refresh = |name: &str| run(koofs(&["refresh", mountpoint.path().join(name).to_str().unwrap()]));
    assert_eq!(refresh("").well(), "");
    assert_eq!(refresh("two words").well(), "");
    assert_eq!(refresh("two words/old").well(), "");
    let line = refused(1, refresh("two words/new"));
    assert!(line.starts_with("there is no ") && line.contains("two words/new; if it is new"), "{line}");
    emulator.tree().add(&folder, Entry::bytes("new", "new\n"));
    type_what_follows("refresh where it should be: ", &line);
    assert_eq!(refresh("two words/new").well(), "");
    run(koofs(&["unmount", mountpoint.path().to_str().unwrap()])).well();
}

#[test]
fn tilde_that_the_shell_left_alone_is_explained() {
    let home = std::env::var("HOME").unwrap_or_default();
    for (arguments, place) in [
        (&["mount", "share:1", "~/my share", "--endpoint", "intl", "--agent", "a"][..], "MOUNTPOINT"),
        (&["unmount", "~/my share"], "MOUNTPOINT"),
        (&["refresh", "~/my share"], "PATH"),
        (&["mount", "share:1", "/mnt", "--endpoint", "intl", "--agent", "a", "--log-file=~/my share"], "--log-file"),
    ] {
        let line = refused(2, run(koofs(arguments)));
        assert!(line.starts_with(&format!("{place}: '~/my share' is no path")), "{line}");
        let word = line.rsplit(' ').collect::<Vec<_>>()[..2].iter().rev().copied().collect::<Vec<_>>().join(" ");
        let mut echo = Command::new("bash");
        echo.args(["-c", &format!("echo {word}")]);
        assert_eq!(run(echo).well(), format!("{home}/my share\n"), "{line}");
    }
    assert!(refused(2, run(koofs(&["unmount", "~someone/x"]))).ends_with("write the whole path"));
}

#[test]
fn link_without_its_beginning_is_taken_for_one() {
    for link in ["127.0.0.1:8080/cloudfile/#/sharelink/i/42", "drive.example/cloudfile/#/sharelink/i/42"] {
        let line = refused(2, run(koofs(&["ls", "--agent", "a", link])));
        let host = link.split('/').next().unwrap();
        assert!(line.contains(&format!("a share link begins with https://, which is missing before {host}")), "{line}");
    }
}

#[test]
fn what_is_not_found_is_not_found_in_what_was_asked() {
    let emulator = Emulator::synthetic();
    let (url, token) = (emulator.url(), emulator.mint_token());
    let share = format!("share:{}", emulator.share_code());
    for (source, kind) in [(share.as_str(), "share"), ("space:", "space")] {
        let mut command = koofs(&["ls", "--endpoint", &url, "--agent", AGENT, source, "/nope"]);
        command.env("KOOFS_TOKEN", &token).env("KOOFS_USER_ID", USER_ID);
        assert_eq!(refused(1, run(command)), format!("there is no /nope in the {kind}"));
    }
}

#[test]
fn command_that_says_nothing_is_told_all_there_is_to_do() {
    let line = refused(2, run(koofs(&[])));
    let help = run(koofs(&["--help"])).well();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() >= 6, "{help}");
    for command in commands.iter().filter(|command| **command != "help") {
        assert!(line.split([' ', ',']).any(|word| word == *command), "no {command} in: {line}");
    }
    assert_eq!(refused(2, run(koofs(&["config"]))), "say what to do: check or path (koofs config --help)");
}

#[test]
fn mount_over_files_is_refused_unless_asked_for() {
    if !mounts_are_allowed() {
        return;
    }
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::bytes("hello", "hello\n"));
    let mountpoint = Mountpoint::new();
    std::fs::write(mountpoint.path().join("mine"), "mine").unwrap();
    let line = refused(1, run(mount_command(&emulator, mountpoint.path(), &[])));
    assert!(line.contains("is not empty") && line.contains("--nonempty"), "{line}");
    assert_eq!(mountpoint.types(), [""; 0]);
    assert_eq!(run(mount_command(&emulator, mountpoint.path(), &["--nonempty"])).well(), "");
    assert_eq!(tool("ls", [mountpoint.path()]).well(), "hello\n");
    assert_eq!(run(koofs(&["unmount", mountpoint.path().to_str().unwrap()])).well(), "");
    assert_eq!(tool("ls", [mountpoint.path()]).well(), "mine\n");
}
