//! The options of `bptt train`: the settings of [`Config`], by the same names, and the options of the run.

use std::path::PathBuf;

use bptt::error::{Error, Result};
use bptt::train::{Config, Experiment};
use clap::ValueEnum;
use serde::Serialize;
use toml::{Table, Value};

use super::super::numbers::{at_least_1, at_most_1, not_negative, positive, share, whole};

/// Options of `bptt train`.
#[derive(clap::Args)]
pub struct Args {
    /// What to train
    #[arg(value_name = "EXPERIMENT", hide_possible_values = true)]
    pub experiment: Option<Name>,
    #[command(flatten)]
    pub settings: Settings,
    #[command(flatten)]
    course: Course,
    #[command(flatten)]
    pub run: Run,
}

/// The settings on which a single training step depends. `bptt trace`, `bptt graph` and `bptt explain` take them too.
#[derive(clap::Args)]
pub struct Settings {
    #[command(flatten)]
    pub data: Data,
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    step: Step,
}

/// The experiments as values of the argument EXPERIMENT.
#[derive(Clone, Copy, ValueEnum)]
pub enum Name {
    /// "hihell" -> "ihello": five symbols, one sequence, no linear layer
    Hihello,
    /// " if you want you": each character from those before it
    Charseq,
    /// A sentence of 180 characters in windows of 10: two layers and a linear one
    Longseq,
    /// A character model of any text
    Text,
    /// A forecast of a column of a table
    Timeseries,
}

impl Name {
    pub fn experiment(self) -> Experiment {
        match self {
            Name::Hihello => Experiment::Hihello,
            Name::Charseq => Experiment::Charseq,
            Name::Longseq => Experiment::Longseq,
            Name::Text => Experiment::Text,
            Name::Timeseries => Experiment::Timeseries,
        }
    }
}

#[derive(clap::Args, Serialize)]
#[command(next_help_heading = "Data")]
pub struct Data {
    /// Text: the file [default: the sentence of longseq]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Text: what a token is: characters (the file is UTF-8) or bytes
    #[arg(long, value_name = "UNIT", value_parser = ["characters", "bytes"], hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<String>,
    /// Time series: a table of numbers [default: a synthetic series of 732 days]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csv: Option<PathBuf>,
    /// Time series: the character between two fields [default: found out]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    #[serde(skip_serializing_if = "Option::is_none")]
    delimiter: Option<char>,
    /// Time series: whether the first row holds names [default: found out]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<bool>,
    /// Time series: the columns to read, by name or number from 1 [default: all]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<String>>,
    /// Time series: the column to forecast [default: the last]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Time series: the first row is the newest
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_first: Option<bool>,
    /// Time series: how many rows a forecast is made from
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<usize>,
    /// Time series: how many rows behind the window's last is the one to forecast
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    horizon: Option<usize>,
    /// Time series: the share of rows to train on; the others are for the test
    #[arg(long, value_name = "X", value_parser = share)]
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<f64>,
    /// Time series: how columns are scaled: minmax or standard, by the training part's statistics; or original, where each part has its own, which leaks
    #[arg(long, value_name = "KIND", value_parser = ["minmax", "standard", "original"], hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    scaler: Option<String>,
}

#[derive(clap::Args, Serialize)]
#[command(next_help_heading = "Model")]
struct Model {
    /// The recurrent layers: rnn, lstm or gru
    #[arg(long, value_name = "KIND", value_parser = ["rnn", "lstm", "gru"], hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cell: Option<String>,
    /// Size of the recurrent layers
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<usize>,
    /// Number of recurrent layers
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<usize>,
    /// Probability of dropout between recurrent layers
    #[arg(long, value_name = "P", value_parser = at_most_1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    dropout: Option<f64>,
    /// Text: size of a character's vector [default: that of the recurrent layers]
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<usize>,
    /// Sentences: compute the logits with a linear layer
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    linear: Option<bool>,
}

#[derive(clap::Args, Serialize)]
#[command(next_help_heading = "Training")]
struct Step {
    /// Seed of the initial values and of dropout; Time series: and of the order of windows
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    /// Text: streams read side by side; Time series: windows in a step, or all of them for 0
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<usize>,
    /// Text: characters of each stream in a step
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<usize>,
    /// Text, time series: take a batch in N parts and add up their gradients: less memory for the same step
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    accumulate: Option<usize>,
    /// The optimizer: adam, adamw, sgd, rmsprop or adagrad
    #[arg(long, value_name = "KIND", value_parser = ["adam", "adamw", "sgd", "rmsprop", "adagrad"], hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    optimizer: Option<String>,
    /// Learning rate
    #[arg(long, value_name = "X", value_parser = positive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    /// Weight decay, in the sense of the optimizer
    #[arg(long, value_name = "X", value_parser = not_negative)]
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_decay: Option<f64>,
    /// Clip the gradient to this norm, or never for 0
    #[arg(long, value_name = "X", value_parser = not_negative)]
    #[serde(skip_serializing_if = "Option::is_none")]
    clip: Option<f64>,
    /// How numbers are stored between kernels: f32, f16 or bf16; sums and weight updates are in 32 bits
    #[arg(long, value_name = "TYPE", value_parser = ["f32", "f16", "bf16"], hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<String>,
    /// With --precision f16: the first factor of the loss, which lets small gradients be stored
    #[arg(long, value_name = "X", value_parser = positive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    loss_scale: Option<f64>,
    /// Leave out steps whose loss or gradient is not finite, and count them: 20 in a row end training, without this option the first does
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_nonfinite: Option<bool>,
}

/// The settings on which the course of a training depends, from step to step.
#[derive(clap::Args, Serialize)]
#[command(next_help_heading = "Training")]
struct Course {
    /// How many steps to train
    #[arg(long, value_name = "N", value_parser = at_least_1::<u64>, conflicts_with = "epochs")]
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u64>,
    /// Passes over the training data, instead of --steps; Sentences: a pass is a step
    #[arg(long, value_name = "N", value_parser = at_least_1::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<u64>,
    /// How the learning rate changes: constant, cosine, onecycle, step or exponential; Text: or plateau
    #[arg(long, value_name = "KIND",
        value_parser = ["constant", "cosine", "onecycle", "step", "exponential", "plateau"], hide_possible_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<String>,
    /// Schedule step: steps between two changes [default: a third of the training]
    #[arg(long, value_name = "N", value_parser = at_least_1::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr_every: Option<u64>,
    /// Schedules step and exponential: the factor [default: 0.1, for exponential what leads to a hundredth]; Text: also of plateau
    #[arg(long, value_name = "X", value_parser = share)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr_gamma: Option<f64>,
    /// Text: with the schedule plateau, how many validations without a better loss to wait
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr_patience: Option<u64>,
    /// Steps in which the learning rate rises from 0
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    warmup: Option<u64>,
    /// Text: steps between two validations, or a tenth of the training for 0
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    validate_every: Option<u64>,
    /// Text: the most chunks of the held-out part that a validation reads, or all for 0
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    validate_chunks: Option<usize>,
    /// Text: stop after N validations in a row without a better loss, or never for 0
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    patience: Option<u64>,
    /// Steps between two checkpoints, or one a minute for 0
    #[arg(long, value_name = "N", value_parser = whole::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_every: Option<u64>,
    /// Checkpoints to keep
    #[arg(long, value_name = "N", value_parser = at_least_1::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keep: Option<usize>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Run")]
pub struct Run {
    /// auto, cpu, gpu, an index, part of a name [default: auto]
    #[arg(long, value_name = "NAME")]
    pub device: Option<String>,
    /// The folder of the run [default: a new one, runs/EXPERIMENT-NUMBER]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Overwrite the run in an existing --out
    #[arg(long)]
    pub force: bool,
    /// Take the settings of a config.toml; options given here win
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Go on with a run from its newest checkpoint; with more --steps also beyond its end
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "force"])]
    pub resume: Option<PathBuf>,
    /// With --resume: fail where the result would not have the same bits
    #[arg(long)]
    pub require_exact: bool,
    /// Text, time series: where memory runs out, take a batch in more parts
    #[arg(long)]
    pub auto_batch: bool,
    /// Compute each of the first N steps twice and compare the bits [default N: 10]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "10", value_parser = at_least_1::<u64>)]
    pub verify_determinism: Option<u64>,
    /// Print what a step takes: launches, submissions, memory, and the time of each kernel
    #[arg(long, conflicts_with = "quiet")]
    pub profile: bool,
    /// Print nothing but errors
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl Args {
    /// The options that were given, in the sections of config.toml.
    pub fn table(&self, experiment: Experiment) -> Result<Table> {
        let mut table = self.settings.table(self.run.device.as_deref())?;
        let train = table.get_mut("train").and_then(Value::as_table_mut).expect("a section");
        if let Value::Table(course) = section(&self.course)? {
            train.extend(course);
        }
        // A sentence is passed over once in a step.
        if experiment.sentence().is_some()
            && let Some(epochs) = train.remove("epochs")
        {
            train.insert("steps".into(), epochs);
        }
        Ok(table)
    }
}

impl Settings {
    /// Whether batch and sequence were given as options.
    pub fn sizes(&self) -> [bool; 2] {
        [self.step.batch.is_some(), self.step.sequence.is_some()]
    }

    /// The options that were given, in the sections of config.toml.
    pub fn table(&self, device: Option<&str>) -> Result<Table> {
        let mut table = Table::new();
        for (name, value) in [
            ("data", section(&self.data)?),
            ("model", section(&self.model)?),
            ("train", section(&self.step)?),
        ] {
            table.insert(name.into(), value);
        }
        if let Some(device) = device {
            table.insert("device".into(), device.into());
        }
        Ok(table)
    }
}

fn section(value: &impl Serialize) -> Result<Value> {
    // All that TOML cannot hold is a path that is not UTF-8.
    Value::try_from(value).map_err(|error| {
        let message = format!("{error}, and a run keeps its settings as text: rename the file or its folder");
        Error::argument("train", message)
    })
}

/// Parses a delimiter: one character, or `tab` or `\t`, which are easier to type.
pub fn delimiter(text: &str) -> Result<char, String> {
    match text {
        "tab" | "\\t" => Ok('\t'),
        text => text.parse().map_err(|_| "must be one character, or tab".into()),
    }
}

/// A command as it is for an experiment, if one is named: only its options, with its defaults.
pub fn with_defaults(command: clap::Command, experiment: Option<Experiment>) -> clap::Command {
    // An argument that is changed moves to the end of the help. So all of them are changed, in the order of their declaration.
    let ids: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    ids.into_iter().fold(command, |command, id| {
        let section = Config::SECTIONS.into_iter().find(|(_, keys)| keys.contains(&&*id));
        command.mut_arg(&id, |arg| match (section, experiment) {
            (Some((section, _)), _) => setting(arg, experiment, section, &id),
            (None, Some(experiment)) if id == "auto_batch" => {
                let help = part_for(experiment, &help_of(&arg));
                arg.help(help).hide(!experiment.takes("accumulate"))
            }
            (None, _) => arg,
        })
    })
}

fn help_of(arg: &clap::Arg) -> String {
    arg.get_help().expect("every option has a doc comment").to_string()
}

/// An option that is a key of `config.toml`: its help with the default, hidden where it means nothing to the experiment.
fn setting(arg: clap::Arg, experiment: Option<Experiment>, section: &str, key: &str) -> clap::Arg {
    let default = match experiment {
        Some(experiment) => default(experiment, section, key),
        None => {
            let of = |experiment: Experiment| Some((experiment, default(experiment, section, key)?));
            let all: Vec<_> = Experiment::ALL.into_iter().filter_map(of).collect();
            one_or_each(&all)
        }
    };
    let takes = experiment
        .is_none_or(|experiment| experiment.takes(key) || key == "epochs" && experiment.sentence().is_some());
    let text = help_of(&arg);
    let text = experiment.map_or(text.clone(), |experiment| part_for(experiment, &text));
    let with_default =
        default.filter(|_| !text.contains("[default")).map(|default| format!("{text} [default: {default}]"));
    arg.help(with_default.unwrap_or(text)).hide(!takes)
}

/// The parts of an option's help that are for an experiment. Parts are separated by semicolons; one that begins with a label
/// is for the experiments that the label names.
fn part_for(experiment: Experiment, help: &str) -> String {
    let (text, series) = (experiment == Experiment::Text, experiment == Experiment::Timeseries);
    let labels = [
        ("Text: ", text),
        ("Time series: ", series),
        ("Text, time series: ", text || series),
        ("Sentences: ", !(text || series)),
    ];
    let part = |part: &str| {
        let labelled = labels.iter().find_map(|(label, own)| Some((part.strip_prefix(label)?, *own)));
        match labelled {
            None => Some(part.to_string()),
            Some((rest, own)) => own.then(|| rest.to_string()),
        }
    };
    let text = help.split("; ").filter_map(part).collect::<Vec<_>>().join("; ");
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The default if all experiments have the same, else the default of each.
fn one_or_each(all: &[(Experiment, String)]) -> Option<String> {
    let (_, first) = all.first()?;
    if all.iter().all(|(_, value)| value == first) {
        return Some(first.clone());
    }
    let each: Vec<String> = all.iter().map(|(of, value)| format!("{} {value}", of.name())).collect();
    Some(each.join(", "))
}

/// The default of an option for an experiment, as help shows it; None where there is nothing to show.
fn default(experiment: Experiment, section: &str, key: &str) -> Option<String> {
    if key == "hidden"
        && let Some(sentence) = experiment.sentence()
    {
        let distinct: std::collections::BTreeSet<char> = sentence.chars().collect();
        return Some(format!("{}, the number of distinct characters", distinct.len()));
    }
    if !experiment.takes(key) {
        return None;
    }
    let defaults = Table::try_from(Config::defaults(experiment)).expect("defaults are plain values");
    match defaults.get(section)?.get(key)? {
        // Flags are off by default, which needs no word; `linear` is on for some experiments.
        Value::Boolean(value) if key == "linear" => Some(if *value { "yes" } else { "no" }.into()),
        Value::Boolean(_) => None,
        Value::String(value) => Some(value.clone()),
        value => Some(value.to_string().trim_end_matches(".0").to_string()),
    }
}
