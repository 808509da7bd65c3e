//! What the client of a share makes of refusals: by status and code, of its temporary token, and at the end of the share.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use koofs::remote::{NodeId, RemoteErrorKind};
use serde_json::json;

use crate::scripted_server::{Answer, BUSY, Request, ScriptedServer};
use crate::share_client::{
    FILES, INFO, TOKEN, UNEXPLAINED, VERIFY, files, info, list, open_with, opened, opened_protected, protected,
    refused, resolve, verified,
};

// ---- Refusals ----

#[test]
fn status_and_code_are_judged_together() {
    use RemoteErrorKind::*;
    let server = ScriptedServer::new();
    let client = opened(&server);
    for (status, code, kind) in [
        (400, 13_000_201, Unavailable),
        (400, 13_000_301, Unavailable),
        (400, 13_000_302, NotFound),
        (200, 13_000_305, NotFound),
        (400, 13_000_306, NotFound),
        (400, 13_000_308, Malformed),
        (200, 13_000_309, NotFound),
        (400, 13_000_406, Changed),
        (400, 13_000_408, Unavailable),
        (400, 13_000_411, NotFound),
        (429, 13_000_309, Throttled),
        (500, 13_000_309, Unavailable),
        (503, 0, Unavailable),
        (408, 0, Timeout),
        (404, 0, Malformed),
    ] {
        server.push(refused(status, code));
        assert_eq!(list(&client).unwrap_err().kind(), kind, "{status} {code}");
    }
    // These may mean that the share is over: the service is asked.
    for (status, code, kind) in [
        (400, 13_000_102, Unusable),
        (400, 13_000_410, Denied),
        (200, 13_000_412, Denied),
        (400, UNEXPLAINED, Unusable),
        (401, UNEXPLAINED, NeedsLogin),
        (403, 0, Denied),
        (401, 0, NeedsLogin),
    ] {
        let asked = server.count(INFO);
        server.push(refused(status, code)).push(info());
        assert_eq!(list(&client).unwrap_err().kind(), kind, "{status} {code}");
        assert_eq!(server.count(INFO), asked + 1, "{status} {code}");
    }
}

#[test]
fn gateway_answers_in_its_own_words() {
    use RemoteErrorKind::*;
    let server = ScriptedServer::new();
    let client = opened(&server);
    for (status, code, kind) in [
        (429, "APIG.0308", Throttled),
        (400, "APIGW.0308", Throttled),
        (200, "APIG.0308", Throttled),
        (502, "APIG.0202", Unavailable),
        (400, "APIG.0203", Unavailable),
        (404, "APIG.0101", Malformed),
    ] {
        let body = json!({"error_code": code, "error_msg": "x", "request_id": "1"});
        server.push(Answer::new(status, body.to_string()).header("Retry-After", "3"));
        let error = list(&client).unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {code}");
        assert_eq!(error.retry_after(), if kind == Malformed { None } else { Some(Duration::from_secs(3)) });
    }
    server.push(Answer::new(401, json!({"error_code": "APIG.0303", "error_msg": "x"}).to_string())).push(info());
    assert_eq!(list(&client).unwrap_err().kind(), NeedsLogin);
}

#[test]
fn answer_that_is_no_json_is_judged_by_its_status() {
    use RemoteErrorKind::*;
    let server = ScriptedServer::new();
    let client = opened(&server);
    for (status, kind) in
        [(200, Foreign), (404, Foreign), (400, Foreign), (302, Foreign), (502, Unavailable), (429, Throttled)]
    {
        server.push(Answer::new(status, "<html>Bad Gateway</html>"));
        assert_eq!(list(&client).unwrap_err().kind(), kind, "{status}");
    }
    server.push(Answer::new(200, [0xff, 0xfe, b'{']));
    assert_eq!(list(&client).unwrap_err().kind(), Foreign);
    server.push(Answer::new(200, "[".repeat(100_000)));
    assert_eq!(list(&client).unwrap_err().kind(), Foreign);
}

#[test]
fn message_of_the_service_is_shown_on_one_bounded_line() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    let msg = format!("no\r\nsuch\u{1b}[31m file {}", "x".repeat(10_000));
    server.push(Answer::new(400, json!({"code": 13_000_309, "msg": msg}).to_string()));
    let text = list(&client).unwrap_err().to_string();
    assert!(text.contains("HTTP 400, code 13000309: no  such") && text.len() < 300, "{text}");
    assert!(!text.contains(char::is_control), "{text:?}");
}

#[test]
fn broken_connection_and_silence_are_no_answer() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(Answer::hang_up());
    let error = list(&client).unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Interrupted);
    server.push(files(json!([])).cut_at(10));
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Interrupted);
    for answer in
        [Answer::silence(), files(json!([])).stall_at(10), files(json!([])).trickle(Duration::from_millis(50))]
    {
        server.push(answer);
        let start = Instant::now();
        let error = client.list_page(&NodeId::new("Fdir"), None, start + Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::Timeout);
        assert!(start.elapsed() < BUSY, "{:?}", start.elapsed());
    }
}

#[test]
fn answer_beyond_its_bound_is_unusable() {
    let server = ScriptedServer::new();
    let client = opened(&server);
    server.push(Answer::new(200, vec![b' '; 16 * 1024 * 1024 + 1]));
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unusable);
}

// ---- The temporary token ----

#[test]
fn refused_kdstoken_is_verified_again_and_the_call_repeated() {
    for (status, code) in
        [(400, UNEXPLAINED), (200, UNEXPLAINED), (401, UNEXPLAINED), (403, 0), (400, 13_000_102), (400, 13_000_410)]
    {
        let server = ScriptedServer::new();
        let client = opened_protected(&server);
        let fresh = Answer::json(&json!({"kdstoken": "fresh", "code": "0"}));
        server.push(refused(status, code)).push(info()).push(fresh).push(files(json!([{"id": "F1"}])));
        assert_eq!(list(&client).unwrap().nodes.len(), 1, "{status} {code}");
        assert_eq!(server.requests().last().unwrap().json()["kdstoken"], "fresh");
        server.push(Answer::json(&json!({"downloadUrl": "https://b.example/1?s", "code": 0})));
        resolve(&client).unwrap();
        assert_eq!(server.requests().last().unwrap().json()["kdstoken"], "fresh", "later calls use it too");
        assert_eq!(server.count(VERIFY), 2);
    }
}

#[test]
fn refused_kdstoken_is_verified_again_at_most_once() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(verified()).push(refused(400, UNEXPLAINED)).push(info());
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unusable);
    assert_eq!((server.count(VERIFY), server.count(FILES)), (2, 3));
}

#[test]
fn verify_that_did_not_help_is_not_repeated_by_the_next_calls() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(verified()).push(refused(400, UNEXPLAINED)).push(info());
    list(&client).unwrap_err();
    for _ in 0..5 {
        server.push(refused(400, UNEXPLAINED)).push(info());
        assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unusable);
    }
    assert_eq!(server.count(VERIFY), 2);
    server.push(files(json!([])));
    list(&client).unwrap();
}

#[test]
fn failure_that_is_not_about_the_token_is_not_answered_with_verify() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    for answer in [
        refused(400, 13_000_309),
        refused(429, 1),
        refused(503, 1),
        refused(200, 13_000_201),
        Answer::hang_up(),
        Answer::new(404, "x"),
    ] {
        server.push(answer);
        list(&client).unwrap_err();
    }
    assert_eq!(server.count(VERIFY), 1);
}

#[test]
fn refused_access_code_is_not_sent_again_at_once() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(refused(400, UNEXPLAINED));
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::NeedsLogin);
    for _ in 0..3 {
        server.push(refused(400, UNEXPLAINED)).push(info());
        assert_eq!(resolve(&client).unwrap_err().kind(), RemoteErrorKind::NeedsLogin);
    }
    assert_eq!(server.count(VERIFY), 2);
}

#[test]
fn verify_that_fails_for_other_reasons_leaves_the_code_good() {
    let server = ScriptedServer::new();
    let client = opened_protected(&server);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(refused(429, 1));
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Throttled);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(Answer::hang_up());
    assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Interrupted);
    server.push(refused(400, UNEXPLAINED)).push(info()).push(verified()).push(files(json!([])));
    list(&client).unwrap();
}

/// A service whose token is `current`; every other one is refused, after all `threads` have asked once.
fn service(threads: usize, verify: impl Fn(usize) -> Answer + Send + Sync + 'static) -> ScriptedServer {
    let (together, stale, verifies) = (Barrier::new(threads), AtomicUsize::new(0), AtomicUsize::new(0));
    ScriptedServer::with_handler(move |request: &Request| match request.path() {
        INFO => info(),
        VERIFY => verify(verifies.fetch_add(1, Ordering::SeqCst)),
        _ if request.json()["kdstoken"] == "fresh" => files(json!([])),
        // The first is the opening's own.
        _ => match stale.fetch_add(1, Ordering::SeqCst) {
            0 => files(json!([])),
            nth => {
                if nth <= threads {
                    together.wait();
                }
                refused(400, UNEXPLAINED)
            }
        },
    })
}

#[test]
fn many_refusals_at_once_lead_to_one_verify() {
    let server = service(16, |nth| {
        std::thread::sleep(Duration::from_millis(if nth == 0 { 0 } else { 100 }));
        Answer::json(&json!({"kdstoken": if nth == 0 { TOKEN } else { "fresh" }, "code": 0}))
    });
    let client = open_with(&protected(&server)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| list(&client).unwrap());
        }
    });
    assert_eq!((server.count(VERIFY), server.count(FILES)), (2, 1 + 2 * 16));
}

#[test]
fn failed_verify_fails_all_that_waited_for_it() {
    let server = service(8, |nth| match nth {
        0 => verified(),
        _ => {
            std::thread::sleep(Duration::from_millis(300));
            refused(503, 1)
        }
    });
    let client = open_with(&protected(&server)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(list(&client).unwrap_err().kind(), RemoteErrorKind::Unavailable));
        }
    });
    assert_eq!(server.count(VERIFY), 2);
}

// ---- The end of a share ----

#[test]
fn unexplained_refusal_of_a_share_that_is_over_says_so() {
    let over = |status: u64, expires: &str| {
        Answer::json(&json!({"code": 0, "link": {"shareId": "1", "status": status, "expireTime": expires}}))
    };
    for (answer, kind, text) in [
        (over(1, "2999-01-01T00:00:00Z"), RemoteErrorKind::NotFound, "deleted"),
        (over(2, "2025-01-18T11:58:00.000Z"), RemoteErrorKind::Denied, "expired on 2025-01-18T11:58:00Z"),
        (over(0, "2025-01-18T11:58:00.000Z"), RemoteErrorKind::Denied, "expired on 2025-01-18T11:58:00Z"),
        (over(2, ""), RemoteErrorKind::Denied, "no longer valid"),
        (over(0, "2999-01-01T00:00:00Z"), RemoteErrorKind::Unusable, "code 13009999"),
        (over(7, "never"), RemoteErrorKind::Unusable, "code 13009999"),
        (Answer::hang_up(), RemoteErrorKind::Unusable, "code 13009999"),
    ] {
        let server = ScriptedServer::new();
        let client = opened(&server);
        server.push(refused(400, UNEXPLAINED)).push(answer);
        let error = list(&client).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
}
