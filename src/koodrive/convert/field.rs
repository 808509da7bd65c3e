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

/// Milliseconds since 1970. Files have ISO 8601 dates, with or without fraction, where no offset means UTC; versions of files have
/// the milliseconds themselves, which are read as well. `None` for anything else, and for 0 and less, which is no time that was set.
pub(super) fn date_ms(value: Scalar) -> Option<i64> {
    if let Ok(Some(ms)) = value.integer() {
        let ms = i64::try_from(ms).ok().filter(|ms| *ms > 0)?;
        return Timestamp::from_millisecond(ms).ok().map(Timestamp::as_millisecond);
    }
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
        for nonsense in [
            "",
            "yesterday",
            "2025-13-01T00:00:00Z",
            "99999-01-01T00:00:00Z",
            "0",
            "-7",
            "9".repeat(30).as_str(),
            "\u{0}",
        ] {
            assert_eq!(ms(nonsense), None, "{nonsense}");
        }
        assert_eq!(ms("1736163718806"), Some(1_736_163_718_806));
        assert_eq!(date_ms(Scalar::Integer(1_736_163_718_806)), Some(1_736_163_718_806));
        for nonsense in [0, -1, i128::from(i64::MAX), i128::MAX] {
            assert_eq!(date_ms(Scalar::Integer(nonsense)), None, "{nonsense}");
        }
    }
}
