//! The schedule that all cells share: the order of the steps, where states lie, and the gradients over all steps.

use super::lengths::masked;
use super::steps::Cell;
use crate::error::Result;
use crate::kernel::Dtype;
use crate::ops::bias_add::sum_rows;
use crate::ops::linear::affine;
use crate::ops::matmul::{Matrix, product};
use crate::ops::strided::permuted;
use crate::tape::Gradients;
use crate::tensor::{Shape, Tensor};

/// A layer at work in one direction, and all that its backward pass needs.
pub struct Sequence {
    pub cell: Cell,
    pub reverse: bool,
    /// `[B]`.
    pub lengths: Option<Tensor>,
    pub time: usize,
    pub batch: usize,
    pub hidden: usize,
    /// S: the size of h.
    pub width: usize,
    /// [T, B, I].
    input: Tensor,
    w_ih: Tensor,
    pub w_hh: Tensor,
    pub biases: Option<[Tensor; 2]>,
    pub w_hr: Option<Tensor>,
    /// The states, from element `base` on, in T + 1 slots of [B, S]. Step t takes the state from slot t to slot t + 1, in reverse
    /// from slot t + 1 to slot t. So the states before all steps are neighbouring rows, and those after all steps too: one
    /// product takes all of them. `base` is such that the latter begin at an aligned element, and can be an output without a
    /// copy. With a projection, what is projected, [T, B, H], lies behind the slots.
    pub h: Tensor,
    pub base: usize,
    /// The cell states in slots of [B, H].
    c: Option<Tensor>,
    /// What the kernels keep of the gates.
    gates: Option<Tensor>,
}

/// Where optional inputs stand among a node's.
pub struct Places {
    pub b_ih: usize,
    pub b_hh: usize,
    pub w_hr: usize,
    pub h0: usize,
    pub c0: usize,
}

/// What goes from step to step in the backward pass, and what it makes.
pub struct Carried {
    /// What arrives at h, beside dy and da·W_hh: [B, S]. At first the gradient of the final state.
    pub dh: Tensor,
    /// What arrives at c: [B, H]. At first the gradient of the final cell state.
    pub dc: Option<Tensor>,
    /// The gradient of x·W_ihᵀ, [T, B, G·H]; and that of h·W_hhᵀ where it is another.
    pub da: Tensor,
    pub da_h: Option<Tensor>,
    pub projection: Option<Projection>,
}

/// The gradients around a projection.
pub struct Projection {
    /// Of h, [T, B, S].
    pub dp: Tensor,
    /// Of what is projected in one step, [B, H].
    pub dm: Tensor,
    /// Zeros [B, H]: nothing else arrives there.
    pub nothing: Tensor,
}

impl Sequence {
    pub fn new(
        cell: Cell,
        reverse: bool,
        lengths: Option<Tensor>,
        input: Tensor,
        [w_ih, w_hh]: [Tensor; 2],
        biases: Option<[Tensor; 2]>,
        w_hr: Option<Tensor>,
    ) -> Result<Sequence> {
        let device = input.device();
        let (time, batch) = (input.shape()[0], input.shape()[1]);
        let (hidden, width) = (w_ih.shape()[0] / cell.parts(), w_hh.shape()[1]);
        // What is kept is stored as the weights are; the input as it comes.
        let dtype = w_hh.dtype();
        let slot = batch * width;
        let base = if reverse { 0 } else { slot.next_multiple_of(dtype.alignment()) - slot };
        let projected = if w_hr.is_some() { time * batch * hidden } else { 0 };
        let empty = |count: usize| Tensor::empty(&device, dtype, [count]);
        let h = empty(base + (time + 1) * batch * width + projected)?;
        let c = matches!(cell, Cell::Lstm).then(|| empty((time + 1) * batch * hidden)).transpose()?;
        let kept = cell.kept() * time * batch * hidden;
        let gates = (cell.kept() > 0).then(|| empty(kept)).transpose()?;
        Ok(Sequence {
            cell,
            reverse,
            lengths,
            time,
            batch,
            hidden,
            width,
            input,
            w_ih,
            w_hh,
            biases,
            w_hr,
            h,
            base,
            c,
            gates,
        })
    }

    /// The slots of the states before and after a step.
    pub fn slots(&self, step: usize) -> [usize; 2] {
        if self.reverse { [step + 1, step] } else { [step, step + 1] }
    }

    /// The first element of what is projected.
    pub fn projected(&self) -> usize {
        self.base + (self.time + 1) * self.batch * self.width
    }

    /// b_ih (0) or b_hh (1), where there are biases.
    pub fn bias(&self, which: usize) -> Option<&Tensor> {
        self.biases.as_ref().map(|biases| &biases[which])
    }

    pub fn c(&self) -> &Tensor {
        self.c.as_ref().expect("an LSTM has cell states")
    }

    pub fn gates(&self) -> &Tensor {
        self.gates.as_ref().expect("a cell with gates keeps them")
    }

    /// The step that the forward pass makes as its k-th.
    pub fn forward_time(&self, k: usize) -> usize {
        if self.reverse { self.time - 1 - k } else { k }
    }

    /// Runs all steps from the initial states, 0 where not given.
    pub fn forward(&self, h0: Option<&Tensor>, c0: Option<&Tensor>) -> Result<()> {
        // From zeros the kernels begin by themselves, but not with a projection.
        let fresh = h0.is_none() && c0.is_none() && self.w_hr.is_none();
        if !fresh {
            let slot = if self.reverse { self.time } else { 0 };
            begin(&self.h, self.base + slot * self.batch * self.width, self.batch * self.width, h0)?;
            if let Some(c) = &self.c {
                begin(c, slot * self.batch * self.hidden, self.batch * self.hidden, c0)?;
            }
        }
        // In a GRU r multiplies a sum that b_hh is a part of; in the other cells the two biases are simply added.
        let b_hh = if self.cell == Cell::Gru { None } else { self.bias(1) };
        let xw = affine(&self.input, &self.w_ih, [self.bias(0), b_hh])?;
        // Neighbouring threads then read neighbouring weights, and a CPU multiplies rows by columns.
        let w_hh = permuted(&self.w_hh, &[1, 0])?;
        self.all_forward(fresh, &xw, &w_hh)
    }

    /// The states before (0) or after (1) every step: [T, B, S].
    fn states(&self, side: usize) -> Result<Tensor> {
        let start = self.slots(0)[side] * self.batch * self.width;
        self.h.slice(self.base + start, [self.time, self.batch, self.width])
    }

    /// h_t of every step, 0 behind each sequence's end: [T, B, S].
    pub fn output(&self) -> Result<Tensor> {
        let states = self.states(1)?;
        match &self.lengths {
            None => Ok(states),
            Some(lengths) => masked(&states, lengths),
        }
    }

    /// The slot of the final states: sequences that end early have kept theirs.
    fn last_slot(&self) -> usize {
        if self.reverse { 0 } else { self.time }
    }

    /// h after the last step: [B, S].
    pub fn final_h(&self) -> Result<Tensor> {
        let start = self.base + self.last_slot() * self.batch * self.width;
        self.h.slice(start, [self.batch, self.width])
    }

    /// c after the last step: [B, H].
    pub fn final_c(&self) -> Result<Tensor> {
        let start = self.last_slot() * self.batch * self.hidden;
        self.c().slice(start, [self.batch, self.hidden])
    }

    /// The gradients of all inputs from those of the outputs: all h_t, the final h and, of an LSTM, the final c.
    pub fn backward(&self, g: &mut Gradients<'_>, places: &Places) -> Result<()> {
        let device = self.h.device();
        let Sequence { time, batch, hidden, width, .. } = *self;
        let empty = |shape: &[usize]| Tensor::empty(&device, self.h.dtype(), shape);
        // What is added up from step to step.
        let wide = |shape: &[usize]| Tensor::empty(&device, Dtype::F32, shape);
        let zeros = |shape: &[usize]| {
            let tensor = wide(shape)?;
            tensor.fill(0.0)?;
            Ok(tensor)
        };
        let lstm = matches!(self.cell, Cell::Lstm);
        let dy = g.output(0)?.map_or_else(|| zeros(&[time, batch, width]), Ok)?;
        let (dh, dc) = (g.output(1)?, if lstm { g.output(2)? } else { None });
        // Where no gradient of a final state arrives, the kernels begin with zeros by themselves, but not with a projection.
        let fresh = dh.is_none() && dc.is_none() && self.w_hr.is_none();
        // A copy, because it changes from step to step.
        let arriving = |gradient: Option<Tensor>, shape: [usize; 2]| match gradient {
            None if fresh => wide(&shape),
            None => zeros(&shape),
            Some(gradient) => {
                let copy = wide(&shape)?;
                gradient.copy_into(&copy, 0)?;
                Ok(copy)
            }
        };
        let gates = self.cell.parts() * hidden;
        let projection = self.w_hr.as_ref().map(|_| {
            let (dp, dm) = (empty(&[time, batch, width])?, empty(&[batch, hidden])?);
            Ok(Projection { dp, dm, nothing: zeros(&[batch, hidden])? })
        });
        let carried = Carried {
            dh: arriving(dh, [batch, width])?,
            dc: lstm.then(|| arriving(dc, [batch, hidden])).transpose()?,
            da: empty(&[time, batch, gates])?,
            da_h: matches!(self.cell, Cell::Gru).then(|| empty(&[time, batch, gates])).transpose()?,
            projection: projection.transpose()?,
        };
        self.all_backward(fresh, &dy, &carried)?;

        // ANCHOR: products
        let da = &carried.da;
        let da_h = carried.da_h.as_ref().unwrap_or(da);
        let (input, before) = (Matrix::new(&self.input), self.states(0)?);
        g.give_with(0, |dx, more| product(Matrix::new(da), Matrix::new(&self.w_ih), dx, more))?;
        g.give_with(1, |dw, more| product(Matrix::new(da).t(), input, dw, more))?;
        g.give_with(2, |dw, more| product(Matrix::new(da_h).t(), Matrix::new(&before), dw, more))?;
        if self.biases.is_some() {
            g.give_with(places.b_ih, |db, more| sum_rows(da, db, more))?;
            g.give_with(places.b_hh, |db, more| sum_rows(da_h, db, more))?;
        }
        // ANCHOR_END: products
        if let Some(Projection { dp, .. }) = &carried.projection {
            let source = self.h.slice(self.projected(), [time, batch, hidden])?;
            g.give_with(places.w_hr, |dw, more| {
                product(Matrix::new(dp).t(), Matrix::new(&source), dw, more)
            })?;
        }
        if places.h0 != Places::ABSENT && g.wanted(places.h0) {
            let da = da_h.slice(self.forward_time(0) * batch * gates, [batch, gates])?;
            product(Matrix::new(&da), Matrix::new(&self.w_hh), &carried.dh, true)?;
            g.give(places.h0, carried.dh)?;
        }
        if let Some(dc) = carried.dc.filter(|_| places.c0 != Places::ABSENT) {
            g.give(places.c0, dc)?;
        }
        Ok(())
    }
}

impl Places {
    /// The place of an input that is not given.
    pub const ABSENT: usize = usize::MAX;
}

/// Puts an initial state of `count` elements, 0 where not given, at element `at`, before any step is made.
fn begin(states: &Tensor, at: usize, count: usize, state: Option<&Tensor>) -> Result<()> {
    match state {
        Some(state) => state.copy_into(states, at),
        None => {
            // From an aligned element on: what lies between is not written yet.
            let start = at - at % states.dtype().alignment();
            states.slice(start, Shape::from([at + count - start]))?.fill(0.0)
        }
    }
}
