//! One binary for all tests that stand outside the crate. Each module is named after what it holds to its laws.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs, unreachable_pub)]

#[path = "../emulator/mod.rs"]
mod emulator;

mod advice_laws;
mod api_fact_laws;
mod blob_disk_laws;
mod blob_help;
mod blob_laws;
mod call_laws;
mod circles;
mod citation_laws;
mod cli_laws;
mod config_laws;
mod content_laws;
mod demo_laws;
mod emulator_disk_laws;
mod emulator_fault_laws;
mod emulator_laws;
mod emulator_line_laws;
mod emulator_listing_laws;
mod emulator_login_laws;
mod emulator_object_laws;
mod emulator_space_laws;
mod entry_laws;
mod example_laws;
mod fakes;
mod fs_laws;
mod fs_model;
mod gzip_laws;
mod helper_laws;
mod kept_laws;
mod layers;
mod line_laws;
mod link_laws;
mod listing_laws;
mod log_keeper;
mod log_laws;
mod login;
mod mapping;
mod mount_bench;
mod mount_change_laws;
mod mount_child;
mod mount_deadline_laws;
mod mount_laws;
mod mount_read_laws;
mod mount_refresh_laws;
mod mount_walk_laws;
mod mounted;
mod network;
mod object_client;
mod privacy_laws;
mod readme_laws;
mod refusals;
mod scripted_server;
mod session_laws;
mod share_answers;
mod share_client;
mod share_refusals;
#[path = "../soak/mod.rs"]
mod soak;
mod soak_laws;
mod space_client;
mod store_laws;
mod user_laws;
mod walk_laws;
