//! Laws of the command line as it is parsed.
#![cfg(test)]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::config::{
    Credentials, DEFAULT_OP_TIMEOUT, Edition, SecretSource, ShareConfig, Source, SpaceConfig, SpaceSource, TeamKind,
};

const LINK: &str = "https://drive.example/cloudfile/#/sharelink/i/42";

fn share_of(config: &MountConfig) -> &ShareConfig {
    match &config.source {
        Source::Share(share) => share,
        Source::Space(space) => panic!("{space:?}"),
    }
}

fn parsed(arguments: &str) -> Result<Command, Refusal> {
    parsed_in(arguments, &[])
}

fn parsed_in(arguments: &str, variables: &[(&str, &str)]) -> Result<Command, Refusal> {
    let environment = Environment::of(variables.iter().copied());
    parse(std::iter::once("koofs").chain(arguments.split_whitespace()), &environment)
}

fn space_in(arguments: &str, variables: &[(&str, &str)]) -> SpaceConfig {
    match parsed_in(&format!("mount --endpoint intl {arguments} /mnt"), variables) {
        Ok(Command::Mount(config)) => match config.source {
            Source::Space(space) => space,
            other => panic!("no space: {other:?}"),
        },
        other => panic!("{arguments}: {other:?}"),
    }
}

fn refused_in(arguments: &str, variables: &[(&str, &str)]) -> String {
    match parsed_in(&format!("mount --endpoint intl {arguments} /mnt"), variables) {
        Err(Refusal::Usage(line)) => line,
        other => panic!("{arguments}: {other:?}"),
    }
}

/// A file in `directory` that only we can read.
fn secret_file(directory: &tempfile::TempDir, name: &str, content: &str) -> String {
    let file = directory.path().join(name);
    std::fs::write(&file, content).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    file.to_str().unwrap().to_owned()
}

fn mounted(arguments: &str) -> MountConfig {
    match parsed(arguments) {
        Ok(Command::Mount(config)) => *config,
        other => panic!("{arguments}: {other:?}"),
    }
}

fn usage(arguments: &str) -> String {
    match parsed(arguments) {
        Err(Refusal::Usage(line)) => line,
        other => panic!("{arguments}: {other:?}"),
    }
}

#[test]
fn command_definition_is_consistent() {
    Typed::command().debug_assert();
}

#[test]
fn mount_without_options_has_the_defaults() {
    let config = mounted(&format!("mount --agent carrier {LINK} /mnt/"));
    assert_eq!(share_of(&config).connection.endpoint, "https://drive.example");
    assert_eq!(share_of(&config).code, "42");
    assert!(matches!(&share_of(&config).edition, Edition::Carrier { agent } if agent == "carrier"));
    assert!(share_of(&config).access_code.is_none() && !share_of(&config).connection.allow_http);
    assert_eq!(config.mountpoint, Path::new("/mnt"));
    assert!(config.root.is_empty() && !config.foreground && !config.allow_other && config.log_file.is_none());
    assert_eq!(
        (config.ttl, share_of(&config).connection.op_timeout, share_of(&config).connection.op_timeout),
        (DEFAULT_TTL, DEFAULT_OP_TIMEOUT, DEFAULT_OP_TIMEOUT)
    );
    assert!((64 << 20..=1 << 30).contains(&config.memory_bytes));
    assert_eq!(config.verbosity, 0);
}

#[test]
fn mount_options_arrive() {
    let config = mounted(
        "mount share:7 mnt/x --endpoint intl --agent a --root /A/B/ -f -vvv --log-file log --ttl 9 --memory 64M \
         --op-timeout 5 --allow-http --allow-other",
    );
    let here = std::env::current_dir().unwrap();
    assert_eq!(share_of(&config).connection.endpoint, "https://intl.myhuaweicloud-koodrive.com");
    assert_eq!(config.mountpoint, here.join("mnt/x"));
    assert_eq!(config.log_file, Some(here.join("log")));
    assert_eq!(config.root, ["A", "B"]);
    assert!(config.foreground && config.allow_other && share_of(&config).connection.allow_http);
    assert_eq!((config.ttl, share_of(&config).connection.op_timeout), (Duration::from_secs(9), Duration::from_secs(5)));
    assert_eq!((config.memory_bytes, config.verbosity), (64 << 20, 3));
}

#[test]
fn endpoint_option_beats_the_origin_of_the_link() {
    let config = mounted(&format!("mount --agent a --endpoint cn {LINK} /mnt"));
    assert_eq!(share_of(&config).connection.endpoint, "https://cn.myhuaweicloud-koodrive.com");
}

#[test]
fn share_code_without_endpoint_is_refused_with_the_presets() {
    let line = usage("mount --agent a share:7 /mnt");
    assert!(line.contains("--endpoint") && line.contains("cn (https://") && line.contains("intl (https://"), "{line}");
}

#[test]
fn missing_agent_is_refused_with_the_reason() {
    for arguments in [format!("mount {LINK} /mnt"), format!("ls {LINK}"), format!("ls --agent= {LINK}")] {
        assert!(usage(&arguments).contains("carrier's name"), "{arguments}");
    }
}

#[test]
fn plain_http_is_refused_but_to_loopback_or_on_demand() {
    let link = "http://drive.example/#/sharelink/i/42";
    assert!(usage(&format!("mount --agent a {link} /mnt")).contains("--allow-http"));
    assert!(usage("ls --agent a --endpoint http://h share:7").contains("--allow-http"));
    mounted(&format!("mount --agent a --allow-http {link} /mnt"));
    mounted("mount --agent a --endpoint http://127.0.0.1:8080 share:7 /mnt");
}

#[test]
fn usage_errors_are_one_line_and_say_what_is_wrong() {
    for (arguments, want) in [
        ("", "mount, status, refresh, warm, unmount, ls, doctor, spaces, cache or config (koofs --help)"),
        ("config", "check or path (koofs config --help)"),
        ("mount", "<SOURCE> <MOUNTPOINT>"),
        ("mount --agent a share:7", "<MOUNTPOINT>"),
        ("mount --agent a 7 /mnt", "share:CODE"),
        ("mount --rot x share:7 /mnt", "'--rot' found"),
        ("mount --memory 1M share:7 /mnt", "between 16M and 1T"),
        ("mount --access-code secret share:7 /mnt", "--access-code"),
        ("ls -l --json share:7", "cannot be used with"),
        ("ls share:7 ../x", "no meaning"),
        ("frobnicate", "frobnicate"),
    ] {
        let line = usage(arguments);
        assert!(line.contains(want) && !line.contains('\n'), "{arguments}: {line}");
    }
}

#[test]
fn list_formats_and_path_arrive() {
    for (options, format) in [("", ListFormat::Names), ("-l", ListFormat::Long), ("--json", ListFormat::JsonLines)] {
        match parsed(&format!("ls --agent a {options} {LINK} a//b/")) {
            Ok(Command::List(config)) => {
                assert_eq!((config.format, config.path.join("|")), (format, "a|b".to_owned()))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn unmount_takes_any_path_and_makes_it_absolute() {
    for (arguments, want) in [("unmount /a/b/", "/a/b"), ("umount /a/./b", "/a/b")] {
        match parsed(arguments) {
            Ok(Command::Unmount { mountpoint }) => assert_eq!(mountpoint, Path::new(want)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn access_code_comes_from_the_flag_before_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let flag = format!("--access-code-file {}", secret_file(&directory, "code", "of-file\n"));
    let code = |arguments: &str, variables: &[(&str, &str)]| match parsed_in(
        &format!("mount --agent a {arguments} {LINK} /mnt"),
        variables,
    ) {
        Ok(Command::Mount(config)) => share_of(&config).access_code.clone().map(|code| code.expose().to_owned()),
        other => panic!("{arguments}: {other:?}"),
    };
    let variable = ("KOOFS_ACCESS_CODE", "of-environment");
    assert_eq!(code(&flag, &[variable]).as_deref(), Some("of-file"));
    assert_eq!(code("", &[variable]).as_deref(), Some("of-environment"));
    assert_eq!(code("", &[("KOOFS_ACCESS_CODE", "")]), None);
    assert_eq!(code("", &[]), None);
}

#[test]
fn sources_arrive_with_a_login() {
    let token = [("KOOFS_TOKEN", "AT 00")];
    let id = |text: &str| text.to_owned();
    for (arguments, want) in [
        ("space: --user-id 17", SpaceSource::Own),
        ("space:IAAE1", SpaceSource::Container(id("IAAE1"))),
        ("team:7", SpaceSource::Team { group_id: id("7"), kind: None }),
        ("team:7 --team-type group", SpaceSource::Team { group_id: id("7"), kind: Some(TeamKind::Group) }),
        ("team:7 --team-type department", SpaceSource::Team { group_id: id("7"), kind: Some(TeamKind::Department) }),
        ("sharedfolder:S1", SpaceSource::SharedFolder(id("S1"))),
    ] {
        let space = space_in(arguments, &token);
        assert_eq!(space.source, want, "{arguments}");
        assert!(
            matches!(&space.login.credentials, Credentials::Token(token) if token.expose() == "AT 00"),
            "{arguments}"
        );
    }
}

#[test]
fn share_of_the_enterprise_edition_arrives_with_a_login() {
    let token = [("KOOFS_TOKEN", "AT 00")];
    let Ok(Command::Mount(config)) = parsed_in("mount --endpoint intl share:5 --edition enterprise /mnt", &token)
    else {
        panic!("it must parse");
    };
    let share = share_of(&config);
    assert!(share.code == "5" && share.access_code.is_none());
    let Edition::Enterprise(login) = &share.edition else { panic!("{share:?}") };
    assert!(matches!(&login.credentials, Credentials::Token(token) if token.expose() == "AT 00"));
}

#[test]
fn ways_to_log_in_arrive() {
    let directory = tempfile::tempdir().unwrap();
    let file = secret_file(&directory, "secret", "s3cret");
    let shown = |arguments: &str, variables: &[(&str, &str)]| match space_in(arguments, variables).login.credentials {
        Credentials::TokenFile(path) => format!("file {}", path.display()),
        Credentials::Token(token) => format!("token {}", token.expose()),
        Credentials::TokenCommand(command) => format!("command {command}"),
        Credentials::Password { account, password } => format!("{account} {}", of(&password)),
        Credentials::App { id, secret } => format!("{id} {}", of(&secret)),
    };
    fn of(secret: &SecretSource) -> String {
        match secret {
            SecretSource::File(path) => path.display().to_string(),
            SecretSource::Given(text) => text.expose().to_owned(),
        }
    }
    for (arguments, variables, want) in [
        (format!("space:1 --token-file {file}"), vec![], format!("file {file}")),
        ("space:1".to_owned(), vec![("KOOFS_TOKEN_FILE", file.as_str())], format!("file {file}")),
        (format!("space:1 --token-file {file}"), vec![("KOOFS_TOKEN", "t")], format!("file {file}")),
        ("space:1 --token-command pass".to_owned(), vec![("KOOFS_TOKEN", "t")], "command pass".to_owned()),
        (format!("space: --agent c --account me --password-file {file}"), vec![], format!("me {file}")),
        ("space: --account me".to_owned(), vec![("KOOFS_PASSWORD", "p"), ("KOOFS_AGENT", "c")], "me p".to_owned()),
        (format!("space:1 --app-id A --user-id 1 --app-secret-file {file}"), vec![], format!("A {file}")),
        ("space:1 --app-id A --user-id 1".to_owned(), vec![("KOOFS_APP_SECRET", "s")], "A s".to_owned()),
        // The password is for another remote.
        (format!("space:1 --token-file {file}"), vec![("KOOFS_PASSWORD", "p")], format!("file {file}")),
    ] {
        assert_eq!(shown(&arguments, &variables), want, "{arguments} {variables:?}");
    }
}

#[test]
fn logins_that_make_no_sense_are_refused_with_the_remedy_and_without_the_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = secret_file(&directory, "secret", "s3cret");
    let empty = secret_file(&directory, "empty", "");
    let open = secret_file(&directory, "open", "s3cret");
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    for (arguments, variables, wants) in [
        ("space:1".to_owned(), vec![], vec!["--token-file", "--account", "--app-id", "KOOFS_TOKEN", "KOOFS_PASSWORD"]),
        ("share:1 --edition enterprise".to_owned(), vec![], vec!["--token-file"]),
        (format!("space:1 --token-file {file} --token-command x"), vec![], vec!["--token-file", "--token-command"]),
        (
            format!("space:1 --token-file {file} --account x"),
            vec![],
            vec!["--token-file", "--account", "leave one out"],
        ),
        (
            format!("space:1 --token-command x --password-file {file}"),
            vec![],
            vec!["--token-command", "--password-file"],
        ),
        (
            "space:1".to_owned(),
            vec![("KOOFS_TOKEN", "s3cret"), ("KOOFS_PASSWORD", "s3cret")],
            vec!["KOOFS_TOKEN", "KOOFS_PASSWORD"],
        ),
        (
            "space:1".to_owned(),
            vec![("KOOFS_TOKEN", "s3cret"), ("KOOFS_TOKEN_FILE", file.as_str())],
            vec!["KOOFS_TOKEN_FILE and KOOFS_TOKEN", "unset"],
        ),
        ("space:1 --account me --agent c".to_owned(), vec![], vec!["--password-file", "KOOFS_PASSWORD"]),
        ("space:1 --account me".to_owned(), vec![("KOOFS_PASSWORD", "s3cret")], vec!["--agent"]),
        ("space:1 --app-id A --user-id 1".to_owned(), vec![], vec!["--app-secret-file", "KOOFS_APP_SECRET"]),
        ("space:1 --app-id A".to_owned(), vec![("KOOFS_APP_SECRET", "s3cret")], vec!["--user-id"]),
        (format!("space:1 --password-file {file}"), vec![], vec!["--password-file", "goes with --account"]),
        ("space:".to_owned(), vec![("KOOFS_TOKEN", "s3cret")], vec!["--user-id"]),
        (format!("space:1 --token-file {open}"), vec![], vec!["--token-file", "chmod 600"]),
        (format!("space:1 --token-file {empty}"), vec![], vec!["--token-file", "empty"]),
        (format!("space:1 --token-file {file}x"), vec![], vec!["--token-file", "No such file"]),
        ("space:1 --token-file=".to_owned(), vec![], vec!["--token-file: is empty"]),
        ("space:1".to_owned(), vec![("KOOFS_TOKEN", "s3cret\nx")], vec!["KOOFS_TOKEN: holds more than one line"]),
        ("space:1 --token=s3cret".to_owned(), vec![], vec!["--token-file", "KOOFS_TOKEN"]),
        ("space:1 --password s3cret".to_owned(), vec![], vec!["--password-file", "KOOFS_PASSWORD"]),
        (format!("share:1 --agent a --token-file {file}"), vec![], vec!["--token-file", "--edition enterprise"]),
        ("space:1 --team-type group".to_owned(), vec![], vec!["--team-type", "team:ID"]),
        ("space:1 --edition enterprise".to_owned(), vec![], vec!["--edition", "shares only"]),
        ("team:1 --team-type x".to_owned(), vec![], vec!["--team-type: must be department or group"]),
        ("share:1 --edition x".to_owned(), vec![], vec!["--edition: must be carrier or enterprise"]),
        ("space:1 --ca-file /nonexistent".to_owned(), vec![("KOOFS_TOKEN", "t")], vec!["--ca-file", "No such file"]),
    ] {
        let line = refused_in(&arguments, &variables);
        for want in wants {
            assert!(line.contains(want), "{arguments} {variables:?}: no {want}: {line}");
        }
        assert!(!line.contains('\n') && !line.contains("s3cret"), "{arguments}: {line}");
    }
}

#[test]
fn spaces_needs_a_login_and_no_source() {
    let variables = [("KOOFS_TOKEN", "t")];
    match parsed_in("spaces --json --endpoint intl -v", &variables) {
        Ok(Command::Spaces(config)) => assert!(config.is_json && config.verbosity == 1),
        other => panic!("{other:?}"),
    }
    assert!(usage("spaces --endpoint intl").contains("--token-file"));
    assert!(usage("spaces share:1").contains("NAME:"));
}

#[test]
fn switches_come_from_the_environment_and_can_be_turned_off() {
    let base = format!("mount --agent a {LINK} /mnt");
    let allowed = |arguments: &str, value| match parsed_in(arguments, &[("KOOFS_ALLOW_OTHER", value)]) {
        Ok(Command::Mount(config)) => config.allow_other,
        other => panic!("{other:?}"),
    };
    assert!(allowed(&base, "1") && allowed(&base, "yes") && !allowed(&base, "false") && !allowed(&base, ""));
    assert!(!allowed(&format!("{base} --allow-other=no"), "1"));
    assert!(allowed(&format!("{base} --allow-other"), "no"));
    let line = match parsed_in(&base, &[("KOOFS_ALLOW_OTHER", "maybe")]) {
        Err(Refusal::Usage(line)) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(line, "KOOFS_ALLOW_OTHER: must be true or false");
}

#[test]
fn mask_takes_rights_from_the_defaults_and_a_mode_says_all() {
    let rights = |options: &str| mounted(&format!("mount --agent a {LINK} /mnt {options}")).rights;
    let modes = |options: &str| (rights(options).file_mode, rights(options).dir_mode);
    assert_eq!(rights(""), config::Rights::default());
    assert_eq!(modes(""), (0o644, 0o755));
    assert_eq!(modes("--umask 077"), (0o600, 0o700));
    assert_eq!(modes("--umask 0 --file-mode 755"), (0o755, 0o777));
    assert_eq!(modes("--umask 777 --dir-mode=500"), (0, 0o500));
    assert_eq!((rights("--uid 7 --gid 8").uid, rights("--uid 7 --gid 8").gid), (Some(7), Some(8)));
    assert!(usage(&format!("mount --agent a {LINK} /mnt --uid bob")).contains("--uid: must be a number"));
    assert!(usage(&format!("mount --agent a {LINK} /mnt --file-mode 4755")).contains("octal"));
}

#[test]
fn help_of_mount_fits_a_terminal_and_names_every_setting() {
    let text = Typed::command().term_width(80).find_subcommand_mut("mount").unwrap().clone().term_width(80);
    let text = text.clone().render_help().to_string();
    assert!(text.lines().count() <= 147, "{} lines:\n{text}", text.lines().count());
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for setting in settings::ALL {
        assert!(text.contains(&setting.flag()) && text.contains(&setting.variable()), "{setting:?}");
    }
}

#[test]
fn help_tells_presets_examples_and_exit_codes() {
    for (arguments, wants) in [
        ("--help", ["Exit codes", "mount", "unmount"]),
        ("mount --help", ["Examples", "cn, intl", "KOOFS_ACCESS_CODE"]),
        ("ls --help", ["Examples", "--json", "KOOFS_AGENT"]),
    ] {
        let Err(Refusal::Help { plain: text, .. }) = parsed(arguments) else { panic!("{arguments}") };
        for want in wants {
            assert!(text.contains(want), "{arguments}: no {want}");
        }
        assert!(!text.contains('\x1b'), "{arguments}");
    }
}
