//! The lines of shaders that compute a number.

use crate::cpu::cross_entropy::CROSS_ENTROPY;
use crate::cpu::gru_backward::GRU_BACKWARD;
use crate::cpu::gru_forward::GRU_FORWARD;
use crate::cpu::lstm_backward::LSTM_BACKWARD;
use crate::cpu::lstm_forward::LSTM_FORWARD;
use crate::cpu::matmul::MATMUL;
use crate::cpu::regression_loss::REGRESSION_LOSS;
use crate::cpu::rnn_backward::RNN_BACKWARD;
use crate::cpu::rnn_forward::RNN_FORWARD;
use crate::explain::walk::{Target, Walk};
use crate::kernel::Kernel;
use crate::nn::CellKind;

/// What a number is a sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// x·W_ihᵀ: matmul makes it for all steps at once.
    Input,
    /// h·W_hhᵀ or da·W_hh: the step itself makes them.
    State,
}

/// The kernels of a cell.
struct Shaders {
    forward: &'static Kernel,
    backward: &'static Kernel,
}

impl Shaders {
    fn of(cell: CellKind) -> Shaders {
        let (forward, backward) = match cell {
            CellKind::Rnn => (&RNN_FORWARD, &RNN_BACKWARD),
            CellKind::Lstm => (&LSTM_FORWARD, &LSTM_BACKWARD),
            CellKind::Gru => (&GRU_FORWARD, &GRU_BACKWARD),
        };
        Shaders { forward, backward }
    }
}

/// Of each cell the pieces of its shaders' text that compute a number, by the number's name.
const PIECES: &[(CellKind, bool, &str, &str)] = &[
    (CellKind::Rnn, false, "a", "let a = load_xw"),
    (CellKind::Rnn, false, "h_t", "tanh_of_each(a)"),
    (CellKind::Rnn, true, "arriving", "let arriving ="),
    (CellKind::Rnn, true, "dh_t", "let dh_t ="),
    (CellKind::Rnn, true, "da", "da = dh_t * slope"),
    (CellKind::Lstm, false, "a_i", "let a_i ="),
    (CellKind::Lstm, false, "a_f", "let a_f ="),
    (CellKind::Lstm, false, "a_g", "let a_g ="),
    (CellKind::Lstm, false, "a_o", "let a_o ="),
    (CellKind::Lstm, false, "i", "let i = sigmoid"),
    (CellKind::Lstm, false, "f", "let f = sigmoid"),
    (CellKind::Lstm, false, "g", "let g = tanh_of_each"),
    (CellKind::Lstm, false, "o", "let o = sigmoid"),
    (CellKind::Lstm, false, "c_t", "var cell ="),
    (CellKind::Lstm, false, "h_t", "var state ="),
    (CellKind::Lstm, true, "arriving", "let arriving ="),
    (CellKind::Lstm, true, "dh_t", "let dh_t ="),
    (CellKind::Lstm, true, "dc_t", "let dc_t ="),
    (CellKind::Lstm, true, "da_i", "let da_i ="),
    (CellKind::Lstm, true, "da_f", "let da_f ="),
    (CellKind::Lstm, true, "da_g", "let da_g ="),
    (CellKind::Lstm, true, "da_o", "let da_o ="),
    (CellKind::Gru, false, "r", "let r = sigmoid"),
    (CellKind::Gru, false, "z", "let z = sigmoid"),
    (CellKind::Gru, false, "q", "let q ="),
    (CellKind::Gru, false, "n", "let n = tanh_of_each"),
    (CellKind::Gru, false, "h_t", "var state ="),
    (CellKind::Gru, true, "arriving", "let arriving ="),
    (CellKind::Gru, true, "dh_t", "let dh_t ="),
    (CellKind::Gru, true, "da_n", "var da_n ="),
    (CellKind::Gru, true, "da_r", "da_n * q * r * (1.0 - r)"),
    (CellKind::Gru, true, "da_z", "- n) * z * (1.0 - z)"),
];

/// Those that add up products: of matmul, and of the steps of recurrent kernels. A variant has one of them.
const PRODUCTS: [&str; 4] = [
    "+= left[i][r] * right[j]",
    "+= left[q][r] * right[j][q]",
    "subgroupBroadcast(left[number], thread) * right[q]",
    "coopMultiplyAdd(left[i], right[j]",
];
const SUMS: [&str; 3] = ["] += x * w[c]", "] += x.x * w[c]", "] += x * w[n"];

/// The pieces of the losses' shaders, by the number's name.
const CLASSES: &[(&str, &str)] = &[
    ("S", "sum += exp_nonpositive(z)"),
    ("p", "let softmax ="),
    ("loss", "var loss = hit"),
    ("dlogits", "let d = softmax"),
];
const VALUES: &[(&str, &str)] = &[("loss", "var loss = e * e"), ("dy", "var slope = 2.0 * e")];

impl Walk {
    /// The lines of shaders that compute a number of a layer's cell, forward or backward, `h_t` or `da_i` say: of the products
    /// that it is a sum of, and of itself.
    pub fn places(&self, layer: usize, backward: bool, name: &str, products: &[Products]) -> Vec<String> {
        let (layer, shaders) = (&self.layers[layer], Shaders::of(self.cell));
        let (kernel, variant) = match backward {
            true => (shaders.backward, layer.backward_variant),
            false => (shaders.forward, layer.state.variant),
        };
        let sums = products.iter().filter_map(|of| match of {
            Products::Input => place_of_product(layer.input.variant),
            Products::State => SUMS.iter().find_map(|piece| kernel.place_of(variant, piece)),
        });
        let own =
            PIECES.iter().filter(|(of, pass, found, _)| (*of, *pass, *found) == (self.cell, backward, name));
        sums.chain(own.filter_map(|(.., piece)| kernel.place_of(variant, piece))).collect()
    }

    /// Those of the linear layer's products.
    pub fn linear_places(&self) -> Vec<String> {
        self.linear.iter().filter_map(|linear| place_of_product(linear.variant)).collect()
    }

    /// Those of a number of the loss: S, p, loss and dlogits of cross-entropy, loss and dy of squared errors.
    pub fn loss_places(&self, name: &str) -> Vec<String> {
        let (kernel, pieces) = match self.outputs.target {
            Target::Classes { .. } => (&CROSS_ENTROPY, CLASSES),
            Target::Values(_) => (&REGRESSION_LOSS, VALUES),
        };
        let own = pieces.iter().filter(|(found, _)| *found == name);
        // With as few classes as a walk has, a thread takes a row: the first variant.
        own.filter_map(|(_, piece)| kernel.place_of(0, piece)).collect()
    }
}

/// The line of matmul that adds up products.
fn place_of_product(variant: usize) -> Option<String> {
    PRODUCTS.iter().find_map(|piece| MATMUL.place_of(variant, piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_line() {
        for (cell, backward, name, piece) in PIECES {
            let shaders = Shaders::of(*cell);
            let kernel = if *backward { shaders.backward } else { shaders.forward };
            let found = kernel.variants[0].wgsl[0].matches(piece).count();
            assert_eq!(found, 1, "{cell:?} {name}: one line of the shader has {piece}");
            for variant in 0..kernel.variants.len() {
                let of_sums = SUMS.iter().filter(|piece| kernel.place_of(variant, piece).is_some()).count();
                assert_eq!(of_sums, 1, "{kernel:?}, variant {variant}");
            }
        }
        for (kernel, pieces) in [(&CROSS_ENTROPY, CLASSES), (&REGRESSION_LOSS, VALUES)] {
            for (name, piece) in pieces {
                assert_eq!(
                    kernel.variants[0].wgsl[0].matches(piece).count(),
                    1,
                    "{kernel:?} {name}: {piece}"
                );
            }
        }
        for variant in 0..MATMUL.variants.len() {
            let found = PRODUCTS.iter().filter(|piece| MATMUL.place_of(variant, piece).is_some()).count();
            assert_eq!(found, 1, "matmul, variant {variant}");
        }
    }
}
