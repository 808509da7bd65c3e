//! Refusals of a login or of an access code, and what they lead to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use koofs::clock::{Clock, SystemClock};
use koofs::config::{Edition, Secret, SecretSource, ShareConfig, Source, SpaceConfig, SpaceSource};
use koofs::remote::{NodeId, Remote, RemoteErrorKind};
use serde_json::json;
use tempfile::TempDir;

use crate::emulator::knobs::AuthRefusalBody;
use crate::emulator::{Emulator, Entry, Fault, FaultKind};
use crate::fakes::ManualClock;
use crate::login::{PASSWORD, by_password, given, lists, password_login, secret_file, serving_one_file, write_secret};
use crate::scripted_server::{Answer, ScriptedServer};
use crate::space_client::{chain, connection, open, open_on, says, scripted_config, soon};

const ACCESS_CODE: &str = "a1B2c3D4";
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// The most often that a refused secret is sent in a day, as the README says.
const ATTEMPTS_A_DAY: u64 = 8;

fn share_config(emulator: &Emulator) -> ShareConfig {
    ShareConfig {
        connection: connection(&emulator.url()),
        code: emulator.share_code().to_owned(),
        access_code: Some(Secret::new(ACCESS_CODE)),
        edition: Edition::Carrier { agent: "carrier".to_owned() },
    }
}

/// A share with an access code, opened; no verify is counted yet.
fn protected_share(clock: Arc<dyn Clock>) -> (Emulator, Arc<dyn Remote>) {
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("a", 1));
    emulator.knobs(|knobs| {
        knobs.access_code = Some(ACCESS_CODE.to_owned());
        knobs.wrong_code_limit = u32::MAX;
    });
    let client = open_on(Source::Share(share_config(&emulator)), clock).unwrap();
    client.list_page(&client.root(), None, soon()).unwrap();
    emulator.reset_counters();
    (emulator, client)
}

fn listing(client: &dyn Remote, deadline: Instant) -> Result<usize, RemoteErrorKind> {
    client.list_page(&client.root(), None, deadline).map(|page| page.nodes.len()).map_err(|error| error.kind())
}

// ---- Refusals that are the call's own ----

#[test]
fn thousand_refused_calls_have_the_login_renewed_a_few_times_and_a_dead_token_at_once() {
    let emulator = serving_one_file();
    emulator.knobs(|knobs| {
        knobs.business_status = 400;
        knobs.auth_refusal_status = 400;
        knobs.auth_refusal_body = AuthRefusalBody::Business;
    });
    let client = open(&by_password(&emulator, given(PASSWORD))).unwrap();
    emulator.reset_counters();
    let renewals = || emulator.counters().refreshes + emulator.counters().logins;
    for number in 0..1000 {
        // An id that is too long: 13000102 with HTTP 400, which could mean the login.
        let nonsense = NodeId::new(&format!("{number:0>100}"));
        assert_eq!(client.list_page(&nonsense, None, soon()).unwrap_err().kind(), RemoteErrorKind::Unusable);
        if number % 3 == 0 {
            assert!(lists(&client));
        }
    }
    assert!(renewals() <= 3, "{} renewals", renewals());
    let before = renewals();
    emulator.revoke_access_tokens();
    assert!(lists(&client), "a dead token is renewed at once, although it is told like the refusals before");
    assert_eq!(renewals(), before + 1);
}

#[test]
fn thousand_refused_downloads_have_the_access_code_sent_a_few_times_and_a_dead_token_at_once() {
    let (emulator, client) = protected_share(Arc::new(SystemClock));
    emulator.fault(Fault::api("download", FaultKind::Unauthorized));
    for number in 0..1000 {
        let refused = client.resolve_links(&[NodeId::new(&format!("F{number}"))], soon()).unwrap().remove(0);
        assert_eq!(refused.unwrap_err().kind(), RemoteErrorKind::NeedsLogin);
        if number % 3 == 0 {
            assert_eq!(listing(&*client, soon()), Ok(1));
        }
    }
    let before = emulator.counters().calls_of("verify");
    assert!(before <= 3, "sent {before} times");
    emulator.revoke_tokens();
    assert_eq!(listing(&*client, soon()), Ok(1));
    assert_eq!(emulator.counters().calls_of("verify"), before + 1);
}

#[test]
fn downloads_that_the_owner_forbids_are_denied_without_sending_the_access_code() {
    let (emulator, client) = protected_share(Arc::new(SystemClock));
    emulator.knobs(|knobs| knobs.permission_download = Some(false));
    for number in 0..20 {
        let refused = client.resolve_links(&[NodeId::new(&format!("F{number}"))], soon()).unwrap().remove(0);
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), RemoteErrorKind::Denied);
        says(&refused, &["download: the owner of the share does not permit downloads"]);
    }
    assert_eq!(emulator.counters().calls_of("verify"), 0);
    emulator.revoke_tokens();
    assert_eq!(listing(&*client, soon()), Ok(1));
    assert_eq!(emulator.counters().calls_of("verify"), 1);
}

#[test]
fn calls_refused_like_a_dead_token_among_accepted_ones_have_the_login_renewed_a_few_times() {
    let session = |number: u64| {
        let token = format!("AT {number:048x}");
        Answer::json(&json!({"code": 0, "data": {"userInfo": {"userId": "7"},
            "sessionInfo": {"accessToken": token, "refreshToken": format!("{number:048x}"), "expiresIn": 1800}}}))
    };
    let sessions = AtomicU64::new(0);
    let server = ScriptedServer::with_handler(move |request| match request.path() {
        "/koodrive/ose/v1/space/7" => Answer::json(&json!({"data": {"containerId": "IAAD1"}, "code": 0})),
        "/koodrive/ose/v1/files/0" if request.json()["parentFileId"] == "root" => {
            Answer::json(&json!({"files": [], "code": 0}))
        }
        "/koodrive/ose/v1/files/0" => Answer::new(401, json!({"error_code": "APIGW.0303"}).to_string()),
        _ => session(sessions.fetch_add(1, Ordering::Relaxed)),
    });
    let config = SpaceConfig { login: password_login(given(PASSWORD)), ..scripted_config(&server, SpaceSource::Own) };
    let client = open(&config).unwrap();
    for number in 0..100 {
        let refused = client.list_page(&NodeId::new(&format!("F{number}")), None, soon()).unwrap_err();
        assert_eq!(refused.kind(), RemoteErrorKind::NeedsLogin);
        assert!(lists(&client));
    }
    let renewals = server.count("/koodrive/ose/v1/auth/refreshToken") + server.count("/koodrive/ose/v1/auth/login");
    assert!(renewals <= 1 + 3, "{renewals}");
}

// ---- Refusals of an access code ----

#[test]
fn one_refusal_of_the_access_code_is_not_the_end_of_a_mount() {
    let clock = Arc::new(ManualClock::default());
    let (emulator, client) = protected_share(clock.clone());
    emulator.revoke_tokens();
    emulator.fault(Fault::api("verify", FaultKind::Unauthorized).once());
    let error = client.list_page(&client.root(), None, soon()).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::NeedsLogin);
    says(&error, &["access code", "APIGW.0303"]);
    // Not sent again at once, and that is told.
    let error = client.list_page(&client.root(), None, soon()).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::NeedsLogin);
    says(&error, &["access code", "APIGW.0303", "again in 1 minute"]);
    assert_eq!(emulator.counters().calls_of("verify"), 1);
    clock.advance(MINUTE);
    assert_eq!(listing(&*client, clock.now() + MINUTE), Ok(1));
}

#[test]
fn access_code_that_is_said_to_be_wrong_again_and_again_is_not_sent_any_more() {
    let clock = Arc::new(ManualClock::default());
    let (emulator, client) = protected_share(clock.clone());
    emulator.revoke_tokens();
    emulator.fault(Fault::api("verify", FaultKind::Unauthorized));
    for _ in 0..3 * 24 * 12 {
        clock.advance(5 * MINUTE);
        assert_eq!(listing(&*client, clock.now() + MINUTE), Err(RemoteErrorKind::NeedsLogin));
    }
    assert_eq!(emulator.counters().calls_of("verify"), 3);
    let error = client.list_page(&client.root(), None, clock.now() + MINUTE).unwrap_err();
    says(&error, &["access code", "3 times", "mount again"]);
}

#[test]
fn access_code_that_is_refused_for_unknown_reasons_is_sent_a_few_times_a_day_and_serves_when_it_is_good_again() {
    let clock = Arc::new(ManualClock::default());
    let (emulator, client) = protected_share(clock.clone());
    emulator.revoke_tokens();
    emulator.knobs(|knobs| knobs.access_code = Some("another1".to_owned()));
    let mut before = 0;
    for day in 0..3 {
        for _ in 0..24 * 12 {
            clock.advance(DAY / (24 * 12));
            assert!(listing(&*client, clock.now() + MINUTE).is_err());
        }
        let sent = emulator.counters().calls_of("verify");
        assert!((before + 4..=before + ATTEMPTS_A_DAY).contains(&sent), "day {day}: {before} to {sent}");
        before = sent;
    }
    emulator.knobs(|knobs| knobs.access_code = Some(ACCESS_CODE.to_owned()));
    clock.advance(DAY);
    assert_eq!(listing(&*client, clock.now() + MINUTE), Ok(1));
    // A success is a new beginning.
    emulator.revoke_tokens();
    assert_eq!(listing(&*client, clock.now() + MINUTE), Ok(1));
}

#[test]
fn share_that_has_ended_is_not_sent_the_access_code_and_serves_again_when_its_owner_undoes_that() {
    let (emulator, client) = protected_share(Arc::new(SystemClock));
    for (status, kind) in [(1, RemoteErrorKind::NotFound), (2, RemoteErrorKind::Denied)] {
        emulator.knobs(|knobs| knobs.share_status = status);
        emulator.revoke_tokens();
        for _ in 0..5 {
            assert_eq!(listing(&*client, soon()), Err(kind));
        }
        emulator.knobs(|knobs| knobs.share_status = 0);
        assert_eq!(listing(&*client, soon()), Ok(1), "at once");
    }
    assert_eq!(emulator.counters().calls_of("verify"), 2, "only for the new tokens");
}

// ---- Refusals of a password ----

/// A mount by password from `password`, whose tokens have just died.
fn logged_out(password: SecretSource) -> (Emulator, Arc<ManualClock>, Arc<dyn Remote>) {
    let emulator = serving_one_file();
    emulator.knobs(|knobs| {
        knobs.token_lifetime = 100 * DAY;
        knobs.wrong_password_limit = u32::MAX;
    });
    let clock = Arc::new(ManualClock::default());
    let client = open_on(Source::Space(by_password(&emulator, password)), Arc::clone(&clock) as _).unwrap();
    emulator.revoke_access_tokens();
    emulator.revoke_refresh_tokens();
    emulator.reset_counters();
    (emulator, clock, client)
}

#[test]
fn one_refusal_of_the_password_is_not_the_end_of_a_mount() {
    let (emulator, clock, client) = logged_out(given(PASSWORD));
    emulator.fault(Fault::api("login", FaultKind::Unauthorized).once());
    let error = client.list_page(&client.root(), None, soon()).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::NeedsLogin);
    for _ in 0..5 {
        let error = client.list_page(&client.root(), None, soon()).unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::NeedsLogin);
        says(&error, &["account and password", "APIGW.0303", "again in 1 minute"]);
        assert!(!chain(&error).contains(PASSWORD));
    }
    assert_eq!(emulator.counters().calls_of("login"), 1);
    assert_eq!(emulator.counters().refreshes, 1, "nor is a refused refresh token sent again at once");
    clock.advance(MINUTE);
    assert_eq!(listing(&*client, clock.now() + MINUTE), Ok(1));
}

#[test]
fn password_that_is_said_to_be_wrong_again_and_again_waits_for_its_file_to_change() {
    let directory = TempDir::new().unwrap();
    let file = secret_file(&directory, "password", PASSWORD);
    let (emulator, clock, client) = logged_out(SecretSource::File(file.clone()));
    emulator.fault(Fault::api("login", FaultKind::Unauthorized));
    for _ in 0..3 * 24 * 4 {
        clock.advance(15 * MINUTE);
        assert_eq!(listing(&*client, clock.now() + MINUTE), Err(RemoteErrorKind::NeedsLogin));
    }
    assert_eq!(emulator.counters().calls_of("login"), 3);
    let error = client.list_page(&client.root(), None, clock.now() + MINUTE).unwrap_err();
    says(&error, &["account and password", "3 times", "--password-file"]);
    emulator.clear_faults();
    assert!(listing(&*client, clock.now() + MINUTE).is_err(), "also if it would be accepted by now");
    write_secret(&file, PASSWORD);
    assert_eq!(listing(&*client, clock.now() + MINUTE), Ok(1));
}

#[test]
fn password_that_is_refused_for_unknown_reasons_is_sent_a_few_times_a_day() {
    let (emulator, clock, client) = logged_out(given(PASSWORD));
    emulator.knobs(|knobs| knobs.password = "another one entirely".to_owned());
    let mut before = 0;
    for day in 0..3 {
        for _ in 0..24 * 4 {
            clock.advance(15 * MINUTE);
            assert!(listing(&*client, clock.now() + MINUTE).is_err());
        }
        let sent = emulator.counters().wrong_passwords;
        assert!((before + 4..=before + ATTEMPTS_A_DAY).contains(&sent), "day {day}: {before} to {sent}");
        before = sent;
    }
    emulator.knobs(|knobs| knobs.password = PASSWORD.to_owned());
    clock.advance(DAY);
    assert_eq!(listing(&*client, clock.now() + MINUTE), Ok(1));
}
