//! How many requests to an object store are worth having on their way at a time: one [`Pace`] for each store, shared by all
//! readers.
//!
//! What counts is what all requests bring together. Their number is changed on trial, and goes on to grow for as long as the total
//! grows with it; it is taken back where the total stays, and tried lower: a line that is full only divides itself among more of
//! them, and some stores get slower by each. A refusal takes away what was refused.
//!
//! Where as many run as may, the total is computed from how long a request takes for a block, how long it waits for its first byte, and
//! how many run, each a mean over several round trips: requests that were sent together wait and stream together, and a look at the
//! clock sees twice as much or nothing. Pure: times come in. The lines that this is tested on are in `pace/lines.rs`.

mod measured;

use std::time::Duration;

use super::budget::{MAX_STREAMS, SHORT_FOR_ONE, START_STREAMS};
use super::overdue::Usual;
use super::range::BLOCK_BYTES;
use measured::Measured;

/// The length of a part before anything is known of the store, in bytes.
const START_PART_BYTES: u64 = 2 * 1024 * 1024;

/// The shortest and the longest parts, in bytes. A slow request that ends soon leaves the line soon to others; a longer one than the
/// longest gains nothing, and loses more when it breaks or is overtaken.
const MIN_PART_BYTES: u64 = 1024 * 1024;
const MAX_PART_BYTES: u64 = 8 * 1024 * 1024;

/// A part is to last so many round trips, so that waiting for its first byte is a small share of its time.
const ROUND_TRIPS_PER_PART: f64 = 16.0;

/// Where round trips cost nothing, it is to last so long, but to be no longer than at the start (1 GiB at no delay, median of three:
/// 0.95 s by parts of 2 MiB, 0.94 s by 4, both between 0.93 and 0.99).
const SECONDS_PER_PART: f64 = 0.2;

/// The shortest step of time, as if it were a round trip: what a shorter moment shows is mostly the scheduler.
const MIN_STEP: Duration = Duration::from_millis(20);

/// More requests must bring this share of what as many of the others bring: less is no more than chance.
const GAIN_SHARE: f64 = 0.25;

/// More requests that bring this share grow faster the next time.
const STEEP_GAIN_SHARE: f64 = 0.6;

/// With fewer requests, this share of the best total must be left.
const KEPT_SHARE: f64 = 0.95;

/// A total that falls by more than this with more requests, or grows by as much with fewer, says that the store gets slower by each.
const FALLING_SHARE: f64 = 0.03;

/// Fewer requests are kept where they could not be used up before, unless they bring less by more than this share: what is counted by
/// the clock differs by as much from one look to the next.
const STARVED_LOSS_SHARE: f64 = 0.25;

/// The best total is forgotten at this rate: in so long it falls by half.
const BEST_MEMORY: Duration = Duration::from_secs(30);

/// A number is not tried below this for being no better: one connection that stops would stop them all.
const MIN_TRIED_STREAMS: usize = 4;

/// After a trial that was taken back, the next of its kind is made so much later, and eight round trips at least: twice as late each
/// time, up to the most, as lines change.
const MIN_TRIAL_PAUSE: Duration = Duration::from_millis(750);
const MAX_TRIAL_PAUSE: Duration = Duration::from_secs(16);
const TRIAL_PAUSE_ROUND_TRIPS: u32 = 8;

/// What was refused is not tried again for so long; twice as long each time, up to the most.
const MIN_REFUSED_PAUSE: Duration = Duration::from_secs(8);
const MAX_REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// The weight of a new answer in the moving averages.
const ANSWER_WEIGHT: f64 = 1.0 / 16.0;

/// What a block usually takes is known after so many: one that was quick says little.
const MIN_KNOWN_BLOCKS: u32 = 16;

/// After so long without a block, connections count as young again: their servers begin slowly after a pause (RFC 5681, 4.1), and idle
/// ones are closed after a minute (http/exchange.rs).
const YOUNG_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Where the first byte takes no longer, connections are never young: a round trip more costs nothing.
const MIN_FAR_WAIT: f64 = 0.01;

/// The round trip before the first answer.
const ASSUMED_ROUND_TRIP: Duration = Duration::from_millis(50);

/// The pace of one object store.
#[derive(Clone, Debug)]
pub struct Pace {
    streams: usize,
    /// The most that the readers' memory allows.
    max_streams: usize,
    /// The shortest wait for a first byte of late, and when it was seen.
    round_trip: Option<(Duration, Duration)>,
    /// The moving averages of these waits, in seconds, and of what was asked for, in bytes.
    wait: f64,
    asked_bytes: f64,
    /// The moving average of what a request takes for a byte of a block, in seconds; 0 before the first block.
    byte_time: f64,
    /// How many blocks it is of; no further than [`MIN_KNOWN_BLOCKS`].
    known_blocks: u32,
    /// How many blocks have come since connections were young, no further than [`MIN_KNOWN_BLOCKS`], and when the last one did.
    warming_blocks: u32,
    last_block_at: Duration,
    /// How many answers of less than a block have come since the last block.
    short_in_a_row: usize,
    measured: Option<Measured>,
    /// The number was changed then, and for the lower: requests of before may still run.
    changed_at: Duration,
    is_draining: bool,
    /// Somebody has waited for bytes since the last change or measurement: else more requests would only fill memory sooner.
    is_awaited: bool,
    trial: Option<Trial>,
    growing: Direction,
    shrinking: Direction,
    /// The last trial was one with more requests.
    has_grown: bool,
    /// The best total of late, in bytes a second, and when it was last looked at.
    best: f64,
    best_at: Duration,
    refusals: Refusals,
}

/// More requests than before, or fewer, to see what comes of it.
#[derive(Clone, Copy, Debug)]
struct Trial {
    streams_before: usize,
    before: Total,
}

/// What all requests brought together, in bytes a second.
#[derive(Clone, Copy, Debug)]
struct Total {
    /// From what a request takes, and how many ran.
    computed: f64,
    /// From what came in how long. Less exact, but true also where requests could not be used up: a reader that waits for one slow
    /// connection has the others wait, too, once all that may be ahead of it is in memory.
    counted: f64,
    /// As many requests ran as may.
    is_full: bool,
}

impl Total {
    /// What this is more than `before`, as a share of it.
    fn gain(self, before: Total) -> f64 {
        if self.is_full && before.is_full {
            self.computed / before.computed - 1.0
        } else {
            self.counted / before.counted.max(1.0) - 1.0
        }
    }
}

/// Trials of one kind.
#[derive(Clone, Copy, Debug)]
struct Direction {
    next_at: Duration,
    pause: Duration,
    /// The last one brought so much that the next may be a longer step.
    is_steep: bool,
}

/// What the store has refused.
#[derive(Clone, Copy, Debug)]
struct Refusals {
    last_at: Option<Duration>,
    /// No more than so many before then.
    limit: Option<(usize, Duration)>,
    pause: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        let direction = Direction { next_at: Duration::ZERO, pause: MIN_TRIAL_PAUSE, is_steep: false };
        Pace {
            streams: START_STREAMS,
            max_streams: MAX_STREAMS,
            round_trip: None,
            wait: 0.0,
            asked_bytes: 0.0,
            byte_time: 0.0,
            known_blocks: 0,
            warming_blocks: 0,
            last_block_at: Duration::ZERO,
            short_in_a_row: 0,
            measured: None,
            changed_at: Duration::ZERO,
            is_draining: false,
            is_awaited: false,
            trial: None,
            growing: direction,
            shrinking: direction,
            has_grown: false,
            best: 0.0,
            best_at: Duration::ZERO,
            refusals: Refusals { last_at: None, limit: None, pause: MIN_REFUSED_PAUSE },
        }
    }
}

impl Pace {
    /// How many requests may be on their way ahead of the readers.
    pub fn streams(&self) -> usize {
        self.streams.min(self.allowed())
    }

    /// The most that the readers' memory allows of such requests as there are.
    fn allowed(&self) -> usize {
        if self.short_in_a_row >= START_STREAMS { SHORT_FOR_ONE * self.max_streams } else { self.max_streams }
    }

    /// How many requests are worth planning: twice as many, so that there is work at hand when their number grows.
    pub fn planned(&self) -> usize {
        (2 * self.streams).min(self.max_streams)
    }

    /// What a request usually takes: to its first byte, and then for a block.
    pub fn usual(&self) -> Usual {
        let known = if self.known_blocks >= MIN_KNOWN_BLOCKS { self.byte_time } else { 0.0 };
        let block_time = Duration::from_secs_f64(known * BLOCK_BYTES as f64);
        Usual { wait: self.round_trip.map(|_| Duration::from_secs_f64(self.wait)), block_time }
    }

    /// Whether connections to the store are young: each brings its first blocks in many round trips (RFC 6928: ten packets in the first,
    /// twice as many in each further one), so that several for one read are worth it.
    pub fn are_connections_young(&self, now: Duration) -> bool {
        let has_paused = now.saturating_sub(self.last_block_at) >= YOUNG_AGAIN_AFTER;
        let is_far = self.round_trip.is_none() || self.wait >= MIN_FAR_WAIT;
        is_far && (has_paused || self.warming_blocks < MIN_KNOWN_BLOCKS)
    }

    /// The longest request worth making, in bytes.
    pub fn part_bytes(&self) -> u64 {
        if self.byte_time == 0.0 {
            return START_PART_BYTES;
        }
        let far = self.round_trip().as_secs_f64() * ROUND_TRIPS_PER_PART / self.byte_time;
        #[expect(clippy::cast_precision_loss, reason = "far below 53 bits")]
        let near = (SECONDS_PER_PART / self.byte_time).min(START_PART_BYTES as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        let bytes = far.max(near) as u64;
        bytes.clamp(MIN_PART_BYTES, MAX_PART_BYTES)
    }

    /// The readers' memory allows no more than so many requests from now on.
    pub fn set_max_streams(&mut self, max: usize) {
        self.max_streams = max;
    }

    /// A reader waits for bytes that are not in yet.
    pub fn on_wait(&mut self) {
        self.is_awaited = true;
    }

    /// The first byte of an answer has come, so long after the request for `asked_bytes`.
    pub fn on_first_byte(&mut self, waited: Duration, asked_bytes: u64, now: Duration) {
        let is_stale = |(_, at): (Duration, Duration)| now.saturating_sub(at) > BEST_MEMORY;
        if self.round_trip.is_none_or(|known| waited <= known.0 || is_stale(known)) {
            self.round_trip = Some((waited, now));
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 53 bits")]
        let asked = asked_bytes.max(BLOCK_BYTES) as f64;
        let weight = if self.asked_bytes == 0.0 { 1.0 } else { ANSWER_WEIGHT };
        self.wait += (waited.as_secs_f64() - self.wait) * weight;
        self.asked_bytes += (asked - self.asked_bytes) * weight;
        if let Some(measured) = &mut self.measured {
            measured.answers += 1;
        }
    }

    /// A request has brought a whole block, in `took` since its first byte or its block before; `in_flight` requests are on their
    /// way. Times are counted from any fixed instant.
    pub fn on_block(&mut self, took: Duration, in_flight: usize, now: Duration) {
        self.on_sample(took, took, false, in_flight, now);
    }

    /// A request for less than a block has been answered, in `took` since its first byte, `since_sent` in all.
    pub fn on_short_answer(&mut self, took: Duration, since_sent: Duration, in_flight: usize, now: Duration) {
        self.on_sample(took, since_sent, true, in_flight, now);
    }

    fn on_sample(&mut self, took: Duration, age: Duration, is_short: bool, in_flight: usize, now: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "far below 53 bits")]
        let byte_time = took.as_secs_f64() / BLOCK_BYTES as f64;
        if !is_short {
            let weight = if self.byte_time == 0.0 { 1.0 } else { ANSWER_WEIGHT };
            self.byte_time += (byte_time - self.byte_time) * weight;
            self.known_blocks = (self.known_blocks + 1).min(MIN_KNOWN_BLOCKS);
            let has_paused = now.saturating_sub(self.last_block_at) >= YOUNG_AGAIN_AFTER;
            self.warming_blocks = if has_paused { 1 } else { (self.warming_blocks + 1).min(MIN_KNOWN_BLOCKS) };
            self.last_block_at = now;
            self.short_in_a_row = 0;
            if self.streams > self.max_streams {
                self.trial = None;
                self.change(self.max_streams, now);
            }
        } else {
            self.short_in_a_row += 1;
        }
        let (streams, step) = (self.streams(), self.round_trip().max(MIN_STEP));
        self.is_draining &= in_flight > streams + 1;
        // What began before the change says nothing of it, nor what ran beside requests of before.
        if self.is_draining || now < self.changed_at + step || now.saturating_sub(age) < self.changed_at {
            return;
        }
        let measured = self.measured.get_or_insert(Measured::starting(now));
        measured.add(took, is_short, in_flight, streams);
        let lasted = now.saturating_sub(measured.since);
        if measured.is_enough(lasted, step, streams) {
            let measured = *measured;
            self.measured = None;
            let is_starved = self.streams > START_STREAMS && !measured.is_short();
            if std::mem::take(&mut self.is_awaited) && (measured.is_full() || is_starved) {
                self.judge(self.total(&measured, lasted), now);
            }
        }
    }

    /// What all requests bring together.
    fn total(&self, measured: &Measured, lasted: Duration) -> Total {
        let byte_time = measured.seconds / measured.bytes + self.wait / self.asked_bytes.max(1.0);
        Total {
            computed: measured.in_flight / f64::from(measured.samples) / byte_time.max(1e-12),
            counted: measured.bytes / lasted.as_secs_f64().max(1e-3),
            is_full: measured.is_full(),
        }
    }

    /// `total` is what this number of requests brings: decides on the next.
    fn judge(&mut self, total: Total, now: Duration) {
        let idle = now.saturating_sub(self.best_at).min(BEST_MEMORY);
        self.best *= 1.0 - 0.5 * idle.as_secs_f64() / BEST_MEMORY.as_secs_f64();
        self.best_at = now;
        let is_settled = match self.trial.take() {
            Some(trial) if self.streams > trial.streams_before => self.judge_growth(trial, total, now),
            Some(trial) => self.judge_shrinking(trial, total, now),
            None => true,
        };
        if is_settled {
            if total.is_full {
                self.best = self.best.max(total.computed);
            }
            self.try_another(total, now);
        }
    }

    /// Whether the higher number stays.
    fn judge_growth(&mut self, trial: Trial, total: Total, now: Duration) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let added = self.streams as f64 / trial.streams_before as f64 - 1.0;
        let gain = total.gain(trial.before);
        self.growing.is_steep = gain >= STEEP_GAIN_SHARE * added;
        if gain >= GAIN_SHARE * added {
            self.growing = Direction { next_at: now, pause: MIN_TRIAL_PAUSE, ..self.growing };
            self.shrinking.next_at = now + MAX_TRIAL_PAUSE;
            return true;
        }
        self.growing.put_off(now, self.round_trip());
        self.shrinking.next_at = self.shrinking.next_at.min(now);
        if gain < -FALLING_SHARE && trial.streams_before > MIN_TRIED_STREAMS {
            // Not back to where it was, but on to the other side.
            self.has_grown = false;
            self.trial = Some(trial);
            self.change(fewer(trial.streams_before, false), now);
        } else {
            self.change(trial.streams_before, now);
        }
        false
    }

    /// Whether the lower number stays.
    fn judge_shrinking(&mut self, trial: Trial, total: Total, now: Duration) -> bool {
        let gain = total.gain(trial.before);
        self.shrinking.is_steep = gain >= 3.0 * FALLING_SHARE;
        let is_less = if total.is_full && trial.before.is_full {
            total.computed < trial.before.computed.max(self.best) * KEPT_SHARE
        } else {
            gain < -STARVED_LOSS_SHARE
        };
        if is_less {
            self.shrinking.put_off(now, self.round_trip());
            self.change(trial.streams_before, now);
            return false;
        }
        self.shrinking.pause = MIN_TRIAL_PAUSE;
        self.shrinking.next_at = if gain >= FALLING_SHARE { now } else { now + MIN_TRIAL_PAUSE };
        self.growing.next_at = self.growing.next_at.max(now + self.growing.pause);
        true
    }

    /// Begins the next trial, if it is time for one.
    fn try_another(&mut self, total: Total, now: Duration) {
        let max = self.max(now);
        let may_grow = total.is_full && now >= self.growing.next_at && self.streams < max;
        let least = if total.is_full { MIN_TRIED_STREAMS } else { START_STREAMS };
        let may_shrink = (now >= self.shrinking.next_at || !total.is_full) && self.streams > least;
        let grows = may_grow && !(may_shrink && self.has_grown);
        if !grows && !may_shrink {
            return;
        }
        self.has_grown = grows;
        self.trial = Some(Trial { streams_before: self.streams, before: total });
        let next = match (grows, self.growing.is_steep) {
            (true, true) => (self.streams * 2).min(max),
            (true, false) => (self.streams + self.streams.div_ceil(2)).min(max),
            (false, _) => fewer(self.streams, self.shrinking.is_steep || !total.is_full).max(least),
        };
        self.change(next, now);
    }

    /// The most requests that may be tried.
    fn max(&self, now: Duration) -> usize {
        let refused = self.refusals.limit.filter(|(_, until)| now < *until).map_or(usize::MAX, |(limit, _)| limit);
        refused.min(self.allowed())
    }

    /// The store has refused a request for being one too many, while `in_flight` were on their way, this one included.
    pub fn on_refusal(&mut self, in_flight: usize, now: Duration) {
        let step = self.round_trip().max(MIN_STEP);
        // Of many that were sent at once each is refused, and only the first tells that this number is too high.
        let is_news = self.refusals.last_at.is_none_or(|last| now.saturating_sub(last) >= step + step / 2);
        let taken = in_flight.saturating_sub(1).max(1);
        let before = self.streams();
        let mut streams = match self.trial.take() {
            Some(trial) if trial.streams_before < before => before.min(trial.streams_before.max(taken)),
            _ => before.min(taken),
        };
        if is_news {
            // Not for the number at a time, then, but for so many in a time.
            streams = if streams == before { streams - streams.div_ceil(8).min(streams - 1) } else { streams };
            if self.refusals.last_at.is_some() {
                self.refusals.pause = (self.refusals.pause * 2).min(MAX_REFUSED_PAUSE);
            }
            self.refusals.last_at = Some(now);
        }
        if streams < before {
            self.refusals.limit = Some((streams, now + self.refusals.pause));
            self.change(streams, now);
        }
    }

    fn change(&mut self, streams: usize, now: Duration) {
        self.is_draining = streams < self.streams;
        self.streams = streams;
        self.measured = None;
        self.is_awaited = false;
        self.changed_at = now;
    }

    /// The shortest time to a first byte.
    fn round_trip(&self) -> Duration {
        self.round_trip.map_or(ASSUMED_ROUND_TRIP, |(shortest, _)| shortest)
    }
}

/// The next lower number to try.
fn fewer(streams: usize, is_steep: bool) -> usize {
    (if is_steep { streams * 2 / 3 } else { streams * 3 / 4 }).max(MIN_TRIED_STREAMS)
}

impl Direction {
    /// A trial was taken back.
    fn put_off(&mut self, now: Duration, round_trip: Duration) {
        self.next_at = now + self.pause.max(round_trip * TRIAL_PAUSE_ROUND_TRIPS);
        self.pause = (self.pause * 2).min(MAX_TRIAL_PAUSE);
        self.is_steep = false;
    }
}

#[cfg(test)]
mod lines;

#[cfg(test)]
mod tests;
