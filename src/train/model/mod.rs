//! Models that are trained, and their files: `config.json` says what a model is, `model.safetensors` holds its parameters.

mod char;
mod series;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config::CONFIG as SETTINGS;
use super::weights::Weights;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::files::{json, read_whole};
use crate::nn::CellKind;
use crate::parameters::{Initializer, Parameters};

pub use char::{CharModel, CharModelConfig};
pub use series::{SeriesModel, SeriesModelConfig};

/// The file that says what a model is, in its folder.
pub(crate) const CONFIG: &str = "config.json";
/// The file of a model's parameters in its folder.
pub const WEIGHTS: &str = "model.safetensors";
/// The longest config.json that is read: a vocabulary of all of Unicode fits.
const MAX_CONFIG: u64 = 16 << 20;

/// What a model's folder holds of it.
pub trait ModelFiles {
    /// The contents of `config.json`.
    fn config_json(&self) -> Value;
    /// Its parameters, with PyTorch's names.
    fn parameters(&self) -> &Parameters;
}

/// A model of either kind.
#[derive(Debug)]
pub enum Model {
    /// Of text.
    Char(CharModel),
    /// Of a time series.
    Series(SeriesModel),
}

impl Model {
    /// Reads a model back onto a device.
    ///
    /// # Errors
    /// [`Error::Data`] names the file and what is wrong with it; [`Error::Gpu`] on a fault.
    pub fn load(path: &Path, device: &Device) -> Result<Model> {
        let StoredModel { config: file, text, experiment, weights } = StoredModel::open(path)?;
        let bad = |message: String| Error::data(&file, message);
        let unreadable = |error| bad(format!("{NO_CONFIG}: {error}"));
        let init = Initializer::new(device, 0);
        // The header of the weights is compared with the model before memory is taken for either.
        let build = |init: Initializer| {
            let mut file = Weights::open(&weights, init.names())?;
            init.build_read(|name, values| file.read(name, values))
        };
        let model = match experiment.as_str() {
            "timeseries" => {
                let config: SeriesModelConfig = json::parse(&text).map_err(unreadable)?;
                drop(text);
                SeriesModel::make(init, config, build).map(Model::Series)
            }
            _ => {
                let config: CharModelConfig = json::parse(&text).map_err(unreadable)?;
                drop(text);
                CharModel::make(init, config, build).map(Model::Char)
            }
        };
        model.map_err(|error| match error {
            Error::Argument { message, .. } => bad(message),
            Error::Data { path, message } => {
                Error::Data { path, message: format!("{message}; the model is that of {CONFIG}") }
            }
            other => other,
        })
    }

    /// The experiment that a folder's model is of.
    pub(in crate::train) fn experiment(path: &Path) -> Result<String> {
        let file = path.join(CONFIG);
        experiment(&read_whole(&file, MAX_CONFIG)?).map_err(|error| Error::data(&file, error))
    }

    /// The model of text in a folder.
    ///
    /// # Errors
    /// As [`Model::load`]; also when the model is of another kind.
    pub fn load_char(path: &Path, device: &Device) -> Result<CharModel> {
        match Model::load(path, device)? {
            Model::Char(model) => Ok(model),
            Model::Series(_) => {
                Err(Error::data(path, "holds a model of a time series, which has no text: use bptt predict"))
            }
        }
    }

    /// The model of a time series in a folder.
    ///
    /// # Errors
    /// As [`Model::load`]; also when the model is of another kind.
    pub fn load_series(path: &Path, device: &Device) -> Result<SeriesModel> {
        match Model::load(path, device)? {
            Model::Series(model) => Ok(model),
            Model::Char(_) => {
                Err(Error::data(path, "holds a model of text, which forecasts no series: use bptt generate"))
            }
        }
    }

    /// What its folder holds.
    pub fn files(&self) -> &dyn ModelFiles {
        match self {
            Model::Char(model) => model,
            Model::Series(model) => model,
        }
    }
}

const NO_CONFIG: &str = "is no configuration of a model";

/// The files of a model in its folder, before the weights are looked at.
pub(in crate::train) struct StoredModel {
    /// The path of `config.json`.
    config: PathBuf,
    /// The contents of `config.json`.
    pub text: Vec<u8>,
    experiment: String,
    /// The path of the weights.
    pub weights: PathBuf,
}

impl StoredModel {
    pub fn open(path: &Path) -> Result<StoredModel> {
        if !path.is_dir() {
            let found = if path.exists() { "is no folder" } else { "no such folder" };
            return Err(Error::data(
                path,
                format!("{found}; a model is a folder with {CONFIG} and {WEIGHTS}"),
            ));
        }
        let [config, weights] = [CONFIG, WEIGHTS].map(|name| path.join(name));
        if !config.exists() && !weights.exists() && path.join(SETTINGS).exists() {
            let message = "is a run that has saved nothing yet: its model comes with its first checkpoint";
            return Err(Error::data(path, message));
        }
        for file in [&config, &weights] {
            if !file.exists() {
                let message = format!("no such file; a model's folder holds {CONFIG} and {WEIGHTS}");
                return Err(Error::data(file, message));
            }
        }
        let text = read_whole(&config, MAX_CONFIG)?;
        let unreadable = |error| Error::data(&config, format!("{NO_CONFIG}: {error}"));
        let experiment = experiment(&text).map_err(unreadable)?;
        Ok(StoredModel { config, text, experiment, weights })
    }
}

/// The value of the key in a `config.json` that tells the kinds of models apart.
fn experiment(text: &[u8]) -> serde_json::Result<String> {
    #[derive(serde::Deserialize)]
    struct Kind {
        experiment: String,
    }
    json::parse(text).map(|Kind { experiment }| experiment)
}

/// The most that a size of a model, its number of layers, its number of parameters, and the values of one step of training may
/// be. What is larger is a mistake, or a hostile file, that would use up the memory.
const MAX_SIZE: usize = 1 << 16;
const MAX_LAYERS: usize = 1 << 10;
const MAX_PARAMETERS: u64 = 1 << 28;
const MAX_STEP: u128 = 1 << 32;

/// The sizes of recurrent layers with what stands before and behind them.
struct Sizes {
    cell: CellKind,
    /// Features of the input.
    width: usize,
    hidden: usize,
    layers: usize,
    /// Rows of a linear layer behind them; 0: none.
    outputs: usize,
}

impl Sizes {
    /// An error unless the layers can be made.
    fn check(&self) -> Result<()> {
        for (name, size, most) in [("hidden", self.hidden, MAX_SIZE), ("layers", self.layers, MAX_LAYERS)] {
            if !(1..=most).contains(&size) {
                return refuse(format!("{name} must be from 1 to {most}, got {size}"));
            }
        }
        Ok(())
    }

    /// The number of parameters.
    fn parameters(&self) -> u64 {
        let [gates, width, hidden, layers, outputs] =
            [self.cell.gates(), self.width, self.hidden, self.layers, self.outputs].map(|n| n as u64);
        let first = hidden * (width + hidden);
        let others = (layers - 1) * 2 * hidden * hidden;
        gates * (first + others + layers * 2 * hidden) + if outputs > 0 { outputs * (hidden + 1) } else { 0 }
    }

    /// About how many values a step of training holds for each element of a batch at each time step, beside the outputs: for
    /// each layer products, gates, states and their gradients.
    fn step_values(&self) -> u64 {
        (self.width + (3 * self.cell.gates() + 1) * self.layers * self.hidden) as u64
    }
}

/// An error unless so many values can be held in memory.
fn check_step(values: u128, of: &str) -> Result<()> {
    match values <= MAX_STEP {
        true => Ok(()),
        false => refuse(format!(
            "a step of {of} takes {values} values, the most is {MAX_STEP}: take a smaller one of them, or a smaller \
             model"
        )),
    }
}

/// An error unless so many parameters can be held in memory.
fn check_parameters(parameters: u64, of: &str) -> Result<u64> {
    match parameters <= MAX_PARAMETERS {
        true => Ok(parameters),
        false => refuse(format!(
            "{of} make {parameters} parameters, the most is {MAX_PARAMETERS}: take smaller sizes"
        )),
    }
}

fn check_dropout(dropout: f64) -> Result<()> {
    match (0.0..=1.0).contains(&dropout) {
        true => Ok(()),
        false => refuse(format!("dropout must be from 0 to 1, got {dropout}")),
    }
}

fn check_format(format: u32) -> Result<()> {
    match format {
        1 => Ok(()),
        format => refuse(format!("format must be 1, got {format}")),
    }
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::argument("model", message))
}
