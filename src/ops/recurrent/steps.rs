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
use crate::cpu::steps::Steps;
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

    /// The name of layers one above the other that share their launches.
    pub fn name_of_layers(self) -> &'static str {
        match self {
            Cell::Rnn(_) => "rnn_layers",
            Cell::Lstm => "lstm_layers",
            Cell::Gru => "gru_layers",
        }
    }

    /// The kernels of the passes, forward and backward, without a projection: each with the product of a step.
    pub fn passes(self, [batch, hidden]: [usize; 2], chains: usize) -> [(&'static Kernel, Product); 2] {
        let steps = Steps { batch, hidden, chains, ..Steps::default() };
        match self {
            Cell::Rnn(_) => [
                (&RNN_FORWARD, RnnForward::from(steps).product()),
                (&RNN_BACKWARD, RnnBackward::from(steps).product()),
            ],
            Cell::Lstm => [
                (&LSTM_FORWARD, LstmForward { width: hidden as u32, ..steps.into() }.product()),
                (&LSTM_BACKWARD, LstmBackward::from(steps).product()),
            ],
            Cell::Gru => [
                (&GRU_FORWARD, GruForward::from(steps).product()),
                (&GRU_BACKWARD, GruBackward::from(steps).product()),
            ],
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
    /// Launches a kernel as often as its schedule asks for, with the parameters and arguments for each part of the steps. Layers
    /// make theirs in rounds, and `between` runs after each, with its number.
    fn in_parts<P: bytemuck::Pod>(
        &self,
        (kernel, product): (&'static Kernel, Product),
        backward: bool,
        params: impl Fn(Steps) -> P,
        args: &[Arg<'_>],
        between: impl Fn(usize) -> Result<()>,
    ) -> Result<()> {
        let device = self.h.device();
        for round in 0..self.rounds(backward).many {
            let all = self.steps_of_round(round, backward);
            // Only chains that have steps to make get workgroups: of layers not all in the first and the last rounds.
            let busy = all.busy(backward);
            let product = Product { chains: busy.len() as u32, ..product };
            let schedule = scheduled(&self.h, kernel, product, all.count as u32);
            for from in (0..all.count).step_by(schedule.steps as usize) {
                let count = (all.count - from).min(schedule.steps as usize);
                let part = Steps { start: all.start + from as i32, count, lowest: busy.start, ..all };
                if !part.busy(backward).is_empty() {
                    device.launch(&schedule.plan, &params(part), args)?;
                }
            }
            between(round)?;
        }
        Ok(())
    }

    /// Makes all steps, from the initial states: those in the slots or, where `fresh`, 0. `xw` is x·W_ihᵀ with its biases, as
    /// [`Sequence::forward`] makes it, of layers for the lowest alone; `w_hh` is W_hhᵀ, and of a GRU with biases `b_hh` is there.
    pub fn all_forward(&self, fresh: bool, xw: &Tensor, w_hh: &Tensor, b_hh: Option<&Tensor>) -> Result<()> {
        let [batch, hidden, width, base] = [self.batch, self.hidden, self.width, self.base].map(|n| n as u32);
        let [fresh, ragged] = [fresh, self.lengths.is_some()].map(u32::from);
        let lengths = maybe(self.lengths.as_ref());
        let (rows, h) = (self.rows(), self.h.update());
        let hand_up = |round: usize| self.hand_up(round, xw);
        match self.cell {
            Cell::Rnn(nonlinearity) => {
                let relu = (nonlinearity == Nonlinearity::Relu).into();
                let params = |steps: Steps| RnnForward { fresh, base, relu, ragged, ..steps.into() };
                let args = [xw.read(), w_hh.read(), lengths, h];
                self.in_parts((&RNN_FORWARD, params(rows).product()), false, params, &args, hand_up)
            }
            Cell::Gru => {
                let bias = b_hh.is_some().into();
                let params = |steps: Steps| GruForward { fresh, base, bias, ragged, ..steps.into() };
                let args = [xw.read(), w_hh.read(), maybe(b_hh), lengths, self.gates().update(), h];
                self.in_parts((&GRU_FORWARD, params(rows).product()), false, params, &args, hand_up)
            }
            Cell::Lstm => {
                let projected = self.w_hr().is_some().into();
                let params =
                    |steps: Steps| LstmForward { width, fresh, base, projected, ragged, ..steps.into() };
                let product = params(rows).product();
                let args = [xw.read(), w_hh.read(), lengths, self.gates().update(), self.c().update(), h];
                let Some(w_hr) = self.w_hr() else {
                    return self.in_parts((&LSTM_FORWARD, product), false, params, &args, hand_up);
                };
                let device = self.h.device();
                let plan = scheduled(&self.h, &LSTM_FORWARD, product, 1).plan;
                for place in 0..self.time {
                    let one = params(Steps { start: place as i32, count: 1, ..rows });
                    device.launch(&plan, &one, &args)?;
                    let step = self.forward_time(0, place);
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

    /// Makes the gradients da of all steps from dy [T, B, D·S], or of layers [L, T, B, H] that of the uppermost, and the gradients
    /// of the final states: those in `carried` or, where `fresh`, 0.
    pub fn all_backward(&self, fresh: bool, dy: &Tensor, w_hh: &Tensor, carried: &Carried) -> Result<()> {
        let [batch, width, base] = [self.batch, self.width, self.base].map(|n| n as u32);
        let [fresh, ragged] = [fresh, self.lengths.is_some()].map(u32::from);
        let lengths = maybe(self.lengths.as_ref());
        let (rows, h) = (self.rows(), &self.h);
        let Carried { dh, dc, da, da_h, projection } = carried;
        let hand_down = |round: usize| self.hand_down(round, da, dy);
        match self.cell {
            Cell::Rnn(nonlinearity) => {
                let relu = (nonlinearity == Nonlinearity::Relu).into();
                let params = |steps: Steps| RnnBackward { fresh, base, relu, ragged, ..steps.into() };
                let args = [dy.read(), w_hh.read(), h.read(), lengths, dh.update(), da.update()];
                self.in_parts((&RNN_BACKWARD, params(rows).product()), true, params, &args, hand_down)
            }
            Cell::Gru => {
                let params = |steps: Steps| GruBackward { fresh, base, ragged, ..steps.into() };
                let da_h = da_h.as_ref().expect("a GRU's recurrent gradients are kept apart").update();
                let (gates, dh, da) = (self.gates().read(), dh.update(), da.update());
                let args = [dy.read(), w_hh.read(), gates, h.read(), lengths, dh, da, da_h];
                self.in_parts((&GRU_BACKWARD, params(rows).product()), true, params, &args, hand_down)
            }
            Cell::Lstm => {
                let projected = self.w_hr().is_some().into();
                let params = |steps: Steps| LstmBackward { fresh, projected, ragged, ..steps.into() };
                let product_of_step = params(rows).product();
                let dc = dc.as_ref().expect("an LSTM carries the gradient of its cell state").update();
                let (gates, c) = (self.gates().read(), self.c().read());
                let args = [dy.read(), w_hh.read(), gates, c, lengths, dh.update(), dc, da.update()];
                let (Some(w_hr), Some(projection)) = (self.w_hr(), projection) else {
                    return self.in_parts((&LSTM_BACKWARD, product_of_step), true, params, &args, hand_down);
                };
                let (dp, dm) = (&projection.dp, &projection.dm);
                let args =
                    [dm.read(), w_hh.read(), gates, c, lengths, projection.nothing.update(), dc, da.update()];
                let device = self.h.device();
                let plan = scheduled(&self.h, &LSTM_BACKWARD, product_of_step, 1).plan;
                let mut later = None;
                for place in 0..self.time {
                    let step = self.forward_time(0, self.time - 1 - place);
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
                    let one = params(Steps { start: place as i32, count: 1, ..rows });
                    device.launch(&plan, &one, &args)?;
                }
                Ok(())
            }
        }
    }
}
