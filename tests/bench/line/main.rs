//! The line as a program: `cargo run --release --example line -- --round-trip 50ms`. The work is done in `mod.rs`.

#[path = "mod.rs"]
mod line;

use clap::Parser;
use line::{FAR, Line, LineSettings, NEAR, Tally};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::time::Duration;

/// Two network namespaces and a line with a real round trip between them; needs root.
///
/// Prints where the namespaces are, then `ready`, and runs until SIGINT or SIGTERM; then it prints what has passed. However it
/// ends, namespaces and devices vanish with it as soon as nobody is inside any more.
#[derive(Debug, Parser)]
#[command(name = "line", after_long_help = EXAMPLES)]
struct Cli {
    /// What a packet takes there and back, like 50ms.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_time)]
    round_trip: Duration,

    /// Bytes a second of the bottleneck in each direction, like 10M (millions); without it as fast as the machine can.
    #[arg(long, value_name = "RATE", value_parser = parse_bytes)]
    rate: Option<u64>,

    /// How long the last packet of a full queue waits for the bottleneck; the queue drops what does not fit.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_time)]
    queue: Duration,

    /// Percentage of packets that are lost, each for itself, in each direction.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    loss: f64,

    /// Seed of the dice for losses; another one each time if not given.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

const EXAMPLES: &str = "\
Examples:
  line --round-trip 200ms                            far away, and as fast as this machine can (about 350 MB/s)
  line --round-trip 50ms --rate 10M --queue 500ms    a slow line behind a box with a long queue (bufferbloat)
  line --round-trip 50ms --loss 0.1 --seed 7         one packet in a thousand is lost
Use it (PATH as printed for near and far):
  nsenter --net=PATH emulator DIR --listen 198.18.0.2:0 --i-know-this-is-a-test-server
  nsenter --net=PATH koofs mount --allow-http --endpoint http://198.18.0.2:PORT …
";

impl Cli {
    fn settings(&self) -> Result<LineSettings, String> {
        if !(0.0..=100.0).contains(&self.loss) {
            return Err(format!("--loss {}: must be from 0 to 100", self.loss));
        }
        let rate = self.rate.unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a rate is far below 2^53")]
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a queue has a whole number of bytes"
        )]
        let queue = (self.queue.as_secs_f64() * rate as f64) as u64;
        Ok(LineSettings {
            round_trip: self.round_trip,
            rate,
            queue,
            loss: self.loss / 100.0,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..1 << 32)),
        })
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("line: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), String> {
    let settings = cli.settings()?;
    // Before there are other threads: whoever stops us as soon as we say "ready" gets an orderly end, too.
    let signals = blocked_signals();
    let line = Line::start(&settings).map_err(|error| error.to_string())?;
    let pid = std::process::id();
    println!("near  /proc/{pid}/fd/{}  {NEAR}", line.near.as_raw_fd());
    println!("far   /proc/{pid}/fd/{}  {FAR}", line.far.as_raw_fd());
    println!("seed  {}", settings.seed);
    println!("ready");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    let mut signal = 0;
    // SAFETY: both live until the call returns.
    unsafe { libc::sigwait(&raw const signals, &raw mut signal) };
    for (name, tally) in ["up", "down"].into_iter().zip(line.tallies()) {
        let Tally { packets, bytes, lost, dropped, overrun } = tally;
        println!("{name:<5} {packets} packets, {bytes} bytes, {lost} lost, {dropped} dropped, {overrun} overrun");
    }
    Ok(())
}

/// SIGINT, SIGTERM and SIGHUP, blocked for this thread and those that it starts.
fn blocked_signals() -> libc::sigset_t {
    // SAFETY: `signals` is initialised by sigemptyset before anything else reads it.
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&raw mut signals, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
        signals
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?}: write a time like 50ms or 1.5s");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?}: write bytes a second like 10M, 500K or 1000000");
    let (number, unit) = match text.strip_suffix('M') {
        Some(number) => (number, 1_000_000),
        None => text.strip_suffix('K').map_or((text, 1), |number| (number, 1000)),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|rate| *rate > 0).ok_or_else(wrong)
}
