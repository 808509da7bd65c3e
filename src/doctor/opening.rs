//! Steps up to an opened source. They share one attempt: what it fails at tells them apart.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::examination::Examination;
use super::finding::{Finding, Found};
use crate::koodrive::{OpenError, Probe};

/// The largest difference of clocks that no document minds (src/koodrive/API.md, section 2).
const MAX_DATE_AGE: Duration = Duration::from_secs(15 * 60);

/// A difference that a `Date` of whole seconds and a slow answer may look like.
const SMALL_DIFFERENCE: Duration = Duration::from_secs(2);

/// Opens the source, and says whether its host was found.
pub(super) fn name_lookup(run: &mut Examination<'_>) -> Found {
    let opened = Probe::open(run.source, &run.http, Arc::clone(&run.clock));
    run.opened = Some(opened);
    match &run.opened {
        Some(Err(OpenError::UnknownHost { .. })) => {
            return Ok(Finding::bad("the host has no address: check --endpoint and the network's name server"));
        }
        Some(Err(error)) if was_nothing_sent(error) => return Err(Finding::left_out("nothing was sent")),
        _ => {}
    }
    let host = run.source.connection().endpoint.split_once("://").map_or("", |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    };
    let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    Ok(Finding::good(if is_address { "not needed: the endpoint is an address" } else { "the host has an address" }))
}

/// Whether the attempt ended before any request.
fn was_nothing_sent(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::BadEndpoint { .. }
            | OpenError::PlainHttp { .. }
            | OpenError::BadSetting { .. }
            | OpenError::NoClient { .. }
            | OpenError::NoThread { .. }
    )
}

pub(super) fn connection(run: &mut Examination<'_>) -> Found {
    match failure(run) {
        Some(OpenError::UnknownHost { .. }) => Err(Finding::left_out("the host has no address")),
        Some(OpenError::Tls { .. }) => Ok(Finding::bad(
            "no trustworthy TLS: check --endpoint, --ca-file, and this machine's certificates and clock",
        )),
        Some(OpenError::Unreachable { .. }) => {
            Ok(Finding::bad("no connection, or one that breaks: check --endpoint, the network and its proxy"))
        }
        Some(OpenError::Timeout { .. }) if run.meter.clock_offset().is_none() => {
            Ok(Finding::bad("no answer in time: check --endpoint and the network, or give a longer --op-timeout"))
        }
        Some(error) if was_nothing_sent(error) => Err(Finding::left_out("nothing was sent")),
        _ if run.source.connection().endpoint.starts_with("https:") => {
            Ok(Finding::good("TLS, with a certificate that is trusted"))
        }
        _ => Ok(Finding::lacking("plain http: all of it can be read on the way")),
    }
}

pub(super) fn clock(run: &mut Examination<'_>) -> Found {
    let Some(offset) = run.meter.clock_offset() else {
        return match failure(run) {
            Some(_) => Err(Finding::left_out("no answer with a date")),
            None => Ok(Finding::lacking("answers have no date: the clocks are taken to agree")),
        };
    };
    let away = Duration::from_millis(offset.millis.unsigned_abs());
    if away <= SMALL_DIFFERENCE {
        return Ok(Finding::good("the service's clock agrees with this machine's"));
    }
    let side = if offset.millis > 0 { "ahead of" } else { "behind" };
    let seen = format!("the service's clock is {} {side} this machine's", roughly(away));
    Ok(Finding::lacking(if away <= MAX_DATE_AGE {
        format!("{seen}; a mount reckons with it")
    } else {
        format!("{seen}; a mount reckons with it, but set this machine's clock right")
    }))
}

/// `3 s`, `17 min`, `24 h`, `29 days`.
pub(super) fn roughly(time: Duration) -> String {
    // To the nearest: a clock that is a day away is not 23 hours away.
    let seconds = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    match seconds {
        ..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", (seconds + 30) / 60),
        7200..=172_799 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} days", (seconds + 43_200) / 86_400),
    }
}

pub(super) fn opening(run: &mut Examination<'_>) -> Found {
    let Some(error) = failure(run) else {
        let kind = run.source.kind();
        return Ok(Finding::good(format!("the {kind} opens, in {} requests", run.meter.requests())));
    };
    let why = match error {
        OpenError::UnknownHost { .. } | OpenError::Unreachable { .. } | OpenError::Tls { .. } => {
            return Err(Finding::left_out("the service is not reached"));
        }
        OpenError::Timeout { .. } => "no answer in time: try again later, or give a longer --op-timeout",
        OpenError::BadEndpoint { .. } => "the endpoint is not of the form https://host[:port]",
        OpenError::PlainHttp { .. } => "plain http to another machine: use https, or --allow-http if you must",
        OpenError::NotKooDrive { .. } => "something else than KooDrive answers there: check --endpoint",
        OpenError::Throttled { .. } => "the service asks for fewer requests: wait some minutes",
        OpenError::Unavailable { .. } => "the service does not work at the moment (HTTP 5xx): try again later",
        OpenError::AgentRefused { .. } => "the service refuses and does not say what: check --agent",
        OpenError::UnknownShare { .. } => "the service does not know the share: check the link",
        OpenError::Deleted => "what was shared has been deleted: ask its owner",
        OpenError::Expired { .. } => "the share has ended: ask its owner for a new link",
        OpenError::AccessCodeNeeded { .. } => "the share wants an access code: give --access-code-file",
        OpenError::WrongAccessCode { .. } => "the access code is refused: do not try it often, services lock shares",
        OpenError::Login { .. } if error.refuses_credentials() => {
            "the login is refused: do not try it often, services lock accounts"
        }
        OpenError::Login { .. } => "there is nothing to log in with: check the login's file or command",
        OpenError::LoginRefused { .. } => "the login is refused: do not try it often, services lock accounts",
        OpenError::UserIdMissing => "the service wants the user id: give --user-id",
        OpenError::SpaceDenied { .. } => "the login has no permission on it: ask its owner",
        OpenError::SpaceMissing { .. } => "the service does not know it: see koofs spaces",
        OpenError::SpaceRefused { .. } => "the service refuses and does not say why: see koofs spaces",
        OpenError::BadSetting { .. } => "a setting of the network is wrong: check --ca-file and the proxy",
        OpenError::NoClient { .. } | OpenError::NoThread { .. } => "this machine cannot make requests",
    };
    Ok(Finding::bad(why))
}

fn failure<'a>(run: &'a Examination<'_>) -> Option<&'a OpenError> {
    run.opened.as_ref().and_then(|opened| opened.as_ref().err())
}

pub(super) fn share(run: &mut Examination<'_>) -> Found {
    let probe = run.probe()?;
    let state = match probe.share_state(run.deadline()) {
        Ok(Some(state)) => state,
        Ok(None) => return Err(Finding::left_out("for shares only")),
        Err(error) => return Ok(Finding::lacking(format!("its end is not told: {error}"))),
    };
    let left = state.left.map_or("no end is told".to_owned(), |left| format!("it ends in {}", roughly(left)));
    Ok(match state.forbids_downloads {
        true => Finding::bad(format!("{left}; its owner forbids downloads: files are listed, reading is EACCES")),
        false => Finding::good(left),
    })
}

pub(super) fn space(run: &mut Examination<'_>) -> Found {
    match run.probe()?.has_capacity() {
        true => Ok(Finding::good("the service tells used and total size")),
        false => Err(Finding::left_out("the service tells no size: df shows 1 TiB, all of it in use")),
    }
}
