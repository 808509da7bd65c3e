//! Answers of the documented form, changed at random: whatever comes of them, it is no panic.
#![cfg(test)]

use fastrand::Rng;
use serde_json::{Value, json};

use std::time::{Duration, UNIX_EPOCH};

use super::convert::{Moment, Rows, fresh_link, rows, share, text};
use super::envelope::judge;
use super::error::CallError;
use super::wire::{Answer, UserInfoAnswer, VerifyAnswer};
use crate::http::ApiAnswer;
use crate::policy::server_time::ServerOffset;
use crate::remote::NodeKind;

const ROUNDS: usize = 30_000;

fn valid() -> Value {
    json!({
        "link": {"shareId": "15929", "ownerName": "", "expireTime": "2025-01-18T11:58:00.000Z", "status": 0,
            "permission": {"download": true}},
        "files": [
            {"id": "F1", "fileName": "docs", "fileType": "10", "size": 0, "editedTime": "2025-05-01T08:00:00.000Z"},
            {"id": "F2", "fileName": "photo.jpg", "fileType": "15", "size": 106_437, "recycled": false,
             "downloadLinks": [{"usage": "content", "downloadLink": "https://b.example/o?X-Amz-Date=20250501T080000Z&X-Amz-Expires=3600"},
                               {"usage": "thumbnail", "downloadLink": "https://b.example/t?Expires=1746086400"}],
             "editedTime": "2025-05-01T08:01:02.345Z"}],
        "nextCursor": "opaque", "kdstoken": "0f1e", "downloadUrl": "https://b.example/o?Expires=1746086400",
        "data": {"files": null}, "code": 0, "msg": "Success."})
}

/// Stands for the escape of half a surrogate pair, which no text of Rust can hold.
const HALF_A_PAIR: &str = "\u{f8ff}";

/// Stands for a number that no type of Rust can hold.
const HUGE: &str = "1e999";

/// How many entries a listing must have that is read from `answer`; none if there is no list.
fn entries(answer: &Value) -> Option<usize> {
    let at = |value: &Value| value.get("files").filter(|files| !files.is_null()).cloned();
    let files = at(answer).or_else(|| at(answer.get("data")?))?;
    let is_recycled = |entry: &&Value| match &entry["recycled"] {
        Value::Bool(flag) => *flag,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    };
    Some(files.as_array()?.iter().filter(|entry| !is_recycled(entry)).count())
}

/// Something that may stand where something else was expected.
fn odd(random: &mut Rng) -> Value {
    let numbers = [json!(-1), json!(u64::MAX), json!(i64::MIN), json!(1e308), json!(-0.0), json!(0.1)];
    let texts = [
        "",
        "\u{0}",
        "-",
        "9999999999999999999999999999999999999999",
        "9999-12-31T23:59:60Z",
        "1e9",
        "%",
        "content",
        HALF_A_PAIR,
        HUGE,
    ];
    match random.u8(..6) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => numbers[random.usize(..numbers.len())].clone(),
        3 => json!(texts[random.usize(..texts.len())]),
        4 => json!([odd(random)]),
        _ => json!({"content": odd(random), "usage": odd(random)}),
    }
}

/// Changes one place of `value`: replaces it, drops a part, or goes down into one.
fn mutate(value: &mut Value, random: &mut Rng) {
    let action = random.u8(..8);
    match value {
        Value::Object(map) if action > 0 && !map.is_empty() => {
            let key = map.keys().nth(random.usize(..map.len())).expect("in range").clone();
            if action == 1 {
                map.remove(&key);
            } else {
                mutate(&mut map[&key], random);
            }
        }
        Value::Array(list) if action > 0 && !list.is_empty() => {
            let index = random.usize(..list.len());
            if action == 1 {
                list.remove(index);
            } else {
                mutate(&mut list[index], random);
            }
        }
        value => *value = odd(random),
    }
}

fn payload<T: Answer>(answer: &ApiAnswer, key: &str) -> Option<T> {
    match judge(answer, &[key], &["0f1e"]) {
        Ok(envelope) => envelope.payload(),
        Err(error) => {
            let _ = (error.to_string(), error.kind(), matches!(error, CallError::Bad(_)));
            None
        }
    }
}

#[test]
fn hostile_answer_never_panics_and_bad_data_is_neither_a_node_nor_a_shorter_listing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let moment =
        Moment { received_at: UNIX_EPOCH + Duration::from_secs(1_746_086_400), server: ServerOffset::default() };
    let (mut pages, mut unreadable) = (0, 0);
    for _ in 0..ROUNDS {
        let mut value = valid();
        for _ in 0..random.usize(..6) {
            mutate(&mut value, &mut random);
        }
        let body = value.to_string().replace(HALF_A_PAIR, "\\ud800").replace(&format!("\"{HUGE}\""), HUGE);
        let mut body = body.into_bytes();
        let is_damaged = random.bool();
        if is_damaged {
            for _ in 0..random.usize(..3) {
                let at = random.usize(..body.len());
                body[at] = random.u8(..);
            }
            if random.u8(..8) == 0 {
                body.truncate(random.usize(..body.len()));
            }
        }
        let status = [200, 200, 200, 200, 400, 401, 429, 500][random.usize(..8)];
        let answer = ApiAnswer { status, date: None, retry_after: None, body };
        if let Some(Ok(page)) = payload(&answer, "files").map(|files| rows(files, moment).map(Rows::into_page)) {
            pages += 1;
            if !is_damaged {
                assert_eq!(page.nodes.len(), entries(&value).unwrap_or(0), "no shorter than it is: {value}");
            }
            unreadable += page.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Unreadable(_))).count();
            assert!(page.nodes.iter().all(|node| !node.id.as_str().is_empty()));
            assert!(page.nodes.iter().all(|node| i64::try_from(node.version.size_bytes).is_ok()));
        }
        let _ = payload(&answer, "downloadUrl").map(|download| fresh_link(download, moment));
        let _ = payload::<UserInfoAnswer>(&answer, "link").and_then(|info| info.link).map(share);
        let _ = payload::<VerifyAnswer>(&answer, "kdstoken").map(|verified| text(verified.kdstoken, "kdstoken"));
    }
    assert!(pages > ROUNDS / 20, "only {pages} mutants were still a page");
    assert!(unreadable > ROUNDS / 1000, "only {unreadable} entries were unreadable");
}
