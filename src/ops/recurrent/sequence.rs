//! The schedule that all cells share: the order of the steps, where states lie, and the gradients over all steps.
//!
//! Both directions of a layer share their launches. An array has the parts of the directions one after the other, so that a
//! part begins at an aligned element (`shaders/recurrent_steps.wgsl`).

use super::lengths::masked;
use super::steps::Cell;
use crate::cpu::steps::Steps;
use crate::error::Result;
use crate::kernel::Dtype;
use crate::ops::bias_add::sum_rows;
use crate::ops::matmul::{Matrix, product, product_with_biases};
use crate::ops::strided::{copy_strided, permuted};
use crate::tape::Gradients;
use crate::tensor::{Shape, Tensor};

/// A layer at work in one direction or in both, and all that its backward pass needs.
pub struct Sequence {
    pub cell: Cell,
    /// Whether the first direction is from the last step to the first. The second is the opposite.
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
    /// Of each direction.
    weights: Vec<Weights>,
    /// The states, from element `base` on, in T + 1 slots of [B, S]. Step t takes the state from slot t to slot t + 1, in reverse
    /// from slot t + 1 to slot t. So the states before all steps are neighbouring rows, and those after all steps too: one
    /// product takes all of them. `base` is such that the latter begin at an aligned element, and can be an output without a
    /// copy where there is one direction. With a projection, what is projected, [T, B, H], lies behind the slots.
    pub h: Tensor,
    pub base: usize,
    /// The cell states in slots of [B, H].
    c: Option<Tensor>,
    /// What the kernels keep of the gates.
    gates: Option<Tensor>,
}

/// The weights of a direction.
pub struct Weights {
    pub w_ih: Tensor,
    pub w_hh: Tensor,
    pub biases: Option<[Tensor; 2]>,
    pub w_hr: Option<Tensor>,
    pub places: Places,
}

impl Weights {
    /// b_hh, of a layer that has biases.
    fn b_hh(&self) -> &Tensor {
        &self.biases.as_ref().expect("there are biases")[1]
    }
}

/// Where the weights and states of a direction stand among a node's inputs.
pub struct Places {
    pub w_ih: usize,
    pub w_hh: usize,
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
        weights: Vec<Weights>,
    ) -> Result<Sequence> {
        let device = input.device();
        let (time, batch) = (input.shape()[0], input.shape()[1]);
        let Weights { w_ih, w_hh, w_hr, .. } = &weights[0];
        let (hidden, width) = (w_ih.shape()[0] / cell.parts(), w_hh.shape()[1]);
        // What is kept is stored as the weights are; the input as it comes.
        let dtype = w_hh.dtype();
        let slot = batch * width;
        let alone = !reverse && weights.len() == 1;
        let base = if alone { slot.next_multiple_of(dtype.alignment()) - slot } else { 0 };
        let projected = if w_hr.is_some() { time * batch * hidden } else { 0 };
        let rows = rows([time, batch, hidden], reverse, weights.len());
        let empty = |count: usize| Tensor::empty(&device, dtype, [count]);
        let h = empty(base + rows.rows_of_slots() * width + projected)?;
        let c = matches!(cell, Cell::Lstm).then(|| empty(rows.rows_of_slots() * hidden)).transpose()?;
        let kept = cell.kept() * rows.rows_of_steps() * hidden;
        let gates = (cell.kept() > 0).then(|| empty(kept)).transpose()?;
        Ok(Sequence { cell, reverse, lengths, time, batch, hidden, width, input, weights, h, base, c, gates })
    }

    /// D: 1 or 2.
    pub fn directions(&self) -> usize {
        self.weights.len()
    }

    /// Where rows lie.
    fn rows(&self) -> Steps {
        rows([self.time, self.batch, self.hidden], self.reverse, self.directions())
    }

    /// Whether a direction is from the last step to the first.
    fn is_reverse(&self, direction: usize) -> bool {
        self.reverse != (direction == 1)
    }

    /// The slots of the states before and after a step.
    pub fn slots(&self, direction: usize, step: usize) -> [usize; 2] {
        if self.is_reverse(direction) { [step + 1, step] } else { [step, step + 1] }
    }

    /// The first element of what is projected.
    pub fn projected(&self) -> usize {
        self.base + self.rows().rows_of_slots() * self.width
    }

    /// The projection, which only a layer of one direction has.
    pub fn w_hr(&self) -> Option<&Tensor> {
        self.weights[0].w_hr.as_ref()
    }

    pub fn c(&self) -> &Tensor {
        self.c.as_ref().expect("an LSTM has cell states")
    }

    pub fn gates(&self) -> &Tensor {
        self.gates.as_ref().expect("a cell with gates keeps them")
    }

    /// The step that the forward pass makes as its k-th.
    pub fn forward_time(&self, direction: usize, k: usize) -> usize {
        if self.is_reverse(direction) { self.time - 1 - k } else { k }
    }

    /// The first element of a slot of h.
    fn h_at(&self, direction: usize, slot: usize) -> usize {
        self.base + self.rows().row_of_slot(direction, slot) * self.width
    }

    /// The first element of a slot of c.
    fn c_at(&self, direction: usize, slot: usize) -> usize {
        self.rows().row_of_slot(direction, slot) * self.hidden
    }

    /// A direction's part of an array of [T, B, width], aligned.
    fn part_of_steps(&self, all: &Tensor, direction: usize, width: usize) -> Result<Tensor> {
        all.slice(self.rows().row_of_step(direction, 0) * width, [self.time, self.batch, width])
    }

    /// A direction's part of an array of [B, width], aligned.
    fn part_of_carried(&self, all: &Tensor, direction: usize, width: usize) -> Result<Tensor> {
        all.slice(self.rows().row_of_carried(direction) * width, [self.batch, width])
    }

    /// Something of each direction in one tensor, as the kernels take it, or of each matrix its transpose; without a copy where
    /// there is one direction and nothing to transpose.
    fn together(&self, of: impl Fn(&Weights) -> &Tensor, transposed: bool) -> Result<Tensor> {
        let parts: Vec<&Tensor> = self.weights.iter().map(of).collect();
        if let [only] = parts[..] {
            return if transposed { permuted(only, &[1, 0]) } else { Ok(only.clone()) };
        }
        let count = parts[0].count();
        let all = Tensor::empty(&parts[0].device(), parts[0].dtype(), [parts.len() * count])?;
        for (direction, part) in parts.into_iter().enumerate() {
            match (transposed, &*part.shape()) {
                (true, &[rows, cols]) => {
                    let to = (direction * count, &[rows, 1][..]);
                    copy_strided(&[cols, rows], part, (0, &[1, cols]), &all, to)?;
                }
                _ => part.copy_into(&all, direction * count)?,
            }
        }
        Ok(all)
    }

    /// Runs all steps from the initial states h and c of each direction, 0 where not given.
    pub fn forward(&self, states: &[[Option<Tensor>; 2]]) -> Result<()> {
        // From zeros the kernels begin by themselves, but not with a projection.
        let fresh = states.iter().flatten().all(Option::is_none) && self.w_hr().is_none();
        for (direction, [h0, c0]) in states.iter().enumerate().filter(|_| !fresh) {
            let slot = if self.is_reverse(direction) { self.time } else { 0 };
            begin(&self.h, self.h_at(direction, slot), self.batch * self.width, h0.as_ref())?;
            if let Some(c) = &self.c {
                begin(c, self.c_at(direction, slot), self.batch * self.hidden, c0.as_ref())?;
            }
        }
        let gates = self.cell.parts() * self.hidden;
        let xw = Tensor::empty(&self.h.device(), self.h.dtype(), [self.rows().rows_of_steps() * gates])?;
        for (direction, Weights { w_ih, biases, .. }) in self.weights.iter().enumerate() {
            let [b_ih, b_hh] = [0, 1].map(|which| biases.as_ref().map(|biases| &biases[which]));
            // In a GRU r multiplies a sum that b_hh is a part of; in the other cells the two biases are simply added.
            let b_hh = b_hh.filter(|_| self.cell != Cell::Gru);
            let xw = self.part_of_steps(&xw, direction, gates)?;
            let (input, w_ih) = (Matrix::new(&self.input), Matrix::new(w_ih).t());
            product_with_biases(input, w_ih, [b_ih, b_hh], &xw, false)?;
        }
        // Neighbouring threads then read neighbouring weights, and a CPU multiplies rows by columns.
        let w_hh = self.together(|weights| &weights.w_hh, true)?;
        let has_b_hh = self.cell == Cell::Gru && self.weights[0].biases.is_some();
        let b_hh = has_b_hh.then(|| self.together(Weights::b_hh, false)).transpose()?;
        self.all_forward(fresh, &xw, &w_hh, b_hh.as_ref())
    }

    /// The states before (0) or after (1) every step: [T, B, S].
    fn states(&self, direction: usize, side: usize) -> Result<Tensor> {
        let start = self.h_at(direction, self.slots(direction, 0)[side]);
        self.h.slice(start, [self.time, self.batch, self.width])
    }

    /// h_t of every step, 0 behind each sequence's end: [T, B, D·S].
    pub fn output(&self) -> Result<Tensor> {
        let directions = self.directions();
        let states = match directions {
            1 => self.states(0, 1)?,
            _ => {
                let pitch = directions * self.width;
                let y = Tensor::empty(&self.h.device(), self.h.dtype(), [self.time, self.batch, pitch])?;
                let block = [self.time * self.batch, self.width];
                for direction in 0..directions {
                    let from = self.h_at(direction, self.slots(direction, 0)[1]);
                    let to = (direction * self.width, &[pitch, 1][..]);
                    copy_strided(&block, &self.h, (from, &[self.width, 1]), &y, to)?;
                }
                y
            }
        };
        match &self.lengths {
            None => Ok(states),
            Some(lengths) => masked(&states, lengths),
        }
    }

    /// The slot of the final states: sequences that end early have kept theirs.
    fn last_slot(&self, direction: usize) -> usize {
        if self.is_reverse(direction) { 0 } else { self.time }
    }

    /// h after the last step: [B, S].
    pub fn final_h(&self, direction: usize) -> Result<Tensor> {
        self.h.slice(self.h_at(direction, self.last_slot(direction)), [self.batch, self.width])
    }

    /// c after the last step: [B, H].
    pub fn final_c(&self, direction: usize) -> Result<Tensor> {
        self.c().slice(self.c_at(direction, self.last_slot(direction)), [self.batch, self.hidden])
    }

    /// The gradients of all inputs from those of the outputs: all h_t, and of each direction the final h and, of an LSTM, behind
    /// all of these the final c.
    pub fn backward(&self, g: &mut Gradients<'_>) -> Result<()> {
        let device = self.h.device();
        let Sequence { time, batch, hidden, width, .. } = *self;
        let (rows, directions) = (self.rows(), self.directions());
        let empty = |shape: &[usize]| Tensor::empty(&device, self.h.dtype(), shape);
        // What is added up from step to step.
        let wide = |shape: &[usize]| Tensor::empty(&device, Dtype::F32, shape);
        let zeros = |shape: &[usize]| {
            let tensor = wide(shape)?;
            tensor.fill(0.0)?;
            Ok(tensor)
        };
        let lstm = matches!(self.cell, Cell::Lstm);
        let dy = g.output(0)?.map_or_else(|| zeros(&[time, batch, directions * width]), Ok)?;
        let finals =
            |first: usize| (first..first + directions).map(|k| g.output(k)).collect::<Result<Vec<_>>>();
        let (dh, dc) = (finals(1)?, if lstm { finals(1 + directions)? } else { Vec::new() });
        // Where no gradient of a final state arrives, the kernels begin with zeros by themselves, but not with a projection.
        let fresh = dh.iter().chain(&dc).all(Option::is_none) && self.w_hr().is_none();
        // Copies, because they change from step to step.
        let arriving = |gradients: Vec<Option<Tensor>>, width: usize| {
            let all = wide(&[rows.rows_of_carried() * width])?;
            for (direction, gradient) in gradients.into_iter().enumerate().filter(|_| !fresh) {
                let part = self.part_of_carried(&all, direction, width)?;
                match gradient {
                    None => part.fill(0.0)?,
                    Some(gradient) => gradient.copy_into(&part, 0)?,
                }
            }
            Ok::<_, crate::error::Error>(all)
        };
        let gates = self.cell.parts() * hidden;
        let projection = self.w_hr().map(|_| {
            let (dp, dm) = (empty(&[time, batch, width])?, empty(&[batch, hidden])?);
            Ok(Projection { dp, dm, nothing: zeros(&[batch, hidden])? })
        });
        let da = [rows.rows_of_steps() * gates];
        let carried = Carried {
            dh: arriving(dh, width)?,
            dc: lstm.then(|| arriving(dc, hidden)).transpose()?,
            da: empty(&da)?,
            da_h: matches!(self.cell, Cell::Gru).then(|| empty(&da)).transpose()?,
            projection: projection.transpose()?,
        };
        let w_hh = self.together(|weights| &weights.w_hh, false)?;
        self.all_backward(fresh, &dy, &w_hh, &carried)?;

        let parts = |all: &Tensor| {
            (0..directions)
                .map(|direction| self.part_of_steps(all, direction, gates))
                .collect::<Result<Vec<_>>>()
        };
        let da = parts(&carried.da)?;
        let da_h = carried.da_h.as_ref().map_or_else(|| Ok(da.clone()), parts)?;
        g.give_with(0, |dx, more| {
            let mut terms = da.iter().zip(&self.weights).enumerate();
            terms.try_for_each(|(direction, (da, Weights { w_ih, .. }))| {
                product(Matrix::new(da), Matrix::new(w_ih), dx, more || direction > 0)
            })
        })?;
        for (direction, Weights { w_hh, biases, places, .. }) in self.weights.iter().enumerate() {
            let (da, da_h) = (&da[direction], &da_h[direction]);
            // ANCHOR: products
            let (input, before) = (Matrix::new(&self.input), self.states(direction, 0)?);
            g.give_with(places.w_ih, |dw, more| product(Matrix::new(da).t(), input, dw, more))?;
            g.give_with(places.w_hh, |dw, more| {
                product(Matrix::new(da_h).t(), Matrix::new(&before), dw, more)
            })?;
            if biases.is_some() {
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
                let first = self.forward_time(direction, 0) * batch * gates;
                let da = da_h.slice(first, [batch, gates])?;
                let dh = self.part_of_carried(&carried.dh, direction, width)?;
                product(Matrix::new(&da), Matrix::new(w_hh), &dh, true)?;
                g.give(places.h0, dh)?;
            }
            if let Some(dc) = carried.dc.as_ref().filter(|_| places.c0 != Places::ABSENT) {
                g.give(places.c0, self.part_of_carried(dc, direction, hidden)?)?;
            }
        }
        Ok(())
    }
}

impl Places {
    /// The place of an input that is not given.
    pub const ABSENT: usize = usize::MAX;
}

/// Where rows lie, of all steps together.
fn rows([time, batch, hidden]: [usize; 3], reverse: bool, directions: usize) -> Steps {
    Steps { batch, hidden, time, start: 0, count: time, reverse, directions }
}

/// Whether a layer can run both directions at once: what is of both lies in one buffer, and a device takes buffers of so many
/// bytes.
pub fn fits_both(cell: Cell, sizes: [usize; 3], dtype: Dtype, binding: u64) -> bool {
    let (rows, hidden) = (rows(sizes, false, 2), sizes[2]);
    let states = rows.rows_of_slots().saturating_mul(hidden);
    let gates = rows.rows_of_steps().saturating_mul(cell.parts().max(cell.kept()) * hidden);
    let weights = (2 * cell.parts() * hidden).saturating_mul(hidden);
    states.max(gates).max(weights).saturating_mul(dtype.size()) as u64 <= binding
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_fit_where_every_buffer_does() {
        let fits = |sizes, dtype| fits_both(Cell::Lstm, sizes, dtype, 128 << 20);
        // Gates of 2·T·B·4H numbers: 128 MiB at T·B·H = 2²², without padding.
        assert!(fits([256, 32, 512], Dtype::F32));
        assert!(!fits([257, 32, 512], Dtype::F32));
        assert!(fits([512, 32, 512], Dtype::F16));
        // Weights of 2·4H·H numbers.
        assert!(fits([1, 1, 2048], Dtype::F32));
        assert!(!fits([1, 1, 2049], Dtype::F32));
    }
}
