//! The steps of a launch of a recurrent kernel: their order, and the rows of arrays in which lies what they read and write. Twin of
//! `shaders/recurrent_steps.wgsl` and of the passes, `recurrent_forward.wgsl` and `recurrent_backward.wgsl`.

use std::ops::Range;

use super::packed::TILE;
use super::threads::in_large_blocks;

/// One of the steps that a launch makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Of which chain it is, counted from 0.
    pub chain: usize,
    /// t.
    pub time: usize,
    /// The slot of the states before it.
    pub before: usize,
    /// The slot of the states after it.
    pub after: usize,
    /// In a backward pass, the step that was computed before it, if there is one: t + 1, or in reverse t − 1.
    pub later: Option<usize>,
    /// Whether it is the first of all steps of its chain.
    pub first: bool,
}

/// The steps that a launch makes, in one chain or in several side by side, of which none waits for another: the two directions of
/// a layer, or layers one above the other, each some steps behind the one that it depends on. Where what is of a row of the batch
/// lies: see `shaders/recurrent_steps.wgsl`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steps {
    /// B.
    pub batch: usize,
    /// H.
    pub hidden: usize,
    /// T: how many steps there are in all.
    pub time: usize,
    /// How many steps of the chain that begins first come before those of the launch. What is below 0 or above T is left out.
    pub start: i32,
    /// How many steps each chain makes at most.
    pub count: usize,
    /// Whether the (first) chain goes from the last step to the first.
    pub reverse: bool,
    /// D, or of layers L.
    pub chains: usize,
    /// The lowest chain that may have steps to make.
    pub lowest: usize,
    /// Of layers, how many steps each is behind the one that it depends on; 0 of directions.
    pub stagger: usize,
}

impl Steps {
    /// The steps of a forward pass in a chain: upwards, or in reverse downwards.
    pub fn forward(self, chain: usize) -> impl Iterator<Item = Step> {
        let reverse = self.is_reverse(chain);
        self.places(chain, false).map(move |place| {
            let time = if reverse { self.time - 1 - place } else { place };
            let [before, after] = [time + usize::from(reverse), time + usize::from(!reverse)];
            Step { chain, time, before, after, later: None, first: place == 0 }
        })
    }

    /// The steps of a backward pass in a chain: downwards, or in reverse upwards. Of layers the uppermost begins.
    pub fn backward(self, chain: usize) -> impl Iterator<Item = Step> {
        let reverse = self.is_reverse(chain);
        self.places(chain, true).map(move |place| {
            let time = if reverse { place } else { self.time - 1 - place };
            let [before, after] = [time + usize::from(reverse), time + usize::from(!reverse)];
            let later = if reverse { time.checked_sub(1) } else { Some(time + 1) };
            Step { chain, time, before, after, later: later.filter(|_| place > 0), first: place == 0 }
        })
    }

    /// The steps of a forward pass in all chains.
    pub fn all_forward(self) -> impl Iterator<Item = Step> {
        (self.lowest..self.chains).flat_map(move |chain| self.forward(chain))
    }

    /// The steps of a backward pass in all chains.
    pub fn all_backward(self) -> impl Iterator<Item = Step> {
        (self.lowest..self.chains).flat_map(move |chain| self.backward(chain))
    }

    /// The chains that have steps to make, in a pass forward or backward.
    pub fn busy(self, backward: bool) -> Range<usize> {
        let mut busy = (0..self.chains).filter(|chain| !self.times(*chain, backward).is_empty());
        let Some(first) = busy.next() else { return 0..0 };
        first..busy.next_back().unwrap_or(first) + 1
    }

    /// The times t of the steps that a chain makes, which are neighbours, in a pass forward or backward.
    pub fn times(self, chain: usize, backward: bool) -> Range<usize> {
        let places = self.places(chain, backward);
        match backward == self.is_reverse(chain) {
            true => places,
            false => self.time - places.end..self.time - places.start,
        }
    }

    /// The places of the steps that a chain makes, in the order of a pass forward or backward. Of layers the uppermost is the last
    /// forward, and the lowest backward.
    fn places(self, chain: usize, backward: bool) -> Range<usize> {
        let behind = self.stagger * if backward { self.chains - 1 - chain } else { chain };
        let begin = i64::from(self.start) - behind as i64;
        let place = |n: i64| n.clamp(0, self.time as i64) as usize;
        place(begin)..place(begin + self.count as i64)
    }

    /// Whether a chain goes from the last step to the first: of two directions, one does.
    pub fn is_reverse(self, chain: usize) -> bool {
        self.reverse != (self.stagger == 0 && chain == 1)
    }

    /// How many chains have their outputs side by side: directions do, and layers do not.
    pub fn outputs(self) -> usize {
        if self.stagger == 0 { self.chains } else { 1 }
    }

    /// Rows from one chain's part of an array to the next, where a part has so many.
    pub fn rows_apart(self, rows: usize) -> usize {
        // Parts begin at multiples of WebGPU's 256 bytes, which are 128 numbers of the shortest type; a row has a multiple of H.
        let step = 128 >> self.hidden.trailing_zeros().min(7);
        if self.chains > 1 { rows.next_multiple_of(step) } else { rows }
    }

    /// The rows of [D, T, B, ..], of which each chain has the T·B first ones of its part.
    pub fn rows_of_steps(self) -> usize {
        self.chains * self.rows_apart(self.time * self.batch)
    }

    /// The rows of [D, T+1, B, ..].
    pub fn rows_of_slots(self) -> usize {
        self.chains * self.rows_apart((self.time + 1) * self.batch)
    }

    /// The rows of [D, B, ..].
    pub fn rows_of_carried(self) -> usize {
        self.chains * self.rows_apart(self.batch)
    }

    /// The first row of step `time` in a chain: of [D, T, B, ..].
    pub fn row_of_step(self, chain: usize, time: usize) -> usize {
        chain * self.rows_apart(self.time * self.batch) + time * self.batch
    }

    /// The first row of the states in a slot: of [D, T+1, B, ..].
    pub fn row_of_slot(self, chain: usize, slot: usize) -> usize {
        chain * self.rows_apart((self.time + 1) * self.batch) + slot * self.batch
    }

    /// The first row of what goes from step to step: of [D, B, ..].
    pub fn row_of_carried(self, chain: usize) -> usize {
        chain * self.rows_apart(self.batch)
    }

    /// The row of a step's output: of [T, B, D, ..], where directions are side by side, or of layers as of any step.
    pub fn row_of_output(self, step: Step, row: usize) -> usize {
        match self.stagger {
            0 => (step.time * self.batch + row) * self.chains + step.chain,
            _ => self.row_of_step(step.chain, step.time) + row,
        }
    }

    /// The rows of [T, B, D, ..], or of layers of [L, T, B, ..].
    pub fn rows_of_outputs(self) -> usize {
        if self.stagger == 0 { self.time * self.batch * self.chains } else { self.rows_of_steps() }
    }

    /// Runs `f` for blocks of rows of every chain, on several threads where `work`, that of all rows, is worth it.
    pub fn in_rows(self, work: usize, f: impl Fn(usize, Range<usize>) + Sync) {
        let apart = self.batch.next_multiple_of(TILE);
        in_large_blocks(self.chains * apart, TILE, work, |block| {
            for chain in self.lowest..self.chains {
                let first = chain * apart;
                let rows = block.start.max(first) - first..block.end.clamp(first, first + self.batch) - first;
                if !rows.is_empty() {
                    f(chain, rows);
                }
            }
        });
    }
}

/// Whether the sequence of a row has ended before the step. Without lengths (`ragged` 0) none has.
#[inline(always)]
pub fn ended(ragged: u32, lengths: &[i32], row: usize, time: usize) -> bool {
    ragged == 1 && time as i32 >= lengths[row]
}
