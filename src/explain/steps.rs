//! What makes the steps that are explained: an experiment's, or those of a recurrent layer alone.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::nn::{CellKind, Recurrent, RecurrentConfig};
use crate::ops::recurrent::Nonlinearity;
use crate::ops::regression_loss::RegressionLoss;
use crate::optim::{Adam, AdamConfig, Optimizer};
use crate::parameters::{Initializer, Parameters, Precision};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use crate::train::{Stepper, Task, TrainConfig};

/// Makes training steps.
pub trait Steps {
    /// Records one: its loss.
    ///
    /// # Errors
    /// [`Error::Data`] when the data can no longer be read; [`Error::Gpu`] on a fault.
    fn step(&mut self) -> Result<Var>;

    /// The tape of the last one.
    fn tape(&self) -> &Tape;

    /// The model's parameters.
    fn parameters(&self) -> &Parameters;
}

/// Those of an experiment.
pub struct OfExperiment {
    stepper: Stepper,
    task: Box<dyn Task>,
    lr: f64,
}

impl OfExperiment {
    /// Prepares them.
    ///
    /// # Errors
    /// As [`Stepper::new`].
    pub fn new(config: &TrainConfig, task: Box<dyn Task>) -> Result<OfExperiment> {
        let stepper = Stepper::new(config, task.model().parameters())?;
        Ok(OfExperiment { stepper, task, lr: config.lr })
    }
}

impl Steps for OfExperiment {
    fn step(&mut self) -> Result<Var> {
        Ok(self.stepper.step(&mut *self.task, self.lr)?.0)
    }

    fn tape(&self) -> &Tape {
        self.stepper.tape()
    }

    fn parameters(&self) -> &Parameters {
        self.task.model().parameters()
    }
}

/// A recurrent layer and what goes through it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerSizes {
    /// The kind.
    pub cell: CellKind,
    /// T.
    pub time: usize,
    /// B.
    pub batch: usize,
    /// I.
    pub input: usize,
    /// H.
    pub hidden: usize,
}

/// The most of a size, and the most numbers of a step: beyond lies a mistake.
const MOST: usize = 1 << 16;
const MOST_NUMBERS: u128 = 1 << 30;

impl LayerSizes {
    /// # Errors
    /// [`Error::Argument`] names a size that is impossible.
    fn check(&self) -> Result<()> {
        let LayerSizes { cell, time, batch, input, hidden } = *self;
        let sizes = [("time", time), ("batch", batch), ("hidden", hidden)];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..=MOST).contains(size)) {
            return Err(Error::argument("explain", format!("--{name} must be from 1 to {MOST}, got {size}")));
        }
        let rows = cell.gates() as u128 * hidden as u128;
        let numbers = rows * (input + hidden) as u128 + 4 * rows * time as u128 * batch as u128;
        match numbers <= MOST_NUMBERS {
            true => Ok(()),
            false => Err(Error::argument(
                "explain",
                format!(
                    "--time {time}, --batch {batch} and --hidden {hidden} make {numbers} numbers, more than {MOST_NUMBERS}: take \
                     smaller sizes"
                ),
            )),
        }
    }

    /// Its input: numbers without meaning, the same everywhere.
    pub(super) fn x(&self, device: &Device) -> Result<Tensor> {
        let count = self.time * self.batch * self.input;
        let values: Vec<f32> = (0..count).map(|i| (0.7 * i as f32).sin()).collect();
        Tensor::from_f32(device, [self.time, self.batch, self.input], &values)
    }
}

/// Those of a recurrent layer whose outputs are to become 0: the mean of their squares is the loss.
pub struct OfLayer {
    layer: Recurrent,
    parameters: Parameters,
    adam: Adam,
    tape: Tape,
    x: Tensor,
    zeros: Tensor,
}

impl OfLayer {
    /// Makes the layer.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is impossible; [`Error::Gpu`] when the device has no room.
    pub fn new(device: &Device, sizes: &LayerSizes, precision: Precision) -> Result<OfLayer> {
        sizes.check()?;
        let LayerSizes { cell, time, batch, input, hidden } = *sizes;
        let mut init = Initializer::in_precision(device, 0, precision);
        let config = RecurrentConfig {
            cell,
            nonlinearity: Nonlinearity::Tanh,
            input_size: input,
            hidden_size: hidden,
            num_layers: 1,
            dropout: 0.0,
        };
        let layer = Recurrent::new(&mut init, "rnn", &config)?;
        let parameters = init.build()?;
        let zeros = Tensor::empty(device, Dtype::F32, [time, batch, hidden])?;
        zeros.fill(0.0)?;
        Ok(OfLayer {
            layer,
            adam: Adam::new(&parameters, AdamConfig::default())?,
            tape: Tape::new(&parameters),
            parameters,
            x: sizes.x(device)?,
            zeros,
        })
    }
}

impl Steps for OfLayer {
    fn step(&mut self) -> Result<Var> {
        let OfLayer { layer, tape, adam, .. } = self;
        tape.clear();
        let device = tape.device().clone();
        let x = tape.constant(&self.x);
        let y = layer.forward(tape, x, &[])?.output;
        let zeros = tape.constant(&self.zeros);
        let loss = tape.mse_loss(y, zeros, &RegressionLoss::default())?;
        adam.zero_grad();
        tape.backward(loss)?;
        let _span = device.span("optimizer");
        adam.step(None)?;
        Ok(loss)
    }

    fn tape(&self) -> &Tape {
        &self.tape
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}
