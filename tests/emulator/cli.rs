//! What the user typed: the program's command line, and how it becomes an [`EmulatorConfig`].

use crate::emulator::faults::FAULT_HELP;
use crate::emulator::knobs::{KNOB_HELP, parse_bytes, parse_duration};
use crate::emulator::spaces::{self, Space, SpaceKind, Spaces};
use crate::emulator::{EmulatorConfig, Fault, Knobs, Tree};
use clap::Parser;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Serves a directory as a KooDrive public share, with an object store, on this machine.
///
/// A stand-in for a service one cannot reach: it speaks the documented API, issues presigned links, and is as strict
/// about both as the real one may be. Links live and die, pages come short, and things go wrong as often as you ask.
#[derive(Debug, Parser)]
#[command(name = "emulator", after_long_help = after_help())]
pub(crate) struct Cli {
    /// The directory to serve, as it is at the time of each request; symlinks and special files are left out.
    #[arg(
        required_unless_present_any = ["synthetic", "list_knobs", "space", "synthetic_space", "second_space", "department", "group", "shared_folder"],
        conflicts_with = "synthetic"
    )]
    directory: Option<PathBuf>,

    /// Serve files that exist nowhere: FOLDER=COUNTxSIZE, several separated by commas.
    ///
    /// `big=1x8G,many=20000x4K` is a folder with one file of 8 GiB and one with 20,000 of 4 KiB. Their bytes are a
    /// function of the file and the offset; `GET /emulator/expected` tells them.
    #[arg(long, value_name = "SPEC")]
    synthetic: Option<String>,

    /// Where the API listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Where the object store listens; a free port of the same address if not given.
    #[arg(long, value_name = "ADDR")]
    listen_objects: Option<SocketAddr>,

    /// Listen on an address that others can reach. This is a test server: it hands out everything, keys included.
    #[arg(long)]
    i_know_this_is_a_test_server: bool,

    /// Speak TLS, with a certificate authority made for this run; see --ca-out.
    #[arg(long)]
    tls: bool,

    /// Write the certificate to trust to this file, PEM.
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) ca_out: Option<PathBuf>,

    /// The host name that links and the certificate carry instead of the address.
    #[arg(long, value_name = "NAME")]
    advertise: Option<String>,

    /// Short code of the share (the last part of its link).
    #[arg(long, value_name = "CODE")]
    share_code: Option<String>,

    /// The share wants this access code.
    #[arg(long, value_name = "CODE", help_heading = "The share")]
    access_code: Option<String>,

    /// X-Hw-Agentname must be this; without the option any name will do, but there must be one.
    #[arg(long, value_name = "NAME", help_heading = "The share")]
    agent: Option<String>,

    /// Serve this directory as the user's own space.
    #[arg(long, value_name = "DIR", help_heading = "The spaces")]
    space: Option<PathBuf>,

    /// Serve files that exist nowhere as the user's own space, as --synthetic does for the share.
    #[arg(long, value_name = "SPEC", conflicts_with = "space", help_heading = "The spaces")]
    synthetic_space: Option<String>,

    /// Serve this directory as the user's second space.
    #[arg(long, value_name = "DIR", help_heading = "The spaces")]
    second_space: Option<PathBuf>,

    /// Serve this directory as the department's space.
    #[arg(long, value_name = "DIR", help_heading = "The spaces")]
    department: Option<PathBuf>,

    /// Serve this directory as the group's space.
    #[arg(long, value_name = "DIR", help_heading = "The spaces")]
    group: Option<PathBuf>,

    /// Serve this directory as a folder that somebody shares with the user.
    #[arg(long, value_name = "DIR", help_heading = "The spaces")]
    shared_folder: Option<PathBuf>,

    /// Time before an API answer, like 20ms.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "The line")]
    api_latency: Option<Duration>,

    /// Time before the first byte of an object, like 15ms.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "The line")]
    object_latency: Option<Duration>,

    /// Bytes per second of objects on each connection, like 20M.
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, help_heading = "The line")]
    bandwidth: Option<u64>,

    /// Bytes per second of objects over all connections together, like 100M.
    #[arg(long, value_name = "RATE", value_parser = parse_bytes, help_heading = "The line")]
    total_bandwidth: Option<u64>,

    /// How long links are good for, like 60s.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "The service")]
    link_lifetime: Option<Duration>,

    /// The most entries of a page.
    #[arg(long, value_name = "N", help_heading = "The service")]
    page_cap: Option<u32>,

    /// Sets any knob (may be given again); --list-knobs shows them.
    #[arg(long = "set", value_name = "KNOB=VALUE", help_heading = "The service")]
    sets: Vec<String>,

    /// Something that goes wrong (may be given again): PLACE:KIND[,every=N][,limit=N]…
    #[arg(long = "fault", value_name = "FAULT", help_heading = "The service")]
    faults: Vec<Fault>,

    /// Show all knobs with their defaults, and exit.
    #[arg(long)]
    pub(crate) list_knobs: bool,

    /// Write the endpoint's URL to this file once the emulator is ready.
    #[arg(long, value_name = "PATH")]
    pub(crate) print_ready_file: Option<PathBuf>,

    /// Threads that answer; the number of processors if not given.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl Cli {
    /// What the emulator is to be started with.
    ///
    /// # Errors
    /// Says what cannot be done, and what can.
    pub(crate) fn config(self) -> Result<EmulatorConfig, String> {
        let listen_objects = self.listen_objects.unwrap_or_else(|| SocketAddr::new(self.listen.ip(), 0));
        for address in [self.listen, listen_objects] {
            if !address.ip().is_loopback() && !self.i_know_this_is_a_test_server {
                return Err(format!(
                    "{address} can be reached by others; this is a test server, so say --i-know-this-is-a-test-server or listen on {}",
                    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
                ));
            }
            if address.ip().is_unspecified() {
                return Err(format!("{address}: links name their host, so listen on an address that clients can use"));
            }
        }
        let tree = match (&self.directory, &self.synthetic) {
            (Some(directory), _) => {
                Tree::directory(directory).map_err(|error| format!("{}: {error}", directory.display()))?
            }
            (None, Some(spec)) => Tree::from_spec(spec)?,
            // The command line makes sure that a space is served.
            (None, None) => Tree::synthetic(),
        };
        let spaces = self.spaces()?;
        let mut changes = Map::new();
        for set in &self.sets {
            let (name, text) = set.split_once('=').ok_or_else(|| format!("--set {set}: write KNOB=VALUE"))?;
            // Numbers, true, null and quoted text as JSON; anything else is text without quotes.
            let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            changes.insert(name.to_owned(), value);
        }
        if let Some(bandwidth) = self.bandwidth {
            // With the others: some of them need one.
            changes.insert("bandwidth".to_owned(), json!(bandwidth));
        }
        let mut knobs = Knobs::default().with_json(&Value::Object(changes))?;
        knobs.agent = self.agent.or(knobs.agent);
        knobs.access_code = self.access_code.or(knobs.access_code);
        knobs.api_latency = self.api_latency.unwrap_or(knobs.api_latency);
        knobs.object_latency = self.object_latency.unwrap_or(knobs.object_latency);
        knobs.total_bandwidth = self.total_bandwidth.unwrap_or(knobs.total_bandwidth);
        knobs.link_lifetime = self.link_lifetime.unwrap_or(knobs.link_lifetime);
        knobs.page_cap = self.page_cap.unwrap_or(knobs.page_cap);
        let defaults = EmulatorConfig::default();
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(EmulatorConfig {
            tree,
            spaces,
            knobs,
            faults: self.faults,
            share_code: self.share_code.unwrap_or(defaults.share_code),
            share_id: defaults.share_id,
            listen: self.listen,
            listen_objects,
            threads: self.threads.unwrap_or(processors),
            tls: self.tls,
            advertise: self.advertise,
        })
    }
}

impl Cli {
    /// What is behind the login.
    fn spaces(&self) -> Result<Spaces, String> {
        let mut spaces = Spaces::default();
        for (directory, container) in [
            (&self.space, spaces::OWN),
            (&self.second_space, spaces::SECOND),
            (&self.department, spaces::DEPARTMENT),
            (&self.group, spaces::GROUP),
        ] {
            if let Some(directory) = directory {
                spaces.serve(container, directory).map_err(|error| format!("{}: {error}", directory.display()))?;
            }
        }
        if let Some(spec) = &self.synthetic_space {
            spaces.all[0] = Space::new(
                SpaceKind::Individual,
                spaces::OWN,
                spaces::USER_ID,
                "",
                Tree::from_spec_of(spaces::OWN, spec)?,
            );
        }
        if let Some(directory) = &self.shared_folder {
            // What is shared is a folder in a space: its parent directory is that space.
            let directory = directory.canonicalize().map_err(|error| format!("{}: {error}", directory.display()))?;
            let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
                return Err(format!("{}: has no parent directory", directory.display()));
            };
            spaces.serve(spaces::FAMILY, parent).map_err(|error| format!("{}: {error}", parent.display()))?;
            let name = name.to_string_lossy().into_owned();
            spaces.shared_folders[0].path.clone_from(&name);
            spaces.shared_folders[0].name = name;
        }
        Ok(spaces)
    }
}

/// All knobs, one a line, with defaults.
pub(crate) fn knob_list() -> String {
    let defaults = serde_json::to_value(Knobs::default()).unwrap_or_default();
    let mut text = String::new();
    for (name, help) in KNOB_HELP {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<24} {:<16} {help}", defaults[name].to_string());
    }
    text.push_str("\nDurations are seconds or text like 20ms, sizes are bytes or text like 20M, lists are JSON.\n");
    text
}

/// Columns that the words about a fault may take beside its name.
const HELP_COLUMNS: usize = 68;

fn after_help() -> String {
    let mut text = "Faults:\n  PLACE is api, api/ENDPOINT (see hold in --list-knobs), object, or object/FILE.\n  \
                    Options: every=N, probability=P, seed=N, limit=N, skip=N, after=BYTES, retry_after=SECONDS|none.\n\n"
        .to_owned();
    for (name, place, help) in FAULT_HELP {
        let place = if *place == "both" { "any" } else { place };
        let _ = write!(text, "  {name:<20} {place:<7}");
        let mut column = 0;
        for word in help.split_whitespace() {
            if column + word.len() > HELP_COLUMNS {
                let _ = write!(text, "\n{:29}", "");
                column = 0;
            } else if column > 0 {
                text.push(' ');
            }
            text.push_str(word);
            column += word.len() + 1;
        }
        text.push('\n');
    }
    text.push_str(
        "\nExamples:\n  emulator ~/Pictures\n  emulator --synthetic big=1x8G,many=20000x4K --api-latency 20ms --bandwidth 20M\n  \
         emulator . --access-code a1B2c3D4 --link-lifetime 10s --fault object:stall,every=7,limit=3\n  \
         emulator . --set last_cursor=cycle --set empty_pages=3 --set download_links=map_of_strings\n  \
         emulator --space ~/Documents --set token_lifetime=3s --set refresh_nesting=alternate\n\n\
         RUST_LOG=info shows faults and refusals, RUST_LOG=debug connections too.\n",
    );
    text
}
