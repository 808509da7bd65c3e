//! Sizes, rates and times, with their units and bounds. Errors are one line, without "error".

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config;

/// Bytes of `64M`, `1G`, `512KiB` or `1048576`: powers of 1024, within the bounds of [`config`].
pub(crate) fn memory_size(text: &str) -> Result<u64, String> {
    size(text, config::MIN_MEMORY_BYTES..=config::MAX_MEMORY_BYTES)
}

/// The same within the bounds of `--cache-size`.
pub(crate) fn cache_size(text: &str) -> Result<u64, String> {
    size(text, config::MIN_CACHE_BYTES..=config::MAX_CACHE_BYTES)
}

/// Bytes per second of `10M` or `512K`, within the bounds of `--bwlimit`; none for `off` or `0`. With a unit, as `rclone --bwlimit` takes a
/// bare number for KiB.
pub(crate) fn bandwidth(text: &str) -> Result<Option<u64>, String> {
    match text {
        "off" | "0" => Ok(None),
        text if text.bytes().all(|digit| digit.is_ascii_digit()) => {
            Err("write a unit: 500K or 10M, bytes in a second, or off".to_owned())
        }
        text => match size(text, config::MIN_BANDWIDTH..=config::MAX_BANDWIDTH) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(why) if why.starts_with("must") => Err("must be between 64K and 1T, or off".to_owned()),
            Err(_) => Err("write 500K or 10M, bytes in a second, or off".to_owned()),
        },
    }
}

fn size(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err("write bytes, or a number with K, M, G or T".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write bytes, or a number with K, M, G or T".to_owned())?;
    let bytes = number.saturating_mul(1 << shift);
    if !bounds.contains(&bytes) {
        let (min, max) = (bounds.start() >> 20, bounds.end() >> 40);
        return Err(format!("must be between {min}M and {max}T"));
    }
    Ok(bytes)
}

/// A time within the bounds of `--ttl`.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    duration(text, config::MIN_TTL, config::MAX_TTL)
}

/// A time within the bounds of `--offline-for`.
pub(crate) fn offline_for(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO, config::MAX_OFFLINE_FOR)
}

/// A time within the bounds of `--retry-mount`.
pub(crate) fn retry_mount(text: &str) -> Result<Duration, String> {
    duration(text, Duration::ZERO, config::MAX_RETRY_MOUNT)
}

/// A time within the bounds of `--op-timeout`.
pub(crate) fn op_timeout(text: &str) -> Result<Duration, String> {
    duration(text, config::MIN_OP_TIMEOUT, config::MAX_OP_TIMEOUT)
}

/// The units of times, in seconds, the largest first.
const TIME_UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    match seconds(text).map(Duration::from_secs) {
        Some(duration) if (min..=max).contains(&duration) => Ok(duration),
        Some(_) => Err(format!("must be {} to {}", in_units(min), in_units(max))),
        None => Err("is no time; write seconds, or like 90s, 5m, 2h or 1h30m".to_owned()),
    }
}

/// Seconds of `90`, `90s`, `5m` or `1h30m`: numbers, each with a unit that is smaller than the one before.
fn seconds(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (mut rest, mut units, mut sum) = (text, &TIME_UNITS[..], 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let letter = rest[digits..].chars().next()?;
        let place = units.iter().position(|(unit, _)| *unit == letter)?;
        sum = sum.saturating_add(rest[..digits].parse::<u64>().ok()?.saturating_mul(units[place].1));
        (rest, units) = (&rest[digits + letter.len_utf8()..], &units[place + 1..]);
    }
    (!text.is_empty()).then_some(sum)
}

/// The time in the largest unit that divides it.
fn in_units(time: Duration) -> String {
    let seconds = time.as_secs();
    let unit = TIME_UNITS.into_iter().find(|(_, unit)| seconds.is_multiple_of(*unit));
    unit.map_or_else(String::new, |(letter, unit)| format!("{}{letter}", seconds / unit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn memory_size_understands_units_and_keeps_its_bounds() {
        for (text, want) in
            [("64M", 64 << 20), ("1G", 1 << 30), ("1gib", 1 << 30), ("16777216", 16 << 20), ("32768K", 32 << 20)]
        {
            assert_eq!(memory_size(text), Ok(want), "{text}");
        }
        for text in ["", "M", "15M", "2T", "-1", "1.5G", "64 M", "64X", "99999999999999999999", "18446744073709551615T"]
        {
            assert!(memory_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn time_has_units_or_is_in_seconds() {
        for (text, seconds) in [
            ("300", 300),
            ("300s", 300),
            ("5m", 300),
            ("2h", 7200),
            ("1h30m", 5400),
            ("1d2h3m4s", 93_784),
            ("7d", 604_800),
            ("0h90s", 90),
        ] {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "x", "-1", "+1m", "1.5", "1.5h", "5 m", "m", "5M", "5m5", "30m1h", "1m1m", "5min", "5ä"] {
            assert!(ttl(text).is_err_and(|why| why.contains("write seconds, or like 90s")), "{text}");
        }
    }

    #[test]
    fn time_keeps_its_bounds() {
        for text in ["0", "0s", "604801", "8d", "99999999999999999d", "18446744073709551615h"] {
            assert_eq!(ttl(text), Err("must be 1s to 7d".to_owned()), "{text}");
        }
        for text in ["0", "3601", "61m"] {
            assert_eq!(op_timeout(text), Err("must be 1s to 1h".to_owned()), "{text}");
        }
    }

    #[test]
    fn bandwidth_has_a_unit_or_is_off() {
        for (text, want) in
            [("10M", Some(10 << 20)), ("512k", Some(512 << 10)), ("1G", Some(1 << 30)), ("off", None), ("0", None)]
        {
            assert_eq!(bandwidth(text), Ok(want), "{text}");
        }
        for text in ["10", "10M:1M", "63K", "", "fast", "-1M"] {
            assert!(bandwidth(text).is_err(), "{text}");
        }
    }
}
