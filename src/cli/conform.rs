//! `bptt conform`: compares with what PyTorch computed, case by case.

use std::path::PathBuf;
use std::process::ExitCode;

use bptt::error::{Error, Result};
use bptt::parameters::Precision;
use bptt::verify::conform;
use serde_json::{Map, Value, json};

use super::output::Output;
use super::{device, interruption, precision, sentence};

/// Where a case disagrees, the most results that are named.
const NAMED: usize = 4;

/// Options of `bptt conform`.
#[derive(clap::Args)]
pub struct Args {
    /// A folder with a folder for each case: case.json and tensors.safetensors
    cases: PathBuf,
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// f32, f16 or bf16: how models store numbers
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = precision(), hide_possible_values = true)]
    precision: Precision,
    /// A folder for what was computed: a file <case>.safetensors for each case
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print a JSON object for each case
    #[arg(long)]
    json: bool,
}

/// Runs the cases. The exit code is 1 where one disagrees or cannot be run.
pub fn run(args: Args) -> Result<ExitCode> {
    let output = Output::new(args.json);
    let cases = conform::cases(&args.cases)?;
    let device = device(&args.device)?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).map_err(|error| Error::data(out, format!("cannot be made: {error}")))?;
    }
    let stop = interruption();
    let (mut passed, mut failed) = (0, 0);
    // For each kind of result, the largest share of its tolerance, and the case that has it.
    let mut kinds: Vec<(&str, f64, String)> = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let judged = conform::run(&device, &case, args.precision)
            .and_then(|results| Ok((results.verdict()?, results)));
        let (worst, share, reason) = match &judged {
            Ok((verdict, results)) => {
                if let Some(out) = &args.out {
                    results.write(out, &name)?;
                }
                for (kind, share) in &verdict.kinds {
                    match kinds.iter_mut().find(|(known, ..)| known == kind) {
                        Some((_, most, _)) if share <= most => {}
                        Some(known) => *known = (*kind, *share, name.clone()),
                        None => kinds.push((*kind, *share, name.clone())),
                    }
                }
                let named = &verdict.disagreements[..verdict.disagreements.len().min(NAMED)];
                let reason = (!verdict.passed()).then(|| named.join("; "));
                (Some(verdict.worst.as_str()), Some(verdict.share), reason)
            }
            Err(error) => (None, None, Some(sentence(error))),
        };
        let good = reason.is_none();
        *(if good { &mut passed } else { &mut failed }) += 1;
        let verdict = if good { "pass" } else { "FAIL" };
        let found = match (worst, share) {
            (Some(worst), Some(share)) => format!("  {worst} at {share:.3} of its limit"),
            _ => String::new(),
        };
        let why = reason.as_ref().map(|reason| format!("  {reason}")).unwrap_or_default();
        output.line(format!("{name}  {verdict}{found}{why}"))?;
        output.event(&json!({
            "event": "case", "name": name, "passed": good, "worst": worst, "share": share, "reason": reason,
        }))?;
        if stop() {
            return Err(Error::Interrupted);
        }
    }
    if !kinds.is_empty() {
        output.line("\nThe largest error of each kind of result, as a share of its limit:")?;
    }
    for (kind, share, name) in &kinds {
        output.line(format!("{kind:10} {share:8.3}  {name}"))?;
    }
    output.line(format!("{passed} passed, {failed} failed"))?;
    let worst: Map<String, Value> =
        kinds.into_iter().map(|(kind, share, _)| (kind.into(), json!(share))).collect();
    output.event(&json!({"event": "done", "passed": passed, "failed": failed, "worst": worst}))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
