//! Who calls: login, refresh, tokens of both editions, app signatures, and the headers that come with them (section 3).
//!
//! Owns: sessions, refresh tokens, attempts, the canonical form of an app signature. Knows nothing of what a call is for.
//! Runs on blocking threads; one short lock.
//!
//! Made up, because the documentation does not say (sections 3 and 14): the codes from 13009101 on; that five wrong
//! passwords lock an account until it is unlocked; that a refresh ends the token it replaces and uses up the refresh
//! token (knobs); that an app acts for the one user there is; that `SignedHeaders` are sorted and name `host`.

use super::api::{ACCOUNT_LOCKED, BAD_REFRESH_TOKEN, Call, Payload, Refusal, WRONG_PASSWORD, mandatory, text};
use super::knobs::RefreshNesting;
use super::lock;
use super::sign::{decode, encode, hex, hmac_sha256, parse_basic_date};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// How old `X-Date` may be, and an app signature with it (sections 2 and 3.5).
const DATE_LIFETIME_MS: i64 = 15 * 60 * 1000;
/// Gateway code for a token that is not accepted.
const BAD_TOKEN: &str = "APIGW.0301";
/// Gateway code for headers or a signature that are not accepted.
const BAD_SIGNATURE: &str = "APIGW.0303";

/// Who makes a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// KooDrive user id.
    pub id: String,
}

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// To this moment (carrier).
    Until(i64),
    /// For so long after its last use (enterprise); holds that use.
    Sliding(i64),
}

#[derive(Clone, Debug)]
struct Session {
    life: Life,
    /// The login it stems from; 0 for minted ones.
    login: u64,
}

#[derive(Clone, Debug)]
struct Refresh {
    login: u64,
    ends_ms: i64,
    used: bool,
}

/// All sessions. Tokens are kept as they stand in `Authorization`, scheme included.
#[derive(Debug, Default)]
pub struct Sessions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tokens: HashMap<String, Session>,
    refreshes: HashMap<String, Refresh>,
    /// The latest access token of each login.
    latest: HashMap<u64, String>,
    wrong_passwords: u32,
    logins: u64,
    refreshed: u64,
}

impl Sessions {
    /// A new enterprise token, as the front end's cookie would hold it: `Bearer ` and 64 hex digits.
    pub fn mint(&self, now: Timestamp) -> String {
        let token = format!("Bearer {}{}", random_hex(32), random_hex(32));
        let session = Session { life: Life::Sliding(now.as_millisecond()), login: 0 };
        lock(&self.state).tokens.insert(token.clone(), session);
        token
    }

    /// Ends every access token; refresh tokens stay good.
    pub fn revoke(&self) {
        lock(&self.state).tokens.clear();
    }

    /// Ends one access token, given as it stands in `Authorization`; whether there was one.
    pub fn revoke_one(&self, token: &str) -> bool {
        lock(&self.state).tokens.remove(token).is_some()
    }

    /// Ends every refresh token.
    pub fn revoke_refreshes(&self) {
        lock(&self.state).refreshes.clear();
    }

    /// Forgets wrong passwords.
    pub fn unlock(&self) {
        lock(&self.state).wrong_passwords = 0;
    }
}

/// `digits` random hex digits.
fn random_hex(digits: usize) -> String {
    (0..digits).map(|_| char::from(b"0123456789abcdef"[fastrand::usize(..16)])).collect()
}

fn millis(of: Duration) -> i64 {
    i64::try_from(of.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Answers `login`, `refreshToken` and `sessionRefresh`.
///
/// # Errors
/// [`Refusal`].
pub fn answer(call: &Call<'_>, name: &str) -> Result<Payload, Refusal> {
    match name {
        "login" => login(call),
        "refreshToken" => refresh(call),
        _ => session_refresh(call),
    }
}

fn login(call: &Call<'_>) -> Result<Payload, Refusal> {
    call.shared.counters.update(|all| all.logins += 1);
    let body = &call.fields(&["account", "authType", "password", "captchaToken"])?;
    let account = mandatory(body, "account")?;
    let knobs = call.knobs;
    match mandatory(body, "authType")? {
        "1" => {}
        "2" => return Err(Refusal::business(WRONG_PASSWORD, "verification codes are not known here")),
        other => return Err(Refusal::parameter(format!("authType {other:?} is neither 1 nor 2"))),
    }
    let password = text(body, "password")?.unwrap_or_default();
    let sessions = &call.shared.sessions;
    let mut state = lock(&sessions.state);
    if state.wrong_passwords >= knobs.wrong_password_limit {
        call.shared.counters.update(|all| all.refused_logins += 1);
        return Err(Refusal::business(ACCOUNT_LOCKED, "the account is locked after too many wrong passwords"));
    }
    if account != knobs.account || password != knobs.password {
        state.wrong_passwords += 1;
        call.shared.counters.update(|all| {
            all.refused_logins += 1;
            all.wrong_passwords += 1;
        });
        return Err(Refusal::business(WRONG_PASSWORD, "account or password is wrong"));
    }
    state.wrong_passwords = 0;
    state.logins += 1;
    let login = state.logins;
    let refresh = random_hex(48);
    let info = state.issue(call, login, &refresh);
    drop(state);
    Ok(Payload::Data(json!({
        "userInfo": {
            "userId": knobs.user_id, "firstname": "A", "surname": "B", "phone": "0010000000000", "email": "",
        },
        "sessionInfo": info,
    })))
}

impl State {
    /// A new access token of a login with this refresh token, as `sessionInfo`.
    fn issue(&mut self, call: &Call<'_>, login: u64, refresh: &str) -> Value {
        let knobs = call.knobs;
        let now = call.now.as_millisecond();
        // Of what is over by far nobody speaks again.
        self.tokens.retain(|_, session| match session.life {
            Life::Until(ends) => ends.saturating_add(millis(knobs.refresh_lifetime)) > now,
            Life::Sliding(_) => true,
        });
        let token = format!("AT {}", random_hex(48));
        let life = Life::Until(now.saturating_add(millis(knobs.token_lifetime)));
        call.shared.given_out.note(&token);
        call.shared.given_out.note(refresh);
        self.tokens.insert(token.clone(), Session { life, login });
        if let Some(old) = self.latest.insert(login, token.clone())
            && knobs.refresh_ends_old_token
        {
            self.tokens.remove(&old);
        }
        let ends_ms = now.saturating_add(millis(knobs.refresh_lifetime));
        self.refreshes.insert(refresh.to_owned(), Refresh { login, ends_ms, used: false });
        json!({
            "accessToken": token,
            // Whole seconds, as the documentation has them; a shorter life than a second cannot be told.
            "expiresIn": knobs.token_lifetime.as_secs().max(1),
            "issuedAt": now.to_string(),
            "refreshToken": refresh,
        })
    }
}

/// Section 3.3. The access token may be over, but it must be the latest of the login that the refresh token is of.
fn refresh(call: &Call<'_>) -> Result<Payload, Refusal> {
    call.shared.counters.update(|all| all.refreshes += 1);
    let refused = || call.shared.counters.update(|all| all.refused_refreshes += 1);
    let authorization = authorization(call).inspect_err(|_| refused())?;
    let token = match authorization {
        Authorization::Token(token) if token.starts_with("AT ") => token,
        Authorization::Token(_) => {
            refused();
            return Err(Refusal::auth(BAD_TOKEN, "only tokens of a login are refreshed").complained());
        }
        Authorization::App(_) => {
            refused();
            return Err(Refusal::auth(BAD_SIGNATURE, "session calls take no app signature").complained());
        }
    };
    let body = &call.fields(&["refreshToken"])?;
    let refresh = mandatory(body, "refreshToken")?;
    let now = call.now.as_millisecond();
    let mut state = lock(&call.shared.sessions.state);
    let Some(known) = state.refreshes.get(refresh).cloned() else {
        refused();
        return Err(Refusal::business(BAD_REFRESH_TOKEN, "the refresh token is not known"));
    };
    if known.used {
        refused();
        call.shared.counters.update(|all| all.reused_refresh_tokens += 1);
        return Err(Refusal {
            complaint: true,
            ..Refusal::business(BAD_REFRESH_TOKEN, "the refresh token was used and replaced")
        });
    }
    if known.ends_ms <= now {
        refused();
        return Err(Refusal::business(BAD_REFRESH_TOKEN, "the refresh token has expired"));
    }
    if state.latest.get(&known.login) != Some(&token) {
        refused();
        return Err(Refusal::auth(BAD_TOKEN, "the access token is not the latest of this login"));
    }
    let next = if call.knobs.refresh_rotates {
        state.refreshes.insert(refresh.to_owned(), Refresh { used: true, ..known });
        random_hex(48)
    } else {
        refresh.to_owned()
    };
    let info = state.issue(call, known.login, &next);
    state.refreshed += 1;
    let nested = match call.knobs.refresh_nesting {
        RefreshNesting::Data => false,
        RefreshNesting::SessionInfo => true,
        RefreshNesting::Alternate => state.refreshed.is_multiple_of(2),
    };
    drop(state);
    Ok(Payload::Data(if nested { json!({"sessionInfo": info}) } else { info }))
}

/// `session/refresh` of the enterprise edition is not emulated: no session id was ever handed out.
fn session_refresh(call: &Call<'_>) -> Result<Payload, Refusal> {
    authorization(call)?;
    Err(Refusal::auth(BAD_TOKEN, "the session is not known"))
}

/// What `Authorization` holds.
#[derive(Debug)]
enum Authorization {
    /// `AT …` or `Bearer …`, whole.
    Token(String),
    /// Behind `HMAC-SHA256 `.
    App(String),
}

/// Reads `Authorization`, which must have one of its three forms exactly.
fn authorization(call: &Call<'_>) -> Result<Authorization, Refusal> {
    let Some(value) = call.header("authorization")? else {
        return Err(Refusal::auth(BAD_TOKEN, "Authorization is mandatory").complained());
    };
    if let Some(rest) = value.strip_prefix("HMAC-SHA256 ") {
        return Ok(Authorization::App(rest.to_owned()));
    }
    let fits = match value.split_once(' ') {
        Some(("AT", hex)) => hex.len() == 48 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        // RFC 6750's token, less the characters that no sample has.
        Some(("Bearer", token)) => {
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        }
        _ => false,
    };
    if fits {
        return Ok(Authorization::Token(value.to_owned()));
    }
    // Not the value itself: this goes to a log.
    let scheme: String = value.chars().take_while(char::is_ascii_alphabetic).take(12).collect();
    let plus = value[scheme.len()..].starts_with('+');
    call.shared.counters.update(|all| {
        all.refused_tokens += 1;
        all.plus_schemes += u64::from(plus);
    });
    let what = if plus { "a + where a space belongs" } else { "no form of Authorization" };
    Err(Refusal::auth(BAD_TOKEN, format!("Authorization {scheme}…: {what}")).complained())
}

/// Checks the headers of an authenticated call.
///
/// # Errors
/// A refusal of authentication.
pub fn authenticate(call: &Call<'_>) -> Result<User, Refusal> {
    let authorization = authorization(call)?;
    let user = match call.header("x-user-id")? {
        Some(user) if !user.is_empty() => user,
        _ => return Err(Refusal::auth(BAD_SIGNATURE, "X-User-Id is mandatory").complained()),
    };
    check_date(call)?;
    match authorization {
        Authorization::App(rest) => check_signature(call, &rest)?,
        Authorization::Token(token) => check_token(call, &token)?,
    }
    if user != call.knobs.user_id {
        call.shared.counters.update(|all| all.refused_users += 1);
        return Err(Refusal::auth(BAD_SIGNATURE, "X-User-Id is not the user of this token"));
    }
    Ok(User { id: user.to_owned() })
}

/// `X-Date` is not later than now and at most 15 minutes older. Whole seconds, like the header.
fn check_date(call: &Call<'_>) -> Result<(), Refusal> {
    let Some(text) = call.header("x-date")? else {
        return Err(Refusal::auth(BAD_SIGNATURE, "X-Date is mandatory").complained());
    };
    let Some(date) = parse_basic_date(text) else {
        return Err(Refusal::auth(BAD_SIGNATURE, format!("X-Date {text:?} is not like 20251103T070140Z")).complained());
    };
    let age = call.now.as_millisecond().saturating_sub(date.as_millisecond());
    // Whoever's clock is wrong cannot know before the first answer: no complaint.
    if !(0..=DATE_LIFETIME_MS).contains(&age) {
        call.shared.counters.update(|all| all.refused_dates += 1);
        return Err(Refusal::auth(BAD_SIGNATURE, format!("X-Date {text} at {:.0}: {age} ms old", call.now)));
    }
    Ok(())
}

fn check_token(call: &Call<'_>, token: &str) -> Result<(), Refusal> {
    let now = call.now.as_millisecond();
    let mut state = lock(&call.shared.sessions.state);
    let alive = match state.tokens.get_mut(token) {
        None => false,
        Some(session) => match &mut session.life {
            Life::Until(ends) => now < *ends,
            Life::Sliding(last) => {
                let alive = now < last.saturating_add(millis(call.knobs.sliding_lifetime));
                if alive {
                    *last = (*last).max(now);
                }
                alive
            }
        },
    };
    if alive {
        return Ok(());
    }
    let known = state.tokens.contains_key(token);
    drop(state);
    call.shared.counters.update(|all| all.refused_tokens += 1);
    Err(Refusal::auth(BAD_TOKEN, if known { "the token has expired" } else { "the token is not known" }))
}

/// `AppId=…,SignedHeaders=…,Signature=…` of this very request (section 3.5).
fn check_signature(call: &Call<'_>, rest: &str) -> Result<(), Refusal> {
    let refuse = |message: &str| {
        call.shared.counters.update(|all| all.refused_signatures += 1);
        Err(Refusal::auth(BAD_SIGNATURE, message).complained())
    };
    let parts: Vec<&str> = rest.split(',').collect();
    let [app_id, signed_headers, signature] = parts.as_slice() else {
        return refuse("app signature: write AppId=…,SignedHeaders=…,Signature=…");
    };
    let (Some(app_id), Some(signed_headers), Some(signature)) = (
        app_id.strip_prefix("AppId="),
        signed_headers.strip_prefix("SignedHeaders="),
        signature.strip_prefix("Signature="),
    ) else {
        return refuse("app signature: write AppId=…,SignedHeaders=…,Signature=…");
    };
    let names: Vec<&str> = signed_headers.split(';').collect();
    if names.iter().any(|name| name.is_empty() || *name != name.to_ascii_lowercase()) {
        return refuse("app signature: SignedHeaders are lower-case names joined by ;");
    }
    if !names.is_sorted_by(|a, b| a < b) {
        return refuse("app signature: SignedHeaders are sorted, each once");
    }
    if !["host", "x-date", "x-user-id"].iter().all(|name| names.contains(name)) {
        return refuse("app signature: host, x-date and x-user-id must be signed");
    }
    let mut headers = Vec::new();
    for name in &names {
        let Some(value) = call.header(name)? else {
            return refuse(&format!("app signature: {name} is signed but not there"));
        };
        headers.push((*name, value));
    }
    let Some(request) = canonical_request(
        call.parts.method.as_str(),
        call.parts.uri.path(),
        call.parts.uri.query().unwrap_or_default(),
        &headers,
        call.body,
    ) else {
        return refuse("app signature: the path or the query has broken percent-encoding");
    };
    let expected = hex(&hmac_sha256(call.knobs.app_secret.as_bytes(), string_to_sign(&request).as_bytes()));
    if app_id != call.knobs.app_id {
        call.shared.counters.update(|all| all.refused_signatures += 1);
        return Err(Refusal::auth(BAD_SIGNATURE, "app signature: the AppId is not known"));
    }
    if *signature != expected {
        // A wrong secret is a person's mistake, a wrong canonical form the client's; nobody can tell them apart.
        return refuse("app signature: it does not match");
    }
    Ok(())
}

/// The canonical request of section 3.5 step 1; `None` if something is not encoded as it must be.
pub fn canonical_request(
    method: &str,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<String> {
    let elements: Option<Vec<String>> =
        path.split('/').map(|element| decode(element).map(|text| encode(&text))).collect();
    let mut uri = elements?.join("/");
    if !uri.ends_with('/') {
        uri.push('/');
    }
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((encode(&decode(name)?), encode(&decode(value)?)));
    }
    pairs.sort();
    let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let canonical_headers: String =
        headers.iter().map(|(name, value)| format!("{}:{}\n", name.to_ascii_lowercase(), value.trim())).collect();
    let names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    Some(format!(
        "{method}\n{uri}\n{}\n{canonical_headers}\n{}\n{}",
        query.join("&"),
        names.join(";"),
        hex(&Sha256::digest(body))
    ))
}

/// Step 2: no timestamp line.
pub fn string_to_sign(canonical_request: &str) -> String {
    format!("HMAC-SHA256\n{}", hex(&Sha256::digest(canonical_request)))
}
