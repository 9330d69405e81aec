//! `bptt tune`: finds out how kernels run fastest on a GPU, by measuring training steps.

use std::path::{Path, PathBuf};

use bptt::bench::{Case, Compared, Set, task_case, training, tune};
use bptt::error::{Error, Result};
use bptt::kernel::Processor;
use bptt::plans::save_plans;
use bptt::train::{ConfigFile, check_writable, is_stream};
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
    if device.limits().processor == Processor::Cpu {
        output.line("there is nothing to tune on the CPU: it has one way to run each kernel")?;
        return output.event(&json!({
            "event": "done", "device": device.info().to_string(), "plans": 0, "out": null,
        }));
    }
    let read = plans_file();
    let Some(file) = args.out.clone().or_else(|| read.clone()) else {
        return Err(Error::argument("tune", "there is no folder for settings: name a file with --out"));
    };
    if let Some(file) = &args.out {
        if is_stream(file) {
            let message = format!("--out {}: plans are added to those of a file: name one", file.display());
            return Err(Error::argument("tune", message));
        }
        check_writable(file)?;
    }
    let cases: Vec<Case> = match &args.run {
        Some(path) => {
            let ConfigFile { mut config, .. } = ConfigFile::of_run(path)?;
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
    output.line(found(count, &file, read.as_deref()))?;
    output.event(&json!({
        "event": "done", "device": device.info().to_string(), "plans": count, "out": file.display().to_string(),
    }))
}

/// How many plans were found, where they are, and who takes them; `read` is the file that every command reads.
fn found(count: usize, file: &Path, read: Option<&Path>) -> String {
    let path = file.display();
    let (plans, them) = if count == 1 { ("plan is", "it") } else { ("plans are", "them") };
    match count {
        0 => "nothing is faster than what is chosen now: no file was written".into(),
        _ if read == Some(file) => {
            format!("{count} better {plans} in {path}: every command takes {them} from there")
        }
        _ => format!(
            "{count} better {plans} in {path}: with BPTT_PLANS={path} every command takes {them} from there"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_the_file_is_true() {
        let [p, q] = ["p.json", "q.json"].map(Path::new);
        assert!(found(0, p, Some(p)).ends_with("no file was written"));
        assert_eq!(found(1, p, Some(p)), "1 better plan is in p.json: every command takes it from there");
        let other =
            "2 better plans are in p.json: with BPTT_PLANS=p.json every command takes them from there";
        assert_eq!(found(2, p, Some(q)), other);
        assert_eq!(found(2, p, None), other);
    }
}
