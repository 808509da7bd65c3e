//! When a secret that the service has refused is sent again: after a longer pause each time, a few times a day, and not at all
//! after the service has said three times that it is wrong.
//!
//! A single refusal may come from a gateway that does not work, but services lock an account or a share after some number of
//! wrong attempts, which is not documented. Five within a quarter of an hour is common. Pure: the caller says what time it is, by
//! a clock that also counts the time that the machine is suspended, as the service's does. No locks.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::clock::BootTime;

const MINUTE: Duration = Duration::from_secs(60);

/// How long a secret is not sent after its first, second and every later refusal in a row. The first is short, for a passing
/// fault of the service; three attempts take more than the quarter of an hour within which services commonly count them.
const PAUSES: [Duration; 3] = [MINUTE, MINUTE.saturating_mul(15), MINUTE.saturating_mul(60)];

/// The same after the service has said that account or share is locked (HTTP 423): longer than locks usually last, as an attempt
/// in between may make them last longer.
const LOCKED_PAUSE: Duration = MINUTE.saturating_mul(4 * 60);

/// After so many refusals in a row that say that the secret is wrong, it is not sent any more.
const MAX_WRONG: u32 = 3;

/// The most refusals within [`DAY`].
const MAX_REFUSALS_PER_DAY: usize = 8;

const DAY: Duration = Duration::from_secs(86_400);

/// What a refusal says about the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// That it is wrong: HTTP 401, or the gateway's codes for it.
    Wrong,
    /// Nothing certain: the secret may be the reason. The code of a wrong secret is not documented, nor are those of an account
    /// or a share that is locked, disabled or over.
    Unclear,
    /// That account or share is locked.
    Locked,
}

/// The refused attempts with one secret. `K` tells whether it is still the same one.
pub(super) struct Attempts<K> {
    secret: Option<K>,
    /// When it was refused: within the last day, the oldest first; at most [`MAX_REFUSALS_PER_DAY`].
    refused_at: VecDeque<BootTime>,
    /// Refusals since it was last accepted.
    in_a_row: usize,
    /// Those of them that said that it is wrong.
    wrong: u32,
    not_before: Option<BootTime>,
    said: Said,
    detail: String,
}

/// Why a secret is not sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Withheld {
    /// What the last refusal said.
    pub(super) said: Said,
    /// The same in the service's words.
    pub(super) detail: String,
    pub(super) resend: Resend,
}

/// When a refused secret is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// After this time, if it is needed.
    In(Duration),
    /// Never: the service has said so many times that it is wrong.
    Never(u32),
}

impl<K> Default for Attempts<K> {
    fn default() -> Attempts<K> {
        Attempts {
            secret: None,
            refused_at: VecDeque::new(),
            in_a_row: 0,
            wrong: 0,
            not_before: None,
            said: Said::Unclear,
            detail: String::new(),
        }
    }
}

impl<K: PartialEq> Attempts<K> {
    /// Whether `secret` may be sent at `now`.
    ///
    /// # Errors
    /// Why not, and when.
    pub(super) fn may_send(&self, secret: &K, now: BootTime) -> Result<(), Withheld> {
        if self.secret.as_ref() != Some(secret) {
            return Ok(());
        }
        let wait = self.not_before.map_or(Duration::ZERO, |time| time.since(now));
        let resend = match self.wrong {
            wrong if wrong >= MAX_WRONG => Resend::Never(wrong),
            _ if wait.is_zero() => return Ok(()),
            _ => Resend::In(wait),
        };
        Err(Withheld { said: self.said, detail: self.detail.clone(), resend })
    }

    /// Notes that `secret` was refused at `now`; `detail` is what the service said, without the secret.
    pub(super) fn was_refused(&mut self, secret: K, said: Said, detail: String, now: BootTime) {
        if self.secret.as_ref() != Some(&secret) {
            *self = Attempts { secret: Some(secret), ..Attempts::default() };
        }
        self.refused_at.retain(|time| now.since(*time) < DAY);
        self.refused_at.push_back(now);
        let pause = match said {
            Said::Locked => LOCKED_PAUSE,
            Said::Wrong | Said::Unclear => PAUSES[self.in_a_row.min(PAUSES.len() - 1)],
        };
        self.in_a_row += 1;
        self.wrong += u32::from(said == Said::Wrong);
        let day_over = self.refused_at.front().filter(|_| self.refused_at.len() >= MAX_REFUSALS_PER_DAY);
        self.not_before = day_over.map(|oldest| *oldest + DAY).max(Some(now + pause));
        (self.said, self.detail) = (said, detail);
    }

    /// Notes that a secret was accepted.
    pub(super) fn was_accepted(&mut self) {
        *self = Attempts::default();
    }
}

/// "sent again in 15 minutes", in whole units, rounded up.
impl fmt::Display for Resend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = match self {
            Resend::Never(times) => return write!(f, "refused {times} times, so not sent again"),
            Resend::In(wait) => *wait,
        };
        let minutes = wait.as_secs().div_ceil(60);
        match minutes {
            ..=1 => f.write_str("sent again in 1 minute"),
            2..=120 => write!(f, "sent again in {minutes} minutes"),
            _ => write!(f, "sent again in {} hours", minutes.div_ceil(60)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends the secret whenever it may be sent, looking once a minute for so many days, and has each attempt refused as `said`
    /// tells. The minutes in which it was sent.
    fn sent(days: u32, mut said: impl FnMut(usize) -> Said) -> Vec<u32> {
        let (start, mut attempts, mut sent) = (BootTime::new(DAY), Attempts::default(), Vec::new());
        for minute in 0..days * 24 * 60 {
            let now = start + MINUTE * minute;
            if attempts.may_send(&7, now).is_ok() {
                attempts.was_refused(7, said(sent.len()), "no".to_owned(), now);
                sent.push(minute);
            }
        }
        sent
    }

    #[test]
    fn wrong_secret_is_sent_three_times() {
        assert_eq!(sent(30, |_| Said::Wrong), [0, 1, 16]);
        // An unclear refusal in between delays the next attempt, but does not count as one that says "wrong".
        assert_eq!(sent(30, |nth| if nth % 2 == 0 { Said::Unclear } else { Said::Wrong }).len(), 6);
    }

    #[test]
    fn secret_that_is_refused_for_unknown_reasons_is_sent_eight_times_a_day() {
        let minutes = sent(3, |_| Said::Unclear);
        assert_eq!(minutes[..8], [0, 1, 16, 76, 136, 196, 256, 316]);
        for (index, minute) in minutes.iter().enumerate() {
            let within_a_day = minutes[index..].iter().take_while(|later| **later - minute < 24 * 60).count();
            assert!(within_a_day <= MAX_REFUSALS_PER_DAY, "{minutes:?}");
        }
        assert_eq!(minutes.len(), 24, "and again on the next days");
    }

    #[test]
    fn locked_account_is_left_alone_the_longest() {
        assert_eq!(sent(1, |_| Said::Locked), [0, 240, 480, 720, 960, 1200]);
    }

    #[test]
    fn another_secret_is_sent_at_once_and_a_success_forgets_all_refusals() {
        let (now, mut attempts) = (BootTime::new(DAY), Attempts::default());
        for _ in 0..5 {
            attempts.was_refused('a', Said::Wrong, "no".to_owned(), now);
        }
        assert_eq!(attempts.may_send(&'a', now + DAY).map_err(|withheld| withheld.resend), Err(Resend::Never(5)));
        assert_eq!(attempts.may_send(&'b', now), Ok(()));
        attempts.was_refused('b', Said::Wrong, "no".to_owned(), now);
        assert_eq!(attempts.may_send(&'b', now).map_err(|withheld| withheld.resend), Err(Resend::In(MINUTE)));
        attempts.was_accepted();
        assert_eq!((attempts.may_send(&'a', now), attempts.may_send(&'b', now)), (Ok(()), Ok(())));
    }

    #[test]
    fn wait_is_told_in_whole_units() {
        for (seconds, text) in
            [(1, "1 minute"), (60, "1 minute"), (61, "2 minutes"), (7200, "120 minutes"), (7201, "3 hours")]
        {
            assert_eq!(Resend::In(Duration::from_secs(seconds)).to_string(), format!("sent again in {text}"));
        }
    }
}
