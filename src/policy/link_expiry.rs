//! When a signed URL ends, read from the URL itself, and from when on it should no longer be used.
//!
//! The dates in a link are on the service's clock and come from outside: they are clamped, and never panic.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::server_time::ServerOffset;

/// How long a link that says nothing of its end is taken to live (src/koodrive/API.md, section 10.2).
pub const ASSUMED_LIFETIME: Duration = Duration::from_secs(300);

/// The longest life that OBS grants: 604,800 s (src/koodrive/API.md, section 10.2). What claims more is cut to it.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most that is kept as a safety margin: requests take seconds, clocks are known to about one.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);

/// When a link ends, on the local clock, and how long it lives in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLife {
    /// The end, on this machine's clock. Not past `received_at` where the link was dead on arrival.
    pub expires_at: SystemTime,
    /// The whole life, at most [`LONGEST_LIFETIME`].
    pub lifetime: Duration,
}

/// The life of the link `url`, which was received at `received_at` (local) from a service whose clock is `server` off.
///
/// In this order: `X-Amz-Date` with `X-Amz-Expires` (V4), `Expires` (V2, seconds since 1970; its life counts from
/// `received_at`), and [`ASSUMED_LIFETIME`] where neither can be read. Names in any case, values percent-decoded. A link never
/// outlives its lifetime from the moment it was received, whatever its date says.
pub fn link_life(url: &str, received_at: SystemTime, server: ServerOffset) -> LinkLife {
    let url = url.split_once('#').map_or(url, |(url, _fragment)| url);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    v4_life(query, received_at, server)
        .or_else(|| v2_life(query, received_at, server))
        .unwrap_or_else(|| assumed_life(received_at))
}

/// By which of its parameters a link says when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatedBy {
    /// `X-Amz-Date` and `X-Amz-Expires`.
    V4,
    /// `Expires`.
    V2,
    /// None that is known: [`ASSUMED_LIFETIME`].
    Nothing,
}

/// How [`link_life`] reads `url`.
pub fn dated_by(url: &str) -> DatedBy {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let (now, server) = (UNIX_EPOCH, ServerOffset::default());
    match (v4_life(query, now, server), v2_life(query, now, server)) {
        (Some(_), _) => DatedBy::V4,
        (None, Some(_)) => DatedBy::V2,
        (None, None) => DatedBy::Nothing,
    }
}

/// The life of a link whose end cannot be told.
pub fn assumed_life(received_at: SystemTime) -> LinkLife {
    LinkLife { expires_at: later(received_at, ASSUMED_LIFETIME), lifetime: ASSUMED_LIFETIME }
}

/// The instant from which a link should not be used for a new request any more: a tenth of its life, at most a minute,
/// before its end.
pub fn renew_at(expires_at: SystemTime, lifetime: Duration) -> SystemTime {
    expires_at.checked_sub((lifetime / 10).min(LONGEST_MARGIN)).unwrap_or(UNIX_EPOCH)
}

fn v4_life(query: &str, received_at: SystemTime, server: ServerOffset) -> Option<LinkLife> {
    let issued = parse_v4_date(&parameter(query, "X-Amz-Date")?)?;
    let lifetime = parse_seconds(&parameter(query, "X-Amz-Expires")?)?.min(LONGEST_LIFETIME);
    let expires_at = later(server.to_local(issued), lifetime).min(later(received_at, lifetime));
    Some(LinkLife { expires_at, lifetime })
}

fn v2_life(query: &str, received_at: SystemTime, server: ServerOffset) -> Option<LinkLife> {
    let since_1970 = parse_seconds(&parameter(query, "Expires")?)?;
    let latest = later(received_at, LONGEST_LIFETIME);
    let expires_at = UNIX_EPOCH.checked_add(since_1970).map_or(latest, |end| server.to_local(end).min(latest));
    Some(LinkLife { expires_at, lifetime: expires_at.duration_since(received_at).unwrap_or(Duration::ZERO) })
}

/// `20231227T072939Z`.
fn parse_v4_date(text: &str) -> Option<SystemTime> {
    let date = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
}

/// Digits only; what is too large for 64 bits is just very long.
fn parse_seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

fn later(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_add(by).unwrap_or(time)
}

/// The decoded value of the first parameter called `name` (in any case).
fn parameter(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| percent_decoded(key).eq_ignore_ascii_case(name))
        .map(|(_, value)| percent_decoded(value))
}

/// `text` with its `%XY` replaced; a `%` without two hexadecimal digits stands for itself.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match tail {
            [high, low, tail @ ..] if *first == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = tail;
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The value of an ASCII hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-05-01T08:00:00Z.
    const MAY: u64 = 1_746_086_400;
    const V4: &str =
        "https://b.example/o?X-Amz-Algorithm=A&X-Amz-Date=20250501T080000Z&X-Amz-Expires=3600&X-Amz-Signature=0";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// (seconds from `now` to the end, lifetime in seconds); the end is 0 where it is not after `now`.
    fn life(url: &str, now: u64, offset_secs: i64) -> (u64, u64) {
        let life = link_life(url, at(now), ServerOffset { millis: offset_secs * 1000 });
        (life.expires_at.duration_since(at(now)).unwrap_or_default().as_secs(), life.lifetime.as_secs())
    }

    #[test]
    fn v4_link_ends_its_lifetime_after_its_date() {
        assert_eq!(life(V4, MAY, 0), (3600, 3600));
        assert_eq!(life(V4, MAY + 600, 0), (3000, 3600));
        assert_eq!(life(V4, MAY + 4000, 0), (0, 3600));
    }

    #[test]
    fn end_is_corrected_by_the_clock_of_the_service() {
        // The service is an hour ahead of us, and issued the link a minute ago.
        assert_eq!(life(V4, MAY - 3600 + 60, 3600), (3540, 3600));
        assert_eq!(life(V4, MAY + 3600 + 60, -3600), (3540, 3600));
        assert_eq!(life(&format!("https://b.example/o?Expires={}", MAY + 100), MAY + 3600, -3600), (100, 100));
    }

    #[test]
    fn names_are_read_in_any_case_and_values_decoded() {
        let url = "https://b.example/o?x-amz-expires=%336%30%30&x%2DAMZ%2Ddate=2025%30501T080000%5A";
        assert_eq!(life(url, MAY + 1, 0), (3599, 3600));
        assert_eq!(
            life(&format!("https://b.example/o?AWSAccessKeyId=A&expires={}&Signature=x", MAY + 7), MAY, 0),
            (7, 7)
        );
    }

    #[test]
    fn link_without_a_readable_end_lives_five_minutes() {
        for url in [
            "",
            "https://b.example/o",
            "https://b.example/o?",
            "https://b.example/Expires=1?&&=&%&%4",
            "https://b.example/o?X-Amz-Date=20250501T080000Z",
            "https://b.example/o?X-Amz-Date=yesterday&X-Amz-Expires=3600",
            "https://b.example/o?X-Amz-Date=20251301T080000Z&X-Amz-Expires=3600",
            "https://b.example/o?X-Amz-Date=20250501T080000Z&X-Amz-Expires=-1",
            "https://b.example/o?X-Amz-Date=99991231T235959Z&X-Amz-Expires=3600",
            "https://b.example/o?Expires=-5",
            "https://b.example/o?Expires=%FF%FE",
            "https://b.example/o#?Expires=99",
        ] {
            assert_eq!(life(url, MAY, 0), (300, 300), "{url}");
        }
    }

    #[test]
    fn hostile_values_are_clamped() {
        let week = LONGEST_LIFETIME.as_secs();
        for url in [
            "https://b.example/o?X-Amz-Date=20250501T080000Z&X-Amz-Expires=604801",
            "https://b.example/o?X-Amz-Date=20250501T080000Z&X-Amz-Expires=99999999999999999999999999",
            "https://b.example/o?X-Amz-Date=99981231T235959Z&X-Amz-Expires=99999999999999999999999999",
            "https://b.example/o?Expires=99999999999999999999999999",
            "https://b.example/o?Expires=18446744073709551615",
            "https://b.example/o?Expires=253402300799",
        ] {
            assert_eq!(life(url, MAY, 0), (week, week), "{url}");
        }
        assert_eq!(life("https://b.example/o?X-Amz-Date=99981231T235959Z&X-Amz-Expires=60", MAY, 0), (60, 60));
        assert_eq!(life("https://b.example/o?X-Amz-Date=00010101T000000Z&X-Amz-Expires=60", MAY, 0), (0, 60));
        assert_eq!(life("https://b.example/o?X-Amz-Date=20250501T080000Z&X-Amz-Expires=0", MAY, 0), (0, 0));
        assert_eq!(life("https://b.example/o?Expires=0", MAY, 0), (0, 0));
        for millis in [i64::MIN, i64::MAX] {
            let _ = link_life(V4, at(MAY), ServerOffset { millis });
        }
    }

    #[test]
    fn link_is_renewed_a_tenth_of_its_life_and_at_most_a_minute_before_its_end() {
        for (lifetime, margin_ms) in [(2, 200), (100, 10_000), (600, 60_000), (3600, 60_000), (604_800, 60_000), (0, 0)]
        {
            let renewed = renew_at(at(MAY), Duration::from_secs(lifetime));
            assert_eq!(renewed, at(MAY) - Duration::from_millis(margin_ms), "{lifetime}");
        }
        assert_eq!(renew_at(UNIX_EPOCH, Duration::MAX), renew_at(UNIX_EPOCH, LONGEST_LIFETIME));
    }
}
