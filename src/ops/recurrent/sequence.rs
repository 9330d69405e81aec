//! The schedule that all cells share: the order of the steps, where states lie, and the gradients over all steps.
//!
//! Several chains of steps share their launches: both directions of a layer, or layers one above the other, each some steps
//! behind the one that it depends on. An array has the parts of the chains one after the other, so that a part begins at an
//! aligned element (`shaders/recurrent_steps.wgsl`).

use super::chains::Chains;
use super::lengths::masked;
use super::rounds::Dropped;
use super::steps::Cell;
use crate::cpu::steps::Steps;
use crate::error::Result;
use crate::kernel::Dtype;
use crate::ops::bias_add::sum_rows;
use crate::ops::dropout::Mask;
use crate::ops::embedding::{add_up, look_up};
use crate::ops::indices::Indices;
use crate::ops::matmul::{Matrix, product, product_with_biases};
use crate::ops::strided::{copy_strided, permuted};
use crate::tape::Gradients;
use crate::tensor::{Shape, Tensor};

/// A layer at work in one direction or in both, or several layers one above the other; and all that the backward pass needs.
pub struct Sequence {
    pub cell: Cell,
    pub chains: Chains,
    /// `[B]`.
    pub lengths: Option<Tensor>,
    pub time: usize,
    pub batch: usize,
    pub hidden: usize,
    /// S: the size of h.
    pub width: usize,
    pub(super) input: Input,
    /// Of each chain.
    pub(super) weights: Vec<Weights>,
    /// The states, from element `base` on, in T + 1 slots of [B, S]. Step t takes the state from slot t to slot t + 1, in reverse
    /// from slot t + 1 to slot t. So the states before all steps are neighbouring rows, and those after all steps too: one
    /// product takes all of them. `base` is such that the latter begin at an aligned element, and can be an output without a
    /// copy where there are not two directions. With a projection, what is projected, [T, B, H], lies behind the slots.
    pub h: Tensor,
    pub base: usize,
    /// The cell states in slots of [B, H].
    c: Option<Tensor>,
    /// What the kernels keep of the gates.
    gates: Option<Tensor>,
    pub(super) dropped: Option<Dropped>,
}

/// What goes into directions, or into the lowest layer.
pub struct Input {
    /// x [T, B, I]; or a table [V, I], of which x has rows. W_ih then multiplies the table's rows, which are fewer.
    pub x: Tensor,
    /// Which row of the table each step of each sequence takes: [T, B].
    pub tokens: Option<Indices>,
    /// T and B.
    pub steps: [usize; 2],
}

/// The weights of a chain.
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

/// Where the weights and states of a chain stand among a node's inputs.
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
        chains: Chains,
        lengths: Option<Tensor>,
        input: Input,
        weights: Vec<Weights>,
        masks: Vec<Mask>,
    ) -> Result<Sequence> {
        let (device, [time, batch]) = (input.x.device(), input.steps);
        let Weights { w_ih, w_hh, w_hr, .. } = &weights[0];
        let (hidden, width) = (w_ih.shape()[0] / cell.parts(), w_hh.shape()[1]);
        // What is kept is stored as the weights are; the input as it comes.
        let dtype = w_hh.dtype();
        let slot = batch * width;
        let rows = chains.rows([time, batch, hidden], weights.len());
        let upwards = !rows.reverse && rows.outputs() == 1;
        let base = if upwards { slot.next_multiple_of(dtype.alignment()) - slot } else { 0 };
        let projected = if w_hr.is_some() { time * batch * hidden } else { 0 };
        let empty = |count: usize| Tensor::empty(&device, dtype, [count]);
        let h = empty(base + rows.rows_of_slots() * width + projected)?;
        let c = matches!(cell, Cell::Lstm).then(|| empty(rows.rows_of_slots() * hidden)).transpose()?;
        let kept = cell.kept() * rows.rows_of_steps() * hidden;
        let gates = (cell.kept() > 0).then(|| empty(kept)).transpose()?;
        let dropped = (!masks.is_empty())
            .then(|| Ok(Dropped { outputs: empty(rows.row_of_step(masks.len(), 0) * hidden)?, masks }))
            .transpose()?;
        Ok(Sequence {
            dropped,
            cell,
            chains,
            lengths,
            time,
            batch,
            hidden,
            width,
            input,
            weights,
            h,
            base,
            c,
            gates,
        })
    }

    /// Where rows lie.
    pub fn rows(&self) -> Steps {
        self.chains.rows([self.time, self.batch, self.hidden], self.weights.len())
    }

    /// The slots of the states before and after a step.
    pub fn slots(&self, chain: usize, step: usize) -> [usize; 2] {
        if self.rows().is_reverse(chain) { [step + 1, step] } else { [step, step + 1] }
    }

    /// The first element of what is projected.
    pub fn projected(&self) -> usize {
        self.base + self.rows().rows_of_slots() * self.width
    }

    /// The projection, which only a single chain has.
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
    pub fn forward_time(&self, chain: usize, k: usize) -> usize {
        if self.rows().is_reverse(chain) { self.time - 1 - k } else { k }
    }

    /// The first element of a slot of h.
    pub(super) fn h_at(&self, chain: usize, slot: usize) -> usize {
        self.base + self.rows().row_of_slot(chain, slot) * self.width
    }

    /// The first element of a slot of c.
    fn c_at(&self, chain: usize, slot: usize) -> usize {
        self.rows().row_of_slot(chain, slot) * self.hidden
    }

    /// A chain's part of an array of [T, B, width], aligned.
    pub(super) fn part_of_steps(&self, all: &Tensor, chain: usize, width: usize) -> Result<Tensor> {
        all.slice(self.rows().row_of_step(chain, 0) * width, [self.time, self.batch, width])
    }

    /// A chain's part of an array of [B, width], aligned.
    fn part_of_carried(&self, all: &Tensor, chain: usize, width: usize) -> Result<Tensor> {
        all.slice(self.rows().row_of_carried(chain) * width, [self.batch, width])
    }

    /// Something of each chain in one tensor, as the kernels take it, or of each matrix its transpose; without a copy where there
    /// is one chain and nothing to transpose.
    fn together(&self, of: impl Fn(&Weights) -> &Tensor, transposed: bool) -> Result<Tensor> {
        let parts: Vec<&Tensor> = self.weights.iter().map(of).collect();
        if let [only] = parts[..] {
            return if transposed { permuted(only, &[1, 0]) } else { Ok(only.clone()) };
        }
        let count = parts[0].count();
        let all = Tensor::empty(&parts[0].device(), parts[0].dtype(), [parts.len() * count])?;
        for (chain, part) in parts.into_iter().enumerate() {
            match (transposed, &*part.shape()) {
                (true, &[rows, cols]) => {
                    let to = (chain * count, &[rows, 1][..]);
                    copy_strided(&[cols, rows], part, (0, &[1, cols]), &all, to)?;
                }
                _ => part.copy_into(&all, chain * count)?,
            }
        }
        Ok(all)
    }

    /// Runs all steps from the initial states h and c of each chain, 0 where not given.
    pub fn forward(&self, states: &[[Option<Tensor>; 2]]) -> Result<()> {
        // From zeros the kernels begin by themselves, but not with a projection.
        let fresh = states.iter().flatten().all(Option::is_none) && self.w_hr().is_none();
        for (chain, [h0, c0]) in states.iter().enumerate().filter(|_| !fresh) {
            let slot = if self.rows().is_reverse(chain) { self.time } else { 0 };
            begin(&self.h, self.h_at(chain, slot), self.batch * self.width, h0.as_ref())?;
            if let Some(c) = &self.c {
                begin(c, self.c_at(chain, slot), self.batch * self.hidden, c0.as_ref())?;
            }
        }
        let gates = self.cell.parts() * self.hidden;
        let xw = Tensor::empty(&self.h.device(), self.h.dtype(), [self.rows().rows_of_steps() * gates])?;
        // Of layers those above the lowest get theirs when the one below has made some steps.
        for chain in 0..self.rows().outputs() {
            let part = self.part_of_steps(&xw, chain, gates)?;
            match &self.input {
                Input { x, tokens: None, .. } => self.project(chain, x, &part)?,
                Input { x: table, tokens: Some(tokens), .. } => {
                    let rows = Tensor::empty(&part.device(), part.dtype(), [table.shape()[0], gates])?;
                    self.project(chain, table, &rows)?;
                    look_up(tokens, &rows, &part)?;
                }
            }
        }
        // Neighbouring threads then read neighbouring weights, and a CPU multiplies rows by columns.
        let w_hh = self.together(|weights| &weights.w_hh, true)?;
        let has_b_hh = self.cell == Cell::Gru && self.weights[0].biases.is_some();
        let b_hh = has_b_hh.then(|| self.together(Weights::b_hh, false)).transpose()?;
        self.all_forward(fresh, &xw, &w_hh, b_hh.as_ref())
    }

    /// xw = x·W_ihᵀ with the biases, of some steps of a chain.
    pub(super) fn project(&self, chain: usize, x: &Tensor, xw: &Tensor) -> Result<()> {
        let Weights { w_ih, biases, .. } = &self.weights[chain];
        let [b_ih, b_hh] = [0, 1].map(|which| biases.as_ref().map(|biases| &biases[which]));
        // In a GRU r multiplies a sum that b_hh is a part of; in the other cells the two biases are simply added.
        let b_hh = b_hh.filter(|_| self.cell != Cell::Gru);
        product_with_biases(Matrix::new(x), Matrix::new(w_ih).t(), [b_ih, b_hh], xw, false)
    }

    /// The states before (0) or after (1) every step: [T, B, S].
    fn states(&self, chain: usize, side: usize) -> Result<Tensor> {
        let start = self.h_at(chain, self.slots(chain, 0)[side]);
        self.h.slice(start, [self.time, self.batch, self.width])
    }

    /// h_t of every step, 0 behind each sequence's end: [T, B, D·S], and of layers those of the uppermost.
    pub fn output(&self) -> Result<Tensor> {
        let outputs = self.rows().outputs();
        let states = match outputs {
            1 => self.states(self.weights.len() - 1, 1)?,
            _ => {
                let pitch = outputs * self.width;
                let y = Tensor::empty(&self.h.device(), self.h.dtype(), [self.time, self.batch, pitch])?;
                let block = [self.time * self.batch, self.width];
                for chain in 0..outputs {
                    let from = self.h_at(chain, self.slots(chain, 0)[1]);
                    let to = (chain * self.width, &[pitch, 1][..]);
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

    /// What W_ih of a chain has multiplied: x, or those rows of a table that it has; of a layer above the lowest the states of the one
    /// below, or what dropout left of them.
    fn input_of(&self, chain: usize) -> Result<Tensor> {
        match &self.dropped {
            _ if chain < self.rows().outputs() => match &self.input {
                Input { x, tokens: None, .. } => Ok(x.clone()),
                Input { x: table, tokens: Some(tokens), .. } => {
                    // Whatever a row holds that is never looked up, the product with its gradient, 0, must not meet it.
                    let [rows, width] = [0, 1].map(|dim| table.shape()[dim]);
                    masked(&table.reshape([1, rows, width])?, &tokens.occurring(rows)?)?
                        .reshape([rows, width])
                }
            },
            None => self.states(chain - 1, 1),
            Some(Dropped { outputs, .. }) => self.part_of_steps(outputs, chain - 1, self.width),
        }
    }

    /// The slot of the final states: sequences that end early have kept theirs.
    fn last_slot(&self, chain: usize) -> usize {
        if self.rows().is_reverse(chain) { 0 } else { self.time }
    }

    /// h after the last step: [B, S].
    pub fn final_h(&self, chain: usize) -> Result<Tensor> {
        self.h.slice(self.h_at(chain, self.last_slot(chain)), [self.batch, self.width])
    }

    /// c after the last step: [B, H].
    pub fn final_c(&self, chain: usize) -> Result<Tensor> {
        self.c().slice(self.c_at(chain, self.last_slot(chain)), [self.batch, self.hidden])
    }

    /// The gradients of all inputs from those of the outputs: all h_t, and of each chain the final h and, of an LSTM, behind all of
    /// these the final c.
    pub fn backward(&self, g: &mut Gradients<'_>) -> Result<()> {
        let device = self.h.device();
        let Sequence { time, batch, hidden, width, .. } = *self;
        let (rows, chains) = (self.rows(), self.weights.len());
        let empty = |shape: &[usize]| Tensor::empty(&device, self.h.dtype(), shape);
        // What is added up from step to step.
        let wide = |shape: &[usize]| Tensor::empty(&device, Dtype::F32, shape);
        let zeros = |shape: &[usize]| {
            let tensor = wide(shape)?;
            tensor.fill(0.0)?;
            Ok(tensor)
        };
        let lstm = matches!(self.cell, Cell::Lstm);
        let dy = g.output(0)?.map_or_else(|| zeros(&[time, batch, rows.outputs() * width]), Ok)?;
        let dy = match rows.stagger {
            0 => dy,
            // Of the uppermost layer; the others get theirs when the one above has made some steps.
            _ => {
                let dtype = dy.dtype().promote(self.h.dtype());
                let all = Tensor::empty(&device, dtype, [rows.rows_of_outputs() * width])?;
                dy.copy_into(&all, rows.row_of_step(chains - 1, 0) * width)?;
                all
            }
        };
        let finals = |first: usize| (first..first + chains).map(|k| g.output(k)).collect::<Result<Vec<_>>>();
        let (dh, dc) = (finals(1)?, if lstm { finals(1 + chains)? } else { Vec::new() });
        // Where no gradient of a final state arrives, the kernels begin with zeros by themselves, but not with a projection.
        let fresh = dh.iter().chain(&dc).all(Option::is_none) && self.w_hr().is_none();
        // Copies, because they change from step to step.
        let arriving = |gradients: Vec<Option<Tensor>>, width: usize| {
            let all = wide(&[rows.rows_of_carried() * width])?;
            for (chain, gradient) in gradients.into_iter().enumerate().filter(|_| !fresh) {
                let part = self.part_of_carried(&all, chain, width)?;
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
            (0..chains).map(|chain| self.part_of_steps(all, chain, gates)).collect::<Result<Vec<_>>>()
        };
        let da = parts(&carried.da)?;
        let da_h = carried.da_h.as_ref().map_or_else(|| Ok(da.clone()), parts)?;
        // Of each chain the gradient of what W_ih and b_ih made: of all steps, or added up for each row of a table.
        let da_x = da.iter().enumerate().map(|(chain, da)| match &self.input {
            Input { x: table, tokens: Some(tokens), .. } if chain < rows.outputs() => {
                let Places { w_ih, b_ih, b_hh, .. } = self.weights[chain].places;
                let made = [0, w_ih, b_ih, b_hh].into_iter().filter(|place| *place != Places::ABSENT);
                let rows = wide(&[table.shape()[0], gates])?;
                if made.into_iter().any(|place| g.wanted(place)) {
                    add_up(tokens, da, None, &rows, false)?;
                }
                Ok(rows)
            }
            _ => Ok(da.clone()),
        });
        let da_x = da_x.collect::<Result<Vec<_>>>()?;
        g.give_with(0, |dx, more| {
            let mut terms = da_x.iter().zip(&self.weights).take(rows.outputs()).enumerate();
            terms.try_for_each(|(chain, (da, Weights { w_ih, .. }))| {
                product(Matrix::new(da), Matrix::new(w_ih), dx, more || chain > 0)
            })
        })?;
        for (chain, Weights { w_hh, biases, places, .. }) in self.weights.iter().enumerate() {
            let (da_x, da_h) = (&da_x[chain], &da_h[chain]);
            // Where b_hh is added to what b_ih is, its gradient is the same.
            let da_b = if self.cell == Cell::Gru { da_h } else { da_x };
            // ANCHOR: products
            let (input, before) = (self.input_of(chain)?, self.states(chain, 0)?);
            g.give_with(places.w_ih, |dw, more| {
                product(Matrix::new(da_x).t(), Matrix::new(&input), dw, more)
            })?;
            g.give_with(places.w_hh, |dw, more| {
                product(Matrix::new(da_h).t(), Matrix::new(&before), dw, more)
            })?;
            if biases.is_some() {
                g.give_with(places.b_ih, |db, more| sum_rows(da_x, db, more))?;
                g.give_with(places.b_hh, |db, more| sum_rows(da_b, db, more))?;
            }
            // ANCHOR_END: products
            if let Some(Projection { dp, .. }) = &carried.projection {
                let source = self.h.slice(self.projected(), [time, batch, hidden])?;
                g.give_with(places.w_hr, |dw, more| {
                    product(Matrix::new(dp).t(), Matrix::new(&source), dw, more)
                })?;
            }
            if places.h0 != Places::ABSENT && g.wanted(places.h0) {
                let first = self.forward_time(chain, 0) * batch * gates;
                let da = da_h.slice(first, [batch, gates])?;
                let dh = self.part_of_carried(&carried.dh, chain, width)?;
                product(Matrix::new(&da), Matrix::new(w_hh), &dh, true)?;
                g.give(places.h0, dh)?;
            }
            if let Some(dc) = carried.dc.as_ref().filter(|_| places.c0 != Places::ABSENT) {
                g.give(places.c0, self.part_of_carried(dc, chain, hidden)?)?;
            }
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
