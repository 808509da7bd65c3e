//! How far the service's clock is from ours, learned from `Date` headers.
//!
//! Expiry dates are dates on the service's clock; a machine whose clock is wrong must not throw good links away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::fmt::rfc2822::DateTimeParser;

/// A `Date` header names a whole second: the true instant lies in it, up to this much later.
const DATE_RESOLUTION: Duration = Duration::from_secs(1);

/// How much must be added to a local time to get the service's, in milliseconds. Negative where our clock is fast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerOffset {
    /// Milliseconds; zero also where the difference is too small to be measured.
    pub millis: i64,
}

impl ServerOffset {
    /// The offset that a `date` shows, which came in an answer to a request sent at `sent` and received at `received`
    /// (both local).
    ///
    /// The service wrote the date between the two, and meant any instant of that second. If equal clocks can explain what was
    /// seen, the offset is zero; otherwise it is the middle of what is possible.
    pub fn measure(date: SystemTime, sent: SystemTime, received: SystemTime) -> ServerOffset {
        let date = unix_millis(date);
        let resolution = i64::try_from(DATE_RESOLUTION.as_millis()).unwrap_or(i64::MAX);
        // A local clock that was set back during the call yields bounds in the wrong order.
        let (sent, received) = (unix_millis(sent).min(unix_millis(received)), unix_millis(received));
        let least = date.saturating_sub(received);
        let most = date.saturating_add(resolution).saturating_sub(sent);
        if least <= 0 && most >= 0 {
            return ServerOffset::default();
        }
        ServerOffset { millis: least / 2 + most / 2 }
    }

    /// The offset that is known after another `date`, as in [`ServerOffset::measure`]: this one as long as it can explain what was
    /// seen, so that a slow call does not blur what a quick one has shown.
    pub fn updated(self, date: SystemTime, sent: SystemTime, received: SystemTime) -> ServerOffset {
        let not_before = self.to_server(received) >= date;
        let not_after = date.checked_add(DATE_RESOLUTION).is_none_or(|end| self.to_server(sent.min(received)) <= end);
        if not_before && not_after { self } else { ServerOffset::measure(date, sent, received) }
    }

    /// The local time at which the service's clock shows `server`. Saturates at 1970 and at the end of [`SystemTime`].
    pub fn to_local(self, server: SystemTime) -> SystemTime {
        shift(server, self.millis.saturating_neg())
    }

    /// What the service's clock shows at the local time `local`. Saturates as [`ServerOffset::to_local`] does.
    pub fn to_server(self, local: SystemTime) -> SystemTime {
        shift(local, self.millis)
    }
}

/// The instant of a `Date` header (RFC 9110, 5.6.7, the preferred form only), or `None` for anything else.
pub fn parse_http_date(value: &str) -> Option<SystemTime> {
    DateTimeParser::new().parse_timestamp(value.trim()).ok().map(SystemTime::from)
}

/// Milliseconds since 1970; 0 before it, saturating far beyond every date that can be written.
fn unix_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn shift(time: SystemTime, millis: i64) -> SystemTime {
    let by = Duration::from_millis(millis.unsigned_abs());
    let shifted = if millis < 0 { time.checked_sub(by) } else { time.checked_add(by) };
    // Linux tells of times before 1970, too; no clock of a service shows one.
    shifted.unwrap_or(time).max(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-05-01T08:00:00Z.
    const MAY: u64 = 1_746_086_400_000;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn measured(date: u64, sent: u64, received: u64) -> i64 {
        ServerOffset::measure(at(date), at(sent), at(received)).millis
    }

    #[test]
    fn equal_clocks_have_no_offset_whatever_the_round_trip_and_the_second_do() {
        // The service reads its clock at `sent + 20`, truncated to the second; half of 100 ms is spent on each way.
        for phase in [0, 1, 500, 980, 999] {
            let sent = MAY + phase;
            let date = (sent + 20) / 1000 * 1000;
            assert_eq!(measured(date, sent, sent + 100), 0, "{phase}");
        }
    }

    #[test]
    fn offset_is_found_to_within_the_resolution() {
        for truth in [-3_600_000_i64, -2_500, 2_500, 86_400_000] {
            for phase in [0, 250, 999] {
                let sent = MAY + phase;
                let server = (sent + 20).checked_add_signed(truth).expect("in range") / 1000 * 1000;
                let found = measured(server, sent, sent + 40);
                assert!((found - truth).abs() <= 540, "{truth} found as {found}");
            }
        }
    }

    #[test]
    fn times_are_mapped_both_ways() {
        let ahead = ServerOffset { millis: 5_000 };
        assert_eq!(ahead.to_server(at(MAY)), at(MAY + 5_000));
        assert_eq!(ahead.to_local(at(MAY)), at(MAY - 5_000));
        let behind = ServerOffset { millis: -5_000 };
        assert_eq!(behind.to_server(behind.to_local(at(MAY))), at(MAY));
    }

    #[test]
    fn known_offset_stays_until_it_no_longer_explains_a_date() {
        let known = ServerOffset { millis: 600_000 };
        let server = at(MAY + 600_000);
        assert_eq!(known.updated(server, at(MAY), at(MAY + 40)), known);
        // The answer took 5 s; its date is of its start, then of its end.
        assert_eq!(known.updated(server, at(MAY), at(MAY + 5_000)), known);
        assert_eq!(known.updated(at(MAY + 605_000), at(MAY), at(MAY + 5_000)), known);
        let moved = known.updated(at(MAY + 590_000), at(MAY), at(MAY + 40));
        assert!((moved.millis - 590_500).abs() <= 540, "{moved:?}");
        assert_eq!(known.updated(at(MAY), at(MAY), at(MAY + 40)), ServerOffset::default());
    }

    #[test]
    fn extreme_times_never_panic() {
        let far = at(u64::MAX / 2);
        for (date, sent, received) in [(far, at(0), at(0)), (at(0), far, far), (at(MAY), far, at(0)), (far, far, at(1))]
        {
            let offset = ServerOffset { millis: i64::MIN }.updated(date, sent, received);
            for time in [at(0), at(MAY), far] {
                let _ = (offset.to_local(time), offset.to_server(time));
            }
        }
        let _ = ServerOffset { millis: i64::MIN }.to_local(far);
        let _ = ServerOffset { millis: i64::MIN }.to_server(far);
    }

    #[test]
    fn date_header_is_read_strictly() {
        assert_eq!(parse_http_date("Thu, 01 May 2025 08:00:00 GMT"), Some(at(MAY)));
        for wrong in
            ["", "Fri, 01 May 2025 08:00:00 GMT", "2025-05-01T08:00:00Z", "Thu, 99 May 2025 08:00:00 GMT", "\0"]
        {
            assert_eq!(parse_http_date(wrong), None, "{wrong}");
        }
    }
}
