//! The steps of a launch of a recurrent kernel: their order, and the rows of arrays in which lies what they read and write. Twin of
//! `shaders/recurrent_steps.wgsl` and of the passes, `recurrent_forward.wgsl` and `recurrent_backward.wgsl`.

use std::ops::Range;

use super::packed::TILE;
use super::threads::in_large_blocks;

/// One of the steps that a launch makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// 0, or of the second direction 1.
    pub direction: usize,
    /// t.
    pub time: usize,
    /// The slot of the states before it.
    pub before: usize,
    /// The slot of the states after it.
    pub after: usize,
    /// In a backward pass, the step that was computed before it, if there is one: t + 1, or in reverse t − 1.
    pub later: Option<usize>,
    /// In a forward pass, whether it is the first of its launch; in a backward pass, whether it is the first of all.
    pub first: bool,
}

/// The steps that a launch makes: in one direction of a layer, or in two side by side. The second makes the mirrored steps, from
/// the other end. Where what is of a row of the batch lies: see `shaders/recurrent_steps.wgsl`.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// B.
    pub batch: usize,
    /// H.
    pub hidden: usize,
    /// T: how many steps there are in all.
    pub time: usize,
    /// The first of the launch, in the first direction.
    pub start: usize,
    /// How many it makes, in each direction.
    pub count: usize,
    /// Whether the first direction goes from the last step to the first.
    pub reverse: bool,
    /// D: 1 or 2.
    pub directions: usize,
}

impl Steps {
    /// The steps of a forward pass in a direction: upwards, or in reverse downwards.
    pub fn forward(self, direction: usize) -> impl Iterator<Item = Step> {
        let (reverse, start) = self.turned(direction);
        (0..self.count).map(move |s| {
            let time = if reverse { start - s } else { start + s };
            let [before, after] = [time + usize::from(reverse), time + usize::from(!reverse)];
            Step { direction, time, before, after, later: None, first: s == 0 }
        })
    }

    /// The steps of a backward pass in a direction: downwards, or in reverse upwards.
    pub fn backward(self, direction: usize) -> impl Iterator<Item = Step> {
        let (reverse, start) = self.turned(direction);
        (0..self.count).map(move |s| {
            let time = if reverse { start + s } else { start - s };
            let [before, after] = [time + usize::from(reverse), time + usize::from(!reverse)];
            let later = if reverse { time.checked_sub(1) } else { Some(time + 1) };
            let later = later.filter(|later| *later < self.time);
            Step { direction, time, before, after, later, first: later.is_none() }
        })
    }

    /// The steps of a forward pass in all directions.
    pub fn all_forward(self) -> impl Iterator<Item = Step> {
        (0..self.directions).flat_map(move |direction| self.forward(direction))
    }

    /// The steps of a backward pass in all directions.
    pub fn all_backward(self) -> impl Iterator<Item = Step> {
        (0..self.directions).flat_map(move |direction| self.backward(direction))
    }

    /// Whether a direction is in reverse, and its first step.
    fn turned(self, direction: usize) -> (bool, usize) {
        match direction {
            0 => (self.reverse, self.start),
            _ => (!self.reverse, self.time - 1 - self.start),
        }
    }

    /// Rows from one direction's part of an array to the next, where a part has so many.
    pub fn rows_apart(self, rows: usize) -> usize {
        // Parts begin at multiples of WebGPU's 256 bytes, which are 128 numbers of the shortest type; a row has a multiple of H.
        let step = 128 >> self.hidden.trailing_zeros().min(7);
        if self.directions > 1 { rows.next_multiple_of(step) } else { rows }
    }

    /// The rows of [D, T, B, ..], of which each direction has the T·B first ones of its part.
    pub fn rows_of_steps(self) -> usize {
        self.directions * self.rows_apart(self.time * self.batch)
    }

    /// The rows of [D, T+1, B, ..].
    pub fn rows_of_slots(self) -> usize {
        self.directions * self.rows_apart((self.time + 1) * self.batch)
    }

    /// The rows of [D, B, ..].
    pub fn rows_of_carried(self) -> usize {
        self.directions * self.rows_apart(self.batch)
    }

    /// The first row of step `time` in a direction: of [D, T, B, ..].
    pub fn row_of_step(self, direction: usize, time: usize) -> usize {
        direction * self.rows_apart(self.time * self.batch) + time * self.batch
    }

    /// The first row of the states in a slot: of [D, T+1, B, ..].
    pub fn row_of_slot(self, direction: usize, slot: usize) -> usize {
        direction * self.rows_apart((self.time + 1) * self.batch) + slot * self.batch
    }

    /// The first row of what goes from step to step: of [D, B, ..].
    pub fn row_of_carried(self, direction: usize) -> usize {
        direction * self.rows_apart(self.batch)
    }

    /// The row of a step's output, which has the directions side by side: of [T, B, D, ..].
    pub fn row_of_output(self, step: Step, row: usize) -> usize {
        (step.time * self.batch + row) * self.directions + step.direction
    }

    /// Runs `f` for blocks of rows of every direction, on several threads where `work`, that of all rows, is worth it.
    pub fn in_rows(self, work: usize, f: impl Fn(usize, Range<usize>) + Sync) {
        let apart = self.batch.next_multiple_of(TILE);
        in_large_blocks(self.directions * apart, TILE, work, |block| {
            for direction in 0..self.directions {
                let first = direction * apart;
                let rows = block.start.max(first) - first..block.end.clamp(first, first + self.batch) - first;
                if !rows.is_empty() {
                    f(direction, rows);
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
