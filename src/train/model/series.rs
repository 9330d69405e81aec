//! Forecasts: a window of rows, recurrent layers, a linear layer on the last step.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ModelFiles, Sizes, check_dropout, check_format, check_parameters, check_step, refuse};
use crate::data::scale::Scaler;
use crate::device::Device;
use crate::error::Result;
use crate::nn::{CellKind, Linear, LinearConfig, Recurrent, RecurrentConfig};
use crate::ops::recurrent::Nonlinearity;
use crate::parameters::{Initializer, Parameters, Precision};
use crate::tape::{Tape, Var};

/// What a [`SeriesModel`] is; as JSON, the file `config.json` of a model folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesModelConfig {
    /// The version of this format: 1.
    pub format: u32,
    /// `timeseries`.
    pub experiment: String,
    /// The names of the columns that go in, in order.
    pub columns: Vec<String>,
    /// Which of them is forecast, counted from 0.
    pub target: usize,
    /// Whether the table that it was trained on had its newest row first.
    pub newest_first: bool,
    /// Rows that a forecast is made from.
    pub window: usize,
    /// How many rows behind the window the forecast is for.
    pub horizon: usize,
    /// The scaler of the training part.
    pub scaler: Scaler,
    /// The kind of recurrent layers.
    pub cell: CellKind,
    /// H.
    pub hidden: usize,
    /// L.
    pub layers: usize,
    /// The probability of dropout between layers.
    pub dropout: f64,
}

impl SeriesModelConfig {
    /// The number of parameters. An error unless the sizes make a model that can be held in memory.
    pub(in crate::train) fn check(&self) -> Result<u64> {
        check_format(self.format)?;
        check_dropout(self.dropout)?;
        let columns = self.columns.len();
        for (name, size) in [("columns", columns), ("window", self.window), ("horizon", self.horizon)] {
            if !(1..=super::MAX_SIZE).contains(&size) {
                return refuse(format!("{name} must be from 1 to {}, got {size}", super::MAX_SIZE));
            }
        }
        if self.target >= columns {
            return refuse(format!(
                "target must be one of the {columns} columns, counted from 0, got {}",
                self.target
            ));
        }
        self.scaler.check(columns)?;
        let sizes = self.sizes();
        sizes.check()?;
        let of = format!("hidden {}, layers {} and {columns} columns", self.hidden, self.layers);
        check_parameters(sizes.parameters(), &of)
    }

    /// An error unless it makes a model and a step of training over so many windows can be held in memory.
    pub(in crate::train) fn check_step(&self, windows: usize) -> Result<()> {
        self.check()?;
        let values = u128::from(self.sizes().step_values()) * (windows as u128 * self.window as u128);
        check_step(values, &format!("{windows} windows of {} rows", self.window))
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            cell: self.cell,
            width: self.columns.len(),
            hidden: self.hidden,
            layers: self.layers,
            outputs: 1,
        }
    }
}

/// A recurrent model of a time series: `rnn`, and `fc` on its last step.
#[derive(Debug)]
pub struct SeriesModel {
    /// What it is.
    pub config: SeriesModelConfig,
    /// Its parameters, with PyTorch's names: `rnn.weight_ih_l0`, `fc.weight`, ...
    pub parameters: Parameters,
    rnn: Recurrent,
    fc: Linear,
}

impl SeriesModel {
    /// A model with initial values from `seed`.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the configuration makes no model;
    /// [`Error::Gpu`](crate::error::Error::Gpu) when the device has no room for it.
    pub fn new(device: &Device, config: SeriesModelConfig, seed: u64) -> Result<SeriesModel> {
        SeriesModel::in_precision(device, config, seed, Precision::F32)
    }

    /// [`SeriesModel::new`], to compute in a precision.
    ///
    /// # Errors
    /// As [`SeriesModel::new`].
    pub fn in_precision(
        device: &Device,
        config: SeriesModelConfig,
        seed: u64,
        precision: Precision,
    ) -> Result<SeriesModel> {
        SeriesModel::make(Initializer::in_precision(device, seed, precision), config, Initializer::build)
    }

    /// A model whose parameters get their values by `build`.
    pub(super) fn make(
        mut init: Initializer,
        config: SeriesModelConfig,
        build: impl FnOnce(Initializer) -> Result<Parameters>,
    ) -> Result<SeriesModel> {
        config.check()?;
        let rnn = RecurrentConfig {
            cell: config.cell,
            nonlinearity: Nonlinearity::Tanh,
            input_size: config.columns.len(),
            hidden_size: config.hidden,
            num_layers: config.layers,
            dropout: config.dropout,
        };
        let rnn = Recurrent::new(&mut init, "rnn", &rnn)?;
        let linear = LinearConfig { in_features: config.hidden, out_features: 1, bias: true };
        let fc = Linear::new(&mut init, "fc", &linear)?;
        Ok(SeriesModel { parameters: build(init)?, config, rnn, fc })
    }

    /// The forecasts [B, 1], scaled, from windows [W, B, C] of scaled rows.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when shapes do not fit;
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn forward(&self, tape: &mut Tape, x: Var) -> Result<Var> {
        let steps = tape.value(x)?.shape()[0];
        let states = self.rnn.forward(tape, x, &[])?;
        let last = tape.select(states.output, 0, steps - 1)?;
        self.fc.forward(tape, last)
    }
}

impl ModelFiles for SeriesModel {
    fn config_json(&self) -> Value {
        serde_json::to_value(&self.config).expect("a configuration has nothing but plain fields")
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}
