//! Writes the manual pages and shell completions of koofs to a directory: `cargo run --example generate -- DIR`.

#![allow(clippy::unwrap_used, missing_docs)]

mod manual;

fn main() {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("generate: say where to: generate DIR");
        std::process::exit(2);
    };
    manual::generate(std::path::Path::new(&directory)).unwrap();
}
