//! The rounds in which layers that share their launches make their steps, and what layers hand on between two rounds.

use super::sequence::Sequence;
use crate::cpu::steps::Steps;
use crate::error::Result;
use crate::ops::dropout::Mask;
use crate::ops::matmul::{Matrix, product};
use crate::tensor::Tensor;

/// The rounds of a pass: all steps of directions are one round. Layers make blocks of `stagger` steps: in the first round only
/// one layer does, the lowest in a forward pass and the uppermost in a backward pass, and each other one begins a round later
/// than the one that it depends on.
pub struct Rounds {
    /// How many steps of the pass come before the first round: below 0 where its block is shorter than the others.
    pub first: i32,
    /// How many rounds there are.
    pub many: usize,
    /// The steps of a block.
    pub each: usize,
}

/// What dropout makes of the outputs of layers before the layers above take them.
pub struct Dropped {
    /// Of each layer but the uppermost.
    pub masks: Vec<Mask>,
    /// What is left of their outputs: as [L − 1, T, B, H], each layer's part aligned.
    pub outputs: Tensor,
}

impl Sequence {
    /// The rounds in which a pass makes its steps.
    pub fn rounds(&self, backward: bool) -> Rounds {
        let Steps { time, chains, stagger, .. } = self.rows();
        if stagger == 0 {
            return Rounds { first: 0, many: 1, each: time };
        }
        let blocks = time.div_ceil(stagger);
        // Blocks begin at multiples of `stagger`: the one that the backward pass begins with is the shorter one.
        let first = if backward { time as i32 - (blocks * stagger) as i32 } else { 0 };
        Rounds { first, many: blocks + chains - 1, each: stagger }
    }

    /// The steps of a round of a pass.
    pub fn steps_of_round(&self, round: usize, backward: bool) -> Steps {
        let Rounds { first, each, .. } = self.rounds(backward);
        Steps { start: first + (round * each) as i32, count: each, ..self.rows() }
    }

    /// The layers that have made steps in a round, each with the first step and how many there are.
    fn made_in(&self, round: usize, backward: bool) -> impl Iterator<Item = (usize, [usize; 2])> {
        let steps = self.steps_of_round(round, backward);
        let layers = if steps.stagger == 0 { 0..0 } else { steps.busy(backward) };
        layers.map(move |layer| {
            let times = steps.times(layer, backward);
            (layer, [times.start, times.len()])
        })
    }

    /// Some steps of a chain in an array of [.., T, B, width].
    fn block_of_steps(
        &self,
        all: &Tensor,
        chain: usize,
        [first, many]: [usize; 2],
        width: usize,
    ) -> Result<Tensor> {
        all.slice(self.rows().row_of_step(chain, first) * width, [many, self.batch, width])
    }

    /// After a round of the forward pass: the steps that a layer has made are what the layer above takes next.
    pub fn hand_up(&self, round: usize, xw: &Tensor) -> Result<()> {
        let gates = self.cell.parts() * self.hidden;
        for (layer, [first, many]) in
            self.made_in(round, false).filter(|(layer, _)| layer + 1 < self.weights.len())
        {
            let start = self.h_at(layer, first + 1);
            let mut x = self.h.slice(start, [many, self.batch, self.width])?;
            if let Some(Dropped { masks, outputs }) = &self.dropped {
                let left = self.block_of_steps(outputs, layer, [first, many], self.width)?;
                masks[layer].apply(&x, first * self.batch * self.width, &left)?;
                x = left;
            }
            self.project(layer + 1, &x, &self.block_of_steps(xw, layer + 1, [first, many], gates)?)?;
        }
        Ok(())
    }

    /// After a round of the backward pass: what a layer hands down is dy of the layer below.
    pub fn hand_down(&self, round: usize, da: &Tensor, dy: &Tensor) -> Result<()> {
        let gates = self.cell.parts() * self.hidden;
        for (layer, block) in self.made_in(round, true).filter(|(layer, _)| *layer > 0) {
            let da = self.block_of_steps(da, layer, block, gates)?;
            let dy = self.block_of_steps(dy, layer - 1, block, self.width)?;
            let of =
                |dx: &Tensor| product(Matrix::new(&da), Matrix::new(&self.weights[layer].w_ih), dx, false);
            match &self.dropped {
                None => of(&dy)?,
                Some(Dropped { masks, .. }) => {
                    let dx = Tensor::empty(&dy.device(), dy.dtype(), dy.shape())?;
                    of(&dx)?;
                    masks[layer - 1].apply(&dx, block[0] * self.batch * self.width, &dy)?;
                }
            }
        }
        Ok(())
    }
}
