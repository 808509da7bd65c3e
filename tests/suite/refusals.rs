//! Refusals of a login or of an access code, and what they lead to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use koofs::clock::{Clock, SystemClock};
use koofs::config::{Credentials, Secret, ShareConfig, SpaceConfig, SpaceSource};
use koofs::koodrive::{ShareClient, SpaceClient};
use koofs::remote::{NodeId, Remote, RemoteErrorKind};
use serde_json::json;

use crate::emulator::knobs::AuthRefusalBody;
use crate::emulator::{Emulator, Entry};
use crate::login::{PASSWORD, by_password, given, lists, serving_one_file};
use crate::scripted_server::{Answer, ScriptedServer};
use crate::space_client::{connection, scripted_config, soon};

const ACCESS_CODE: &str = "a1B2c3D4";

fn share_config(emulator: &Emulator) -> ShareConfig {
    ShareConfig {
        connection: connection(&emulator.url()),
        code: emulator.share_code().to_owned(),
        agent: "carrier".to_owned(),
        access_code: Some(Secret::new(ACCESS_CODE)),
    }
}

/// A share with an access code, opened; no verify is counted yet.
fn protected_share(clock: Arc<dyn Clock>) -> (Emulator, ShareClient) {
    let emulator = Emulator::synthetic();
    emulator.tree().add("", Entry::file("a", 1));
    emulator.knobs(|knobs| {
        knobs.access_code = Some(ACCESS_CODE.to_owned());
        knobs.wrong_code_limit = u32::MAX;
    });
    let client = ShareClient::open(&share_config(&emulator), clock).unwrap();
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
    let client = SpaceClient::open(&by_password(&emulator, given(PASSWORD)), Arc::new(SystemClock)).unwrap();
    emulator.reset_counters();
    let renewals = || emulator.counters().refreshes + emulator.counters().logins;
    for number in 0..1000 {
        // An id that is too long: 13000102 with HTTP 400, which could mean the login.
        let nonsense = NodeId::new(&format!("{number:0>100}"));
        assert_eq!(client.list_page(&nonsense, None, soon()).unwrap_err().kind(), RemoteErrorKind::Malformed);
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
    emulator.knobs(|knobs| knobs.permission_download = Some(false));
    for number in 0..1000 {
        let refused = client.resolve_links(&[NodeId::new(&format!("F{number}"))], soon()).remove(0);
        assert_eq!(refused.unwrap_err().kind(), RemoteErrorKind::Malformed);
        if number % 3 == 0 {
            assert_eq!(listing(&client, soon()), Ok(1));
        }
    }
    let before = emulator.counters().calls_of("verify");
    assert!(before <= 3, "sent {before} times");
    emulator.revoke_tokens();
    assert_eq!(listing(&client, soon()), Ok(1));
    assert_eq!(emulator.counters().calls_of("verify"), before + 1);
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
    let credentials = Credentials::Password { account: "someone".to_owned(), password: given(PASSWORD) };
    let agent = Some("carrier".to_owned());
    let config = SpaceConfig { credentials, agent, ..scripted_config(&server, SpaceSource::Own) };
    let client = SpaceClient::open(&config, Arc::new(SystemClock)).unwrap();
    for number in 0..100 {
        let refused = client.list_page(&NodeId::new(&format!("F{number}")), None, soon()).unwrap_err();
        assert_eq!(refused.kind(), RemoteErrorKind::NeedsLogin);
        assert!(lists(&client));
    }
    let renewals = server.count("/koodrive/ose/v1/auth/refreshToken") + server.count("/koodrive/ose/v1/auth/login");
    assert!(renewals <= 1 + 3, "{renewals}");
}
