//! `bptt check`: checks what a device computes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bptt::device::{Device, Sabotage, Wrong};
use bptt::error::{Error, Result};
use bptt::kernel::Limits;
use bptt::parameters::Precision;
use bptt::train::is_stream;
use bptt::verify::TABLE;
use bptt::verify::suite::{Ending, Finding, Item, OFF, Options, Suite, named, write_report};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;
use super::{device, interruption, sentence};

/// Options of `bptt check`.
#[derive(clap::Args)]
pub struct Args {
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Check more cases of everything: takes minutes, not seconds
    #[arg(long)]
    full: bool,
    /// Only these checks, by name or by how the name begins
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    only: Vec<String>,
    /// A JSON file for all that is found, to attach to a bug report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Make a kernel wrong on purpose, to see that the check finds it; by name or by how the name begins
    #[arg(long, value_name = "NAME")]
    sabotage: Option<String>,
}

/// Where an item fails in several ways, the most ways of which the first failure is shown.
const SHOWN: usize = 3;

/// Runs the checks. The exit code is 1 where something is wrong with the device.
pub fn run(args: Args) -> Result<ExitCode> {
    let output = Output::new(false);
    let items = chosen(&args.only)?;
    let kernels: Vec<_> = TABLE.iter().map(|row| row.kernel.name).collect();
    let wrong = args.sabotage.as_deref().map(|asked| named(asked, &kernels)).transpose()?;
    if let (Some(wrong), Some(asked)) = (&wrong, &args.sabotage)
        && items.iter().all(|item| matches!(item, Item::Kernel(row) if !wrong.contains(&row.kernel.name)))
    {
        let only = args.only.join(",");
        let message = format!("--sabotage {asked} makes nothing wrong that --only {only} checks");
        return Err(Error::argument("check", message));
    }
    let sabotage = wrong.clone().map(|kernels| Sabotage { kernels, wrong: Wrong::Off(OFF) });
    let name = args.device.clone();
    let mut suite = Suite::new(move || device(&name), Options { full: args.full, sabotage })?;
    let mut findings = Vec::new();
    let report = |suite: &Suite, findings: &[Finding], ending| match (&args.json, ending) {
        (Some(file), Ending::Checking(_)) if is_stream(file) => Ok(()),
        (Some(file), _) => write_report(file, suite, findings, ending),
        (None, _) => Ok(()),
    };
    // A file that cannot be written is an error now, not after the checks.
    report(&suite, &findings, Ending::Checking(items[0].name()))?;
    output.line(format!("checking {}", suite.device().info()))?;
    output.line(offers(suite.device())?)?;
    if let Some(wrong) = &wrong {
        output.line(format!("made wrong on purpose: {}", wrong.join(", ")))?;
    }
    output.line("The column error is the largest that was found, as a share of what a correct device may be off by.\n")?;
    output.line(format!("{:24} {:>5} {:>6} {:>8}  verdict", "kernel", "ways", "cases", "error"))?;

    let start = Instant::now();
    let stop = interruption();
    let bar = ProgressBar::with_draw_target(Some(items.len() as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len}  {msg}");
    bar.set_style(style.expect("the template is well formed"));
    for item in items {
        bar.set_message(item.name());
        report(&suite, &findings, Ending::Checking(item.name()))?;
        let checked = if stop() { Err(Error::Interrupted) } else { suite.check(item) };
        match checked {
            Ok(finding) => {
                bar.suspend(|| lines(&finding).into_iter().try_for_each(|line| output.line(line)))?;
                findings.push(finding);
            }
            Err(error) => {
                bar.finish_and_clear();
                report(
                    &suite,
                    &findings,
                    Ending::Stopped(&format!("{}: {}", item.name(), sentence(&error))),
                )?;
                return Err(error);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    report(&suite, &findings, Ending::Done)?;
    let failed: Vec<_> = findings.iter().filter(|finding| !finding.passed()).map(|f| f.name).collect();
    let (info, seconds) = (suite.device().info(), start.elapsed().as_secs_f64());
    if failed.is_empty() {
        let what = if findings.len() == 1 {
            "the check passes"
        } else {
            &format!("all {} checks pass", findings.len())
        };
        output.line(format!("\n{what} on {}, {seconds:.1} s", info.name))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (count, all, names) = (failed.len(), findings.len(), failed.join(", "));
    output.line(format!("\n{count} of {all} checks FAIL on {}, {seconds:.1} s: {names}", info.name))?;
    if wrong.is_some() {
        output.line("What was made wrong on purpose was found.")?;
        return Ok(ExitCode::from(1));
    }
    output.line(match &args.json {
        Some(file) => format!(
            "What uses them gives wrong results on this device. Please report it, with the file {} attached.",
            file.display()
        ),
        None => "What uses them gives wrong results on this device. Please report it, with the file attached that \
                 `bptt check --full --json FILE` writes."
            .into(),
    })?;
    if info.backend != "cpu" {
        output.line("Until it is mended, --device cpu does without it.")?;
    }
    Ok(ExitCode::from(1))
}

/// The items that are asked for, in the order of the table.
fn chosen(only: &[String]) -> Result<Vec<Item>> {
    let names: Vec<_> = Item::all().map(Item::name).collect();
    let mut wanted = Vec::new();
    for asked in only {
        wanted.extend(named(asked, &names)?);
    }
    Ok(Item::all().filter(|item| only.is_empty() || wanted.contains(&item.name())).collect())
}

/// What a device offers to kernels.
fn offers(device: &Device) -> Result<String> {
    let Limits { threads, memory, subgroup, cooperative, binding, .. } = *device.limits();
    if device.info().backend == "cpu" {
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        return Ok(format!("bptt's own code for the CPU, {arch} {os}"));
    }
    let kind = if device.info().software { "made of software" } else { "a GPU" };
    let subgroups = match subgroup {
        0 => "no subgroups of one size".into(),
        subgroup => format!("subgroups of {subgroup}"),
    };
    let f16 = if device.native_f16()? { "native" } else { "packed" };
    let matrices = match device.cooperative_matrices() {
        _ if !cooperative => String::new(),
        Ok(()) => "; cooperative matrices".into(),
        Err(reason) => format!("; no cooperative matrices: {reason}"),
    };
    Ok(format!(
        "{kind}; in a workgroup {threads} threads and {memory} bytes; {subgroups}; buffers of {} MB; f16 {f16}{matrices}",
        binding >> 20
    ))
}

/// A line of the table, and below it what failed.
fn lines(finding: &Finding) -> Vec<String> {
    let verdict = if finding.passed() { "pass" } else { "FAIL" };
    let (name, ways, cases) = (finding.name, finding.trials.len(), finding.cases());
    let worst = match finding.worst() {
        worst if worst < 1e4 => format!("{worst:.2}"),
        worst => format!("{worst:.0e}"),
    };
    let mut lines = vec![format!("{name:24} {ways:>5} {cases:>6} {worst:>8}  {verdict}")];
    let mut failed = finding.trials.iter().filter_map(|trial| Some((trial, trial.failure.as_ref()?)));
    for (trial, failure) in failed.by_ref().take(SHOWN) {
        let of = format!("{} of {} cases", trial.failed, trial.cases);
        let precision = match trial.precision {
            Precision::F32 => String::new(),
            precision => format!(" in {}", precision.name()),
        };
        let (on, seed, message) = (trial.on, failure.seed, &failure.message);
        lines.push(format!("    {on}{precision}: {of} fail; seed {seed}: {message}"));
    }
    match failed.count() {
        0 => {}
        more => lines.push(format!("    and {more} more of {ways} ways")),
    }
    lines
}
