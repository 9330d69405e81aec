//! Recurrent layers over a whole sequence, in one direction or in both, or several one above the other: one node of the tape each.
//!
//! The three cells share their schedule (`sequence.rs`). Both directions of a layer share their launches, and so may layers one above
//! the other (`chains.rs`): how many steps apart is chosen in `layers.rs`, and what they hand on in between is in `rounds.rs`.
//!
//! Forward:
//! 1. x·W_ihᵀ + biases of all time steps is one matrix product.
//! 2. Step by step, a kernel adds h·W_hhᵀ, and makes the gates and the new state of it (`steps.rs`). One launch makes one step,
//!    or as many as fit.
//!
//! Backward:
//! 1. Step by step, in the opposite order, a kernel makes da, the gradient of what the gates are functions of.
//! 2. The other gradients are one matrix product or sum each, over all steps at once: dx = da·W_ih, dW_ih = daᵀ·x,
//!    dW_hh = Σ_t da_tᵀ·h (h being the state before step t), db_ih = db_hh = Σ da, and dh0 is what is left after the last of
//!    the steps made backward.
//!
//! The equations of the cells are in the headers of `shaders/rnn_forward.wgsl`, `rnn_backward.wgsl` and so on.

mod chains;
mod layers;
pub(super) mod lengths;
mod rounds;
mod sequence;
mod steps;

use crate::error::{Error, Result};
use crate::ops::indices::Indices;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

pub(crate) use chains::{Chains, fits};
pub(crate) use layers::{Sizes, stagger};
pub use lengths::Lengths;
use sequence::{Input, Places, Sequence, Weights};
pub(crate) use steps::Cell;

/// The activation of a plain recurrent layer, as torch.nn.RNN's `nonlinearity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nonlinearity {
    /// tanh.
    #[default]
    Tanh,
    /// max(x, 0).
    Relu,
}

/// The parameters of one layer and direction, as values of a tape. G is the number of the cell's gates: 1 for an RNN, 4 for an
/// LSTM (i, f, g, o), 3 for a GRU (r, z, n), in this order in the rows of the weights. S is the size of h: H, or with a
/// projection that of its result.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeights {
    /// W_ih [G·H, I].
    pub w_ih: Var,
    /// W_hh [G·H, S].
    pub w_hh: Var,
    /// b_ih and b_hh, each [G·H].
    pub biases: Option<[Var; 2]>,
    /// W_hr [S, H] of an LSTM with a projection.
    pub w_hr: Option<Var>,
}

/// In which order the steps are made, and where sequences end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order<'a> {
    /// From the last step to the first: each sequence begins at its own end.
    pub reverse: bool,
    /// The number of steps of each sequence. Steps behind a sequence's end change nothing, and the output there is 0.
    pub lengths: Option<&'a Lengths>,
}

/// How layers one above the other run.
#[derive(Clone, Copy, Debug)]
pub struct Stacked<'a> {
    /// How many steps each layer is behind the one below.
    pub stagger: usize,
    /// The probability of dropout on the outputs of every layer but the uppermost, while the tape is training.
    pub dropout: f64,
    /// The number of steps of each sequence, as in [`Order`].
    pub lengths: Option<&'a Lengths>,
}

/// From the first step to the last; a second direction is the opposite.
const FORWARD: Chains = Chains::Directions { reverse: false };

impl<'a> From<Order<'a>> for (Chains, Option<&'a Lengths>) {
    fn from(Order { reverse, lengths }: Order<'a>) -> Self {
        (Chains::Directions { reverse }, lengths)
    }
}

impl Tape {
    /// A plain recurrent layer in one direction over x [T, B, I], as torch.nn.RNN:
    ///
    /// h_t = act(x_t·W_ihᵀ + b_ih + h·W_hhᵀ + b_hh), where h is the state before step t.
    ///
    /// Returns all h_t [T, B, H] and the final state [B, H]. The initial state h0 [B, H] is 0 where it is not given.
    ///
    /// Gradients: with da_t, the gradient of what act takes, dx_t = da_t·W_ih, dW_ih = Σ_t da_tᵀ·x_t, dW_hh = Σ_t da_tᵀ·h,
    /// db_ih = db_hh = Σ_t da_t, each da_t summed over its rows.
    ///
    /// # Errors
    /// [`Error::Argument`] when T is 0 or shapes or lengths do not fit; [`Error::Gpu`] on a fault.
    pub fn rnn(
        &mut self,
        x: Var,
        h0: Option<Var>,
        weights: RecurrentWeights,
        nonlinearity: Nonlinearity,
        order: Order<'_>,
    ) -> Result<[Var; 2]> {
        let sequence =
            self.sequence(Cell::Rnn(nonlinearity), x, &[[h0, None]], &[weights], order.into(), 0.0)?;
        let outputs = [sequence.0.output()?, sequence.0.final_h(0)?];
        self.push_sequence("rnn", sequence, outputs)
    }

    /// [`Tape::rnn`] in both directions at once, each with weights of its own: the second goes from the last step to the first,
    /// and begins at each sequence's own end. The directions share their launches.
    ///
    /// Returns all h_t of both directions side by side [T, B, 2·H], and the final states of the first and of the second, [B, H]
    /// each.
    ///
    /// # Errors
    /// As [`Tape::rnn`]; also when the directions differ in their sizes.
    pub fn bidirectional_rnn(
        &mut self,
        x: Var,
        h0: [Option<Var>; 2],
        weights: [RecurrentWeights; 2],
        nonlinearity: Nonlinearity,
        lengths: Option<&Lengths>,
    ) -> Result<[Var; 3]> {
        let (states, order) = (h0.map(|h0| [h0, None]), (FORWARD, lengths));
        let sequence = self.sequence(Cell::Rnn(nonlinearity), x, &states, &weights, order, 0.0)?;
        let outputs = [sequence.0.output()?, sequence.0.final_h(0)?, sequence.0.final_h(1)?];
        self.push_sequence("rnn", sequence, outputs)
    }

    /// A layer of gated recurrent units in one direction over x [T, B, I], as torch.nn.GRU. With h, the state before step t, and
    /// W_ir, W_iz and W_in for the rows 0..H, H..2H and 2H..3H of W_ih, likewise of W_hh and the biases:
    ///
    /// r = σ(x_t·W_irᵀ + b_ir + h·W_hrᵀ + b_hr), z = σ(x_t·W_izᵀ + b_iz + h·W_hzᵀ + b_hz),
    /// n = tanh(x_t·W_inᵀ + b_in + r ⊙ (h·W_hnᵀ + b_hn)), h_t = (1 − z) ⊙ n + z ⊙ h.
    ///
    /// Returns all h_t [T, B, H] and the final state [B, H]. The initial state h0 [B, H] is 0 where it is not given.
    ///
    /// Gradients: as in [`Tape::rnn`], da_t being (da_r, da_z, da_n), the gradients of what σ and tanh take; but for W_hh and b_hh
    /// da_n ⊙ r stands in the place of da_n.
    ///
    /// # Errors
    /// As [`Tape::rnn`].
    pub fn gru(
        &mut self,
        x: Var,
        h0: Option<Var>,
        weights: RecurrentWeights,
        order: Order<'_>,
    ) -> Result<[Var; 2]> {
        let sequence = self.sequence(Cell::Gru, x, &[[h0, None]], &[weights], order.into(), 0.0)?;
        let outputs = [sequence.0.output()?, sequence.0.final_h(0)?];
        self.push_sequence("gru", sequence, outputs)
    }

    /// [`Tape::gru`] in both directions at once: see [`Tape::bidirectional_rnn`].
    ///
    /// # Errors
    /// As [`Tape::bidirectional_rnn`].
    pub fn bidirectional_gru(
        &mut self,
        x: Var,
        h0: [Option<Var>; 2],
        weights: [RecurrentWeights; 2],
        lengths: Option<&Lengths>,
    ) -> Result<[Var; 3]> {
        let (states, order) = (h0.map(|h0| [h0, None]), (FORWARD, lengths));
        let sequence = self.sequence(Cell::Gru, x, &states, &weights, order, 0.0)?;
        let outputs = [sequence.0.output()?, sequence.0.final_h(0)?, sequence.0.final_h(1)?];
        self.push_sequence("gru", sequence, outputs)
    }

    /// A layer of long short-term memory in one direction over x [T, B, I], as torch.nn.LSTM. With h and c, the states before
    /// step t, and a = x_t·W_ihᵀ + b_ih + h·W_hhᵀ + b_hh in four parts of H columns, a_i, a_f, a_g and a_o:
    ///
    /// i = σ(a_i), f = σ(a_f), g = tanh(a_g), o = σ(a_o), c_t = f ⊙ c + i ⊙ g, h_t = o ⊙ tanh(c_t), or with a projection
    /// h_t = (o ⊙ tanh(c_t))·W_hrᵀ.
    ///
    /// Returns all h_t [T, B, S] and the final states h [B, S] and c [B, H]. `states` are h0 [B, S] and c0 [B, H]; each is 0
    /// where it is not given.
    ///
    /// Gradients: as in [`Tape::rnn`], da_t being (da_i, da_f, da_g, da_o), the gradients of a; with a projection also
    /// dW_hr = Σ_t dp_tᵀ·(o ⊙ tanh(c_t)), dp_t being the gradient of h_t.
    ///
    /// # Errors
    /// As [`Tape::rnn`].
    pub fn lstm(
        &mut self,
        x: Var,
        states: [Option<Var>; 2],
        weights: RecurrentWeights,
        order: Order<'_>,
    ) -> Result<[Var; 3]> {
        let sequence = self.sequence(Cell::Lstm, x, &[states], &[weights], order.into(), 0.0)?;
        let outputs = [sequence.0.output()?, sequence.0.final_h(0)?, sequence.0.final_c(0)?];
        self.push_sequence("lstm", sequence, outputs)
    }

    /// [`Tape::lstm`] in both directions at once: see [`Tape::bidirectional_rnn`]. Of each direction `states` are h0 and c0.
    ///
    /// Returns all h_t of both directions side by side [T, B, 2·H], the final h of the first and of the second [B, H], and the
    /// final c of the first and of the second [B, H].
    ///
    /// # Errors
    /// As [`Tape::bidirectional_rnn`]; also when there is a projection: its steps are launches of their own, and directions share
    /// none.
    pub fn bidirectional_lstm(
        &mut self,
        x: Var,
        states: [[Option<Var>; 2]; 2],
        weights: [RecurrentWeights; 2],
        lengths: Option<&Lengths>,
    ) -> Result<[Var; 5]> {
        let order = (FORWARD, lengths);
        let sequence = self.sequence(Cell::Lstm, x, &states, &weights, order, 0.0)?;
        let outputs = [
            sequence.0.output()?,
            sequence.0.final_h(0)?,
            sequence.0.final_h(1)?,
            sequence.0.final_c(0)?,
            sequence.0.final_c(1)?,
        ];
        self.push_sequence("lstm", sequence, outputs)
    }

    /// The node of a layer that has run.
    fn push_sequence<const N: usize>(
        &mut self,
        name: &'static str,
        (sequence, inputs): (Sequence, Vec<Var>),
        outputs: [Tensor; N],
    ) -> Result<[Var; N]> {
        self.push_all(name, &inputs, outputs, || Box::new(move |g| sequence.backward(g)))
    }

    /// Checks what chains are given, of each its states and weights, and runs them. `dropout` is its probability between
    /// layers. Returns what backward needs, and the node's
    /// inputs.
    fn sequence(
        &mut self,
        cell: Cell,
        x: Var,
        states: &[[Option<Var>; 2]],
        weights: &[RecurrentWeights],
        (chains, lengths): (Chains, Option<&Lengths>),
        dropout: f64,
    ) -> Result<(Sequence, Vec<Var>)> {
        let op = match chains {
            Chains::Directions { .. } => cell.name(),
            Chains::Layers { .. } => cell.name_of_layers(),
        };
        let input = self.value(x)?.clone();
        let mut inputs = vec![x];
        let (mut all, mut initial): (Vec<Weights>, _) = (Vec::new(), Vec::new());
        for (states, weights) in states.iter().zip(weights) {
            let below = all.last().filter(|_| matches!(chains, Chains::Layers { .. }));
            let features = below.map(|below| below.w_hh.shape()[1]);
            let (weights, states) =
                self.chain((op, cell), (&input, features), *states, *weights, &mut inputs)?;
            let other = all.first().is_some_and(|first| {
                first.w_hh.shape() != weights.w_hh.shape()
                    || first.biases.is_some() != weights.biases.is_some()
            });
            if other {
                let message = match chains {
                    Chains::Directions { .. } => {
                        "takes two directions of the same sizes, both with biases or without"
                    }
                    Chains::Layers { .. } => "takes layers of the same sizes, all with biases or without",
                };
                return Err(Error::argument(op, message));
            }
            let projected = all.iter().chain([&weights]).any(|weights| weights.w_hr.is_some());
            if projected && !all.is_empty() {
                let message = match chains {
                    Chains::Directions { .. } => {
                        "with a projection takes one direction: run the other by itself, in reverse"
                    }
                    Chains::Layers { .. } => "with a projection takes one layer: run each by itself",
                };
                return Err(Error::argument(op, message));
            }
            all.push(weights);
            initial.push(states);
        }
        let steps @ [time, batch] = [input.shape()[0], input.shape()[1]];
        let lengths = lengths.map(|lengths| lengths.checked(op, time, batch)).transpose()?;
        if let Some(lengths) = &lengths {
            same_device(op, "lengths", &input, lengths)?;
        }
        let few_rows = if lengths.is_some() { None } else { self.few_rows(x)? };
        let input = match (few_rows, &lengths) {
            (Some((tokens, table)), _) => {
                inputs[0] = table;
                let x = self.value(table)?.clone();
                let learnt = inputs.iter().map(|var| self.requires_grad(*var));
                if learnt.collect::<Result<Vec<_>>>()?.contains(&true) {
                    // Uploaded now: in the middle of the backward pass it would split the compute pass.
                    tokens.sorted(x.shape()[0])?;
                    tokens.occurring(x.shape()[0])?;
                }
                Input { x, tokens: Some(tokens), steps }
            }
            // Whatever padding holds, the products over all steps must not meet it.
            (None, Some(lengths)) => Input { x: lengths::masked(&input, lengths)?, tokens: None, steps },
            (None, None) => Input { x: input, tokens: None, steps },
        };
        // Behind all checks, so that a mistake draws no masks.
        let masks = (1..all.len()).map_while(|_| self.next_mask(dropout)).collect();
        let sequence = Sequence::new(cell, chains, lengths, input, all, masks)?;
        sequence.forward(&initial)?;
        Ok((sequence, inputs))
    }

    /// The table that x [T, B, I] has rows of, and which, where those are so few that it pays to multiply them in the place of x.
    fn few_rows(&self, x: Var) -> Result<Option<(Indices, Var)>> {
        let Some(look_up) = self.look_up(x)? else { return Ok(None) };
        // Whoever looks at the numbers of a step wants x too.
        let looked_at = self.device().keeps_values();
        let few = look_up.is_of_few(self.value(look_up.table)?);
        // A look-up without gradients gives the table none.
        let alike = self.requires_grad(x)? == self.requires_grad(look_up.table)?;
        (few && alike && !looked_at).then(|| Ok((look_up.in_order()?, look_up.table))).transpose()
    }

    /// Checks the weights and states of a chain, and adds them to the node's inputs. `features` is how many numbers each step takes
    /// where that is not the input's own.
    fn chain(
        &self,
        (op, cell): (&'static str, Cell),
        (input, features): (&Tensor, Option<usize>),
        [h0, c0]: [Option<Var>; 2],
        weights: RecurrentWeights,
        inputs: &mut Vec<Var>,
    ) -> Result<(Weights, [Option<Tensor>; 2])> {
        let (w_ih, w_hh) = (self.value(weights.w_ih)?.clone(), self.value(weights.w_hh)?.clone());
        let (&[time, batch, own], &[rows, _], &[_, width]) =
            (&*input.shape(), &*w_ih.shape(), &*w_hh.shape())
        else {
            return fail(op, "input, W_ih and W_hh", "of 3, 2 and 2 dimensions", &[input, &w_ih, &w_hh]);
        };
        let features = features.unwrap_or(own);
        if time == 0 {
            return Err(Error::argument(op, "takes a sequence of at least one step, got none"));
        }
        if weights.w_hr.is_some() && !matches!(cell, Cell::Lstm) {
            return Err(Error::argument(op, "takes no W_hr: only an LSTM has a projection"));
        }
        let hidden = rows / cell.parts();
        if weights.w_hr.is_some() && hidden > MOST_PROJECTED {
            let message =
                format!("a hidden size that is projected must be at most {MOST_PROJECTED}, got {hidden}");
            return Err(Error::argument(op, message));
        }
        let first = inputs.len();
        inputs.extend([weights.w_ih, weights.w_hh]);
        let mut optional = |var: Option<Var>, name: &str, shape: &[usize]| {
            let Some(var) = var else { return Ok((None, Places::ABSENT)) };
            let tensor = self.value(var)?.clone();
            expect(op, name, &tensor, shape)?;
            same_device(op, name, input, &tensor)?;
            inputs.push(var);
            Ok((Some(tensor), inputs.len() - 1))
        };
        expect(op, "W_ih", &w_ih, &[cell.parts() * hidden, features])?;
        same_device(op, "W_ih", input, &w_ih)?;
        same_device(op, "W_hh", input, &w_hh)?;
        let state = if weights.w_hr.is_some() { width } else { hidden };
        expect(op, "W_hh", &w_hh, &[rows, state])?;
        let (b_ih, b_ih_at) = optional(weights.biases.map(|b| b[0]), "b_ih", &[rows])?;
        let (b_hh, b_hh_at) = optional(weights.biases.map(|b| b[1]), "b_hh", &[rows])?;
        let (w_hr, w_hr_at) = optional(weights.w_hr, "W_hr", &[width, hidden])?;
        let (h0, h0_at) = optional(h0, "the initial state h0", &[batch, width])?;
        let (c0, c0_at) = optional(c0, "the initial state c0", &[batch, hidden])?;
        let places = Places {
            w_ih: first,
            w_hh: first + 1,
            b_ih: b_ih_at,
            b_hh: b_hh_at,
            w_hr: w_hr_at,
            h0: h0_at,
            c0: c0_at,
        };
        let biases = b_ih.zip(b_hh).map(|(b_ih, b_hh)| [b_ih, b_hh]);
        Ok((Weights { w_ih, w_hh, biases, w_hr, places }, [h0, c0]))
    }
}

/// The largest H that a projection may have: a thread then stays below llvmpipe's limit of 65,535 iterations.
const MOST_PROJECTED: usize = 1 << 15;

/// An error unless a tensor is where the input is.
fn same_device(op: &'static str, name: &str, input: &Tensor, tensor: &Tensor) -> Result<()> {
    match input.device() == tensor.device() {
        true => Ok(()),
        false => {
            let message = format!("{name} is on {:?}, the input on {:?}", tensor.device(), input.device());
            Err(Error::argument(op, message))
        }
    }
}

/// An error unless a tensor has the shape.
fn expect(op: &'static str, name: &str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    match *tensor.shape() == *shape {
        true => Ok(()),
        false => fail(op, name, &format!("{:?}", Shape::from(shape)), &[tensor]),
    }
}

fn fail<T>(op: &'static str, name: &str, expected: &str, found: &[&Tensor]) -> Result<T> {
    let found: Vec<String> = found.iter().map(|tensor| format!("{:?}", tensor.shape())).collect();
    Err(Error::argument(op, format!("{name} must be {expected}, got {}", found.join(", "))))
}
