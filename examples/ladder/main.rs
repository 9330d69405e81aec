//! Two ladders from the most naive kernel to the one in use: of matrix products, and of the LSTM layer. Each rung is a short
//! shader that is run, timed and checked. `README.md` beside this file explains every rung.
//!
//!     cargo run --release --example ladder -- [matmul|lstm] [--device gpu] [--size 512,512,512]
//!
//! The exit code is 1 where a rung computes something wrong.

mod lstm;
mod matmul;
mod rung;

use std::process::ExitCode;

use bptt::bench::Protocol;
use bptt::kernel::{Limits, Processor};
use bptt::prelude::*;
use clap::{Parser, ValueEnum};

use rung::{Ladder, Outcome, climb, sabotaged};

/// Kernels from the most naive to the one in use, timed and checked.
#[derive(Parser)]
struct Options {
    /// Which ladder; both if none is named
    ladder: Option<Which>,
    /// auto, cpu, gpu (also one made of software), or part of an adapter's name
    #[arg(long, default_value = "auto")]
    device: String,
    /// M,K,N of a product, multiples of 4; T,B,I,H of a layer: steps, batch, input, hidden
    #[arg(long, value_delimiter = ',', requires = "ladder")]
    size: Option<Vec<usize>>,
    /// How long to measure a rung; 0 for a few runs only
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Make one number of this rung wrong by a hundredth (of `all` of them), to see that it is found
    #[arg(long, value_name = "RUNG")]
    sabotage: Option<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Which {
    Matmul,
    Lstm,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Climbs the ladders. Returns whether every rung is right.
fn run(options: &Options) -> Result<bool> {
    if !(0.0..=3600.0).contains(&options.seconds) {
        let message = format!("--seconds {}: takes 0 to 3600", options.seconds);
        return Err(Error::argument("ladder", message));
    }
    let device = Device::named(&options.device)?;
    println!("device: {}", device.info());
    let mut ladders = Vec::new();
    for which in [Which::Matmul, Which::Lstm] {
        if options.ladder.is_none_or(|only| only == which) {
            let size = options.size.as_deref();
            ladders.push(match which {
                Which::Matmul => matmul::ladder(size, device.limits())?,
                Which::Lstm => lstm::ladder(size, device.limits())?,
            });
        }
    }
    let wrong = options.sabotage.as_deref();
    let names: Vec<&str> = ladders.iter().flat_map(|ladder| &ladder.rungs).map(|rung| rung.name).collect();
    if let Some(name) = wrong.filter(|name| *name != "all" && !names.contains(name)) {
        let message = format!("--sabotage {name}: the rungs are {}", names.join(", "));
        return Err(Error::argument("ladder", message));
    }
    let mut right = true;
    for ladder in ladders {
        let device = |rung: &rung::Rung| match wrong.is_some_and(|wrong| wrong == "all" || wrong == rung.name)
        {
            true => sabotaged(&device, rung),
            false => device.clone(),
        };
        right &= show(ladder, device, options.seconds)?;
    }
    println!("\n{}", remark(device.limits()));
    Ok(right)
}

/// Runs, checks and times every rung of a ladder, and prints a line for each. Returns whether all are right.
fn show(ladder: Ladder, device: impl Fn(&rung::Rung) -> Device, seconds: f64) -> Result<bool> {
    let Ladder { title, traffic, operations, rungs, reference } = ladder;
    println!("\n{title}");
    println!(
        "{:<14} {:<48} {:>8} {traffic:>9} {:>10} {:>8} {:>6}  {:>9}",
        "rung", "what changes", "launches", "time", "GFLOP/s", "faster", "error"
    );
    let protocol = Protocol { seconds, ..Protocol::default() };
    let (mut right, mut before, mut plans) = (true, None, Vec::new());
    for rung in rungs {
        let (name, change) = (rung.name, rung.change);
        let Outcome { launches, bytes, ms, share, plans: chosen } =
            climb(&device(&rung), rung, &reference, &protocol)?;
        let bytes = bytes.map_or("-".into(), |bytes| format!("{:.1} MB", bytes / 1e6));
        let faster = before.map_or("-".into(), |before: f64| format!("{:.2}x", before / ms));
        let verdict = if share <= 1.0 { "right" } else { "WRONG" };
        println!(
            "{name:<14} {change:<48} {launches:>8} {bytes:>9} {ms:>7.3} ms {:>8.2} {faster:>6}  {share:>9.1e} {verdict}",
            operations / ms / 1e6
        );
        right &= share <= 1.0;
        before = Some(ms);
        plans.extend(chosen);
    }
    println!(
        "The package's plan here: {}.",
        if plans.is_empty() { "its twins".into() } else { plans.join("; ") }
    );
    Ok(right)
}

/// What a reader should know about times on this device.
fn remark(limits: &Limits) -> &'static str {
    match limits.processor {
        Processor::Cpu => {
            "On the CPU device no shader runs: a rung is its twin, one plain function for all that compute the same, and the \
             times say nothing about GPUs. --device gpu runs the shaders, on a software adapter too."
        }
        Processor::Software => {
            "This adapter is software: workgroup memory is as far away as any other, neighbouring threads are lanes of a \
             vector, a barrier costs microseconds. Rungs that pay on a GPU may be slower here: see examples/ladder/README.md."
        }
        Processor::Gpu => "Times are from one wait for the device to the next, medians of many runs.",
    }
}
