//! The soak as a program: `scripts/soak MINUTES [--seed N]`. The work is done in `mod.rs`.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs, unreachable_pub)]

#[path = "../emulator/mod.rs"]
mod emulator;
#[allow(dead_code, reason = "the suite's, of which this needs a part")]
#[path = "../suite/mapping.rs"]
mod mapping;
#[allow(dead_code, reason = "the suite's, of which this needs a part")]
#[path = "../suite/mounted.rs"]
mod mounted;
#[path = "mod.rs"]
mod soak;

use clap::Parser;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Uses a real mount of an emulator for MINUTES, changes the tree, and lets requests fail, links and logins expire.
///
/// All bytes and names are compared with what the service had. The choices are those of a seed, which is printed. The first
/// finding (a wrong byte or name, an error that cannot be, a hang, the death of the process, requests while nobody is there,
/// growth) ends it with exit code 1.
#[derive(Debug, Parser)]
#[command(name = "scripts/soak")]
struct Cli {
    /// How long; parts of a minute too.
    minutes: f64,
    /// Makes the choices of the run that printed it.
    #[arg(long)]
    seed: Option<u64>,
    /// Mounts and unmounts so often first, and counts what stays behind.
    #[arg(long, value_name = "N", default_value_t = 200)]
    rounds: usize,
    /// Little at a time, as the suite does it.
    #[arg(long)]
    smoke: bool,
    /// How much koofs logs: -v, -vv, -vvv.
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Where the log of koofs goes if there is a finding; the directory for temporary files if not given.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

static STOP: AtomicBool = AtomicBool::new(false);

fn child(act: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(soak::ACT, act);
    command
}

fn main() -> ExitCode {
    if let Ok(act) = std::env::var(soak::ACT) {
        soak::child(&act);
        return ExitCode::SUCCESS;
    }
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    let cli = Cli::parse();
    let Ok(duration) = Duration::try_from_secs_f64(cli.minutes * 60.0) else {
        eprintln!("soak: {} minutes make no sense", cli.minutes);
        return ExitCode::from(2);
    };
    stop_by_signal();
    let settings = soak::Settings {
        duration,
        seed: cli.seed.unwrap_or_else(|| fastrand::u64(..1 << 32)),
        is_smoke: cli.smoke,
        child,
        verbose: cli.verbose,
        stop: &STOP,
        keep: Some(cli.keep.unwrap_or_else(std::env::temp_dir)),
    };
    if cli.rounds > 0 {
        match soak::rounds(cli.rounds, || STOP.load(Ordering::SeqCst)) {
            Ok(summary) => println!("{summary}"),
            Err(finding) => {
                println!("FINDING {finding}");
                return ExitCode::FAILURE;
            }
        }
        if STOP.load(Ordering::SeqCst) {
            return ExitCode::from(130);
        }
    }
    match soak::run(&settings) {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(finding) => {
            println!("{finding}");
            ExitCode::from(if STOP.load(Ordering::SeqCst) { 130 } else { 1 })
        }
    }
}

/// SIGINT, SIGTERM and SIGHUP end the run in order, however often they come.
fn stop_by_signal() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handlers = {
        let _entered = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(|kind| signal(kind).unwrap())
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            let [mut interrupt, mut terminate, mut hangup] = handlers;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                STOP.store(true, Ordering::SeqCst);
            }
        });
    });
}
