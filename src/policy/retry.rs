//! Whether a failed attempt is worth another one, and after which pause.
//!
//! The attempt limit, the pauses and their jitter are decided here alone. The caller has the clock and the randomness.

use std::time::Duration;

/// The most attempts that one operation makes, the first included. Time is what ends them: with pauses of [`MAX_PAUSE`] these fill
/// an hour, the longest operation timeout there is, and a service that comes back just before the deadline is still in time.
pub const MAX_TRIES: u32 = 2_000;

/// The most attempts at a call whose answers make no sense: one may have been cut short, or be a proxy's error page, but after
/// ten seconds or more of them it is better to report the error.
pub const MAX_UNCLEAR_TRIES: u32 = 10;

/// The least time for an attempt: a round trip to a far region, and the handshakes of a new connection. With less time left, the
/// last failure is reported before the deadline passes.
pub const MIN_ATTEMPT: Duration = Duration::from_millis(300);

/// The first pause of the exponential back-off: about one round trip to a far region, so that a hiccup costs little.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// No pause of our own is longer: recovery is noticed within seconds.
pub const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The most that is added to a pause which the service asked for, so that clients told the same do not come back at once.
pub const MAX_ADDED_PAUSE: Duration = Duration::from_secs(2);

/// What a failure means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The connection broke under the request (reset, closed, short body): most often an idle connection that the server
    /// had just given up. The first further attempt needs no pause.
    Interrupted,
    /// The service asked for fewer requests.
    Throttled,
    /// Out of order for now: timeouts, 5xx, no connection.
    Transient,
    /// An answer that makes no sense.
    Unclear,
    /// Asking again would be answered the same.
    Permanent,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again after the pause, which may be zero and always ends before the deadline.
    Again(Duration),
    /// Report the failure.
    GiveUp,
}

/// What to do after `tries_so_far` attempts (at least 1), the last of which failed as `kind`, with `remaining` time left.
///
/// A pause of our own is cut to what leaves time for an attempt, so that tries end shortly before the deadline and not long before
/// it. `retry_after` is what the service asked for: a minimum, slightly exceeded; where it does not fit into `remaining`, waiting is
/// pointless. `jitter` is random in `0..1` (anything else counts as 0 or 1): a pause is at least half of its nominal
/// length.
pub fn decide(
    kind: FailureKind,
    tries_so_far: u32,
    remaining: Duration,
    retry_after: Option<Duration>,
    jitter: f64,
) -> Decision {
    let tries_max = match kind {
        FailureKind::Permanent => 0,
        FailureKind::Unclear => MAX_UNCLEAR_TRIES,
        FailureKind::Interrupted | FailureKind::Throttled | FailureKind::Transient => MAX_TRIES,
    };
    // What is left for pausing.
    let Some(room) = remaining.checked_sub(MIN_ATTEMPT) else { return Decision::GiveUp };
    if tries_so_far >= tries_max {
        return Decision::GiveUp;
    }
    let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
    let nominal = own_pause(kind, tries_so_far);
    let own = nominal.mul_f64(0.5 + 0.5 * jitter);
    let own = if own <= room { own } else { room };
    // The last pause leaves time for one attempt; a second one at once would meet the same failure.
    if own < nominal / 2 && own < FIRST_PAUSE / 2 {
        return Decision::GiveUp;
    }
    let asked = retry_after
        .map_or(Duration::ZERO, |pause| pause.saturating_add((pause / 10).min(MAX_ADDED_PAUSE).mul_f64(jitter)));
    let pause = own.max(asked);
    if pause <= room { Decision::Again(pause) } else { Decision::GiveUp }
}

/// The nominal pause: doubling from [`FIRST_PAUSE`] to [`MAX_PAUSE`]; an interruption is allowed one attempt for nothing.
fn own_pause(kind: FailureKind, tries_so_far: u32) -> Duration {
    let free = if kind == FailureKind::Interrupted { 2 } else { 1 };
    match tries_so_far.max(1).checked_sub(free) {
        // 2^16 times the first pause is far beyond the cap already.
        Some(doublings) => (FIRST_PAUSE * (1 << doublings.min(16))).min(MAX_PAUSE),
        None => Duration::ZERO,
    }
}

/// The value of a `Retry-After` header: seconds, or a date, which is taken against the `Date` of the same answer.
/// `None` for anything else (RFC 9110, 10.2.3). A date in the past is zero.
pub fn parse_retry_after(value: &str, server_now: Option<std::time::SystemTime>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = super::server_time::parse_http_date(value)?;
    Some(at.duration_since(server_now?).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const LONG: Duration = Duration::from_secs(3600);

    fn ms(pause: u64) -> Decision {
        Decision::Again(Duration::from_millis(pause))
    }

    #[test]
    fn pause_doubles_to_its_cap_and_tries_end() {
        let nominal = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000];
        for (tries, pause) in (1..).zip(nominal) {
            assert_eq!(decide(FailureKind::Transient, tries, LONG, None, 1.0), ms(pause), "{tries}");
            assert_eq!(decide(FailureKind::Throttled, tries, LONG, None, 0.0), ms(pause / 2), "{tries}");
            assert_eq!(decide(FailureKind::Transient, tries, LONG, None, 0.5), ms(pause * 3 / 4), "{tries}");
        }
        for tries in [MAX_TRIES, MAX_TRIES + 1, u32::MAX] {
            assert_eq!(decide(FailureKind::Transient, tries, LONG, None, 0.0), Decision::GiveUp);
        }
        assert_eq!(decide(FailureKind::Unclear, MAX_UNCLEAR_TRIES - 1, LONG, None, 1.0), ms(5000));
        assert_eq!(decide(FailureKind::Unclear, MAX_UNCLEAR_TRIES, LONG, None, 1.0), Decision::GiveUp);
        assert_eq!(decide(FailureKind::Transient, 0, LONG, None, 1.0), ms(100));
    }

    #[test]
    fn first_interruption_is_retried_at_once_and_later_ones_after_pauses() {
        for (tries, pause) in (1..).zip([0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
            assert_eq!(decide(FailureKind::Interrupted, tries, LONG, None, 1.0), ms(pause), "{tries}");
        }
        assert_eq!(decide(FailureKind::Interrupted, MAX_TRIES, LONG, None, 1.0), Decision::GiveUp);
    }

    #[test]
    fn permanent_failure_is_never_retried() {
        assert_eq!(decide(FailureKind::Permanent, 1, LONG, Some(Duration::ZERO), 0.0), Decision::GiveUp);
    }

    #[test]
    fn tries_go_on_until_shortly_before_the_deadline_and_end_before_it() {
        for (seed, limit) in [(1, 10), (2, 30), (3, 90)] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let limit = Duration::from_secs(limit);
            let (mut now, mut tries) = (Duration::ZERO, 0);
            loop {
                tries += 1;
                match decide(FailureKind::Transient, tries, limit - now, None, rng.f64()) {
                    Decision::Again(pause) => now += pause,
                    Decision::GiveUp => break,
                }
                assert!(now + MIN_ATTEMPT <= limit, "no time for an attempt at {now:?} of {limit:?}");
            }
            assert!(now + MIN_ATTEMPT + FIRST_PAUSE >= limit, "given up at {now:?} of {limit:?}");
        }
    }

    #[test]
    fn without_time_for_an_attempt_the_failure_is_reported() {
        for left in [Duration::ZERO, MIN_ATTEMPT / 2, MIN_ATTEMPT - Duration::from_nanos(1)] {
            assert_eq!(decide(FailureKind::Transient, 1, left, None, 0.0), Decision::GiveUp);
            assert_eq!(decide(FailureKind::Interrupted, 1, left, None, 0.0), Decision::GiveUp);
        }
        assert_eq!(decide(FailureKind::Interrupted, 1, MIN_ATTEMPT, None, 0.0), Decision::Again(Duration::ZERO));
        assert_eq!(decide(FailureKind::Transient, 7, MIN_ATTEMPT, None, 1.0), Decision::GiveUp);
        let left = MIN_ATTEMPT + Duration::from_millis(70);
        assert_eq!(decide(FailureKind::Transient, 7, left, None, 1.0), ms(70));
    }

    #[test]
    fn retry_after_is_a_minimum_that_is_slightly_exceeded() {
        let after = |secs| Some(Duration::from_secs(secs));
        assert_eq!(decide(FailureKind::Throttled, 1, LONG, after(2), 0.0), ms(2000));
        assert_eq!(decide(FailureKind::Throttled, 1, LONG, after(2), 1.0), ms(2200));
        assert_eq!(decide(FailureKind::Throttled, 1, LONG, after(600), 1.0), ms(602_000));
        // Our own pause is longer by now.
        assert_eq!(decide(FailureKind::Transient, 7, LONG, after(1), 1.0), ms(5000));
        assert_eq!(decide(FailureKind::Interrupted, 1, LONG, after(1), 0.0), ms(1000));
    }

    #[test]
    fn retry_after_beyond_the_deadline_gives_up_at_once() {
        let remaining = Duration::from_secs(30);
        for pause in [Duration::from_secs(30), Duration::from_secs(31), Duration::MAX] {
            assert_eq!(decide(FailureKind::Throttled, 1, remaining, Some(pause), 0.0), Decision::GiveUp);
            assert_eq!(decide(FailureKind::Throttled, 1, remaining, Some(pause), 1.0), Decision::GiveUp);
        }
    }

    #[test]
    fn nonsense_jitter_is_harmless() {
        for (jitter, pause) in [(f64::NAN, 50), (-7.0, 50), (f64::NEG_INFINITY, 50), (7.0, 100), (f64::INFINITY, 100)] {
            assert_eq!(decide(FailureKind::Transient, 1, LONG, None, jitter), ms(pause), "{jitter}");
        }
    }

    #[test]
    fn retry_after_header_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let secs = |value: &str| parse_retry_after(value, Some(now)).map(|pause| pause.as_secs());
        assert_eq!(secs("120"), Some(120));
        assert_eq!(secs(" 0 "), Some(0));
        assert_eq!(secs("99999999999999999999999"), Some(u64::MAX));
        assert_eq!(secs("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(secs("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", None), None);
        for nonsense in ["", "-1", "+1", "1.5", "soon"] {
            assert_eq!(secs(nonsense), None, "{nonsense}");
        }
    }
}
