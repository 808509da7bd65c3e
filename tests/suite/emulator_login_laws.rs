//! Laws of the emulator's logins: headers, tokens of both editions, app signatures.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::emulator::knobs::{AuthRefusalBody, NumberShape, RefreshNesting};
use crate::emulator::spaces::{GROUP, GROUP_ID, OWN, USER_ID};
use crate::emulator::{Knobs, auth};
use crate::emulator_space_laws::{Answer, Bench, Session, ago, stamp};

// ---- headers of authenticated calls ----

#[test]
fn call_without_one_of_the_three_headers_is_refused() {
    let bench = Bench::new();
    let path = format!("v1/space/{USER_ID}?type=1");
    let headers = [("Authorization", bench.token.clone()), ("X-User-Id", USER_ID.to_owned()), ("X-Date", ago(2))];
    for missing in 0..headers.len() {
        let mut request = bench.bare(&path, &Value::Null);
        for (_, (name, value)) in headers.iter().enumerate().filter(|(index, _)| *index != missing) {
            request = request.header(*name, value);
        }
        let answer = Bench::read(request);
        assert_eq!(answer.status, 401, "without {}: {answer:?}", headers[missing].0);
    }
    assert_eq!(bench.emulator.counters().complaints_total, 3);
    assert_eq!(bench.ping(&bench.token), 200);
}

#[test]
fn date_later_than_the_server_or_older_than_15_minutes_is_refused() {
    let bench = Bench::new();
    let status = |date: &str| {
        let request = bench.bare(&format!("v1/space/{USER_ID}?type=1"), &Value::Null);
        let request = request.header("Authorization", &bench.token).header("X-User-Id", USER_ID);
        request.header("X-Date", date).send().unwrap().status().as_u16()
    };
    assert_eq!(status(&ago(1)), 200);
    assert_eq!(status(&ago(15 * 60 - 5)), 200);
    assert_eq!(status(&ago(15 * 60 + 2)), 401);
    assert_eq!(status(&ago(-3)), 401);
    assert_eq!(bench.emulator.counters().refused_dates, 2);
    assert_eq!(bench.emulator.counters().complaints_total, 0, "a wrong clock cannot know before it asks");
    let now = Timestamp::now().saturating_sub(SignedDuration::from_secs(2)).unwrap();
    for odd in [now.to_string(), now.as_second().to_string(), format!("{}0", ago(2)), ago(2).replace('T', "t")] {
        assert_eq!(status(&odd), 401, "{odd}");
    }
    // The server's clock counts, not ours, and it says so in Date.
    bench.emulator.knobs(|k| k.clock_offset_seconds = -600);
    let response = bench.request(&bench.token, &format!("v1/space/{USER_ID}?type=1"), &Value::Null).send().unwrap();
    assert_eq!(response.status(), 401);
    let date = response.headers()["date"].to_str().unwrap().to_owned();
    let date = jiff::fmt::rfc2822::parse(&date).unwrap().timestamp();
    assert_eq!(status(&stamp(date)), 200);
}

#[test]
fn authorization_has_one_of_its_three_forms_exactly() {
    let bench = Bench::new();
    let hex = bench.token.strip_prefix("Bearer ").unwrap();
    let carrier = bench.login().access;
    let carrier_hex = carrier.strip_prefix("AT ").unwrap();
    assert_eq!(carrier_hex.len(), 48);
    assert_eq!(bench.ping(&bench.token), 200);
    assert_eq!(bench.ping(&carrier), 200);
    for wrong in [
        format!("Bearer+{hex}"),
        format!("AT+{carrier_hex}"),
        hex.to_owned(),
        format!("bearer {hex}"),
        format!("Bearer  {hex}"),
        format!("AT {hex}"),
        format!("Bearer {carrier_hex}"),
        format!("AT {}", &carrier_hex[..47]),
        format!("Bearer Bearer {hex}"),
        "HMAC-SHA256 ".to_owned() + hex,
    ] {
        assert_eq!(bench.ping(&wrong), 401, "{wrong}");
    }
    assert_eq!(bench.emulator.counters().plus_schemes, 2);
    let counters = format!("{:?}", bench.emulator.counters());
    assert!(!counters.contains(hex) && !counters.contains(carrier_hex), "the complaints tell a token");
}

#[test]
fn user_id_must_be_the_users() {
    let bench = Bench::new();
    let request = bench.bare(&format!("v1/space/{USER_ID}?type=1"), &Value::Null);
    let request = request.header("Authorization", &bench.token).header("X-Date", ago(2));
    assert_eq!(Bench::read(request.header("X-User-Id", "1880000000000000009")).status, 401);
    assert_eq!(bench.emulator.counters().refused_users, 1);
}

#[test]
fn refusal_of_authentication_has_the_status_and_the_body_of_the_knobs() {
    let bench = Bench::new();
    for status in [400, 401] {
        for body in [AuthRefusalBody::Gateway, AuthRefusalBody::Business] {
            bench.emulator.knobs(|k| {
                k.auth_refusal_status = status;
                k.auth_refusal_body = body;
            });
            let answer = bench.call_as("Bearer 00", &format!("v1/space/{USER_ID}?type=1"), &Value::Null);
            assert_eq!(answer.status, status);
            match body {
                AuthRefusalBody::Gateway => assert_eq!(answer.json["error_code"], "APIGW.0301"),
                AuthRefusalBody::Business => assert_eq!(answer.code(), 13_009_101),
            }
        }
    }
    assert_eq!(bench.emulator.counters().refused_tokens, 4);
}

#[test]
fn trace_id_language_and_unknown_fields_are_judged_as_in_public_calls() {
    let bench = Bench::new();
    let path = format!("v1/space/{USER_ID}?type=1");
    for (name, value, status) in [
        ("X-Traceid", "a".repeat(58), 200),
        ("X-Traceid", "a".repeat(57), 400),
        ("language", "xx".to_owned(), 400),
        ("Cookie", "a=b".to_owned(), 400),
    ] {
        let answer = Bench::read(bench.request(&bench.token, &path, &Value::Null).header(name, &value));
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    assert_eq!(bench.list(OWN, "root", &json!({"pageSize": 3})).code(), 13_000_102);
    assert_eq!(bench.list(OWN, "root", &json!({"pageInfo": {"size": 3}})).code(), 13_000_102);
    assert_eq!(bench.get(&format!("v1/space/{USER_ID}?type=1&x=1")).code(), 13_000_102);
    assert_eq!(bench.get("v1/files/0").status, 405);
    assert_eq!(bench.get("v1/nothing").status, 404);
}

// ---- login and tokens ----

#[test]
fn login_answers_as_documented() {
    let bench = Bench::new();
    bench.emulator.knobs(|k| k.token_lifetime = Duration::from_secs(3));
    let answer = bench.login_with(&Knobs::default().password);
    assert_eq!((answer.status, answer.code()), (200, 0));
    let data = &answer.json["data"];
    assert_eq!(data["userInfo"]["userId"], USER_ID);
    let info = &data["sessionInfo"];
    assert_eq!(info["expiresIn"], 3);
    assert_eq!(info["issuedAt"].as_str().unwrap().len(), 13);
    let hex = |text: &str| text.len() == 48 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(hex(info["accessToken"].as_str().unwrap().strip_prefix("AT ").unwrap()));
    assert!(hex(info["refreshToken"].as_str().unwrap()));
    bench.emulator.knobs(|k| k.code_shape = NumberShape::String);
    assert_eq!(bench.login_with(&Knobs::default().password).json["code"], "0");
    assert_eq!(bench.emulator.counters().logins, 2);
}

#[test]
fn login_wants_a_carrier_name_strings_and_no_authorization() {
    let bench = Bench::new();
    let password = Knobs::default().password;
    let good = json!({"account": "someone", "authType": "1", "password": password});
    assert_eq!(Bench::read(bench.bare("v1/auth/login", &good)).status, 400);
    let named = |body: &Value| bench.bare("v1/auth/login", body).header("x-hw-agentName", "carrier");
    assert_eq!(Bench::read(named(&good).header("Authorization", &bench.token)).status, 400);
    for (name, value) in [("authType", json!(1)), ("authType", json!("3")), ("account", json!("")), ("x", json!(1))] {
        let mut body = good.clone();
        body[name] = value;
        assert_eq!(Bench::read(named(&body)).code(), 13_000_102, "{name}");
    }
    bench.emulator.knobs(|k| k.agent = Some("other".to_owned()));
    assert_eq!(Bench::read(named(&good)).status, 400);
}

#[test]
fn wrong_passwords_lock_the_account() {
    let bench = Bench::new();
    let right = Knobs::default().password;
    for _ in 0..5 {
        assert_eq!(bench.login_with("wrong").code(), 13_009_102);
    }
    assert_eq!(bench.login_with(&right).code(), 13_009_103);
    let counters = bench.emulator.counters();
    assert_eq!((counters.logins, counters.refused_logins, counters.wrong_passwords), (6, 6, 5));
    bench.emulator.unlock_account();
    assert_eq!(bench.login_with(&right).code(), 0);
}

#[test]
fn token_of_a_login_dies_with_its_lifetime_and_a_refresh_replaces_it() {
    let bench = Bench::new();
    bench.emulator.knobs(|k| k.token_lifetime = Duration::from_millis(100_500));
    let first = bench.login();
    assert_eq!(bench.ping(&first.access), 200);
    bench.emulator.knobs(|k| k.clock_offset_seconds = 102);
    assert_eq!(bench.ping(&first.access), 401);
    // Just expired is good enough to refresh.
    let second = bench.refresh(&first).session();
    assert_ne!(second.access, first.access);
    assert_ne!(second.refresh, first.refresh, "rotated");
    assert_eq!(bench.ping(&second.access), 200);
    assert_eq!(bench.ping(&first.access), 401);
    let counters = bench.emulator.counters();
    assert_eq!((counters.refreshes, counters.refused_refreshes, counters.refused_tokens), (1, 0, 2));
}

#[test]
fn refresh_ends_the_old_token_if_the_knob_says_so() {
    let bench = Bench::new();
    let first = bench.login();
    let second = bench.refresh(&first).session();
    assert_eq!((bench.ping(&first.access), bench.ping(&second.access)), (401, 200));
    bench.emulator.knobs(|k| k.refresh_ends_old_token = false);
    let third = bench.refresh(&second).session();
    assert_eq!((bench.ping(&second.access), bench.ping(&third.access)), (200, 200));
}

#[test]
fn used_refresh_token_is_refused_unless_tokens_do_not_rotate() {
    let bench = Bench::new();
    let first = bench.login();
    let second = bench.refresh(&first).session();
    assert_eq!(bench.refresh(&first).code(), 13_009_104);
    let mixed = Session { access: second.access.clone(), refresh: first.refresh };
    assert_eq!(bench.refresh(&mixed).code(), 13_009_104);
    assert_eq!(bench.emulator.counters().reused_refresh_tokens, 2);
    bench.emulator.knobs(|k| k.refresh_rotates = false);
    let third = bench.refresh(&second).session();
    assert_eq!(third.refresh, second.refresh);
    assert_eq!(bench.refresh(&third).code(), 0);
}

#[test]
fn refresh_wants_the_latest_token_of_its_own_login_and_no_app_signature() {
    let bench = Bench::new();
    let (mine, other) = (bench.login(), bench.login());
    let mixed = Session { access: other.access.clone(), refresh: mine.refresh.clone() };
    assert_eq!(bench.refresh(&mixed).status, 401);
    let minted = Session { access: bench.token.clone(), refresh: mine.refresh.clone() };
    assert_eq!(bench.refresh(&minted).status, 401);
    let app = "HMAC-SHA256 AppId=emulator-app,SignedHeaders=host;x-date;x-user-id,Signature=00";
    let signed = Session { access: app.to_owned(), refresh: mine.refresh.clone() };
    assert_eq!(bench.refresh(&signed).status, 401);
    let plus = Session { access: mine.access.replace(' ', "+"), refresh: mine.refresh.clone() };
    assert_eq!(bench.refresh(&plus).status, 401);
    assert_eq!(bench.refresh(&mine).code(), 0);
    bench.emulator.revoke_refresh_tokens();
    assert_eq!(bench.refresh(&other).code(), 13_009_104);
}

#[test]
fn refresh_token_dies_with_its_lifetime() {
    let bench = Bench::new();
    bench.emulator.knobs(|k| k.refresh_lifetime = Duration::from_secs(3600));
    let session = bench.login();
    bench.emulator.knobs(|k| k.clock_offset_seconds = 3602);
    assert_eq!(bench.refresh(&session).code(), 13_009_104);
}

#[test]
fn refresh_answers_under_data_or_session_info() {
    let bench = Bench::new();
    let mut session = bench.login();
    let mut nested = Vec::new();
    for nesting in
        [RefreshNesting::Data, RefreshNesting::SessionInfo, RefreshNesting::Alternate, RefreshNesting::Alternate]
    {
        bench.emulator.knobs(|k| k.refresh_nesting = nesting);
        let answer = bench.refresh(&session);
        nested.push(answer.json["data"]["sessionInfo"].is_object());
        session = answer.session();
    }
    assert_eq!(nested[..2], [false, true]);
    assert_ne!(nested[2], nested[3]);
}

#[test]
fn parallel_refreshes_are_counted_and_only_one_wins() {
    let bench = Bench::new();
    let session = bench.login();
    bench.emulator.knobs(|k| k.hold = vec!["refreshToken".to_owned()]);
    let codes: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| bench.refresh(&session).json["code"] == 0)).collect();
        bench.emulator.wait_until("all three to be under way", |counters| counters.refresh_peak == 3);
        bench.emulator.knobs(|k| k.hold.clear());
        calls.into_iter().map(|call| u16::from(call.join().unwrap())).collect()
    });
    assert_eq!(codes.iter().sum::<u16>(), 1, "{codes:?}");
    let counters = bench.emulator.counters();
    assert_eq!((counters.refresh_peak, counters.refreshes, counters.login_peak), (3, 3, 1));
}

#[test]
fn enterprise_token_slides_and_dies_unused() {
    let bench = Bench::new();
    for minutes in [19, 38, 57] {
        bench.emulator.knobs(|k| k.clock_offset_seconds = minutes * 60);
        let request = bench.bare(&format!("v1/space/{USER_ID}?type=1"), &Value::Null);
        let request = request.header("Authorization", &bench.token).header("X-User-Id", USER_ID);
        assert_eq!(Bench::read(request.header("X-Date", ago(2 - minutes * 60))).status, 200, "{minutes}");
    }
    bench.emulator.knobs(|k| k.clock_offset_seconds = 78 * 60);
    let request = bench.bare(&format!("v1/space/{USER_ID}?type=1"), &Value::Null);
    let request = request.header("Authorization", &bench.token).header("X-User-Id", USER_ID);
    assert_eq!(Bench::read(request.header("X-Date", ago(2 - 78 * 60))).status, 401);
}

#[test]
fn revoked_token_is_refused() {
    let bench = Bench::new();
    let other = bench.emulator.mint_token();
    assert!(bench.emulator.revoke_access_token(&other));
    assert_eq!((bench.ping(&other), bench.ping(&bench.token)), (401, 200));
    let login = bench.login();
    bench.emulator.revoke_access_tokens();
    assert_eq!((bench.ping(&login.access), bench.ping(&bench.token)), (401, 401));
    assert_eq!(bench.refresh(&login).code(), 0, "refresh tokens stay good");
}

// ---- app signatures ----

fn sha256_hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac_hex(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn canonical_request_is_the_documented_one() {
    // Worked out with Python's hashlib and hmac from section 3.5, not with this code.
    let request = auth::canonical_request(
        "POST",
        "/koodrive/ose/v1/files/1750000000000000020/0",
        "x%20y=+%c3%a4&team_type=2&b",
        &[("Host", "koodrive.test:8443"), ("X-Date", " 20251103T070140Z "), ("X-User-Id", "1880000000000000001")],
        b"{\"containerId\":\"c\"}",
    )
    .unwrap();
    assert_eq!(
        request,
        "POST\n/koodrive/ose/v1/files/1750000000000000020/0/\nb=&team_type=2&x%20y=%2B%C3%A4\nhost:koodrive.test:8443\n\
         x-date:20251103T070140Z\nx-user-id:1880000000000000001\n\nhost;x-date;x-user-id\n6808aae39274cc22206b2c38925774a29dfe261ac98e82c34efe1228c0c59463"
    );
    let to_sign = auth::string_to_sign(&request);
    assert_eq!(to_sign, "HMAC-SHA256\n32851139b82b40eecd85953047cd4755aedc5c12569b3298d22b6d35fe99c9da");
    assert_eq!(
        hmac_hex("emulator-app-secret-0123456789", &to_sign),
        "92541c88909e535c5bf3b6553b96bceaad60da9709e5ad8ae45cac0fe070cd94"
    );
}

/// What a signer may get wrong.
#[derive(Clone, Copy, Default)]
struct Slip {
    no_slash: bool,
    timestamp_line: bool,
    other_body: bool,
    other_secret: bool,
    upper_case: bool,
    no_host: bool,
}

impl Bench {
    /// A listing of the group, signed step by step as section 3.5 has it, or with a slip.
    fn signed(&self, slip: Slip, date: &str) -> Answer {
        let body = json!({"containerId": GROUP, "parentFileId": "root"}).to_string();
        let host = self.emulator.url().strip_prefix("http://").unwrap().to_owned();
        let slash = if slip.no_slash { "" } else { "/" };
        let hash = sha256_hex(if slip.other_body { "" } else { &body });
        let (host_line, names) = if slip.no_host {
            (String::new(), "x-date;x-user-id")
        } else {
            (format!("host:{host}\n"), "host;x-date;x-user-id")
        };
        let canonical = format!(
            "POST\n/koodrive/ose/v1/files/{GROUP_ID}/0{slash}\nteam_type=2\n{host_line}x-date:{date}\n\
             x-user-id:{USER_ID}\n\n{names}\n{hash}"
        );
        let time = if slip.timestamp_line { format!("{date}\n") } else { String::new() };
        let to_sign = format!("HMAC-SHA256\n{time}{}", sha256_hex(&canonical));
        let secret = if slip.other_secret { "other" } else { "emulator-app-secret-0123456789" };
        let mut signature = hmac_hex(secret, &to_sign);
        if slip.upper_case {
            signature = signature.to_uppercase();
        }
        let request = self
            .http
            .post(self.url(&format!("v1/files/{GROUP_ID}/0?team_type=2")))
            .header("Content-Type", "application/json")
            .header("X-Date", date)
            .header("X-User-Id", USER_ID)
            .header(
                "Authorization",
                format!("HMAC-SHA256 AppId=emulator-app,SignedHeaders={names},Signature={signature}"),
            );
        Self::read(request.body(body))
    }
}

#[test]
fn app_signature_of_the_documented_form_is_accepted_and_of_no_other() {
    let bench = Bench::new();
    let answer = bench.signed(Slip::default(), &ago(2));
    assert_eq!((answer.status, answer.code()), (200, 0), "{answer:?}");
    let slips = [
        Slip { no_slash: true, ..Slip::default() },
        Slip { timestamp_line: true, ..Slip::default() },
        Slip { other_body: true, ..Slip::default() },
        Slip { other_secret: true, ..Slip::default() },
        Slip { upper_case: true, ..Slip::default() },
        Slip { no_host: true, ..Slip::default() },
    ];
    for slip in slips {
        assert_eq!(bench.signed(slip, &ago(2)).status, 401);
    }
    assert_eq!(bench.emulator.counters().refused_signatures, slips.len() as u64);
    assert_eq!(bench.signed(Slip::default(), &ago(16 * 60)).status, 401, "15 minutes are over");
    bench.emulator.knobs(|k| k.app_id = "other".to_owned());
    assert_eq!(bench.signed(Slip::default(), &ago(2)).status, 401);
    bench.emulator.knobs(|k| {
        k.app_id = "emulator-app".to_owned();
        k.app_secret = "other".to_owned();
    });
    assert_eq!(bench.signed(Slip { other_secret: true, ..Slip::default() }, &ago(2)).status, 200);
}

#[test]
fn app_signature_of_a_query_takes_it_sorted_and_encoded() {
    let bench = Bench::new();
    let host = bench.emulator.url().strip_prefix("http://").unwrap().to_owned();
    let date = ago(2);
    let sign = |canonical_query: &str| {
        let canonical = format!(
            "GET\n/koodrive/ose/v1/space/teamList/\n{canonical_query}\nhost:{host}\nx-date:{date}\nx-user-id:{USER_ID}\n\n\
             host;x-date;x-user-id\n{}",
            sha256_hex("")
        );
        let signature = hmac_hex("emulator-app-secret-0123456789", &format!("HMAC-SHA256\n{}", sha256_hex(&canonical)));
        format!("HMAC-SHA256 AppId=emulator-app,SignedHeaders=host;x-date;x-user-id,Signature={signature}")
    };
    let status = |authorization: String| {
        let request = bench.http.get(bench.url("v1/space/teamList?offset=0&limit=10&keyWord=Chess%20club"));
        let request = request.header("X-Date", &date).header("X-User-Id", USER_ID);
        Bench::read(request.header("Authorization", authorization)).status
    };
    assert_eq!(status(sign("keyWord=Chess%20club&limit=10&offset=0")), 200);
    assert_eq!(status(sign("offset=0&limit=10&keyWord=Chess%20club")), 401);
    assert_eq!(status(sign("keyWord=Chess+club&limit=10&offset=0")), 401);
}
