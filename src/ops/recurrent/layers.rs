//! Layers one above the other: one after the other, or each some steps behind the one below, all in the same launches.
//!
//! Step t of a layer needs step t of the layer below and step t − 1 of its own. So layers can work at once, like the stages of a
//! pipeline: while a layer makes a block of steps, the one above makes the block before it. Where one layer leaves most of the
//! device idle, L layers then take little longer than one. What it costs are launches: each block is one of its own, and so is the
//! product W_ih·x between two layers. It also costs memory: what one layer needs for a pass, all of them then have at the same
//! time.

use super::chains::{Chains, fits};
use super::steps::Cell;
use super::{Nonlinearity, RecurrentWeights, Stacked};
use crate::cpu::cost;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Limits, MAX_GROUPS, Processor};
use crate::ops::dropout::is_probability;
use crate::plans::{Site, Way};
use crate::tape::{Tape, Var};

impl Tape {
    /// Plain recurrent layers one above the other, in one direction over x [T, B, I], as [`Tape::rnn`] over the output of
    /// [`Tape::rnn`]. They share their launches: each layer is [`Stacked::stagger`] steps behind the one below. Dropout between
    /// them is as by [`Tape::dropout`].
    ///
    /// Returns all h_t of the uppermost layer [T, B, H], and of each layer the final state [B, H]. The initial states `h0`, one
    /// [B, H] of each layer, are 0 where they are not given.
    ///
    /// # Errors
    /// As [`Tape::rnn`]; also when the layers differ in their sizes or in number from the states, when the probability of dropout
    /// is not in 0..=1, and when `stagger` steps end between two elements at which a tensor may begin ([`Dtype::alignment`]).
    pub fn rnn_layers(
        &mut self,
        x: Var,
        h0: &[Option<Var>],
        weights: &[RecurrentWeights],
        nonlinearity: Nonlinearity,
        stacked: Stacked<'_>,
    ) -> Result<(Var, Vec<Var>)> {
        let states: Vec<_> = h0.iter().map(|h0| [*h0, None]).collect();
        let (y, last) = self.layers(Cell::Rnn(nonlinearity), x, &states, weights, stacked)?;
        Ok((y, last.into_iter().filter_map(|[h, _]| h).collect()))
    }

    /// [`Tape::rnn_layers`] of gated recurrent units: as [`Tape::gru`] over the output of [`Tape::gru`].
    ///
    /// # Errors
    /// As [`Tape::rnn_layers`].
    pub fn gru_layers(
        &mut self,
        x: Var,
        h0: &[Option<Var>],
        weights: &[RecurrentWeights],
        stacked: Stacked<'_>,
    ) -> Result<(Var, Vec<Var>)> {
        let states: Vec<_> = h0.iter().map(|h0| [*h0, None]).collect();
        let (y, last) = self.layers(Cell::Gru, x, &states, weights, stacked)?;
        Ok((y, last.into_iter().filter_map(|[h, _]| h).collect()))
    }

    /// [`Tape::rnn_layers`] of long short-term memory: as [`Tape::lstm`] over the output of [`Tape::lstm`]. Of each layer `states`
    /// are h0 and c0, and the final states h and c.
    ///
    /// # Errors
    /// As [`Tape::rnn_layers`]; also when there are several layers and a projection: its steps are launches of their own, and
    /// layers share none.
    pub fn lstm_layers(
        &mut self,
        x: Var,
        states: &[[Option<Var>; 2]],
        weights: &[RecurrentWeights],
        stacked: Stacked<'_>,
    ) -> Result<(Var, Vec<[Var; 2]>)> {
        let (y, last) = self.layers(Cell::Lstm, x, states, weights, stacked)?;
        Ok((y, last.into_iter().filter_map(|[h, c]| h.zip(c).map(<[Var; 2]>::from)).collect()))
    }

    /// Layers of any kind, each from its states h and c: the output of the uppermost, and the final states of each.
    pub(crate) fn layers(
        &mut self,
        cell: Cell,
        x: Var,
        states: &[[Option<Var>; 2]],
        weights: &[RecurrentWeights],
        Stacked { stagger, dropout, lengths }: Stacked<'_>,
    ) -> Result<(Var, Vec<[Option<Var>; 2]>)> {
        let name = cell.name_of_layers();
        let many = weights.len();
        if many == 0 || states.len() != many {
            let message =
                format!("takes at least one layer and the states of each, got {many} and {}", states.len());
            return Err(Error::argument(name, message));
        }
        if !is_probability(dropout) {
            return Err(Error::argument(name, format!("dropout must be from 0 to 1, got {dropout}")));
        }
        // What is wrong with x and the weights is told by the layers themselves.
        let (shape, w_hh) = (self.value(x)?.shape(), self.value(weights[0].w_hh)?);
        if let (&[time, batch, _], &[_, hidden]) = (&*shape, &*w_hh.shape()) {
            let least = least(batch * hidden, w_hh.dtype());
            if stagger == 0 || stagger < time && !stagger.is_multiple_of(least) {
                let message = format!("layers must be a multiple of {least} steps apart, got {stagger}");
                return Err(Error::argument(name, message));
            }
        }
        let chains =
            Chains::Layers { stagger: stagger.min(shape.first().copied().unwrap_or_default()).max(1) };
        let (sequence, inputs) = self.sequence(cell, x, states, weights, (chains, lengths), dropout)?;
        let mut outputs = vec![sequence.output()?];
        for layer in 0..many {
            outputs.push(sequence.final_h(layer)?);
        }
        for layer in (0..many).filter(|_| cell == Cell::Lstm) {
            outputs.push(sequence.final_c(layer)?);
        }
        let vars = self.push_list(name, &inputs, &outputs, || Box::new(move |g| sequence.backward(g)))?;
        let (h, c) = vars[1..].split_at(many);
        let last = h.iter().enumerate().map(|(layer, h)| [Some(*h), c.get(layer).copied()]).collect();
        Ok((vars[0], last))
    }
}

/// The fewest steps of a state of so many numbers that end at an element at which a tensor may begin. More that do are a multiple.
fn least(state: usize, dtype: Dtype) -> usize {
    dtype.alignment() >> state.trailing_zeros().min(dtype.alignment().trailing_zeros())
}

/// How many steps each layer is behind the one below; 0: it begins when that has made all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stagger(usize);

impl Way for Stagger {
    fn name(&self) -> String {
        match self.0 {
            0 => "one after the other".into(),
            steps => format!("{steps} steps apart"),
        }
    }
}

/// The sizes of layers one above the other.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// T.
    pub time: usize,
    /// B.
    pub batch: usize,
    /// H.
    pub hidden: usize,
    /// L.
    pub layers: usize,
    /// Whether there is dropout between them.
    pub dropout: bool,
}

/// How many steps each layer is to be behind the one below, where that is quicker than one layer after the other: by estimate, or
/// as measured (`bptt tune`).
pub fn stagger(cell: Cell, sizes: Sizes, dtype: Dtype, device: &Device) -> Option<usize> {
    let limits = device.limits();
    // On a CPU it was 1.1 times as fast at most, and often slower: rows share its threads, and every launch packs W_hh again.
    if !(2..=MAX_GROUPS as usize).contains(&sizes.layers) || limits.processor == Processor::Cpu {
        return None;
    }
    let ways = || ways(cell, sizes, dtype, limits.binding);
    let estimates = ways().into_iter().map(|way| (way, seconds(cell, sizes, way, limits)));
    let (quickest, _) = estimates.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let Sizes { time, batch, hidden, layers, dropout } = sizes;
    let shape = [time, batch, hidden, layers, usize::from(dropout), 0].map(|n| n as u32);
    let site = || Site { kernel: cell.name_of_layers(), shape, half: dtype.is_half() };
    let Stagger(steps) = device.choose(site, ways, quickest);
    Some(steps).filter(|steps| *steps > 0)
}

/// All ways that a device allows.
fn ways(cell: Cell, sizes: Sizes, dtype: Dtype, binding: u64) -> Vec<Stagger> {
    let Sizes { time, batch, hidden, layers, .. } = sizes;
    let fit = |steps: &usize| {
        let chains = Chains::Layers { stagger: *steps };
        fits(cell, chains, layers, [time, batch, hidden], dtype, binding)
    };
    let doubled = std::iter::successors(Some(least(batch * hidden, dtype)), |steps| Some(2 * steps));
    let apart = doubled.take_while(|steps| 2 * steps <= time).filter(fit);
    std::iter::once(0).chain(apart).map(Stagger).collect()
}

/// The seconds that a step of training is estimated to spend in what the ways differ in.
fn seconds(
    cell: Cell,
    Sizes { time, batch, hidden, layers, dropout }: Sizes,
    Stagger(stagger): Stagger,
    limits: &Limits,
) -> f64 {
    let launch = cost::launch(limits);
    // Both passes of so many steps in a launch each.
    let block = |steps: usize, chains: usize| {
        let passes = cell.passes([batch, hidden], chains).into_iter();
        let each = passes.map(|(kernel, product)| product.quickest(kernel, steps as u32, limits).1);
        2.0 * launch + steps as f64 * each.sum::<f64>()
    };
    if stagger == 0 {
        return layers as f64 * block(time, 1);
    }
    // In the first rounds layers join, one in each, until all that can make steps do; in the last rounds they leave.
    let blocks = time.div_ceil(stagger);
    let most = layers.min(blocks);
    let joining: f64 = (1..most).map(|chains| 2.0 * block(stagger, chains)).sum();
    let full = (blocks + layers + 1 - 2 * most) as f64 * block(stagger, most);
    // Between two layers each block is a product, small for a launch, which reads W_ih again, and perhaps a dropout.
    let weights = cost::memory((4 * cell.parts() * hidden * hidden) as f64, limits);
    let small = 2.0 * launch + weights + if dropout { launch } else { 0.0 };
    let between = 2.0 * small * ((layers - 1) * blocks) as f64;
    // All W_hh are copied to lie together: read and written.
    joining + full + between + (launch + 2.0 * weights) * layers as f64
}
