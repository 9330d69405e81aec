//! Finite differences of a walk's loss, by the operations of the tape on the reference device.

use super::{Target, Walk};
use crate::device::Device;
use crate::error::Result;
use crate::nn::CellKind;
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::ops::recurrent::{Nonlinearity, Order, RecurrentWeights};
use crate::ops::regression_loss::RegressionLoss;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The step of the finite differences.
const STEP: f64 = 1e-3;

/// A number that is added to one row of what the gates take in of a layer's input, at one step of the walked sample.
#[derive(Clone, Copy)]
struct Nudge {
    layer: usize,
    step: usize,
    row: usize,
    by: f64,
}

impl Walk {
    /// dL/da of a row of the gates of the walked sample at a step: (8·(L(e) − L(−e)) − (L(2e) − L(−2e))) / 12e in 64 bits, e
    /// being added to a.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when memory is short.
    pub fn difference(&self, layer: usize, step: usize, row: usize) -> Result<f64> {
        let loss = |by: f64| self.loss_with(Some(Nudge { layer, step, row, by }));
        let (near, far) = (loss(STEP)? - loss(-STEP)?, loss(2.0 * STEP)? - loss(-2.0 * STEP)?);
        Ok((8.0 * near - far) / (12.0 * STEP))
    }

    /// The loss of the whole batch in 64 bits, from the same inputs and parameters.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when memory is short.
    pub fn reference_loss(&self) -> Result<f64> {
        self.loss_with(None)
    }

    /// A nudge is one more input, which is 0 but in one place, with weight 1 to the one row.
    fn loss_with(&self, nudge: Option<Nudge>) -> Result<f64> {
        let device = Device::reference();
        let mut tape = Tape::without_parameters(&device);
        let (time, batch) = (self.time(), self.batch);
        let width = self.whole.x.len() / (time * batch);
        let mut x = constant(&mut tape, &[time, batch, width], &self.whole.x)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let (rows, mut w_ih) = (layer.input.w.len(), layer.input.w.clone());
            if let Some(Nudge { step, row, by, .. }) = nudge.filter(|nudge| nudge.layer == index) {
                w_ih.iter_mut().enumerate().for_each(|(at, w)| w.push(if at == row { 1.0 } else { 0.0 }));
                let mut values = vec![0.0; time * batch];
                values[step * batch + self.sample] = by;
                let more = constant(&mut tape, &[time, batch, 1], &values)?;
                x = tape.concat(&[x, more], 2)?;
            }
            let biases = [&layer.input.b, &layer.state.b].map(|b| constant(&mut tape, &[rows], b));
            let [b_ih, b_hh] = biases;
            let weights = RecurrentWeights {
                w_ih: constant(&mut tape, &[rows, w_ih[0].len()], &w_ih.concat())?,
                w_hh: constant(&mut tape, &[rows, layer.hidden()], &layer.state.w.concat())?,
                biases: Some([b_ih?, b_hh?]),
                w_hr: None,
            };
            x = match self.cell {
                CellKind::Rnn => tape.rnn(x, None, weights, Nonlinearity::Tanh, Order::default())?[0],
                CellKind::Lstm => tape.lstm(x, [None; 2], weights, Order::default())?[0],
                CellKind::Gru => tape.gru(x, None, weights, Order::default())?[0],
            };
        }
        let first = self.outputs.first;
        x = tape.narrow(x, 0, first, time - first)?;
        if let Some(linear) = &self.linear {
            let (outputs, inputs) = (linear.w.len(), linear.w[0].len());
            let w = constant(&mut tape, &[outputs, inputs], &linear.w.concat())?;
            let b = constant(&mut tape, &[outputs], &linear.b)?;
            x = tape.linear(x, w, Some(b))?;
        }
        let targets = &self.whole.targets;
        let loss = match &self.outputs.target {
            Target::Classes { .. } => {
                let labels: Vec<i32> = targets.iter().map(|label| *label as i32).collect();
                let labels = Indices::new(&device, [time - first, batch], &labels)?;
                tape.cross_entropy(x, &labels, &CrossEntropyLoss::default())?
            }
            Target::Values(_) => {
                let targets = constant(&mut tape, &[time - first, batch, self.outputs.y[0].len()], targets)?;
                tape.mse_loss(x, targets, &RegressionLoss::default())?
            }
        };
        Ok(tape.value(loss)?.to_f64()?[0])
    }
}

fn constant(tape: &mut Tape, shape: &[usize], values: &[f64]) -> Result<Var> {
    let tensor = Tensor::from_f64(tape.device(), shape, values)?;
    Ok(tape.constant(&tensor))
}
