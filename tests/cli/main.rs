//! The command `bptt` as its users meet it: a process with arguments, files, signals and exit codes.
#![cfg(feature = "cli")]

mod bad_input;
mod bench;
mod conform;
mod contract;
mod devices;
mod harness;
mod learning;
mod model_files;
mod report;
mod runs;
#[cfg(unix)]
mod streams;
mod training;
mod tune;
