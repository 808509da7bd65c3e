//! What happens to packets in one direction: loss, a bottleneck with a queue before it, and the way, which takes half of the
//! round trip.
//!
//! Owns: when a packet arrives, and which are dropped. Pure: it is told the time, as what has passed since some start.
//!
//! The bottleneck passes one packet after the other at its rate. What has to wait for it waits in a queue of a bounded length;
//! a packet that finds no room in it is dropped (drop-tail). A long queue is never full and makes everything late (bufferbloat).

use std::collections::VecDeque;
use std::time::Duration;

/// The most bytes that are on their way in one direction. 200 ms there and back at 350 MB/s are 35 MB in each direction; what
/// does not fit any more is dropped and counted, so that a reader that never reads cannot take all memory.
const MAX_ON_THE_WAY: u64 = 64 << 20;
/// The most packets that are on their way in one direction: the smallest have 40 bytes and take 100 in memory.
const MAX_PACKETS: usize = 1 << 19;

/// What one direction is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How long a packet is on its way behind the bottleneck.
    pub delay: Duration,
    /// Bytes a second that pass the bottleneck; 0: there is none.
    pub rate: u64,
    /// How many bytes may wait before the bottleneck.
    pub queue: u64,
    /// The chance of a packet to be lost, 0 to 1.
    pub loss: f64,
    /// Seed of the dice for it.
    pub seed: u64,
}

/// How many packets there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that came to this end, whatever became of them.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
    /// Those that the dice dropped.
    pub lost: u64,
    /// Those that the queue before the bottleneck had no room for.
    pub dropped: u64,
    /// Those that this program had no room for: the measurement is not one of this line any more.
    pub overrun: u64,
}

/// One direction, with the packets (of any type) that are on their way.
#[derive(Debug)]
pub struct Wire<P> {
    settings: Settings,
    dice: fastrand::Rng,
    /// When the bottleneck is free again.
    free_at: Duration,
    on_the_way: VecDeque<(Duration, u64, P)>,
    bytes: u64,
    tally: Tally,
}

impl<P> Wire<P> {
    /// An empty one.
    pub fn new(settings: Settings) -> Self {
        let dice = fastrand::Rng::with_seed(settings.seed);
        Self { settings, dice, free_at: Duration::ZERO, on_the_way: VecDeque::new(), bytes: 0, tally: Tally::default() }
    }

    /// A packet of `len` bytes on the wire comes to this end; whether it was taken.
    pub fn offer(&mut self, now: Duration, len: u64, packet: impl FnOnce() -> P) -> bool {
        self.tally.packets += 1;
        self.tally.bytes += len;
        if self.settings.loss > 0.0 && self.dice.f64() < self.settings.loss {
            self.tally.lost += 1;
            return false;
        }
        let mut passed_at = now;
        if self.settings.rate > 0 {
            let waiting = self.free_at.saturating_sub(now).as_secs_f64() * precise(self.settings.rate);
            // A packet that finds the bottleneck free needs no queue, however small that is.
            if waiting > 0.0 && waiting + precise(len) > precise(self.settings.queue) {
                self.tally.dropped += 1;
                return false;
            }
            self.free_at = self.free_at.max(now) + Duration::from_secs_f64(precise(len) / precise(self.settings.rate));
            passed_at = self.free_at;
        }
        if self.bytes + len > MAX_ON_THE_WAY || self.on_the_way.len() >= MAX_PACKETS {
            self.tally.overrun += 1;
            return false;
        }
        self.bytes += len;
        self.on_the_way.push_back((passed_at + self.settings.delay, len, packet()));
        true
    }

    /// When the next packet arrives at the other end.
    pub fn next_at(&self) -> Option<Duration> {
        self.on_the_way.front().map(|(at, ..)| *at)
    }

    /// The next packet that has arrived by now.
    pub fn arrived(&mut self, now: Duration) -> Option<P> {
        if self.next_at()? > now {
            return None;
        }
        let (_, len, packet) = self.on_the_way.pop_front()?;
        self.bytes -= len;
        Some(packet)
    }

    /// How many packets there were so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a queue and of a second are far below 2^53")]
fn precise(bytes: u64) -> f64 {
    bytes as f64
}
