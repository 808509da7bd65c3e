//! What a step comes to, as one line.

/// How good it is for a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// As a mount wants it.
    Good,
    /// A mount works, with a drawback.
    Lacking,
    /// A mount does not work, or not for some files.
    Bad,
    /// Not tried, and why.
    LeftOut,
}

impl Mark {
    /// The sign at the beginning of a line.
    pub(super) fn sign(self) -> char {
        match self {
            Mark::Good => '\u{2713}',
            Mark::Lacking => '!',
            Mark::Bad => '\u{2717}',
            Mark::LeftOut => '-',
        }
    }
}

/// What was seen, and what follows for a mount. Words of ours and numbers; of the service at most a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) mark: Mark,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn good(text: impl Into<String>) -> Finding {
        Finding { mark: Mark::Good, text: text.into() }
    }

    pub(super) fn lacking(text: impl Into<String>) -> Finding {
        Finding { mark: Mark::Lacking, text: text.into() }
    }

    pub(super) fn bad(text: impl Into<String>) -> Finding {
        Finding { mark: Mark::Bad, text: text.into() }
    }

    /// What another step needs is not there.
    pub(super) fn left_out(why: impl Into<String>) -> Finding {
        Finding { mark: Mark::LeftOut, text: format!("left out: {}", why.into()) }
    }
}

/// A step's finding; the error is a step that was left out, or a call that failed where nothing else could be said.
pub(super) type Found = Result<Finding, Finding>;
