//! How many requests to an object store are worth having on their way at a time: one [`Pace`] for each store, shared by all
//! readers.
//!
//! A store that serves each connection at its own speed rewards more connections; a line that is full only divides itself
//! among them. The two are told apart by the speed of a single connection: the number doubles on trial (twice at once where
//! round trips are what takes the time), and that is taken back if each connection has become that much slower. Answers too
//! short to have a speed are judged by how long they are waited for. A refusal halves the number, and so does a line that has
//! become far worse than it was. Pure: times come in.

use std::time::Duration;

use super::budget::{MAX_STREAMS, START_STREAMS};
use super::range::BLOCK_BYTES;

/// The longest parts where round trips cost nothing, in bytes: larger ones gain nothing then (1 GiB at no delay, median of three:
/// 0.95 s by parts of 2 MiB, 0.94 s by 4, both between 0.93 and 0.99), and one that breaks or is overtaken loses more.
const PART_BYTES_MIN: u64 = 2 * 1024 * 1024;

/// The longest parts where they do, in bytes.
const PART_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A part is to last so many round trips, so that waiting for its first byte is a small share of its time.
const ROUND_TRIPS_PER_PART: f64 = 8.0;

/// A doubling that leaves each connection less than this share of its speed has brought less than half as much again: it is
/// taken back.
const REWARDED: f64 = 0.75;

/// A connection below this share of its best speed competes with the others for a line that is full.
const CROWDED: f64 = 0.3;

/// The least weight of a new sample in the moving averages; after a change, the first ones weigh more.
const SMOOTHING: f64 = 1.0 / 32.0;

/// While short answers are waited for less than so many round trips, the store does not queue them.
const UNQUEUED: f64 = 2.5;

/// Where a connection brings so many blocks in the time of a round trip, waiting for answers is what takes the time.
const BLOCKS_OF_A_FAR_STORE: f64 = 4.0;

/// A shorter round trip is not worth hiding, and mostly the scheduler's.
const ROUND_TRIP_OF_A_FAR_STORE: Duration = Duration::from_millis(5);

/// So many samples for each connection must come in before a change is judged.
const SAMPLES_PER_STREAM: usize = 6;

/// The best speed is forgotten at this rate: in so long it falls to about a third.
const BEST_MEMORY: Duration = Duration::from_secs(30);

/// The least time between two changes, so that the first one shows: a round trip and a little of a far store; of a near one so
/// much, as its bytes come in bursts and what a moment shows is mostly the scheduler.
const SETTLE_MIN: Duration = Duration::from_millis(20);
const SETTLE_NEAR: Duration = Duration::from_millis(100);

/// After a refusal, nothing grows for so long.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);

/// After a trial that was taken back, the next is made so much later: it may have failed for a hiccup. Twice as late each time,
/// up to the most: lines change.
const TRIAL_PAUSE_MIN: Duration = Duration::from_millis(250);
const TRIAL_PAUSE_MAX: Duration = Duration::from_secs(4);

/// The pace of one object store.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    streams: usize,
    /// The average time that a connection takes for a byte, in seconds, since the last change; and how many samples it is of.
    /// Times and not speeds are averaged: bytes come in bursts, and one burst at the speed of memory would count for all the
    /// waiting.
    recent_byte_time: f64,
    samples: u32,
    /// That average when it was last of enough samples; 0 before.
    byte_time: f64,
    /// The best speed of a connection there was, in bytes a second.
    best_speed: f64,
    last_sample: Duration,
    /// The shortest time to a first byte, and its moving average in seconds.
    round_trip: Duration,
    wait: f64,
    /// No change before this, and not before so many samples.
    next_change: Duration,
    samples_needed: usize,
    /// Somebody has waited for bytes since the last change: else more requests would only fill memory sooner.
    is_awaited: bool,
    /// A change that has yet to prove itself.
    trial: Option<Trial>,
    /// How long the next trial waits if this one fails.
    trial_pause: Duration,
}

/// More requests than before, to see what comes of it.
#[derive(Clone, Copy, Debug)]
struct Trial {
    streams_before: usize,
    /// If a connection is slower than this then, in bytes a second, it has brought too little.
    speed_needed: f64,
}

impl Default for Pace {
    fn default() -> Pace {
        let (last_sample, next_change) = (Duration::ZERO, Duration::ZERO);
        Pace {
            streams: START_STREAMS,
            recent_byte_time: 0.0,
            samples: 0,
            byte_time: 0.0,
            best_speed: 0.0,
            last_sample,
            round_trip: Duration::MAX,
            wait: 0.0,
            next_change,
            samples_needed: SAMPLES_PER_STREAM,
            is_awaited: false,
            trial: None,
            trial_pause: TRIAL_PAUSE_MIN,
        }
    }
}

impl Pace {
    /// How many requests may be on their way.
    pub fn streams(&self) -> usize {
        self.streams
    }

    /// How many requests are worth planning: for a far store twice those of this moment, so that there is work at hand when
    /// their number grows.
    pub fn planned(&self) -> usize {
        if self.byte_time == 0.0 || self.is_far() { 2 * self.streams } else { self.streams }
    }

    /// The longest request worth making, in bytes: so long that a connection spends little of its time on waiting for answers.
    pub fn part_bytes(&self) -> u64 {
        if self.byte_time == 0.0 {
            return PART_BYTES_MIN;
        }
        let round_trip_bytes = self.round_trip().as_secs_f64() / self.byte_time;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        let bytes = (round_trip_bytes * ROUND_TRIPS_PER_PART) as u64;
        bytes.clamp(PART_BYTES_MIN, PART_BYTES_MAX)
    }

    /// An answer has begun, so long after its request.
    pub fn on_first_byte(&mut self, waited: Duration) {
        self.round_trip = self.round_trip.min(waited);
        let sample = waited.as_secs_f64();
        self.wait = if self.wait == 0.0 { sample } else { self.wait + (sample - self.wait) * SMOOTHING };
    }

    /// A reader waits for bytes that are not in yet.
    pub fn on_wait(&mut self) {
        self.is_awaited = true;
    }

    /// An answer of less than a block is whole: its speed tells nothing, its wait does.
    pub fn on_short_answer(&mut self, in_flight: usize, now: Duration) {
        self.samples_needed = self.samples_needed.saturating_sub(SAMPLES_PER_STREAM);
        if now < self.next_change || self.samples_needed > 0 {
            return;
        }
        let is_unqueued = self.wait < self.round_trip.as_secs_f64() * UNQUEUED;
        if is_unqueued && in_flight >= self.streams && self.streams < MAX_STREAMS {
            self.trial = None;
            self.change((self.streams * 2).min(MAX_STREAMS), self.settling(), now);
        }
    }

    /// One connection has brought `bytes` in `took`; `in_flight` requests are on their way. Times are counted from any fixed
    /// instant.
    pub fn on_bytes(&mut self, bytes: u64, took: Duration, in_flight: usize, now: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a speed needs no 53 bits")]
        let sample = took.as_secs_f64().max(1e-6) / bytes.max(1) as f64;
        self.samples = self.samples.saturating_add(1);
        let weight = (1.0 / f64::from(self.samples)).max(SMOOTHING);
        self.recent_byte_time += (sample - self.recent_byte_time) * weight;
        let idle = now.saturating_sub(self.last_sample).min(BEST_MEMORY);
        self.last_sample = now;
        self.best_speed *= 1.0 - idle.as_secs_f64() / BEST_MEMORY.as_secs_f64();
        self.samples_needed = self.samples_needed.saturating_sub(1);
        if now < self.next_change || self.samples_needed > 0 {
            return;
        }
        // Only now: the mean of a few samples may be that of a burst.
        self.byte_time = self.recent_byte_time;
        let speed = 1.0 / self.byte_time;
        self.best_speed = self.best_speed.max(speed);
        match self.trial.take() {
            Some(trial) if speed < trial.speed_needed => {
                self.change(trial.streams_before, self.trial_pause, now);
                self.trial_pause = (self.trial_pause * 2).min(TRIAL_PAUSE_MAX);
            }
            _ if speed < self.best_speed * CROWDED => {
                self.change((self.streams / 2).max(START_STREAMS), self.settling() * 4, now);
            }
            // What is not used up tells nothing about having more of it.
            _ if in_flight >= self.streams && self.is_awaited && self.streams < MAX_STREAMS => self.begin_trial(now),
            _ => {}
        }
    }

    fn begin_trial(&mut self, now: Duration) {
        let doublings = if self.is_far() && self.trial_pause == TRIAL_PAUSE_MIN { 2 } else { 1 };
        let speed_needed = REWARDED.powi(doublings) / self.byte_time;
        self.trial = Some(Trial { streams_before: self.streams, speed_needed });
        self.change((self.streams << doublings).min(MAX_STREAMS), self.settling(), now);
    }

    /// The store has refused a request for being one too many, or has broken a connection.
    pub fn on_refusal(&mut self, now: Duration) {
        self.trial = None;
        self.change((self.streams / 2).max(1), REFUSED_PAUSE, now);
    }

    fn change(&mut self, streams: usize, pause: Duration, now: Duration) {
        self.streams = streams;
        self.next_change = now + pause;
        self.samples_needed = streams * SAMPLES_PER_STREAM;
        self.samples = 0;
        self.is_awaited = false;
    }

    /// Whether waiting for answers is what takes the time, not their bytes.
    fn is_far(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a block is far below 53 bits")]
        let block_time = self.byte_time * BLOCK_BYTES as f64;
        let round_trip = self.round_trip();
        round_trip >= ROUND_TRIP_OF_A_FAR_STORE && block_time * BLOCKS_OF_A_FAR_STORE < round_trip.as_secs_f64()
    }

    /// How long a change takes to show.
    fn settling(&self) -> Duration {
        let round_trip = self.round_trip();
        let least = if self.is_far() { SETTLE_MIN } else { SETTLE_NEAR };
        (round_trip + round_trip / 8).clamp(least, REFUSED_PAUSE)
    }

    /// The shortest time to a first byte; none before the first answer.
    fn round_trip(&self) -> Duration {
        if self.round_trip == Duration::MAX { Duration::ZERO } else { self.round_trip }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a second of samples from a line where a connection among `n` has `speed(n)` bytes a second.
    fn second(pace: &mut Pace, start: Duration, speed: impl Fn(usize) -> f64) -> Duration {
        let mut now = start;
        while now < start + Duration::from_secs(1) {
            let streams = pace.streams();
            let took = Duration::from_secs_f64(BLOCK_BYTES as f64 / speed(streams));
            now += took / u32::try_from(streams).expect("few");
            pace.on_wait();
            pace.on_bytes(BLOCK_BYTES, took, streams, now);
        }
        now
    }

    #[test]
    fn readers_that_never_wait_get_no_more_connections() {
        let mut pace = Pace::default();
        pace.on_first_byte(Duration::from_millis(50));
        for step in 0..1000 {
            pace.on_bytes(BLOCK_BYTES, Duration::from_millis(5), pace.streams(), Duration::from_millis(step * 5));
        }
        assert_eq!(pace.streams(), START_STREAMS);
    }

    #[test]
    fn store_that_serves_each_connection_at_its_own_speed_gets_the_most() {
        let mut pace = Pace::default();
        pace.on_first_byte(Duration::from_millis(50));
        second(&mut pace, Duration::ZERO, |_| 25e6);
        assert_eq!(pace.streams(), MAX_STREAMS);
    }

    #[test]
    fn far_store_gets_the_most_within_four_round_trips() {
        let mut pace = Pace::default();
        let round_trip = Duration::from_millis(50);
        let mut now = round_trip;
        pace.on_first_byte(round_trip);
        while pace.streams() < MAX_STREAMS {
            now += Duration::from_secs_f64(BLOCK_BYTES as f64 / 25e6) / u32::try_from(pace.streams()).expect("few");
            pace.on_wait();
            pace.on_bytes(BLOCK_BYTES, Duration::from_secs_f64(BLOCK_BYTES as f64 / 25e6), pace.streams(), now);
        }
        assert!(now <= 4 * round_trip, "{now:?}");
        assert_eq!(pace.part_bytes(), PART_BYTES_MAX);
    }

    #[test]
    fn hiccup_during_a_trial_costs_little() {
        let mut pace = Pace::default();
        pace.on_first_byte(Duration::from_millis(50));
        let mut now = second(&mut pace, Duration::ZERO, |streams| if streams > START_STREAMS { 1e6 } else { 25e6 });
        assert_eq!(pace.streams(), START_STREAMS);
        now = second(&mut pace, now, |_| 25e6);
        second(&mut pace, now, |_| 25e6);
        assert_eq!(pace.streams(), MAX_STREAMS);
    }

    #[test]
    fn burst_after_a_change_is_not_taken_for_the_speed_of_the_line() {
        let mut pace = Pace::default();
        pace.on_first_byte(Duration::from_millis(50));
        let (mut now, mut streams) = (Duration::from_millis(50), 0);
        let took = Duration::from_secs_f64(BLOCK_BYTES as f64 / 25e6);
        for _ in 0..10_000 {
            // The first block after each change was in a buffer already.
            let burst = if streams == pace.streams() { took } else { Duration::ZERO };
            streams = pace.streams();
            now += took / u32::try_from(streams).expect("few");
            pace.on_wait();
            pace.on_bytes(BLOCK_BYTES, burst, streams, now);
        }
        assert_eq!(pace.streams(), MAX_STREAMS);
    }

    #[test]
    fn near_store_is_asked_for_shorter_parts() {
        let mut pace = Pace::default();
        pace.on_first_byte(Duration::from_micros(300));
        second(&mut pace, Duration::ZERO, |_| 200e6);
        assert_eq!(pace.part_bytes(), PART_BYTES_MIN);
    }

    #[test]
    fn full_line_gets_few_connections() {
        let mut pace = Pace::default();
        let mut now = Duration::ZERO;
        for _ in 0..60 {
            now = second(&mut pace, now, |streams| 5e6 / streams as f64);
            assert!(pace.streams() <= 2 * START_STREAMS, "{}", pace.streams());
        }
    }

    #[test]
    fn line_that_holds_sixteen_connections_is_not_given_many_more() {
        let mut pace = Pace::default();
        let speed = |streams: usize| 25e6 * (16.0 / streams.max(16) as f64);
        let mut now = Duration::ZERO;
        for _ in 0..5 {
            now = second(&mut pace, now, speed);
            assert!((8..=32).contains(&pace.streams()), "{}", pace.streams());
        }
    }

    #[test]
    fn many_short_answers_get_the_most_until_they_are_queued() {
        let mut pace = Pace::default();
        let mut now = Duration::ZERO;
        for _ in 0..400 {
            now += Duration::from_millis(5);
            pace.on_first_byte(Duration::from_millis(50));
            pace.on_short_answer(pace.streams(), now);
        }
        assert_eq!(pace.streams(), MAX_STREAMS);

        let mut pace = Pace::default();
        for _ in 0..400 {
            now += Duration::from_millis(5);
            // A store that serves eight at a time.
            pace.on_first_byte(Duration::from_millis(50) * u32::try_from(pace.streams()).expect("few") / 8);
            pace.on_short_answer(pace.streams(), now);
        }
        assert!((8..=32).contains(&pace.streams()), "{}", pace.streams());
    }

    #[test]
    fn refusal_halves_and_growth_waits() {
        let mut pace = Pace::default();
        let now = second(&mut pace, Duration::ZERO, |_| 25e6);
        pace.on_refusal(now);
        assert_eq!(pace.streams(), MAX_STREAMS / 2);
        second(&mut pace, now, |_| 25e6);
        assert_eq!(pace.streams(), MAX_STREAMS / 2);
    }

    #[test]
    fn line_that_becomes_far_worse_gets_fewer_connections() {
        let mut pace = Pace::default();
        let mut now = second(&mut pace, Duration::ZERO, |_| 25e6);
        for _ in 0..20 {
            now = second(&mut pace, now, |streams| 10e6 / streams as f64);
        }
        assert!(pace.streams() <= MAX_STREAMS / 4, "{}", pace.streams());
    }

    #[test]
    fn unused_streams_do_not_grow() {
        let mut pace = Pace::default();
        for step in 0..1000 {
            pace.on_wait();
            pace.on_bytes(BLOCK_BYTES, Duration::from_millis(5), 1, Duration::from_millis(step * 5));
        }
        assert_eq!(pace.streams(), START_STREAMS);
    }

    #[test]
    fn storm_of_refusals_leaves_one_request() {
        let mut pace = Pace::default();
        for step in 0..20 {
            pace.on_refusal(Duration::from_secs(step * 3));
        }
        assert_eq!(pace.streams(), 1);
    }
}
