//! Finite differences of a walk's loss, by the operations of the tape on the reference device.

use super::Walk;
use crate::device::Device;
use crate::error::Result;
use crate::nn::CellKind;
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::ops::recurrent::{Nonlinearity, Order, RecurrentWeights};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// The step of the finite differences.
const STEP: f64 = 1e-3;

impl Walk {
    /// dL/da of a row of the gates at a step, by (8·(L(e) − L(−e)) − (L(2e) − L(−2e))) / 12e in 64 bits, e being added to a.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when memory is short.
    pub fn difference(&self, layer: usize, step: usize, row: usize) -> Result<f64> {
        let loss = |e: f64| self.loss_with(Some((layer, step, row, e)));
        let (near, far) = (loss(STEP)? - loss(-STEP)?, loss(2.0 * STEP)? - loss(-2.0 * STEP)?);
        Ok((8.0 * near - far) / (12.0 * STEP))
    }

    /// The loss in 64 bits, where (layer, step, row, e): with e added to a row of a layer's gates at a step. It is added as one
    /// more input, which is e at that step and 0 else, with weight 1 to that row.
    fn loss_with(&self, nudge: Option<(usize, usize, usize, f64)>) -> Result<f64> {
        let device = Device::reference();
        let mut tape = Tape::without_parameters(&device);
        let mut x = matrix(&mut tape, &self.layers[0].x)?;
        x = tape.reshape(x, [self.time(), 1, self.layers[0].x[0].len()])?;
        for (index, layer) in self.layers.iter().enumerate() {
            let mut w_ih = layer.w[0].clone();
            if let Some((_, step, row, e)) = nudge.filter(|(of, ..)| *of == index) {
                w_ih.iter_mut().enumerate().for_each(|(at, w)| w.push(if at == row { 1.0 } else { 0.0 }));
                let values: Vec<f64> = (0..self.time()).map(|t| if t == step { e } else { 0.0 }).collect();
                let more = tape.constant(&Tensor::from_f64(&device, [self.time(), 1, 1], &values)?);
                x = tape.concat(&[x, more], 2)?;
            }
            let biases = [vector(&mut tape, &layer.b[0])?, vector(&mut tape, &layer.b[1])?];
            let (w_ih, w_hh) = (matrix(&mut tape, &w_ih)?, matrix(&mut tape, &layer.w[1])?);
            let weights = RecurrentWeights { w_ih, w_hh, biases: Some(biases), w_hr: None };
            x = match self.cell {
                CellKind::Rnn => tape.rnn(x, None, weights, Nonlinearity::Tanh, Order::default())?[0],
                CellKind::Lstm => tape.lstm(x, [None; 2], weights, Order::default())?[0],
                CellKind::Gru => tape.gru(x, None, weights, Order::default())?[0],
            };
        }
        if let Some(linear) = &self.linear {
            let (w, b) = (matrix(&mut tape, &linear.w)?, vector(&mut tape, &linear.b)?);
            x = tape.linear(x, w, Some(b))?;
        }
        let labels: Vec<i32> = self.labels.iter().map(|label| *label as i32).collect();
        let labels = Indices::new(&device, [self.time(), 1], &labels)?;
        let loss = tape.cross_entropy(x, &labels, &CrossEntropyLoss::default())?;
        Ok(tape.value(loss)?.to_f64()?[0])
    }

    /// The loss in 64 bits, from the same inputs and parameters.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when memory is short.
    pub fn reference_loss(&self) -> Result<f64> {
        self.loss_with(None)
    }
}

fn matrix(tape: &mut Tape, rows: &[Vec<f64>]) -> Result<Var> {
    let tensor = Tensor::from_f64(tape.device(), [rows.len(), rows[0].len()], &rows.concat())?;
    Ok(tape.constant(&tensor))
}

fn vector(tape: &mut Tape, values: &[f64]) -> Result<Var> {
    let tensor = Tensor::from_f64(tape.device(), [values.len()], values)?;
    Ok(tape.constant(&tensor))
}
