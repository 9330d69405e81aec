//! `bptt trace`: records some steps of a training as a timeline of host and device.

use std::path::PathBuf;

use bptt::error::Result;
use bptt::train::{observe, write_file};
use serde_json::json;

use super::experiment::{ExperimentArgs, Prepared, ending};
use super::interruption;
use super::numbers::{at_least_1, whole};
use super::output::Output;

/// Options of `bptt trace`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Steps to record
    #[arg(id = "record", long = "steps", value_name = "N", default_value_t = 3, value_parser = at_least_1::<u64>, help_heading = "Run")]
    steps: u64,
    /// Steps before them, in which kernels are compiled and memory is allocated
    #[arg(id = "before", long = "warmup", value_name = "N", default_value_t = 5, value_parser = whole::<u64>, help_heading = "Run")]
    warmup: u64,
    /// The file, whose name ends with .json; ui.perfetto.dev and chrome://tracing open it
    #[arg(long, value_name = "FILE", default_value = "trace.json", help_heading = "Run")]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long, help_heading = "Run")]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    ending(&args.out, &["json"])?;
    let Prepared { device, config, mut task } = args.experiment.prepare(output)?;
    let stop = interruption();
    let observed = observe(&config.train, &mut *task, args.warmup, args.steps, &stop)?;
    let (experiment, profile) = (config.experiment.name(), &observed.profile);
    let about = [
        ("experiment", experiment.to_string()),
        ("settings", config.to_toml()?),
        ("steps", format!("{} after {}", args.steps, args.warmup)),
    ];
    let trace = profile.trace(&device, &about);
    write_file(&args.out, trace.to_string().as_bytes())?;

    let path = args.out.display().to_string();
    let [before, after] = observed.stats;
    let (launches, submits) = (after.dispatches - before.dispatches, after.submits - before.submits);
    let (steps, seconds) = (args.steps, profile.kernels.iter().map(|time| time.seconds).sum::<f64>());
    output.line(format!(
        "steps of {experiment}: {steps}, on {}; launches: {launches}, submissions: {submits}, in kernels: {:.3} ms",
        device.info(),
        seconds * 1e3
    ))?;
    output.line(format!("{path}: open it in ui.perfetto.dev or chrome://tracing"))?;
    output.event(&json!({
        "event": "done", "out": path, "device": device.info().to_string(), "steps": steps, "launches": launches,
        "submits": submits, "kernel_ms": seconds * 1e3, "losses": observed.losses,
    }))
}
