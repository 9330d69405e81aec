//! `bptt bench`: measures training steps, kernels and launches.

use std::path::PathBuf;

use bptt::bench::{
    Case, Earlier, Measured, Protocol, Roofline, Set, dispatch, kernels, measure, training, write_report,
};
use bptt::error::{Error, Result};
use bptt::parameters::Precision;
use bptt::train::{is_stream, readable};

use super::numbers::positive;
use super::output::Output;
use super::{device, interruption, precision};

/// Options of `bptt bench`.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure: kernels, beside what the device can do at most; train, whole training steps; or dispatch, the costs of a
    /// launch, a submission and a read-back [default: all of it]
    #[arg(value_enum, hide_possible_values = true)]
    what: Option<What>,
    /// auto, cpu, gpu, an index, part of a name
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: String,
    /// Only the cases whose names begin so; those of the table with or without table/
    #[arg(long, value_name = "CASE,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Which training steps: peers, those that benches/peers measures with PyTorch, burn and candle; deepbench, those of Baidu's
    /// DeepBench; or flashrnn, those of the FlashRNN paper [default: peers]
    #[arg(long, value_enum, value_name = "SET", hide_possible_values = true)]
    set: Option<SetName>,
    /// How numbers are stored: f32, f16, bf16 or several of them; of f16 and bf16 also how far results are from those in f32
    #[arg(long, value_name = "TYPE,..", value_delimiter = ',', default_value = "f32",
        value_parser = precision(), hide_possible_values = true)]
    precision: Vec<Precision>,
    /// Seconds to measure a case; a kernel of the table takes a tenth of it
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = positive)]
    seconds: f64,
    /// A JSON file for the results
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Results of an earlier --json to compare with
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

/// The parts of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Kernels,
    Train,
    Dispatch,
}

/// A [`Set`] as a value of `--set`.
#[derive(Clone, Copy, clap::ValueEnum)]
enum SetName {
    Peers,
    Deepbench,
    Flashrnn,
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(false);
    let wanted = |what| args.what.is_none_or(|asked| asked == what);
    if args.set.is_some() && !wanted(What::Train) {
        let message =
            "--set says which training steps are measured: leave it out, or measure them with bench train";
        return Err(Error::argument("bench", message));
    }
    let device = device(&args.device)?;
    let old = args.compare.as_deref().map(Earlier::read).transpose()?;
    let set = match args.set {
        None | Some(SetName::Peers) => Set::Peers,
        Some(SetName::Deepbench) => Set::Deepbench,
        Some(SetName::Flashrnn) => Set::Flashrnn,
    };
    let parts =
        [(What::Train, training(set)), (What::Kernels, kernels(&device)), (What::Dispatch, dispatch())];
    let mut parts: Vec<(What, Vec<Case>)> = parts.into_iter().filter(|(what, _)| wanted(*what)).collect();
    choose(&mut parts, &args.only)?;
    let precisions: Vec<Precision> =
        Precision::ALL.into_iter().filter(|precision| args.precision.contains(precision)).collect();
    // A file holds what has been measured so far; a pipe gets all at the end.
    let file = args.json.as_ref().filter(|file| !is_stream(file));
    if let Some(file) = file {
        // A file that cannot be written is an error now, not after minutes of measuring.
        write_report(file, &device, None, &[])?;
    }
    output.line(format!("measuring on {}", device.info()))?;
    if let Some(old) = old.as_ref().filter(|old| old.device != device.info().name) {
        output.line(format!("the ratios are to what was measured on another device: {}", old.device))?;
    }
    let stop = interruption();
    let mut results = Vec::new();
    let mut roofline = None;
    let all = || {
        for (what, cases) in parts {
            if cases.is_empty() {
                continue;
            }
            if what == What::Kernels {
                let measured = Roofline::measure(&device)?;
                output.line(format!(
                    "the device copies {:.1} GB/s and computes {:.1} GFLOP/s",
                    measured.bytes_per_second / 1e9,
                    measured.operations_per_second / 1e9
                ))?;
                roofline = Some(measured);
            }
            let width = cases.iter().map(|case| case.name.len()).max().unwrap_or_default();
            output.line(header(what, width, old.is_some()))?;
            let each =
                cases.iter().flat_map(|case| precisions.iter().map(move |precision| (case, *precision)));
            for (case, precision) in each.filter(|(case, precision)| case.is_in(*precision)) {
                let share = if case.name.starts_with(OF_TABLE) { 0.1 } else { 1.0 };
                let protocol = Protocol { seconds: args.seconds * share, ..Protocol::default() };
                let measured = measure(&device, case, precision, &protocol, &stop)?;
                let before =
                    old.as_ref().map(|old| old.medians.get(&(case.name.clone(), precision)).copied());
                output.line(line(what, width, &measured, &case.about, roofline.as_ref(), before))?;
                results.push(measured);
                if let Some(file) = file {
                    write_report(file, &device, roofline.as_ref(), &results)?;
                }
            }
            if what == What::Kernels {
                output.line(ABOUT_SHARES)?;
            }
        }
        Ok(())
    };
    let ending = all();
    // A pipe gets what there is, also where something has failed.
    if let Some(stream) = args.json.as_ref().filter(|_| file.is_none()) {
        write_report(stream, &device, roofline.as_ref(), &results)?;
    }
    ending
}

const ABOUT_SHARES: &str = "share: of the rate of a copy, or of multiplications and additions alone. It is above 100% where data \
                            are in caches, or are changed in place: a copy also fetches what it overwrites.";

/// Leaves only the cases that were asked for: by the name, or where there is none by its beginning.
fn choose(parts: &mut [(What, Vec<Case>)], only: &[String]) -> Result<()> {
    let names: Vec<String> =
        parts.iter().flat_map(|(_, cases)| cases).map(|case| case.name.clone()).collect();
    let is_meant = |name: &str, asked: &String| match names.contains(asked) {
        true => name == asked,
        false if asked.is_empty() => false,
        false => {
            name.starts_with(asked) || name.strip_prefix(OF_TABLE).is_some_and(|name| name.starts_with(asked))
        }
    };
    if let Some(unknown) = only.iter().find(|asked| !names.iter().any(|name| is_meant(name, asked))) {
        let listed: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !name.starts_with(OF_TABLE)).collect();
        let kernels = if listed.len() < names.len() { " and the kernels' names" } else { "" };
        let message = format!("no case begins with '{unknown}'; there are {}{kernels}", listed.join(", "));
        return Err(Error::argument("bench", message));
    }
    if !only.is_empty() {
        let wanted = |case: &Case| only.iter().any(|asked| is_meant(&case.name, asked));
        parts.iter_mut().for_each(|(_, cases)| cases.retain(wanted));
    }
    Ok(())
}

/// What the names of cases begin with that are kernels of the table of checks.
const OF_TABLE: &str = "table/";

fn header(what: What, width: usize, compared: bool) -> String {
    let more = match what {
        What::Train => {
            format!(
                "{:>10} {:>8} {:>10} {:>9} {:>10}  ",
                "first loss", "off f32", "parameters", "launches", "peak"
            )
        }
        What::Kernels => {
            format!("{:>8} {:>6} {:>9} {:>6} {:>8}  ", "GB/s", "share", "GFLOP/s", "share", "off f32")
        }
        What::Dispatch => String::new(),
    };
    let ratio = if compared { format!("{:>7}  ", "ratio") } else { String::new() };
    format!("{:width$} {:4} {:>10} {:>10} {:>10} {:>3}  {ratio}{more}", "ms", "", "median", "min", "max", "n")
}

fn line(
    what: What,
    width: usize,
    m: &Measured,
    about: &str,
    roofline: Option<&Roofline>,
    before: Option<Option<f64>>,
) -> String {
    let facts = &m.facts;
    let difference = m.difference.map_or(String::new(), |difference| format!("{difference:.1e}"));
    let more = match what {
        What::Train => format!(
            "{:10.6} {difference:>8} {:10} {:9.1} {:>10}  ",
            m.values[0],
            facts.parameters.unwrap_or_default(),
            m.dispatches,
            readable(m.bytes_peak)
        ),
        What::Kernels => {
            let rate = |amount: Option<f64>, most: Option<f64>| match amount {
                Some(amount) => {
                    let rate = amount / (m.ms * 1e-3);
                    let share = most.map_or(String::new(), |most| format!("{:.0}%", 100.0 * rate / most));
                    (format!("{:.2}", rate / 1e9), share)
                }
                None => (String::new(), String::new()),
            };
            let (bytes, of_bytes) = rate(facts.bytes, roofline.map(|most| most.bytes_per_second));
            let (operations, of_operations) =
                rate(facts.operations, roofline.map(|most| most.operations_per_second));
            format!("{bytes:>8} {of_bytes:>6} {operations:>9} {of_operations:>6} {difference:>8}  ")
        }
        What::Dispatch => String::new(),
    };
    let ratio = match before {
        None => String::new(),
        Some(None) => format!("{:>7}  ", "new"),
        Some(Some(before)) => format!("{:>6.3}x  ", before / m.ms),
    };
    let (name, precision) = (&m.name, m.precision.name());
    format!(
        "{name:width$} {precision:4} {:10.5} {:10.5} {:10.5} {:3}  {ratio}{more}{about}",
        m.ms, m.min, m.max, m.n
    )
}
