//! The suite: laws of the whole, in one binary.

#[path = "../emulator/mod.rs"]
mod emulator;

mod emulator_laws;
