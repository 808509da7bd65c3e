//! How fast the bytes of bodies go out: what lies between the store and the client, by make.
//!
//! Owns: the pace of one connection, of all together, and what a body asks before it sends the next piece. Knows nothing of
//! requests or of bytes. Waits are timers; one short lock each, never held while waiting.
//!
//! The makes: smooth (`bandwidth`), in bursts (`burst`), one bottleneck for all (`total_bandwidth`), connections that differ
//! (`bandwidth_spread`), a store that slows down under many requests (`slow_beyond`), and connections that stop now and then
//! (`stop_every`, `stop_time`). Those of one connection go together in any number.

use super::counters::LiveCounters;
use super::knobs::Knobs;
use super::lock;
use super::server::Conn;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes per step when nothing limits: large enough that per-step costs vanish, small enough to stay in the L2 cache.
pub const CHUNK: u64 = 512 * 1024;
/// The first step of a paced body; each is twice the one before, up to the step of the line. A line hands on what comes, so
/// a reader of one byte does not wait for the 10 ms that a whole step takes.
const FIRST_STEP: u64 = 16 * 1024;
/// Unused time a pacer may catch up on, so that a timer's 1 ms granularity does not lower the rate.
const CATCH_UP: Duration = Duration::from_millis(5);
/// Connections differ in this many degrees, from the full bandwidth down to the slowest; each takes the next degree.
const DEGREES: u64 = 4;

/// Spreads bytes over time.
#[derive(Debug, Default)]
pub struct Pacer {
    next: Mutex<Option<Instant>>,
}

impl Pacer {
    /// Waits until `len` bytes would have passed a line of `rate` bytes per second; 0 is no line.
    pub async fn pass(&self, len: u64, rate: f64) {
        if rate == 0.0 {
            return;
        }
        let takes = Duration::from_secs_f64(precise(len) / rate);
        let until = {
            let mut next = lock(&self.next);
            let now = Instant::now();
            let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
            let until = next.map_or(now, |at| at.max(earliest)) + takes;
            *next = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

/// The line of one connection.
#[derive(Debug)]
pub struct Line {
    /// Connections are numbered in the order in which they are accepted, those of the store by themselves.
    number: u64,
    smooth: Pacer,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes that may still pass of the present bucket.
    left: u64,
    /// When there is another bucket.
    next_bucket: Option<Instant>,
    /// Bytes until the connection stops; drawn when it is first asked for.
    until_stop: Option<u64>,
    dice: fastrand::Rng,
}

impl Line {
    /// The line of the connection with this number: what it draws is the same in every run.
    pub fn new(number: u64) -> Self {
        let dice = fastrand::Rng::with_seed(number);
        let state = Mutex::new(State { left: 0, next_bucket: None, until_stop: None, dice });
        Self { number, smooth: Pacer::default(), state }
    }

    /// Waits until a bucket of `burst` bytes has something left; how many bytes that is.
    async fn bucket(&self, burst: u64, rate: f64) -> u64 {
        loop {
            let next = {
                let mut state = lock(&self.state);
                if state.left > 0 {
                    return state.left;
                }
                let now = Instant::now();
                match state.next_bucket {
                    Some(next) if next > now => next,
                    next => {
                        // A timer that is a little late does not lower the rate; a pause does not save up.
                        let from = next.filter(|next| now.duration_since(*next) <= CATCH_UP).unwrap_or(now);
                        state.next_bucket = Some(from + Duration::from_secs_f64(precise(burst) / rate));
                        state.left = burst;
                        return burst;
                    }
                }
            };
            tokio::time::sleep_until(next).await;
        }
    }

    /// Takes bytes out of the bucket.
    fn take(&self, len: u64) {
        let mut state = lock(&self.state);
        state.left = state.left.saturating_sub(len);
    }

    /// Counts bytes that have passed; whether the connection stops behind them. It stops after `every` bytes in the middle,
    /// after twice as many at most.
    fn stops(&self, len: u64, every: u64) -> bool {
        let mut state = lock(&self.state);
        let State { until_stop, dice, .. } = &mut *state;
        let left = until_stop.unwrap_or_else(|| dice.u64(1..=every.saturating_mul(2)));
        *until_stop = (left > len).then(|| left - len);
        until_stop.is_none()
    }
}

/// Where a body goes, and how fast.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// The connection.
    pub conn: Arc<Conn>,
    /// The line all connections share.
    pub shared_line: Arc<Pacer>,
    /// What the lines are like.
    pub pace: Pace,
    /// Where bytes are counted.
    pub counters: Arc<LiveCounters>,
}

/// What the knobs say about lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    rate: f64,
    shared_rate: f64,
    burst: u64,
    spread: f64,
    slow_beyond: u64,
    stop_every: u64,
    stop_time: Duration,
}

impl From<&Knobs> for Pace {
    fn from(knobs: &Knobs) -> Self {
        Self {
            rate: precise(knobs.bandwidth),
            shared_rate: precise(knobs.total_bandwidth),
            burst: knobs.burst,
            spread: f64::from(knobs.bandwidth_spread),
            slow_beyond: u64::from(knobs.slow_beyond),
            stop_every: knobs.stop_every,
            stop_time: knobs.stop_time,
        }
    }
}

impl Pace {
    /// Whether anything limits at all.
    pub fn limits(&self) -> bool {
        self.rate > 0.0 || self.shared_rate > 0.0 || self.stop_every > 0
    }

    /// Bytes per second of the connection with this number while so many requests are being answered.
    fn rate(&self, connection: u64, requests: u64) -> f64 {
        let mut rate = self.rate;
        if self.spread > 1.0 {
            let degree = precise(connection % DEGREES) / precise(DEGREES - 1);
            rate /= self.spread.powf(degree);
        }
        if self.slow_beyond > 0 && requests > self.slow_beyond {
            // The square: what all connections bring together falls with every one.
            rate *= (precise(self.slow_beyond) / precise(requests)).powi(2);
        }
        rate
    }
}

impl Outlet {
    /// The largest first piece of a body.
    pub fn first_step(&self) -> u64 {
        if self.pace.limits() && self.pace.burst == 0 { FIRST_STEP.min(self.step()) } else { self.step() }
    }

    /// The largest piece: about 100 a second at the slower of the two rates. A bucket goes as fast as the line can.
    pub fn step(&self) -> u64 {
        let rates = [if self.pace.burst > 0 { 0.0 } else { self.rate() }, self.pace.shared_rate];
        let slowest = rates.into_iter().filter(|rate| *rate > 0.0).reduce(f64::min);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is positive and far below 2^63"
        )]
        slowest.map_or(CHUNK, |rate| ((rate / 100.0) as u64).clamp(512, CHUNK))
    }

    /// Waits until something may go; how many bytes at most.
    pub async fn open(&self, want: u64) -> u64 {
        match self.pace.burst {
            0 => want,
            burst => self.conn.line.bucket(burst, self.rate()).await.min(want),
        }
    }

    /// Waits as long as it takes these bytes to pass, and however long the connection stops.
    pub async fn pass(&self, len: u64) {
        let line = &self.conn.line;
        if self.pace.burst > 0 {
            line.take(len);
        } else {
            line.smooth.pass(len, self.rate()).await;
        }
        self.shared_line.pass(len, self.pace.shared_rate).await;
        if self.pace.stop_every > 0 && line.stops(len, self.pace.stop_every) {
            tokio::time::sleep(self.pace.stop_time).await;
        }
    }

    fn rate(&self) -> f64 {
        self.pace.rate(self.conn.line.number, self.counters.object.current())
    }
}

#[expect(clippy::cast_precision_loss, reason = "lengths, rates and counts are far below 2^53")]
fn precise(number: u64) -> f64 {
    number as f64
}
