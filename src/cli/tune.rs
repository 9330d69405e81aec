//! `bptt tune`: finds out how kernels run fastest on a GPU, by measuring training steps.

use std::path::PathBuf;

use bptt::bench::{Case, Compared, Set, task_case, training, tune};
use bptt::error::{Error, Result};
use bptt::plans::save_plans;
use bptt::train::ConfigFile;
use serde_json::json;

use super::numbers::positive;
use super::output::Output;
use super::train::source;
use super::{device, interruption, plans_file};

/// Options of `bptt tune`.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the run whose training step is measured [default: the steps of `bptt bench train`]
    run: Option<PathBuf>,
    /// gpu, an index, part of a name; on the CPU there is nothing to tune
    #[arg(long, value_name = "NAME", default_value = "gpu")]
    device: String,
    /// Only these steps of `bptt bench train`
    #[arg(long, value_name = "CASE,..", value_delimiter = ',', conflicts_with = "run")]
    only: Vec<String>,
    /// Seconds to compare two ways to run a kernel
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = positive)]
    seconds: f64,
    /// The file for the plans [default: the one that every command reads]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print a JSON object for each comparison
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    let device = device(&args.device)?;
    let Some(file) = args.out.or_else(plans_file) else {
        return Err(Error::argument("tune", "there is no folder for settings: name a file with --out"));
    };
    let cases: Vec<Case> = match &args.run {
        Some(path) => {
            let ConfigFile { mut config, .. } = ConfigFile::read(&path.join("config.toml"))?;
            let source = source(&mut config, [true; 2], &mut Vec::new())?;
            vec![task_case(path.display().to_string(), config, source)]
        }
        None => training(Set::Peers)
            .into_iter()
            .filter(|case| args.only.is_empty() || args.only.contains(&case.name))
            .collect(),
    };
    if let Some(unknown) = args.only.iter().find(|name| cases.iter().all(|case| case.name != **name)) {
        return Err(Error::argument(
            "tune",
            format!("there is no training step {unknown}: see bptt bench train"),
        ));
    }
    output.line(format!("tuning for {}", device.info()))?;
    let stop = interruption();
    let mut count = 0;
    for case in cases {
        output.line(format!("{} ({})", case.name, case.about))?;
        let name = &case.name;
        let found = tune(&device, &case, args.seconds, &mut |compared: &Compared| {
            let Compared { site, old, new, ratio, taken } = compared;
            let mark = if *taken { ", taken" } else { "" };
            output.line(format!("  {site}: {new} takes {ratio:.3} of the time of {old}{mark}"))?;
            output.event(&json!({
                "event": "compared", "case": name, "site": site, "old": old, "new": new, "ratio": ratio,
                "taken": taken,
            }))?;
            if stop() { Err(Error::Interrupted) } else { Ok(()) }
        })?;
        // Written after each step, so that what was found is kept whatever comes later.
        if !found.is_empty() {
            save_plans(&file, device.info(), &found)?;
        }
        count += found.len();
    }
    let path = file.display();
    match count {
        0 => output.line("nothing is faster than what the cost models choose")?,
        count => {
            output.line(format!("{count} better plans are in {path}: every command takes them from there"))?
        }
    }
    output.event(&json!({
        "event": "done", "device": device.info().to_string(), "plans": count, "out": path.to_string(),
    }))
}
