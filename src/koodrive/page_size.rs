//! How many entries the pages of a space are asked for.
//!
//! A page of 100 takes as long as one of 1,000, nearly; whether the latter may be had is documented nowhere (API.md, section 6.1). It is
//! tried once; a service that refuses or ignores it is never asked for it again. The first page of a directory stays small, so that its
//! names show early, and most directories have no other. A cursor is used with the size that it came with and no other, as it may count
//! in pages: where a directory goes on, its large pages begin with its first entry again, so that 100 of them come twice.
//! Plain state, and no call. Locks: none.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::remote::Cursor;

/// Entries of a page that every listing call gives (5.4).
pub(super) const SMALL: u32 = 100;

/// Entries of a large page: as many as `walkFile` gives.
pub(super) const LARGE: u32 = 1000;

const UNTRIED: u8 = 0;
const IN_TRIAL: u8 = 1;
const GIVEN: u8 = 2;
const NOT_GIVEN: u8 = 3;

/// Where a page begins, and of what size it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The first page, which is small.
    First,
    /// At the cursor of a small page.
    Small(Cursor),
    /// At the cursor of a large page.
    Large(Cursor),
}

impl Place {
    /// The place that a cursor of [`Place::cursor`] stands for; one of no known form is a small page's.
    pub(super) fn of(cursor: Option<&Cursor>) -> Place {
        let Some(cursor) = cursor else { return Place::First };
        let text = cursor.as_str();
        let (is_large, text) = match text.split_at_checked(1) {
            Some(("l", rest)) => (true, rest),
            Some(("s", rest)) => (false, rest),
            _ => (false, text),
        };
        match Cursor::new(text.to_owned()) {
            Some(inner) if is_large => Place::Large(inner),
            Some(inner) => Place::Small(inner),
            None => Place::First,
        }
    }

    /// The service's own cursor; `None` for the first page.
    pub(super) fn inner(self) -> Option<Cursor> {
        match self {
            Place::First => None,
            Place::Small(cursor) | Place::Large(cursor) => Some(cursor),
        }
    }

    /// What stands for `next`, the service's cursor of the page after one of this size.
    pub(super) fn cursor(is_large: bool, next: Option<Cursor>) -> Option<Cursor> {
        let mark = if is_large { 'l' } else { 's' };
        next.and_then(|next| Cursor::new(format!("{mark}{}", next.as_str())))
    }
}

/// What is known of large pages, for as long as the mount lasts.
#[derive(Default)]
pub(super) struct LargePages {
    state: AtomicU8,
    /// A page at the cursor of a large one has come.
    do_go_on: AtomicBool,
}

impl LargePages {
    /// Whether to ask for a large page now: they are given, or nobody has tried yet. Then whoever asks says what came of it.
    pub(super) fn may_ask(&self) -> bool {
        let tried = self.state.compare_exchange(UNTRIED, IN_TRIAL, Ordering::Relaxed, Ordering::Relaxed);
        matches!(tried, Ok(_) | Err(GIVEN))
    }

    /// Whether they are known to be given.
    pub(super) fn are_given(&self) -> bool {
        self.state.load(Ordering::Relaxed) == GIVEN
    }

    /// A large page has come; whether it was one that goes on another.
    pub(super) fn were_given(&self, goes_on: bool) {
        let _ = self.state.compare_exchange(IN_TRIAL, GIVEN, Ordering::Relaxed, Ordering::Relaxed);
        if goes_on {
            self.do_go_on.store(true, Ordering::Relaxed);
        }
    }

    /// The call failed for a reason that says nothing of large pages.
    pub(super) fn are_unclear(&self) {
        let _ = self.state.compare_exchange(IN_TRIAL, UNTRIED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// They were refused or ignored.
    pub(super) fn are_not_given(&self, why: &str) {
        if self.state.swap(NOT_GIVEN, Ordering::Relaxed) != NOT_GIVEN {
            log::debug!("pages of {LARGE} are not asked for any more: {why}");
        }
    }

    /// A page at the cursor of a large one was refused: the cursor may be too old, or no such page goes on at all.
    pub(super) fn cursor_was_refused(&self) {
        if !self.do_go_on.load(Ordering::Relaxed) {
            self.are_not_given("a cursor of theirs was refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> Cursor {
        Cursor::new(text.to_owned()).expect("not empty")
    }

    #[test]
    fn cursor_keeps_the_size_that_it_came_with() {
        assert_eq!(Place::of(None), Place::First);
        for text in ["c", "l", "s", "lc", "{\"c\": 1}", "é"] {
            let next = Some(cursor(text));
            assert_eq!(Place::of(Place::cursor(true, next.clone()).as_ref()), Place::Large(cursor(text)));
            assert_eq!(Place::of(Place::cursor(false, next).as_ref()), Place::Small(cursor(text)));
        }
        assert_eq!(Place::cursor(true, None), None);
        assert_eq!(Place::of(Some(&cursor("c/2"))), Place::Small(cursor("c/2")));
        assert_eq!(Place::of(Some(&cursor("éa"))), Place::Small(cursor("éa")));
    }

    #[test]
    fn one_tries_and_all_others_do_as_it_finds() {
        let pages = LargePages::default();
        assert!(pages.may_ask() && !pages.may_ask(), "one at a time");
        pages.are_unclear();
        assert!(pages.may_ask());
        pages.were_given(false);
        assert!(pages.may_ask() && pages.may_ask());
        pages.are_not_given("a law");
        assert!(!pages.may_ask());
        pages.were_given(true);
        pages.are_unclear();
        assert!(!pages.may_ask(), "for good");
    }

    #[test]
    fn refused_cursor_ends_large_pages_only_if_none_has_ever_gone_on() {
        let pages = LargePages::default();
        assert!(pages.may_ask());
        pages.were_given(false);
        pages.were_given(true);
        pages.cursor_was_refused();
        assert!(pages.may_ask());
        let pages = LargePages::default();
        assert!(pages.may_ask());
        pages.were_given(false);
        pages.cursor_was_refused();
        assert!(!pages.may_ask());
    }
}
