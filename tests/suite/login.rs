//! Logins of every kind, against the emulator: what is sent, how they are renewed, and what a person is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use koofs::clock::{BootTime, Clock, SystemClock};
use koofs::config::{
    Credentials, Edition, LoginConfig, Secret, SecretSource, ShareConfig, Source, SpaceConfig, SpaceSource,
};
use koofs::koodrive::OpenError;
use koofs::remote::{NodeId, Remote, RemoteErrorKind};
use serde_json::json;
use tempfile::TempDir;

use crate::emulator::knobs::{AuthRefusalBody, RefreshNesting};
use crate::emulator::spaces::USER_ID;
use crate::emulator::{Emulator, Entry};
use crate::log_keeper::{keep_log, kept_log};
use crate::mounted::{joined, koofs};
use crate::scripted_server::{Answer, ScriptedServer};
use crate::space_client::{
    TOKEN, chain, config, connection, enterprise_share, names, open, open_on, says, scripted_config, soon,
};

const ACCOUNT: &str = "someone";
pub(crate) const PASSWORD: &str = "correct horse battery staple";
const WRONG_PASSWORD: &str = "wrong horse battery staple";

/// A file that only this user can read, with `content`.
pub(crate) fn secret_file(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    write_secret(&path, content);
    path
}

/// Replaces the file as `mv` would: in one step.
pub(crate) fn write_secret(path: &Path, content: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, content).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&fresh, path).unwrap();
}

fn with(emulator: &Emulator, credentials: Credentials) -> SpaceConfig {
    let config = config(emulator, SpaceSource::Own);
    SpaceConfig { login: LoginConfig { credentials, ..config.login }, ..config }
}

pub(crate) fn by_password(emulator: &Emulator, password: SecretSource) -> SpaceConfig {
    SpaceConfig { login: password_login(password), ..config(emulator, SpaceSource::Own) }
}

/// A login by password, which tells the user's id.
pub(crate) fn password_login(password: SecretSource) -> LoginConfig {
    let credentials = Credentials::Password { account: ACCOUNT.to_owned(), password };
    LoginConfig { credentials, user_id: None, agent: Some("carrier".to_owned()) }
}

pub(crate) fn given(text: &str) -> SecretSource {
    SecretSource::Given(Secret::new(text))
}

pub(crate) fn serving_one_file() -> Emulator {
    let emulator = Emulator::synthetic();
    emulator.own().tree.add("", Entry::file("a", 1));
    emulator
}

pub(crate) fn lists(client: &Arc<dyn Remote>) -> bool {
    client.list_page(&client.root(), None, soon()).is_ok()
}

fn fails(config: &SpaceConfig) -> OpenError {
    open(config).err().expect("it must not open")
}

// ---- Tokens from outside ----

#[test]
fn token_goes_out_opaque_under_its_own_scheme() {
    for (token, sent) in [
        ("Bearer+abc+d", "Bearer abc+d"),
        ("AT+00ff", "AT 00ff"),
        ("AT 00ff", "AT 00ff"),
        ("plain", "Bearer plain"),
        ("HMAC-SHA256 AppId=x,Signature=y", "HMAC-SHA256 AppId=x,Signature=y"),
    ] {
        let server = ScriptedServer::with_handler(|request| match request.path() {
            "/koodrive/ose/v1/files/0" => Answer::json(&json!({"files": [], "code": 0})),
            _ => Answer::json(&json!({"data": {"containerId": "IAAD1"}, "code": 0})),
        });
        let mut config = scripted_config(&server, SpaceSource::Own);
        config.login.credentials = Credentials::Token(Secret::new(token));
        open(&config).unwrap();
        assert!(server.requests().iter().all(|request| request.header("authorization") == Some(sent)), "{token}");
    }
}

#[test]
fn token_file_is_read_again_when_it_changes_and_when_the_service_refuses_the_token() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    let file = secret_file(&directory, "token", &format!("{}\n", emulator.mint_token()));
    let client = open(&with(&emulator, Credentials::TokenFile(file.clone()))).unwrap();
    let next = emulator.mint_token();
    write_secret(&file, &next);
    assert!(lists(&client));
    assert_eq!(emulator.counters().refused_tokens, 0, "the new token was used before the old one was refused");
    // Refused with nothing newer in the file: told, with the remedy.
    emulator.revoke_access_tokens();
    let error = client.list_page(&client.root(), None, soon()).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::NeedsLogin);
    says(&error, &["fresh token", file.to_str().unwrap()]);
    assert!(!chain(&error).contains(next.split(' ').next_back().unwrap()));
    // A file in the middle of being replaced does not end a mount.
    let last = emulator.mint_token();
    write_secret(&file, &last);
    assert!(lists(&client));
    fs::remove_file(&file).unwrap();
    assert!(lists(&client));
    emulator.assert_polite();
}

#[test]
fn token_file_that_others_can_read_or_write_is_refused_with_the_remedy() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    let file = secret_file(&directory, "token", &emulator.mint_token());
    for (mode, what) in [(0o640, "read"), (0o604, "read"), (0o644, "read"), (0o620, "written"), (0o602, "written")] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let error = fails(&with(&emulator, Credentials::TokenFile(file.clone())));
        says(&error, &[&format!("can be {what} by others"), "chmod 600", file.to_str().unwrap()]);
    }
    assert_eq!(emulator.totals().api_calls(), 0);
}

#[test]
fn token_file_that_holds_no_token_is_told_without_its_content() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    let nowhere = directory.path().join("none");
    says(&fails(&with(&emulator, Credentials::TokenFile(nowhere))), &["cannot read", "none", "check the path"]);
    says(&fails(&with(&emulator, Credentials::TokenFile(directory.path().to_owned()))), &["is not a file"]);
    for (content, part) in [
        ("", "is empty"),
        (" \n", "is empty"),
        ("sesame-1\nsesame-2\n", "more than one line"),
        ("sesäme", "is not a token"),
        ("sesame\u{0}", "more than one line"),
    ] {
        let file = secret_file(&directory, "token", content);
        let error = fails(&with(&emulator, Credentials::TokenFile(file)));
        says(&error, &[part]);
        assert!(!chain(&error).contains("ses"), "{error}");
    }
}

#[test]
fn bad_token_that_nothing_renews_is_told_with_the_remedy_for_its_kind() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    let file = secret_file(&directory, "token", "Bearer 0badc0de0badc0de");
    let cases = [
        (Credentials::Token(Secret::new("Bearer 0badc0de0badc0de")), "KOOFS_TOKEN"),
        (Credentials::TokenFile(file.clone()), file.to_str().unwrap()),
        (Credentials::TokenCommand("echo Bearer 0badc0de0badc0de".to_owned()), "--token-command"),
    ];
    for body in [AuthRefusalBody::Gateway, AuthRefusalBody::Business] {
        for status in [401, 400] {
            emulator.knobs(|knobs| (knobs.auth_refusal_body, knobs.auth_refusal_status) = (body, status));
            for (credentials, remedy) in &cases {
                let error = fails(&with(&emulator, credentials.clone()));
                says(&error, &["refuse", remedy]);
                assert!(!chain(&error).contains("0badc0de"), "{error}");
            }
        }
    }
}

#[test]
fn token_command_is_run_again_when_the_token_is_refused_and_only_then() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    let file = secret_file(&directory, "token", &emulator.mint_token());
    let runs = directory.path().join("runs");
    let command = format!("echo run >> '{}'; cat '{}'; echo; echo second line", runs.display(), file.display());
    let client = open(&with(&emulator, Credentials::TokenCommand(command))).unwrap();
    let count = || fs::read_to_string(&runs).unwrap().lines().count();
    assert!(lists(&client) && lists(&client));
    assert_eq!(count(), 1);
    for status in [401, 400] {
        emulator.knobs(|knobs| knobs.auth_refusal_status = status);
        let before = count();
        emulator.revoke_access_tokens();
        write_secret(&file, &emulator.mint_token());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert!(lists(&client)));
            }
        });
        assert_eq!(count(), before + 1, "one run for all threads");
    }
    emulator.assert_polite();
}

#[test]
fn failed_token_command_tells_its_status_and_nothing_that_it_printed() {
    let emulator = serving_one_file();
    let started = Instant::now();
    for (command, parts) in [
        ("echo sesame; echo sesame >&2; exit 7", &["exit status 7", "--token-command"][..]),
        ("true", &["printed no token", "--token-command"]),
        ("printf 'sesäme'", &["is not a token"]),
    ] {
        let error = fails(&with(&emulator, Credentials::TokenCommand(command.to_owned())));
        says(&error, parts);
        assert!(!chain(&error).contains("ses"), "{error}");
    }
    let mut slow = with(&emulator, Credentials::TokenCommand("sleep 60".to_owned()));
    slow.connection.op_timeout = Duration::from_secs(1);
    says(&fails(&slow), &["took longer than", "killed", "--token-file"]);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn user_id_that_nobody_gave_is_asked_for() {
    let emulator = serving_one_file();
    let mut config = config(&emulator, SpaceSource::Own);
    config.login.user_id = None;
    says(&fails(&config), &["--user-id"]);
    assert_eq!(emulator.totals().api_calls(), 0);
}

// ---- Login by password ----

#[test]
fn password_logs_in_tells_the_user_and_reads() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    let file = secret_file(&directory, "password", &format!("{PASSWORD}\n"));
    for password in [given(PASSWORD), SecretSource::File(file)] {
        let client = open(&by_password(&emulator, password)).unwrap();
        assert_eq!(names(&*client, &client.root()), ["a"]);
    }
    let mut nameless = by_password(&emulator, given(PASSWORD));
    nameless.login.agent = None;
    says(&fails(&nameless), &["--agent"]);
    emulator.assert_polite();
}

#[test]
fn wrong_password_is_told_and_sent_again_only_when_its_file_changes() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    for status in [200, 400] {
        emulator.knobs(|knobs| knobs.business_status = status);
        emulator.reset_counters();
        let error = fails(&by_password(&emulator, given(WRONG_PASSWORD)));
        says(&error, &["account and password", "--account", "--password-file", "lock"]);
        assert!(!chain(&error).contains(WRONG_PASSWORD), "{error}");
        assert_eq!(emulator.counters().logins, 1);
        emulator.unlock_account();
    }
    // Within a mount: the refresh is refused, the password has changed at the service.
    let file = secret_file(&directory, "password", PASSWORD);
    let client = open(&by_password(&emulator, SecretSource::File(file.clone()))).unwrap();
    emulator.knobs(|knobs| knobs.password = "another one entirely".to_owned());
    emulator.revoke_access_tokens();
    emulator.revoke_refresh_tokens();
    emulator.reset_counters();
    for _ in 0..5 {
        let error = client.list_page(&client.root(), None, soon()).unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::NeedsLogin);
        says(&error, &["--password-file"]);
        assert!(!chain(&error).contains(PASSWORD));
    }
    assert_eq!(emulator.counters().wrong_passwords, 1);
    write_secret(&file, "another one entirely");
    assert!(lists(&client));
    assert_eq!(emulator.counters().wrong_passwords, 1);
}

#[test]
fn locked_account_is_told() {
    let emulator = serving_one_file();
    emulator.knobs(|knobs| knobs.wrong_password_limit = 1);
    fails(&by_password(&emulator, given(WRONG_PASSWORD)));
    says(&fails(&by_password(&emulator, given(PASSWORD))), &["locked", "--account"]);
    let server = ScriptedServer::with_handler(|_| Answer::new(423, json!({"code": 9, "msg": "locked"}).to_string()));
    let config = SpaceConfig { connection: connection(&server.url()), ..by_password(&emulator, given(PASSWORD)) };
    says(&fails(&config), &["locked", "unlock it"]);
}

#[test]
fn failed_renewal_keeps_its_cause_down_to_the_connection() {
    let login = json!({"code": 0, "data": {"userInfo": {"userId": "7"},
        "sessionInfo": {"accessToken": "AT 00", "refreshToken": "ff", "expiresIn": 1800}}});
    let server = ScriptedServer::with_handler(move |request| match request.path() {
        "/koodrive/ose/v1/auth/login" => Answer::json(&login),
        "/koodrive/ose/v1/auth/refreshToken" => Answer::hang_up(),
        "/koodrive/ose/v1/files/0" if request.json()["parentFileId"] == "F1" => Answer::new(401, r#"{"code": 1}"#),
        "/koodrive/ose/v1/files/0" => Answer::json(&json!({"files": [], "code": 0})),
        _ => Answer::json(&json!({"data": {"containerId": "IAAD1"}, "code": 0})),
    });
    let config = SpaceConfig { login: password_login(given(PASSWORD)), ..scripted_config(&server, SpaceSource::Own) };
    let client = open(&config).unwrap();
    let error = client.list_page(&NodeId::new("F1"), None, soon()).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Interrupted);
    let first: &dyn std::error::Error = &error;
    let causes = std::iter::successors(Some(first), |cause| cause.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    assert_eq!(causes[..2], ["files: there is no login", "refreshToken: no answer"]);
    assert!(causes[2].ends_with("the connection broke") && causes.len() > 3, "{causes:?}");
    assert!(!chain(&error).contains(PASSWORD));
}

#[test]
fn refused_refresh_leads_to_one_fresh_login() {
    let emulator = serving_one_file();
    let client = open(&by_password(&emulator, given(PASSWORD))).unwrap();
    emulator.revoke_access_tokens();
    assert!(lists(&client));
    assert_eq!((emulator.counters().refreshes, emulator.counters().logins), (1, 1));
    emulator.revoke_access_tokens();
    emulator.revoke_refresh_tokens();
    assert!(lists(&client));
    assert_eq!((emulator.counters().refreshes, emulator.counters().logins), (2, 2));
    emulator.assert_polite();
}

#[test]
fn deterministic_refusal_does_not_renew_the_login_each_time() {
    let emulator = serving_one_file();
    let client = open(&by_password(&emulator, given(PASSWORD))).unwrap();
    emulator.reset_counters();
    let nonsense = NodeId::new(&"F".repeat(100));
    for _ in 0..10 {
        assert!(client.list_page(&nonsense, None, soon()).is_err());
        assert!(lists(&client));
    }
    // The id is too long: 13000102 with HTTP 200 or 400, which could mean the login once, but not ten times.
    let renewals = emulator.counters().refreshes + emulator.counters().logins;
    assert!(renewals <= 1, "{renewals}");
}

/// The mission's law: tokens that live 3 s, eight readers, one refresh at a time, and no secret anywhere.
#[test]
fn short_lived_tokens_are_read_with_for_long_without_one_error() {
    keep_log();
    let emulator = serving_one_file();
    emulator.knobs(|knobs| {
        knobs.token_lifetime = Duration::from_secs(3);
        knobs.refresh_nesting = RefreshNesting::Alternate;
        knobs.api_latency = Duration::from_millis(5);
    });
    let client = open(&by_password(&emulator, given(PASSWORD))).unwrap();
    let (done, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    client.list_page(&client.root(), None, soon()).expect("no error");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(8));
        done.store(true, Ordering::Relaxed);
    });
    let counters = emulator.counters();
    assert!(calls.load(Ordering::Relaxed) > 500);
    assert!((2..=5).contains(&counters.refreshes), "{} refreshes", counters.refreshes);
    assert_eq!((counters.refresh_peak, counters.logins, counters.refused_refreshes), (1, 1, 0));
    emulator.assert_polite();
    let log = kept_log();
    assert!(log.contains("refreshToken trace="));
    for secret in [PASSWORD, "accessToken", "Bearer 5ca1ab1e"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    // Tokens of the emulator: `AT ` and hex digits.
    let is_token = |word: &str| word.len() >= 32 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let line = log.lines().find(|line| line.split([' ', '"']).any(is_token));
    assert_eq!(line, None);
}

/// The machine's clocks, and how long it was suspended.
#[derive(Default)]
struct Suspended(AtomicU64);

impl Clock for Suspended {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    fn boot(&self) -> BootTime {
        SystemClock.boot() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn utc(&self) -> SystemTime {
        SystemClock.utc()
    }

    fn sleep(&self, pause: Duration) {
        SystemClock.sleep(pause);
    }
}

#[test]
fn token_that_ended_while_the_machine_was_suspended_is_renewed_before_it_is_sent() {
    let emulator = serving_one_file();
    emulator.knobs(|knobs| knobs.token_lifetime = Duration::from_secs(1800));
    let clock = Arc::new(Suspended::default());
    let client = open_on(Source::Space(by_password(&emulator, given(PASSWORD))), Arc::clone(&clock) as _).unwrap();
    assert!(lists(&client));
    assert_eq!(emulator.counters().calls_of("refreshToken"), 0);
    clock.0.store(3600, Ordering::SeqCst);
    emulator.revoke_access_tokens();
    assert!(lists(&client));
    assert_eq!((emulator.counters().calls_of("refreshToken"), emulator.counters().refused_tokens), (1, 0));
    emulator.assert_polite();
}

#[test]
fn login_that_ended_while_nobody_called_is_renewed_by_one_thread() {
    let emulator = serving_one_file();
    emulator.knobs(|knobs| {
        knobs.token_lifetime = Duration::from_secs(1);
        knobs.api_latency = Duration::from_millis(20);
    });
    let client = open(&by_password(&emulator, given(PASSWORD))).unwrap();
    for status in [401, 400] {
        emulator.knobs(|knobs| knobs.auth_refusal_status = status);
        std::thread::sleep(Duration::from_millis(1300));
        emulator.reset_counters();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| assert!(lists(&client)));
            }
        });
        assert_eq!((emulator.counters().refreshes, emulator.counters().refresh_peak), (1, 1));
    }
    emulator.assert_polite();
}

#[test]
fn waiting_for_another_threads_renewal_ends_with_the_own_deadline() {
    let emulator = serving_one_file();
    let client = Arc::new(open(&by_password(&emulator, given(PASSWORD))).unwrap());
    emulator.knobs(|knobs| knobs.hold = vec!["refreshToken".to_owned()]);
    emulator.revoke_access_tokens();
    let patient = std::thread::spawn({
        let client = Arc::clone(&client);
        move || lists(&client)
    });
    emulator.wait_until("the refresh is under way", |counters| counters.refresh_peak > 0);
    let started = Instant::now();
    let error = client.list_page(&client.root(), None, Instant::now() + Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    emulator.knobs(|knobs| knobs.hold = Vec::new());
    assert!(joined(patient));
}

// ---- App signature ----

fn by_app(emulator: &Emulator, secret: SecretSource) -> SpaceConfig {
    let knobs = emulator.current_knobs();
    with(emulator, Credentials::App { id: knobs.app_id, secret })
}

#[test]
fn app_signature_is_accepted_by_every_call_and_never_expires() {
    let emulator = serving_one_file();
    let secret = emulator.current_knobs().app_secret;
    let team = SpaceSource::Team { group_id: crate::emulator::spaces::GROUP_ID.to_owned(), kind: None };
    let folder = SpaceSource::SharedFolder(crate::emulator::spaces::SHARED_FOLDER_ID.to_owned());
    for source in [SpaceSource::Own, team, folder] {
        let config = SpaceConfig { source, ..by_app(&emulator, given(&secret)) };
        let client = open(&config).unwrap();
        assert!(lists(&client));
    }
    let SpaceConfig { connection, login, .. } = by_app(&emulator, given(&secret));
    let share = ShareConfig { edition: Edition::Enterprise(login.clone()), ..enterprise_share(&emulator, None) };
    assert!(lists(&open_on(Source::Share(share), Arc::new(SystemClock)).unwrap()));
    let seen = koofs::koodrive::visible_spaces(&connection, &login, Arc::new(SystemClock)).unwrap();
    assert_eq!(seen.len(), 5);
    assert_eq!(emulator.counters().refused_signatures, 0);
    emulator.assert_polite();
}

#[test]
fn refused_app_signature_is_told_and_its_file_read_again() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    let file = secret_file(&directory, "secret", "not-the-secret-at-all");
    for status in [401, 400] {
        emulator.knobs(|knobs| knobs.auth_refusal_status = status);
        let error = fails(&by_app(&emulator, SecretSource::File(file.clone())));
        says(&error, &["--app-id", "--app-secret-file"]);
        assert!(!chain(&error).contains("not-the-secret"), "{error}");
    }
    emulator.knobs(|knobs| knobs.app_secret = "not-the-secret-at-all".to_owned());
    let client = open(&by_app(&emulator, SecretSource::File(file.clone()))).unwrap();
    emulator.knobs(|knobs| knobs.app_secret = "a-new-secret".to_owned());
    assert!(!lists(&client));
    write_secret(&file, "a-new-secret");
    assert!(lists(&client));
}

#[test]
fn wrong_user_id_is_told() {
    let emulator = serving_one_file();
    let mut config = by_password(&emulator, given(PASSWORD));
    config.login.user_id = Some("17".to_owned());
    says(&fails(&config), &["--user-id"]);
    config.login.user_id = Some(USER_ID.to_owned());
    open(&config).unwrap();
}

// ---- Secrets ----

#[test]
fn token_that_a_service_repeats_shows_nowhere() {
    let bare = TOKEN.split(' ').next_back().unwrap();
    let server = ScriptedServer::with_handler(|request| {
        let seen = request.header("authorization").unwrap_or_default();
        Answer::new(401, json!({"code": 13_009_999, "msg": format!("token {seen} is bad")}).to_string())
    });
    let error = fails(&scripted_config(&server, SpaceSource::Own));
    assert!(!chain(&error).contains(bare), "{error}");
    says(&error, &["HTTP 401"]);
    let debug = format!("{:?}", scripted_config(&server, SpaceSource::Own));
    assert!(!debug.contains(bare), "{debug}");
}

#[test]
fn token_command_sees_no_variable_of_koofs_and_no_secret_stands_in_the_arguments() {
    let emulator = serving_one_file();
    let directory = TempDir::new().unwrap();
    let seen = directory.path().join("seen");
    let file = secret_file(&directory, "token", &emulator.mint_token());
    let command =
        format!("env > '{0}'; tr '\\0' ' ' < /proc/$PPID/cmdline >> '{0}'; cat '{1}'", seen.display(), file.display());
    let (url, user) = (emulator.url(), USER_ID);
    let arguments = ["ls", "space:", "--endpoint", &url, "--user-id", user, "--token-command", &command];
    let output = koofs(&arguments)
        .env("KOOFS_ACCESS_CODE", "sesame-code")
        .env("KOOFS_ANYTHING", "sesame-any")
        .env("OTHER", "stays")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\n");
    let seen = fs::read_to_string(&seen).unwrap();
    assert!(seen.contains("OTHER=stays") && seen.contains("--token-command"), "{seen}");
    assert!(!seen.contains("KOOFS_") && !seen.contains("sesame") && !seen.contains("Bearer"), "{seen}");
}
