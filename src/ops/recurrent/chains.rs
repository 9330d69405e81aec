//! What shares the launches of a recurrent kernel.

use super::steps::Cell;
use crate::cpu::steps::Steps;
use crate::kernel::Dtype;

/// What the chains of a sequence are.
#[derive(Clone, Copy, Debug)]
pub enum Chains {
    /// One direction, or two: whether the first is from the last step to the first. The second is the opposite.
    Directions { reverse: bool },
    /// Layers, each so many steps behind the one that it depends on.
    Layers { stagger: usize },
}

impl Chains {
    /// Where the rows of so many chains lie, of all steps together.
    pub fn rows(self, [time, batch, hidden]: [usize; 3], chains: usize) -> Steps {
        let (reverse, stagger) = match self {
            Chains::Directions { reverse } => (reverse, 0),
            Chains::Layers { stagger } => (false, stagger),
        };
        Steps { batch, hidden, time, start: 0, count: time, reverse, chains, lowest: 0, stagger }
    }
}

/// Whether chains can share their launches: what is of all lies in one buffer, and a device takes buffers of so many bytes.
pub fn fits(cell: Cell, chains: Chains, many: usize, sizes: [usize; 3], dtype: Dtype, binding: u64) -> bool {
    let (rows, hidden) = (chains.rows(sizes, many), sizes[2]);
    // Less than the alignment may lie before the states.
    let states = rows.rows_of_slots().saturating_mul(hidden).saturating_add(dtype.alignment());
    let gates = rows.rows_of_steps().saturating_mul(cell.parts().max(cell.kept()) * hidden);
    let weights = many.saturating_mul(cell.parts() * hidden).saturating_mul(hidden);
    // The gradients that arrive may be of 32 bits whatever the layers are.
    let arriving = rows.rows_of_outputs().saturating_mul(hidden).saturating_mul(Dtype::F32.size());
    states.max(gates).max(weights).saturating_mul(dtype.size()).max(arriving) as u64 <= binding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_fit_where_every_buffer_does() {
        use crate::ops::recurrent::Nonlinearity;
        let chains = Chains::Directions { reverse: false };
        let fits = |many, sizes, dtype| fits(Cell::Lstm, chains, many, sizes, dtype, 128 << 20);
        // Gates of 2·T·B·4H numbers: 128 MiB at T·B·H = 2²², without padding.
        assert!(fits(2, [256, 32, 512], Dtype::F32));
        assert!(!fits(2, [257, 32, 512], Dtype::F32));
        assert!(!fits(3, [256, 32, 512], Dtype::F32));
        assert!(fits(2, [512, 32, 512], Dtype::F16));
        // The gradients of 3 layers' outputs, 3·T·B·H numbers of 32 bits, where nothing else has as many bytes.
        let layers = Chains::Layers { stagger: 1 };
        let rnn = |many, time| {
            let (cell, sizes) = (Cell::Rnn(Nonlinearity::Tanh), [time, 16384, 256]);
            super::fits(cell, layers, many, sizes, Dtype::F16, 128 << 20)
        };
        assert!(rnn(2, 4) && !rnn(3, 4) && rnn(3, 2));
        // Weights of 2·4H·H numbers.
        assert!(fits(2, [1, 1, 2048], Dtype::F32));
        assert!(!fits(2, [1, 1, 2049], Dtype::F32));
    }
}
