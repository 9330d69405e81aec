//! The settings of a training: the same names in `config.toml` and on the command line.

mod check;
mod file;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::data::scale::ScalerKind;
use crate::data::text::Unit;
use crate::error::{Error, Result};
use crate::nn::CellKind;
use crate::optim::{LossScale, OptimizerKind};
use crate::parameters::Precision;

pub use check::LARGEST;
pub(crate) use file::CONFIG;
pub use file::ConfigFile;

/// What can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Experiment {
    /// "hihell" → "ihello".
    Hihello,
    /// " if you want you", each character from those before it.
    Charseq,
    /// A sentence of 180 characters in windows of 10.
    Longseq,
    /// A character model of any text.
    Text,
    /// A forecast of a table's column from windows of all its columns.
    Timeseries,
}

impl Experiment {
    /// All of them.
    pub const ALL: [Experiment; 5] = [
        Experiment::Hihello,
        Experiment::Charseq,
        Experiment::Longseq,
        Experiment::Text,
        Experiment::Timeseries,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Experiment::Hihello => "hihello",
            Experiment::Charseq => "charseq",
            Experiment::Longseq => "longseq",
            Experiment::Text => "text",
            Experiment::Timeseries => "timeseries",
        }
    }

    /// Whether an option, by its key in `config.toml`, means something to it.
    pub fn takes(self, option: &str) -> bool {
        let (text, series) = (self == Experiment::Text, self == Experiment::Timeseries);
        match option {
            "file" | "tokens" | "embedding" | "sequence" | "validate_every" | "validate_chunks"
            | "patience" | "lr_patience" => text,
            "csv" | "delimiter" | "header" | "columns" | "target" | "newest_first" | "window" | "horizon"
            | "split" | "scaler" => series,
            "batch" | "epochs" | "accumulate" => text || series,
            "linear" => !(text || series),
            _ => true,
        }
    }
}

/// Everything that determines a training, and how often it is saved; as TOML, the file `config.toml` of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The version of this format: 1.
    pub format: u32,
    /// What is trained.
    pub experiment: Experiment,
    /// The device as it was asked for: see [`Device::named`](crate::device::Device::named).
    pub device: String,
    /// What it is trained on.
    pub data: DataConfig,
    /// The model.
    pub model: LayersConfig,
    /// The training.
    pub train: TrainConfig,
}

/// Where the data come from and how they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A text; none: the sentence of longseq.
    pub file: Option<PathBuf>,
    /// What a token of the text is.
    pub tokens: Unit,
    /// A table; none: the synthetic series.
    pub csv: Option<PathBuf>,
    /// What stands between two fields; none: it is found out.
    pub delimiter: Option<char>,
    /// Whether the first row holds names; none: it is found out.
    pub header: Option<bool>,
    /// The columns that are read, by name or number from 1; none: all.
    pub columns: Option<Vec<String>>,
    /// The column that is forecast; none: the last.
    pub target: Option<String>,
    /// Whether the first row is the newest.
    pub newest_first: bool,
    /// Rows that a forecast is made from.
    pub window: usize,
    /// How many rows behind the window the forecast is for.
    pub horizon: usize,
    /// The share of rows, from the oldest on, that are trained on.
    pub split: f64,
    /// How columns are scaled.
    pub scaler: ScalerKind,
}

/// The layers of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayersConfig {
    /// The kind of recurrent layers.
    pub cell: CellKind,
    /// H; none: for a sentence the number of its distinct characters.
    pub hidden: Option<usize>,
    /// L.
    pub layers: usize,
    /// The probability of dropout between layers.
    pub dropout: f64,
    /// Size of a character's vector; none: H.
    pub embedding: Option<usize>,
    /// Whether a linear layer makes a sentence's logits.
    pub linear: bool,
}

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// It does not.
    Constant,
    /// Half a cosine, down to 0 at the last step.
    Cosine,
    /// Up in the first 30 % of the steps, then down.
    Onecycle,
    /// Multiplied with `lr_gamma` every `lr_every` steps.
    Step,
    /// Multiplied with `lr_gamma` at each step.
    Exponential,
    /// Multiplied with `lr_gamma` when the validation loss no longer falls.
    Plateau,
}

impl ScheduleKind {
    /// The settings that not every schedule uses, and the schedules that do.
    const SETTINGS: [(&str, &[ScheduleKind]); 3] = [
        ("lr_every", &[ScheduleKind::Step]),
        ("lr_gamma", &[ScheduleKind::Step, ScheduleKind::Exponential, ScheduleKind::Plateau]),
        ("lr_patience", &[ScheduleKind::Plateau]),
    ];

    /// Its name.
    fn name(self) -> &'static str {
        match self {
            ScheduleKind::Constant => "constant",
            ScheduleKind::Cosine => "cosine",
            ScheduleKind::Onecycle => "onecycle",
            ScheduleKind::Step => "step",
            ScheduleKind::Exponential => "exponential",
            ScheduleKind::Plateau => "plateau",
        }
    }
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// The seed of initial values, dropout and the order of windows.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Passes over the training data, in place of `steps`; a run's file holds the steps.
    pub epochs: Option<u64>,
    /// B: streams of a text, or windows of a series (0: all).
    pub batch: usize,
    /// T: characters of each stream in a step.
    pub sequence: usize,
    /// How numbers are stored between kernels.
    pub precision: Precision,
    /// The first loss scale of the precision f16: see [`LossScale`].
    pub loss_scale: f32,
    /// In how many parts a batch is taken, one after the other, their gradients added up: less memory, the same step.
    pub accumulate: usize,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    /// The learning rate.
    pub lr: f64,
    /// The optimizer's weight decay.
    pub weight_decay: f64,
    /// The largest norm of the gradient; 0: any.
    pub clip: f64,
    /// Whether steps are left out whose loss or gradient is not finite, each waited for; else training ends there.
    pub skip_nonfinite: bool,
    /// How the learning rate changes.
    pub schedule: ScheduleKind,
    /// Steps between two changes of the schedule `step`; none: a third of the training.
    pub lr_every: Option<u64>,
    /// The factor of the schedules `step`, `exponential` and `plateau`; none: 0.1, for `exponential` the one that ends at a
    /// hundredth.
    pub lr_gamma: Option<f64>,
    /// After so many validations without a better loss the schedule `plateau` still waits; with one more it acts.
    pub lr_patience: u64,
    /// Steps in which the learning rate rises from 0.
    pub warmup: u64,
    /// Steps between two validations; 0: a tenth of the training.
    pub validate_every: u64,
    /// Chunks of the held-out part that a validation reads at most; 0: all.
    pub validate_chunks: usize,
    /// Training ends after so many validations in a row without a better loss; 0: never.
    pub patience: u64,
    /// Steps between two checkpoints; 0: one a minute.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept.
    pub keep: usize,
}

impl TrainConfig {
    /// Steps between two changes of the schedule `step`; by default a third of the training.
    pub fn lr_every(&self) -> u64 {
        self.lr_every.unwrap_or_else(|| self.steps.div_ceil(3))
    }

    /// The factor of the schedules; by default 0.1, for `exponential` the one that ends at a hundredth.
    pub fn lr_gamma(&self) -> f64 {
        self.lr_gamma.unwrap_or_else(|| match self.schedule {
            ScheduleKind::Exponential => 0.01f64.powf(1.0 / self.steps as f64),
            _ => 0.1,
        })
    }

    /// Steps between two validations; by default a tenth of the training.
    pub fn validate_every(&self) -> u64 {
        match self.validate_every {
            0 => self.steps.div_ceil(10),
            every => every,
        }
    }
}

impl Config {
    /// The sections of `config.toml` and their keys.
    pub const SECTIONS: [(&str, &[&str]); 3] = [
        (
            "data",
            &[
                "file",
                "tokens",
                "csv",
                "delimiter",
                "header",
                "columns",
                "target",
                "newest_first",
                "window",
                "horizon",
                "split",
                "scaler",
            ],
        ),
        ("model", &["cell", "hidden", "layers", "dropout", "embedding", "linear"]),
        (
            "train",
            &[
                "seed",
                "steps",
                "epochs",
                "batch",
                "sequence",
                "precision",
                "loss_scale",
                "accumulate",
                "optimizer",
                "lr",
                "weight_decay",
                "clip",
                "skip_nonfinite",
                "schedule",
                "lr_every",
                "lr_gamma",
                "lr_patience",
                "warmup",
                "validate_every",
                "validate_chunks",
                "patience",
                "checkpoint_every",
                "keep",
            ],
        ),
    ];

    /// The settings of an experiment where nothing else is asked for. Those of hihello, charseq, longseq and timeseries are the
    /// settings for which PyTorch's results are known.
    pub fn defaults(experiment: Experiment) -> Config {
        use Experiment::*;
        let (steps, lr, layers, hidden) = match experiment {
            Hihello => (100, 0.1, 1, None),
            Charseq => (50, 0.1, 1, None),
            Longseq => (100, 0.1, 2, None),
            Text => (2000, 0.002, 1, Some(128)),
            Timeseries => (500, 0.01, 1, Some(10)),
        };
        Config {
            format: 1,
            experiment,
            device: "auto".into(),
            data: DataConfig {
                file: None,
                tokens: Unit::Characters,
                csv: None,
                delimiter: None,
                header: None,
                columns: None,
                target: None,
                newest_first: false,
                window: 7,
                horizon: 1,
                split: 0.7,
                scaler: ScalerKind::Minmax,
            },
            model: LayersConfig {
                cell: if matches!(experiment, Text | Timeseries) { CellKind::Lstm } else { CellKind::Rnn },
                hidden,
                layers,
                dropout: 0.0,
                embedding: None,
                linear: experiment == Longseq,
            },
            train: TrainConfig {
                seed: 0,
                steps,
                epochs: None,
                batch: if experiment == Text { 32 } else { 0 },
                sequence: 64,
                precision: Precision::F32,
                loss_scale: LossScale::default().init_scale,
                accumulate: 1,
                optimizer: OptimizerKind::Adam,
                lr,
                weight_decay: 0.0,
                clip: if experiment == Text { 1.0 } else { 0.0 },
                skip_nonfinite: false,
                schedule: ScheduleKind::Constant,
                lr_every: None,
                lr_gamma: None,
                lr_patience: 1,
                warmup: 0,
                validate_every: 0,
                validate_chunks: 500,
                patience: 0,
                checkpoint_every: 0,
                keep: 2,
            },
        }
    }

    /// The defaults, overridden by `file`'s keys and those by `options`, which has the same sections.
    ///
    /// # Errors
    /// [`Error::Argument`] names an option that the experiment or the schedule does not take, or whose value is impossible.
    pub fn resolve(file: Option<&ConfigFile>, experiment: Experiment, options: &Table) -> Result<Config> {
        let config = match file {
            Some(file) if file.config.experiment != experiment => {
                let (path, found) = (file.path.display(), file.config.experiment.name());
                let message = format!("{path} is of the experiment {found}, not {}", experiment.name());
                return Err(Error::argument("train", message));
            }
            Some(file) => file.config.clone(),
            None => Config::defaults(experiment),
        };
        for (_, section) in options.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
            if let Some(option) = section.keys().find(|key| !experiment.takes(key)) {
                let (option, name) = (option.replace('_', "-"), experiment.name());
                return Err(Error::argument("train", format!("--{option} is no option of {name}")));
            }
        }
        // Steps and passes say the same thing: the one asked for last counts.
        let mut table = config.table()?;
        let given = |key: &str| {
            options.get("train").and_then(Value::as_table).is_some_and(|train| train.contains_key(key))
        };
        if given("steps")
            && let Some(train) = table.get_mut("train").and_then(Value::as_table_mut)
        {
            train.remove("epochs");
        }
        overlay(&mut table, options);
        let config: Config = table
            .try_into()
            .map_err(|error: toml::de::Error| Error::argument("train", wrong_value(&error)))?;
        config.check().map_err(|fault| Error::argument("train", fault.of_option()))?;
        // Only options: a file may keep what another schedule has used.
        let schedule = config.train.schedule;
        for (key, schedules) in ScheduleKind::SETTINGS {
            if given(key) && !schedules.contains(&schedule) {
                let possible =
                    |kind: &&ScheduleKind| experiment == Experiment::Text || **kind != ScheduleKind::Plateau;
                let names: Vec<_> = schedules.iter().filter(possible).map(|kind| kind.name()).collect();
                let (option, names) = (key.replace('_', "-"), names.join(" or "));
                let message =
                    format!("--{option} is for --schedule {names}; the schedule here is {}", schedule.name());
                return Err(Error::argument("train", message));
            }
        }
        Ok(config)
    }

    /// As TOML, with the keys that the experiment takes.
    ///
    /// # Errors
    /// [`Error::Argument`] when a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String> {
        let mut table = self.table()?;
        for section in table.iter_mut().filter_map(|(_, value)| value.as_table_mut()) {
            section.retain(|key, _| self.experiment.takes(key));
        }
        table.retain(|_, value| value.as_table().is_none_or(|section| !section.is_empty()));
        Ok(toml::to_string(&table).expect("a table of plain values"))
    }

    fn table(&self) -> Result<Table> {
        Table::try_from(self)
            .map_err(|error| Error::argument("train", format!("cannot be written to config.toml: {error}")))
    }
}

/// The keys of `from` in place of those of `to`, section by section.
fn overlay(to: &mut Table, from: &Table) {
    for (key, value) in from {
        match (to.get_mut(key), value) {
            (Some(Value::Table(to)), Value::Table(from)) => overlay(to, from),
            _ => drop(to.insert(key.clone(), value.clone())),
        }
    }
}

/// What is wrong with a value, and of which key.
fn wrong_value(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let key = text.rsplit('`').nth(1).and_then(|path| path.rsplit('.').next()).unwrap_or("a key");
    let message = ["u64", "u32", "usize"]
        .into_iter()
        .fold(error.message().to_string(), |text, kind| {
            text.replace(&format!("expected {kind}"), "expected a whole number")
        })
        .replace("expected f64", "expected a number")
        .replace("unit variant, expected string only", "expected a name");
    format!("{key}: {message}")
}
