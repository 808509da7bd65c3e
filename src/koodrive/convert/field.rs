//! Single values of an answer: texts and dates.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::koodrive::error::{BadField, bad};
use crate::koodrive::wire::{NotAScalar, Scalar};

/// A text that must be one if it is there at all.
pub(in crate::koodrive) fn text(value: Scalar, field: &str) -> Result<Option<String>, BadField> {
    value.text().map_err(|NotAScalar| bad(field, "not a text"))
}

/// Milliseconds since 1970 of an ISO 8601 date, with or without fraction; without offset it is UTC. `None` for anything else
/// (koodrive-api.md, 12, row 18).
pub(super) fn date_ms(value: Scalar) -> Option<i64> {
    let Scalar::Text(text) = value else { return None };
    let text = text.trim();
    let with_offset = text.parse::<Timestamp>().ok();
    let in_utc = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|date| date.timestamp());
    with_offset.or_else(in_utc).map(Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_and_without_fraction_and_offset() {
        let ms = |text: &str| date_ms(Scalar::Text(text.to_owned()));
        assert_eq!(ms("2025-01-06T11:41:58.806Z"), Some(1_736_163_718_806));
        for same in
            ["2025-01-06T11:41:58Z", "2025-01-06 11:41:58", "2025-01-06T12:41:58+01:00", " 2025-01-06T11:41:58Z "]
        {
            assert_eq!(ms(same), Some(1_736_163_718_000), "{same}");
        }
        for nonsense in ["", "yesterday", "2025-13-01T00:00:00Z", "99999-01-01T00:00:00Z", "1736163718000", "\u{0}"] {
            assert_eq!(ms(nonsense), None, "{nonsense}");
        }
        assert_eq!(date_ms(Scalar::Integer(7)), None);
    }
}
