//! The command `bptt` as its users meet it: a process with arguments, files, signals and exit codes.
#![cfg(feature = "cli")]

mod bad_input;
mod bench;
mod check;
mod conform;
mod contract;
mod convert;
mod determinism;
mod devices;
mod explain;
#[path = "../common/files.rs"]
mod files;
mod foreign_runs;
mod graph;
mod harness;
mod learning;
mod model_files;
#[cfg(unix)]
mod output_files;
mod report;
mod run_files;
mod runs;
mod settings;
#[cfg(unix)]
mod streams;
mod trace;
mod training;
mod tune;
