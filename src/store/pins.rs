//! Pins: blobs that are kept whatever else there is room for, until somebody says otherwise.
//!
//! A pin is the sticky bit of the blob's file, which means nothing to Linux there: whoever looks at a file in order to remove it sees it,
//! in every mount and after every restart, and it costs neither a file nor memory. Locks: one, of whoever pins.

use std::io::{self, ErrorKind};

use rustix::fs::{AtFlags, OFlags, fchmod, statat};

use super::disk::{Disk, Place};
use super::identity::SourceKey;
use super::pin::{Pin, is_pinned, mode};
use super::space::Space;
use crate::sync::lock;

/// So many tenths of what the store may take can be pinned: the rest is for what is merely read, which would have no room otherwise.
const MAX_PINNED_TENTHS: u64 = 9;

/// Why a blob is not pinned.
#[derive(Debug)]
pub enum NotPinned {
    /// More would be pinned than may be.
    TooMuch,
    /// There is no such blob.
    NotThere,
    /// The disk does not do it.
    Io(io::Error),
}

impl From<io::Error> for NotPinned {
    fn from(error: io::Error) -> NotPinned {
        NotPinned::Io(error)
    }
}

impl Space {
    /// Pins a blob, if no more than may be is pinned then. May scan the directory, as only that tells how much is.
    ///
    /// # Errors
    /// Why it is not pinned.
    pub(super) fn pin(&self, place: Place) -> Result<(), NotPinned> {
        let mut pinned_bytes = lock(self.pinned_bytes());
        for is_fresh in [false, true] {
            let Some(pin) = self.disk().pin_of(place)? else {
                // It was written, and has gone before it could be pinned: there is little room beside what is pinned.
                let is_crowded = pinned_bytes.is_some_and(|bytes| bytes > self.limit_bytes() / 2);
                return Err(if is_crowded { NotPinned::TooMuch } else { NotPinned::NotThere });
            };
            if pin.is_pinned {
                return Ok(());
            }
            if let Some(bytes) = *pinned_bytes
                && bytes + pin.charge <= self.limit_bytes() / 10 * MAX_PINNED_TENTHS
            {
                self.disk().set_pin(place, true)?;
                *pinned_bytes = Some(bytes + pin.charge);
                return Ok(());
            }
            if is_fresh {
                break;
            }
            *pinned_bytes = Some(self.count_pinned()?);
        }
        Err(NotPinned::TooMuch)
    }

    /// Takes the pin off a blob, if there is one.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn unpin(&self, place: Place) -> io::Result<()> {
        let mut pinned_bytes = lock(self.pinned_bytes());
        if let Some(pin) = self.disk().pin_of(place)?.filter(|pin| pin.is_pinned) {
            self.disk().set_pin(place, false)?;
            *pinned_bytes = pinned_bytes.map(|bytes| bytes.saturating_sub(pin.charge));
        }
        Ok(())
    }

    /// Takes the pins off all blobs of a source, also those of versions that nobody asks for any more.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn unpin_source(&self, source: SourceKey) -> io::Result<()> {
        let mut pinned = Vec::new();
        self.disk().scan(&mut |found| {
            if found.is_pinned && found.place.source == source {
                pinned.push(found.place);
            }
            true
        })?;
        pinned.into_iter().try_for_each(|place| self.unpin(place))
    }

    fn count_pinned(&self) -> Result<u64, NotPinned> {
        let mut bytes = 0;
        self.disk().scan(&mut |found| {
            bytes += if found.is_pinned { found.charge } else { 0 };
            true
        })?;
        Ok(bytes)
    }
}

impl Disk {
    /// Whether a blob is pinned; `None` if there is none.
    pub(super) fn pin_of(&self, place: Place) -> io::Result<Option<Pin>> {
        match statat(self.root(), place.path(), AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from) {
            Ok(stat) => {
                let charge = self.charge(u64::try_from(stat.st_size).unwrap_or(0));
                Ok(Some(Pin { is_pinned: is_pinned(&stat), charge }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Pins a blob, or takes its pin off.
    pub(super) fn set_pin(&self, place: Place, is_pinned: bool) -> io::Result<()> {
        fchmod(self.open_file(&place.path(), OFlags::RDONLY)?, mode(is_pinned))?;
        Ok(())
    }
}
