//! Laws of the command as a process: exit codes, streams, environment.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use crate::mounted::{Watched, c_path, environment_of, koofs};

const LIMIT: Duration = Duration::from_secs(20);

/// Exit code, standard output, standard error.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = koofs(arguments);
    command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, out, error) = Watched::start(command, LIMIT).output();
    (status.code(), out, error)
}

#[test]
fn help_and_version_are_plain_text_on_standard_output() {
    for arguments in [
        &["--help"][..],
        &["mount", "--help"],
        &["unmount", "--help"],
        &["ls", "--help"],
        &["refresh", "--help"],
        &["spaces", "-h"],
        &["spaces", "--help"],
        &["config", "--help"],
        &["--version"],
    ] {
        let (code, out, error) = run(arguments, &[]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(out.contains("koofs") && !out.contains('\x1b'), "{out}");
    }
}

#[test]
fn senseless_command_line_is_one_line_and_exit_code_2() {
    for arguments in [&[][..], &["mount"], &["mount", "share:1", "/mnt"], &["ls", "nothing", "--agent", "a"]] {
        let (code, out, error) = run(arguments, &[]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(error.starts_with("koofs: ") && error.matches('\n').count() == 1, "{error}");
    }
}

#[test]
fn agent_and_endpoint_come_from_the_environment_too() {
    let variables = [("KOOFS_AGENT", "carrier"), ("KOOFS_ENDPOINT", "ftp://x")];
    let (code, _, error) = run(&["ls", "share:1"], &variables);
    assert!(code == Some(2) && error.contains("https://"), "{error}");
    let (code, _, error) = run(&["ls", "share:1", "--endpoint", "intl"], &[("KOOFS_AGENT", "")]);
    assert!(code == Some(2) && error.contains("carrier's name"), "{error}");
}

#[test]
fn bad_access_code_is_refused_without_being_shown() {
    let base = ["ls", "share:1", "--endpoint", "intl", "--agent", "a"];
    let (code, _, error) = run(&base, &[("KOOFS_ACCESS_CODE", "two\nlines")]);
    assert!(code == Some(2) && error.contains("KOOFS_ACCESS_CODE") && !error.contains("two"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("code");
    std::fs::write(&file, "a1B2c3D4").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut arguments = base.to_vec();
    arguments.extend(["--access-code-file", file.to_str().unwrap()]);
    let (code, _, error) = run(&arguments, &[]);
    assert!(code == Some(2) && error.contains("chmod 600") && !error.contains("a1B2"), "{error}");
}

#[test]
fn access_code_leaves_the_environment_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("code");
    let path = c_path(&fifo);
    // SAFETY: `path` outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let mut command =
        koofs(&["ls", "share:1", "--endpoint", "http://127.0.0.1:1", "--agent", "a", "--access-code-file"]);
    command.arg(&fifo).env("KOOFS_ACCESS_CODE", "a1B2c3D4").stderr(Stdio::null());
    let child = Watched::start(command, LIMIT);
    // Opens when koofs has come to read the file: the environment was looked at long before.
    let writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let Some(environment) = environment_of(child.pid()) else { return };
    assert!(environment.contains("KOOFS_ACCESS_CODE") && !environment.contains("a1B2c3D4"), "{environment}");
    drop(writer);
}

#[test]
fn every_secret_is_wiped_from_the_environment_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("code");
    let path = c_path(&fifo);
    // SAFETY: `path` outlives the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let names = ["KOOFS_ACCESS_CODE", "KOOFS_TOKEN", "KOOFS_PASSWORD", "KOOFS_APP_SECRET"];
    let mut command =
        koofs(&["ls", "share:1", "--endpoint", "http://127.0.0.1:1", "--agent", "a", "--access-code-file"]);
    command.arg(&fifo).envs(names.map(|name| (name, "a1B2c3D4"))).env("KOOFS_TTL", "77").stderr(Stdio::null());
    let child = Watched::start(command, LIMIT);
    // Opens when koofs has come to read the file: the environment was looked at long before.
    let writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let Some(environment) = environment_of(child.pid()) else { return };
    for name in names {
        assert!(environment.contains(name), "{environment}");
    }
    assert!(!environment.contains("a1B2c3D4") && environment.contains("KOOFS_TTL=77"), "{environment}");
    drop(writer);
}

#[test]
fn secret_on_the_command_line_is_refused_by_the_name_of_its_file_option() {
    for (flag, wants) in [
        ("--token", ["--token-file", "KOOFS_TOKEN"]),
        ("--password", ["--password-file", "KOOFS_PASSWORD"]),
        ("--app-secret", ["--app-secret-file", "KOOFS_APP_SECRET"]),
        ("--access-code", ["--access-code-file", "KOOFS_ACCESS_CODE"]),
    ] {
        for arguments in
            [&["mount", "space:", "/mnt", flag, "a1B2c3D4"][..], &["ls", &format!("{flag}=a1B2c3D4"), "space:"]]
        {
            let (code, _, error) = run(arguments, &[]);
            assert!(code == Some(2) && !error.contains("a1B2c3D4"), "{error}");
            assert!(wants.iter().all(|want| error.contains(want)), "{error}");
        }
    }
}

#[test]
fn unmount_of_a_missing_directory_fails_with_exit_code_1() {
    let (code, _, error) = run(&["unmount", "/nonexistent/koofs"], &[]);
    assert_eq!((code, error.as_str()), (Some(1), "koofs: nothing to unmount: /nonexistent/koofs does not exist\n"));
}
