//! `bptt explain`.

mod at;
mod cells;
mod rows;
mod schedules;
mod table;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::explain::{LayerSizes, OfExperiment, OfLayer, Steps, Walk, find_kernel, shader};
use bptt::nn::CellKind;
use bptt::parameters::Precision;
use bptt::train::{ConfigFile, Experiment};
use clap::{ArgGroup, ValueEnum};
use serde_json::json;

use super::experiment::{Prepared, prepare};
use super::numbers::at_least_1;
use super::output::Output;
use super::train::{self, Name, Settings};
use values::Shown;

/// Options of `bptt explain`.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("walk").args(["values", "at"])))]
pub struct Args {
    /// An experiment, or rnn, lstm or gru: a layer alone, with --help of its own [default: the experiment of --config, else
    /// hihello]
    #[arg(value_name = "WHAT", hide_possible_values = true)]
    what: Option<What>,
    #[command(flatten)]
    settings: Settings,
    /// Rnn, lstm, gru: steps of a sequence [default: 32; with --values or --at 3]
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>, help_heading = "Training")]
    time: Option<usize>,
    /// Print a kernel's shader as this step's device compiles it, and its twin
    #[arg(long, value_name = "NAME", conflicts_with_all = ["schedules", "values", "at"], help_heading = "Explain")]
    kernel: Option<String>,
    /// With --kernel: another of its variants
    #[arg(long, value_name = "NAME", requires = "kernel", help_heading = "Explain")]
    variant: Option<String>,
    /// Run the recurrent layers in every way that the device allows, and by single operations
    #[arg(long, conflicts_with_all = ["values", "at"], help_heading = "Explain")]
    schedules: bool,
    /// Walk through a small network with all numbers of a step, forward and backward
    #[arg(long, help_heading = "Explain")]
    values: bool,
    /// One unit at one step, counted from 0: every product and sum, its gradients beside finite differences
    #[arg(long, value_name = "T,K", value_parser = step_and_unit, help_heading = "Explain")]
    at: Option<(usize, usize)>,
    /// With --at: the layer, counted from 0
    #[arg(long, value_name = "N", requires = "at", default_value_t = 0, help_heading = "Explain")]
    layer: usize,
    /// With --values or --at: the sample of the batch, counted from 0
    #[arg(long, value_name = "N", requires = "walk", default_value_t = 0, help_heading = "Explain")]
    sample: usize,
    /// auto, cpu, gpu, an index, part of a name [default: auto]
    #[arg(long, value_name = "NAME", help_heading = "Run")]
    device: Option<String>,
    /// Take the settings of a config.toml; options given here win
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, help_heading = "Run")]
    json: bool,
}

/// What a step is explained of.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    Hihello,
    Charseq,
    Longseq,
    Text,
    Timeseries,
    Rnn,
    Lstm,
    Gru,
}

impl What {
    fn experiment(self) -> std::result::Result<Experiment, CellKind> {
        match self {
            What::Hihello => Ok(Name::Hihello.experiment()),
            What::Charseq => Ok(Name::Charseq.experiment()),
            What::Longseq => Ok(Name::Longseq.experiment()),
            What::Text => Ok(Name::Text.experiment()),
            What::Timeseries => Ok(Name::Timeseries.experiment()),
            What::Rnn => Err(CellKind::Rnn),
            What::Lstm => Err(CellKind::Lstm),
            What::Gru => Err(CellKind::Gru),
        }
    }
}

/// The options that a layer alone takes to say what it is, and their help.
const OF_A_LAYER: [(&str, &str); 4] = [
    ("time", "T: steps of a sequence [default: 32; with --values or --at 3]"),
    ("hidden", "H, and I [default: 64; with --values or --at 2]"),
    ("batch", "B: sequences side by side [default: 16; with --values or --at 1]"),
    ("precision", "How numbers are stored between kernels: f32, f16 or bf16 [default: f32]"),
];

/// The help of the command, as the arguments ask for it.
pub fn with_defaults(command: clap::Command) -> clap::Command {
    let named = |argument: OsString| What::from_str(argument.to_str()?, false).ok();
    let layer = std::env::args_os().skip(2).find_map(named).is_some_and(|what| what.experiment().is_err());
    if !layer {
        return train::with_defaults(command);
    }
    command.mut_args(|arg| {
        let of_training = ["Data", "Model", "Training"].map(Some).contains(&arg.get_help_heading());
        match OF_A_LAYER.iter().find(|(name, _)| arg.get_id() == name) {
            Some((_, help)) => arg.help(*help).help_heading("Layer"),
            None => {
                let hidden = of_training || arg.get_id() == "config";
                arg.hide(hidden)
            }
        }
    })
}

impl Args {
    /// Whether numbers are asked for.
    fn walks(&self) -> bool {
        self.values || self.at.is_some()
    }
}

pub fn run(args: Args) -> Result<()> {
    let output = Output::new(args.json);
    // Rather before data are read.
    args.kernel.as_deref().map(find_kernel).transpose()?;
    let file = args.config.as_deref().map(ConfigFile::read).transpose()?;
    let of_file = file.as_ref().map_or(Experiment::Hihello, |file| file.config.experiment);
    let what = args.what.map_or(Ok(of_file), What::experiment);
    let title = what.map_or_else(CellKind::name, Experiment::name);
    let mut vocabulary = Vec::new();
    let (device, mut steps): (Device, Box<dyn Steps>) = match what {
        Ok(experiment) => {
            if args.time.is_some() {
                let message = format!("--time is for rnn, lstm and gru; {title} has the steps of its data");
                return Err(Error::argument("explain", message));
            }
            let (settings, name) = (&args.settings, args.device.as_deref());
            let Prepared { device, mut config, task } =
                prepare(file.as_ref(), experiment, settings, name, output)?;
            if args.walks() {
                // Gradients are to be those of the loss, and of the whole batch at once.
                (config.train.clip, config.train.loss_scale, config.train.accumulate) = (0.0, 1.0, 1);
                let about = task.model().config_json();
                vocabulary = about["vocabulary"].as_str().unwrap_or_default().chars().collect();
            }
            (device, Box::new(OfExperiment::new(&config.train, task)?))
        }
        Err(cell) => {
            let (sizes, precision) = layer(&args, cell)?;
            let device = super::device(args.device.as_deref().unwrap_or("auto"))?;
            (device.clone(), Box::new(OfLayer::new(&device, &sizes, precision)?))
        }
    };
    let steps = &mut *steps;
    if let Some(name) = &args.kernel {
        let shader = shader(steps, name, args.variant.as_deref())?;
        output.line(format!(
            "// {}, variant {} of: {}",
            shader.kernel,
            shader.variant,
            shader.variants.join(", ")
        ))?;
        if !shader.launched {
            output
                .line(format!("// a step of {title} does not launch it: shown for arguments in 32 bits"))?;
        }
        output.line(format!("// the shader, from {}\n{}", shader.files.join(" & "), shader.wgsl))?;
        output.line(format!("// its twin, {}\n{}", shader.twin_file, shader.twin))?;
        return output.event(&json!({"event": "kernel", "shader": shader}));
    }
    if args.schedules {
        return schedules::show(title, &device, steps, output);
    }
    if args.walks() {
        let walk = Walk::of(steps, args.sample)?;
        let shown = Shown { title, device: device.info().to_string(), vocabulary, walk: &walk };
        return shown.show(args.at.map(|at| (args.layer, at)), output);
    }
    table::show(title, &device, steps, output)
}

/// The sizes of a layer alone.
fn layer(args: &Args, cell: CellKind) -> Result<(LayerSizes, Precision)> {
    if args.config.is_some() {
        let message = format!("--config has the settings of an experiment: leave out {}", cell.name());
        return Err(Error::argument("explain", message));
    }
    let table = args.settings.table(None)?;
    let given = |section: &str| table.get(section).and_then(toml::Value::as_table).into_iter().flatten();
    for (key, _) in given("data").chain(given("model")).chain(given("train")) {
        if !OF_A_LAYER.iter().any(|(name, _)| name == key) {
            let message = format!("--{} is no option of {}", key.replace('_', "-"), cell.name());
            return Err(Error::argument("explain", message));
        }
    }
    let size = |section: &str, key: &str, default: usize| {
        let found = given(section).find(|(found, _)| *found == key);
        found.and_then(|(_, value)| value.as_integer()).map_or(default, |size| size as usize)
    };
    // Of a walk every number is read.
    let [time, batch, hidden] = if args.walks() { [3, 1, 2] } else { [32, 16, 64] };
    let (time, hidden) = (args.time.unwrap_or(time), size("model", "hidden", hidden));
    let batch = size("train", "batch", batch);
    let precision = given("train").find(|(key, _)| *key == "precision").and_then(|(_, value)| value.as_str());
    let precision = Precision::ALL.into_iter().find(|one| Some(one.name()) == precision);
    Ok((LayerSizes { cell, time, batch, input: hidden, hidden }, precision.unwrap_or_default()))
}

/// A step and a unit, with a comma between.
fn step_and_unit(text: &str) -> std::result::Result<(usize, usize), String> {
    let parsed =
        text.split_once(',').and_then(|(t, k)| Some((t.trim().parse().ok()?, k.trim().parse().ok()?)));
    parsed.ok_or_else(|| "must be a step and a unit, 3,0 say".into())
}

/// Seconds, to be read.
fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.3} s"),
        s if s >= 1e-3 => format!("{:.3} ms", s * 1e3),
        s => format!("{:.2} µs", s * 1e6),
    }
}

/// A real number, a small one by its exponent.
fn number(x: f64, decimals: usize) -> String {
    match x == 0.0 || x.abs() >= 1e-3 {
        // Without the sign of −0.
        true => format!("{:.decimals$}", x + 0.0),
        false => format!("{x:.0$e}", decimals - 2),
    }
}
