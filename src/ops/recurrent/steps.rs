//! One step of each cell: which kernels it launches.

use super::Nonlinearity;
use super::sequence::{Carried, Sequence};
use crate::cpu::gru_step_backward::{GRU_STEP_BACKWARD, GruStepBackward};
use crate::cpu::gru_step_forward::{GRU_STEP_FORWARD, GruStepForward};
use crate::cpu::lstm_project_backward::{LSTM_PROJECT_BACKWARD, LstmProjectBackward};
use crate::cpu::lstm_project_forward::{LSTM_PROJECT_FORWARD, LstmProjectForward};
use crate::cpu::lstm_step_backward::{LSTM_STEP_BACKWARD, LstmStepBackward};
use crate::cpu::lstm_step_forward::{LSTM_STEP_FORWARD, LstmStepForward};
use crate::cpu::rnn_step_backward::{RNN_STEP_BACKWARD, RnnStepBackward};
use crate::cpu::rnn_step_forward::{RNN_STEP_FORWARD, RnnStepForward};
use crate::device::Arg;
use crate::error::Result;
use crate::kernel::{Kernel, Plan};
use crate::ops::matmul::{Matrix, product};
use crate::tensor::Tensor;

/// The cells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    Rnn(Nonlinearity),
    Lstm,
    Gru,
}

impl Cell {
    pub fn name(self) -> &'static str {
        match self {
            Cell::Rnn(_) => "rnn",
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        }
    }

    /// The rows of W_ih and W_hh, in units of H.
    pub fn parts(self) -> usize {
        match self {
            Cell::Rnn(_) => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// What each unit keeps of a step for backward, beside the states.
    pub fn kept(self) -> usize {
        match self {
            Cell::Rnn(_) => 0,
            Cell::Lstm | Cell::Gru => 4,
        }
    }
}

/// An optional argument.
fn maybe(tensor: Option<&Tensor>) -> Arg<'_> {
    tensor.map_or(Arg::absent(), Tensor::read)
}

impl Sequence {
    /// A launch of a kernel with a thread for each of a step's `width` columns.
    fn step_of<P: bytemuck::Pod>(
        &self,
        kernel: &'static Kernel,
        width: usize,
        params: &P,
        args: &[Arg<'_>],
    ) -> Result<()> {
        self.h.device().launch(&Plan::elements(kernel, self.batch * width), params, args)
    }

    /// The states after step `step` from those before it. `xw` is x·W_ihᵀ.
    pub fn step_forward(&self, step: usize, xw: &Tensor) -> Result<()> {
        let [batch, hidden, width, time, base] =
            [self.batch, self.hidden, self.width, self.time, self.base].map(|n| n as u32);
        let [before, after] = self.slots(step).map(|slot| slot as u32);
        let bias = self.biases.is_some().into();
        let ragged = self.lengths.is_some().into();
        let lengths = maybe(self.lengths.as_ref());
        let [b_ih, b_hh] = [0, 1].map(|k| maybe(self.biases.as_ref().map(|biases| &biases[k])));
        let (w_hh, h) = (&self.w_hh, &self.h);
        let out = self.out_of(step) as u32;
        let step = step as u32;
        match self.cell {
            Cell::Rnn(nonlinearity) => {
                let relu = (nonlinearity == Nonlinearity::Relu).into();
                let params = RnnStepForward { batch, hidden, step, before, after, base, relu, bias, ragged };
                let args = [xw.read(), w_hh.read(), b_ih, b_hh, lengths, h.update()];
                self.step_of(&RNN_STEP_FORWARD, self.hidden, &params, &args)
            }
            Cell::Gru => {
                let params = GruStepForward { batch, hidden, time, step, before, after, base, bias, ragged };
                let args = [xw.read(), w_hh.read(), b_ih, b_hh, lengths, self.gates().update(), h.update()];
                self.step_of(&GRU_STEP_FORWARD, self.hidden, &params, &args)
            }
            Cell::Lstm => {
                let projected = self.w_hr.is_some().into();
                let params = LstmStepForward {
                    batch,
                    hidden,
                    width,
                    step,
                    before,
                    after,
                    base,
                    out,
                    projected,
                    bias,
                    ragged,
                };
                let (gates, c) = (self.gates().update(), self.c().update());
                let args = [xw.read(), w_hh.read(), b_ih, b_hh, lengths, gates, c, h.update()];
                self.step_of(&LSTM_STEP_FORWARD, self.hidden, &params, &args)?;
                let Some(w_hr) = &self.w_hr else { return Ok(()) };
                let params = LstmProjectForward {
                    batch,
                    hidden,
                    width,
                    step,
                    before,
                    after,
                    base,
                    source: out,
                    ragged,
                };
                let args = [w_hr.read(), lengths, h.update()];
                self.step_of(&LSTM_PROJECT_FORWARD, self.width, &params, &args)
            }
        }
    }

    /// The gradients da of step `step` from dy [T, B, S], those of the step `later` whose backward pass came before it, and
    /// what is carried.
    pub fn step_backward(
        &self,
        step: usize,
        later: Option<usize>,
        dy: &Tensor,
        carried: &Carried,
    ) -> Result<()> {
        let [batch, hidden, width, time, base] =
            [self.batch, self.hidden, self.width, self.time, self.base].map(|n| n as u32);
        let [before, after] = self.slots(step).map(|slot| slot as u32);
        let at_later = later;
        let (later, first) = (later.unwrap_or_default() as u32, later.is_none().into());
        let ragged = self.lengths.is_some().into();
        let lengths = maybe(self.lengths.as_ref());
        let (w_hh, h) = (&self.w_hh, &self.h);
        let Carried { dh, dc, da, da_h, projection } = carried;
        let now = step;
        let step = step as u32;
        match self.cell {
            Cell::Rnn(nonlinearity) => {
                let relu = (nonlinearity == Nonlinearity::Relu).into();
                let params = RnnStepBackward { batch, hidden, step, later, first, after, base, relu, ragged };
                let args = [dy.read(), w_hh.read(), h.read(), lengths, dh.update(), da.update()];
                self.step_of(&RNN_STEP_BACKWARD, self.hidden, &params, &args)
            }
            Cell::Gru => {
                let params =
                    GruStepBackward { batch, hidden, time, step, later, first, before, base, ragged };
                let da_h = da_h.as_ref().expect("a GRU's recurrent gradients are kept apart");
                let args = [
                    dy.read(),
                    w_hh.read(),
                    self.gates().read(),
                    h.read(),
                    lengths,
                    dh.update(),
                    da.update(),
                    da_h.update(),
                ];
                self.step_of(&GRU_STEP_BACKWARD, self.hidden, &params, &args)
            }
            Cell::Lstm => {
                let mut params = LstmStepBackward {
                    batch,
                    hidden,
                    step,
                    row_of_dy: step,
                    later,
                    first,
                    before,
                    after,
                    ragged,
                };
                let (mut dy, mut dh) = (dy, dh);
                if let (Some(w_hr), Some(projection)) = (&self.w_hr, projection) {
                    if let Some(later) = at_later {
                        let da =
                            da.slice(later * self.batch * 4 * self.hidden, [self.batch, 4 * self.hidden])?;
                        product(Matrix::new(&da), Matrix::new(w_hh), dh, true)?;
                    }
                    let through = LstmProjectBackward { batch, width, step, ragged };
                    let dp = &projection.dp;
                    let args = [dy.read(), lengths, dh.update(), dp.update()];
                    self.step_of(&LSTM_PROJECT_BACKWARD, self.width, &through, &args)?;
                    let dp = dp.slice(now * self.batch * self.width, [self.batch, self.width])?;
                    product(Matrix::new(&dp), Matrix::new(w_hr), &projection.dm, false)?;
                    (params.row_of_dy, params.first) = (0, 1);
                    (dy, dh) = (&projection.dm, &projection.nothing);
                }
                let dc = dc.as_ref().expect("an LSTM carries the gradient of its cell state");
                let args = [
                    dy.read(),
                    w_hh.read(),
                    self.gates().read(),
                    self.c().read(),
                    lengths,
                    dh.update(),
                    dc.update(),
                    da.update(),
                ];
                self.step_of(&LSTM_STEP_BACKWARD, self.hidden, &params, &args)
            }
        }
    }
}
