//! The launches of each cell: which kernels it runs, and in how many steps at a time.

use super::Nonlinearity;
use super::sequence::{Carried, Sequence};
use crate::cpu::gru_backward::{GRU_BACKWARD, GruBackward};
use crate::cpu::gru_forward::{GRU_FORWARD, GruForward};
use crate::cpu::lstm_backward::{LSTM_BACKWARD, LstmBackward};
use crate::cpu::lstm_forward::{LSTM_FORWARD, LstmForward};
use crate::cpu::lstm_project_backward::{LSTM_PROJECT_BACKWARD, LstmProjectBackward};
use crate::cpu::lstm_project_forward::{LSTM_PROJECT_FORWARD, LstmProjectForward};
use crate::cpu::recurrence::{Product, Schedule};
use crate::cpu::rnn_backward::{RNN_BACKWARD, RnnBackward};
use crate::cpu::rnn_forward::{RNN_FORWARD, RnnForward};
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

    /// G: W_ih and W_hh have G·H rows.
    pub fn parts(self) -> usize {
        match self {
            Cell::Rnn(_) => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// How many numbers each unit keeps of a step for backward, beside the states.
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

/// How a recurrent kernel is to run.
fn scheduled(states: &Tensor, kernel: &'static Kernel, product: Product, steps: u32) -> Schedule {
    let (device, half) = (states.device(), states.dtype().is_half());
    let limits = *device.limits();
    let ways = || product.schedules(kernel, steps, &limits);
    device.choose(|| product.site(kernel, steps, half), ways, product.schedule(kernel, steps, &limits))
}

impl Sequence {
    /// Launches a kernel as often as its schedule asks for, with the parameters for each part: its first step, counted in
    /// the order of the pass, and the number of its steps.
    fn in_parts<P: bytemuck::Pod>(
        &self,
        kernel: &'static Kernel,
        product: Product,
        params: impl Fn(usize, u32) -> P,
        args: &[Arg<'_>],
    ) -> Result<()> {
        let device = self.h.device();
        let schedule = scheduled(&self.h, kernel, product, self.time as u32);
        for from in (0..self.time).step_by(schedule.steps as usize) {
            let steps = schedule.steps.min((self.time - from) as u32);
            device.launch(&schedule.plan, &params(from, steps), args)?;
        }
        Ok(())
    }

    /// Makes all steps, from the initial states: those in the slots or, where `fresh`, 0. `xw` is x·W_ihᵀ with its biases, as
    /// [`Sequence::forward`] makes it; `w_hh` is W_hhᵀ, and of a GRU with biases `b_hh` is there.
    pub fn all_forward(&self, fresh: bool, xw: &Tensor, w_hh: &Tensor, b_hh: Option<&Tensor>) -> Result<()> {
        let [batch, hidden, width, time, base] =
            [self.batch, self.hidden, self.width, self.time, self.base].map(|n| n as u32);
        let (reverse, ragged) = (self.reverse.into(), self.lengths.is_some().into());
        let directions = self.directions() as u32;
        let lengths = maybe(self.lengths.as_ref());
        let start = |from: usize| self.forward_time(0, from) as u32;
        let fresh = |from: usize| (fresh && from == 0).into();
        let h = self.h.update();
        match self.cell {
            Cell::Rnn(nonlinearity) => {
                let relu = (nonlinearity == Nonlinearity::Relu).into();
                let p = RnnForward {
                    batch,
                    hidden,
                    time,
                    start: 0,
                    steps: 0,
                    reverse,
                    directions,
                    fresh: 0,
                    base,
                    relu,
                    ragged,
                };
                let args = [xw.read(), w_hh.read(), lengths, h];
                let params = |from, steps| RnnForward { start: start(from), steps, fresh: fresh(from), ..p };
                self.in_parts(&RNN_FORWARD, p.product(), params, &args)
            }
            Cell::Gru => {
                let p = GruForward {
                    batch,
                    hidden,
                    time,
                    start: 0,
                    steps: 0,
                    reverse,
                    directions,
                    fresh: 0,
                    base,
                    bias: b_hh.is_some().into(),
                    ragged,
                };
                let args = [xw.read(), w_hh.read(), maybe(b_hh), lengths, self.gates().update(), h];
                let params = |from, steps| GruForward { start: start(from), steps, fresh: fresh(from), ..p };
                self.in_parts(&GRU_FORWARD, p.product(), params, &args)
            }
            Cell::Lstm => {
                let projected = self.w_hr().is_some().into();
                let p = LstmForward {
                    batch,
                    hidden,
                    width,
                    time,
                    start: 0,
                    steps: 0,
                    reverse,
                    directions,
                    fresh: 0,
                    base,
                    projected,
                    ragged,
                };
                let (gates, c) = (self.gates().update(), self.c().update());
                let args = [xw.read(), w_hh.read(), lengths, gates, c, h];
                let Some(w_hr) = self.w_hr() else {
                    let params =
                        |from, steps| LstmForward { start: start(from), steps, fresh: fresh(from), ..p };
                    return self.in_parts(&LSTM_FORWARD, p.product(), params, &args);
                };
                let device = self.h.device();
                let plan = scheduled(&self.h, &LSTM_FORWARD, p.product(), 1).plan;
                for step in (0..self.time).map(|k| self.forward_time(0, k)) {
                    let one = LstmForward { start: step as u32, steps: 1, ..p };
                    device.launch(&plan, &one, &args)?;
                    let [before, after] = self.slots(0, step).map(|slot| slot as u32);
                    let source = (self.projected() + step * self.batch * self.hidden) as u32;
                    let step = step as u32;
                    let params = LstmProjectForward {
                        batch,
                        hidden,
                        width,
                        step,
                        before,
                        after,
                        base,
                        source,
                        ragged,
                    };
                    let plan = Plan::elements(&LSTM_PROJECT_FORWARD, self.batch * self.width);
                    device.launch(&plan, &params, &[w_hr.read(), lengths, self.h.update()])?;
                }
                Ok(())
            }
        }
    }

    /// Makes the gradients da of all steps from dy [T, B, D·S] and the gradients of the final states: those in `carried` or, where
    /// `fresh`, 0.
    pub fn all_backward(&self, fresh: bool, dy: &Tensor, w_hh: &Tensor, carried: &Carried) -> Result<()> {
        let [batch, hidden, width, time, base] =
            [self.batch, self.hidden, self.width, self.time, self.base].map(|n| n as u32);
        let (reverse, ragged) = (self.reverse.into(), self.lengths.is_some().into());
        let lengths = maybe(self.lengths.as_ref());
        let (h, directions) = (&self.h, self.directions() as u32);
        let Carried { dh, dc, da, da_h, projection } = carried;
        let start = |from: usize| self.forward_time(0, self.time - 1 - from) as u32;
        let fresh = fresh.into();
        match self.cell {
            Cell::Rnn(nonlinearity) => {
                let relu = (nonlinearity == Nonlinearity::Relu).into();
                let p = RnnBackward {
                    batch,
                    hidden,
                    time,
                    start: 0,
                    steps: 0,
                    reverse,
                    directions,
                    fresh,
                    base,
                    relu,
                    ragged,
                };
                let args = [dy.read(), w_hh.read(), h.read(), lengths, dh.update(), da.update()];
                let params = |from, steps| RnnBackward { start: start(from), steps, ..p };
                self.in_parts(&RNN_BACKWARD, p.product(), params, &args)
            }
            Cell::Gru => {
                let p = GruBackward {
                    batch,
                    hidden,
                    time,
                    start: 0,
                    steps: 0,
                    reverse,
                    directions,
                    fresh,
                    base,
                    ragged,
                };
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
                let params = |from, steps| GruBackward { start: start(from), steps, ..p };
                self.in_parts(&GRU_BACKWARD, p.product(), params, &args)
            }
            Cell::Lstm => {
                let projected = self.w_hr().is_some().into();
                let p = LstmBackward {
                    batch,
                    hidden,
                    time,
                    start: 0,
                    steps: 0,
                    reverse,
                    directions,
                    fresh,
                    projected,
                    ragged,
                };
                let dc = dc.as_ref().expect("an LSTM carries the gradient of its cell state").update();
                let (gates, c) = (self.gates().read(), self.c().read());
                let args = [dy.read(), w_hh.read(), gates, c, lengths, dh.update(), dc, da.update()];
                let (Some(w_hr), Some(projection)) = (self.w_hr(), projection) else {
                    let params = |from, steps| LstmBackward { start: start(from), steps, ..p };
                    return self.in_parts(&LSTM_BACKWARD, p.product(), params, &args);
                };
                let (dp, dm) = (&projection.dp, &projection.dm);
                let args =
                    [dm.read(), w_hh.read(), gates, c, lengths, projection.nothing.update(), dc, da.update()];
                let device = self.h.device();
                let plan = scheduled(&self.h, &LSTM_BACKWARD, p.product(), 1).plan;
                let mut later = None;
                for step in (0..self.time).rev().map(|k| self.forward_time(0, k)) {
                    if let Some(later) = later.replace(step) {
                        let da =
                            da.slice(later * self.batch * 4 * self.hidden, [self.batch, 4 * self.hidden])?;
                        product(Matrix::new(&da), Matrix::new(w_hh), dh, true)?;
                    }
                    let through = LstmProjectBackward { batch, width, step: step as u32, ragged };
                    let elements = Plan::elements(&LSTM_PROJECT_BACKWARD, self.batch * self.width);
                    let given = [dy.read(), lengths, dh.update(), dp.update()];
                    device.launch(&elements, &through, &given)?;
                    let dp = dp.slice(step * self.batch * self.width, [self.batch, self.width])?;
                    product(Matrix::new(&dp), Matrix::new(w_hr), dm, false)?;
                    let one = LstmBackward { start: step as u32, steps: 1, ..p };
                    device.launch(&plan, &one, &args)?;
                }
                Ok(())
            }
        }
    }
}
