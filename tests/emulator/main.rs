//! The emulator as a program: `cargo run --release --example emulator -- DIR`. The work is done in `mod.rs`.

#[path = "mod.rs"]
mod emulator;

mod cli;

use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("emulator: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until SIGINT or SIGTERM.
fn run(cli: cli::Cli) -> Result<(), String> {
    if cli.list_knobs {
        print!("{}", cli::knob_list());
        return Ok(());
    }
    let ca_out = cli.ca_out.clone();
    let ready_file = cli.print_ready_file.clone();
    let config = cli.config()?;
    let agent = config.knobs.agent.clone().unwrap_or_else(|| "emulator".to_owned());
    let code = config.knobs.access_code.clone();
    // Handlers first: who stops us as soon as we say "ready" gets an orderly end, too.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let (mut terminate, mut interrupt) = {
        let _entered = runtime.enter();
        let handler = |kind| signal(kind).map_err(|error| error.to_string());
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?)
    };
    let emulator = emulator::Emulator::try_start(config).map_err(|error| error.to_string())?;

    let url = emulator.url();
    let link = emulator.share_link();
    println!("share link   {link}");
    if let Some(code) = code {
        println!("access code  {code}");
    }
    println!("endpoint     {url}");
    println!("objects      {}", emulator.object_url());
    if let (Some(path), Some(pem)) = (&ca_out, emulator.ca_pem()) {
        std::fs::write(path, pem).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("trust        {}", path.display());
    }
    println!("webdav       {}", emulator.dav_url());
    println!("control      {url}/emulator   (curl it for help)");
    println!("try          koofs mount --endpoint {url} --agent {agent} '{link}' /mnt/somewhere");
    let knobs = emulator.current_knobs();
    println!("user id      {}", knobs.user_id);
    println!("account      {} with password {:?}", knobs.account, knobs.password);
    println!("app          {} with secret {:?}", knobs.app_id, knobs.app_secret);
    println!("token        {}", emulator.mint_token());
    println!("own space    {}", emulator::spaces::OWN);
    println!("ready {url}");
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    if let Some(path) = ready_file {
        // Written aside and renamed: who waits for the file never reads half of it.
        let aside = path.with_extension("tmp");
        std::fs::write(&aside, format!("{url}\n"))
            .and_then(|()| std::fs::rename(&aside, &path))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    Ok(())
}
