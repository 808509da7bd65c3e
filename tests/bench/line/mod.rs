//! A line with a real round trip: two network namespaces, a TUN device in each, and two threads that hand on what comes to one
//! device to the other, after half of the round trip. So handshakes, TLS, slow start, retransmissions and full queues cost what
//! they cost on a long line: it is the kernel's own TCP that meets them.
//!
//! ```text
//! near: 198.18.0.1 (clients) -> line0 -> [loss, queue, rate, half a round trip] -> line0 -> far: 198.18.0.2 (servers)
//!                            <- line0 <- [loss, queue, rate, half a round trip] <- line0 <-
//! ```
//!
//! Needs root. 198.18.0.0/15 is for benchmarks (RFC 2544) and is seen by nobody outside of the namespaces.
//!
//! Threads: one for each direction, which owns its packets. Nothing is left behind: see `tunnel.rs`.
#![allow(dead_code, unused_imports, reason = "two programs compile this, and neither uses all of it")]
#![allow(unreachable_pub, reason = "a private module of two programs: pub says what their other parts may use")]

pub mod tunnel;
pub mod wire;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use tunnel::{End, PACKET_HEADER};
pub use wire::{Settings, Tally, Wire};

/// Where clients are.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// Where servers are.
pub const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The largest packet there is, with what precedes it.
const MAX_PACKET: usize = PACKET_HEADER + 65_535;
/// Packets that are read before those that have arrived are written: else a fast sender would make them late.
const READS_AT_ONCE: usize = 64;
/// A bottleneck slower than this gets packets of 1,500 bytes: one of 64 KiB would keep it busy for 2.6 ms and more.
const SMALL_PACKETS_BELOW: u64 = 25_000_000;

/// What a line is to be like.
#[derive(Clone, Debug, PartialEq)]
pub struct LineSettings {
    /// The round trip of a packet that meets no queue.
    pub round_trip: Duration,
    /// Bytes a second, in each direction; 0: as fast as this machine can.
    pub rate: u64,
    /// How many bytes may wait for the bottleneck, in each direction.
    pub queue: u64,
    /// The chance of each packet to be lost, 0 to 1.
    pub loss: f64,
    /// Seed of the dice for it.
    pub seed: u64,
}

impl Default for LineSettings {
    /// 50 ms, no bottleneck, no loss.
    fn default() -> Self {
        Self { round_trip: Duration::from_millis(50), rate: 0, queue: 0, loss: 0.0, seed: 1 }
    }
}

impl LineSettings {
    /// Whether packets of 64 KiB pass in one piece. They would be lost in one piece, too, and keep a slow bottleneck busy.
    fn large_segments(&self) -> bool {
        self.loss == 0.0 && (self.rate == 0 || self.rate >= SMALL_PACKETS_BELOW)
    }

    fn wire(&self, direction: u64) -> Settings {
        Settings {
            delay: self.round_trip / 2,
            rate: self.rate,
            queue: self.queue,
            loss: self.loss,
            seed: self.seed.wrapping_mul(2).wrapping_add(direction),
        }
    }
}

/// A line; dropping it takes it away as soon as nobody is in its namespaces any more.
#[derive(Debug)]
pub struct Line {
    /// Namespace of the clients.
    pub near: OwnedFd,
    /// Namespace of the servers.
    pub far: OwnedFd,
    stop: Option<File>,
    threads: Vec<JoinHandle<()>>,
    tallies: [Arc<Mutex<Tally>>; 2],
}

impl Line {
    /// Makes one.
    ///
    /// # Errors
    /// Says which step failed: mostly that this is not root.
    pub fn start(settings: &LineSettings) -> io::Result<Self> {
        let end = |address| End::new(address, settings.large_segments());
        let (near, far) = (end(NEAR)?, end(FAR)?);
        let (stopped, stop) = tunnel::stop_pipe()?;
        let tallies = [Arc::default(), Arc::default()];
        let mut threads = Vec::new();
        for (direction, (from, to)) in
            [(&near.device, &far.device), (&far.device, &near.device)].into_iter().enumerate()
        {
            let mut pump = Pump {
                from: from.try_clone()?,
                to: to.try_clone()?,
                stopped: stopped.try_clone()?,
                wire: Wire::new(settings.wire(direction as u64)),
                tally: Arc::clone(&tallies[direction]),
            };
            let body = move || {
                if let Err(error) = pump.run() {
                    // Who uses the line sees that nothing comes any more; here is why.
                    eprintln!("line: {error}");
                }
            };
            threads.push(std::thread::Builder::new().name("line".to_owned()).spawn(body)?);
        }
        Ok(Self { near: near.namespace, far: far.namespace, stop: Some(stop), threads, tallies })
    }

    /// Runs `work` in a thread that is in the clients' namespace, and so are the threads and processes that it starts.
    pub fn near<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.near, work)
    }

    /// The same in the servers' namespace.
    pub fn far<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.far, work)
    }

    /// What has come to the clients' end and to the servers' end so far.
    pub fn tallies(&self) -> [Tally; 2] {
        [0, 1].map(|at: usize| *self.tallies[at].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Both threads wait for the pipe's end, too.
        self.stop = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

/// Runs `work` in a thread of its own that is in `namespace`.
fn inside<T: Send>(namespace: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let body = || {
            tunnel::enter(namespace).unwrap_or_else(|error| panic!("{error}"));
            work()
        };
        scope.spawn(body).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// One direction.
struct Pump {
    from: File,
    to: File,
    stopped: File,
    wire: Wire<Vec<u8>>,
    tally: Arc<Mutex<Tally>>,
}

impl Pump {
    /// Hands packets on until it is stopped.
    fn run(&mut self) -> io::Result<()> {
        tunnel::wake_on_time();
        let start = Instant::now();
        let mut packet = vec![0; MAX_PACKET];
        loop {
            while let Some(packet) = self.wire.arrived(start.elapsed()) {
                match self.to.write(&packet) {
                    // A packet that the other end does not take is lost, as on any line.
                    Ok(_) | Err(_) => {}
                }
            }
            let pause = self.wire.next_at().map(|at| at.saturating_sub(start.elapsed()));
            if pause != Some(Duration::ZERO) && tunnel::wait(&self.from, &self.stopped, pause)? {
                return Ok(());
            }
            for _ in 0..READS_AT_ONCE {
                let len = match self.from.read(&mut packet) {
                    Ok(len) => len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                };
                let packet = &packet[..len];
                self.wire.offer(start.elapsed(), on_the_wire(packet), || packet.to_vec());
            }
            *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = self.wire.tally();
        }
    }
}

/// How many bytes a packet has on a wire, where it is cut into segments with headers of their own.
fn on_the_wire(packet: &[u8]) -> u64 {
    let Some((header, rest)) = packet.split_at_checked(PACKET_HEADER) else { return 0 };
    let number = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
    let (headers_len, segment_len) = (number(2), number(4));
    if header[1] == 0 || segment_len == 0 {
        return rest.len() as u64;
    }
    let segments = rest.len().saturating_sub(headers_len).div_ceil(segment_len).max(1);
    (rest.len() + (segments - 1) * headers_len) as u64
}
