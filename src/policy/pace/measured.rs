//! What one number of requests has shown: whether that is enough to judge it by.

use std::time::Duration;

use crate::policy::range::BLOCK_BYTES;

/// For how many steps a number of requests is measured: at least; at least as long as fewer than [`RENEWED_SHARE`] of its requests
/// have been sent anew; and at most, if the samples differ too much.
const MEASURED_STEPS: u32 = 3;
const RENEWED_STEPS: u32 = 8;
const MAX_MEASURED_STEPS: u32 = 12;
const RENEWED_SHARE: f64 = 0.75;

/// A mean is known well enough if its standard error is at most this share of it.
const PRECISION: f64 = 0.07;

/// What one number of requests has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured {
    pub(super) since: Duration,
    /// Bytes of blocks, and of short answers as if they were blocks; the time they took, its squares, and requests on their way.
    pub(super) bytes: f64,
    pub(super) seconds: f64,
    squares: f64,
    pub(super) in_flight: f64,
    pub(super) samples: u32,
    /// Samples when as many requests ran as may, and those of short answers.
    full: u32,
    short: u32,
    /// Requests whose first byte came.
    pub(super) answers: u32,
}

impl Measured {
    /// Nothing, from `since` on.
    pub(super) fn starting(since: Duration) -> Measured {
        Measured { since, ..Measured::default() }
    }

    pub(super) fn add(&mut self, took: Duration, is_short: bool, in_flight: usize, streams: usize) {
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let (bytes, in_flight_now) = (BLOCK_BYTES as f64, in_flight as f64);
        self.bytes += bytes;
        self.seconds += seconds;
        self.squares += seconds * seconds;
        self.in_flight += in_flight_now;
        self.samples += 1;
        self.full += u32::from(in_flight + 1 >= streams);
        self.short += u32::from(is_short);
    }

    /// Whether it says enough after so long.
    pub(super) fn is_enough(&self, lasted: Duration, step: Duration, streams: usize) -> bool {
        if lasted < step * MEASURED_STEPS || (self.samples as usize) < streams {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let is_renewed = f64::from(self.answers) >= streams as f64 * RENEWED_SHARE;
        if !is_renewed && lasted < step * RENEWED_STEPS {
            return false;
        }
        // A short answer's time is that of its round trip.
        if self.is_short() {
            return true;
        }
        let count = f64::from(self.samples);
        let mean = self.seconds / count;
        let variance = (self.squares / count - mean * mean).max(0.0);
        (variance / count).sqrt() <= mean * PRECISION || lasted >= step * MAX_MEASURED_STEPS
    }

    /// Whether most of it was answers of less than a block.
    pub(super) fn is_short(&self) -> bool {
        self.short * 2 > self.samples
    }

    /// Whether as many requests ran as may: what is not used up tells nothing about having more of it.
    pub(super) fn is_full(&self) -> bool {
        self.full * 4 >= self.samples * 3
    }
}
