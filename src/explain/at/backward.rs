//! A unit's way back.

use super::{Line, Products, Term, Unit};
use crate::error::Result;
use crate::explain::walk::Target;
use crate::nn::CellKind;

impl Unit<'_> {
    pub fn backward(&self) -> Result<Vec<Line>> {
        let (walk, layer, t, k) = (self.walk, self.layer, self.t, self.k);
        let places = |name: &str, products: &[Products]| walk.places(self.index, true, name, products);
        let hidden = layer.hidden();
        let da = |gate: usize, name: &str, formula: &str, factors: &[f64]| {
            let row = gate * hidden + k;
            let line = Line::product(name, formula, factors).device(layer.input.da[t][row]);
            let difference = Some(walk.difference(self.index, t, row)?);
            Ok(Line { difference, ..line.places(places(name, &[])) })
        };
        let sums: &[Products] = if self.is_last() { &[] } else { &[Products::State] };
        let dh_t = Line::sum("dh_t", "dy_t + what step t + 1 hands back", self.handed_back());
        let mut lines = vec![self.dy(), dh_t.places(places("dh_t", sums))];
        let dh = layer.dh[t][k];
        let gates = match walk.cell {
            CellKind::Rnn => {
                let h = layer.h[t + 1][k];
                vec![da(0, "da", "dh_t ⊙ (1 − h_t²)", &[dh, 1.0 - h * h])]
            }
            CellKind::Lstm => {
                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| self.gate(gate));
                let tanh_c = layer.c[t + 1][k].tanh();
                let mut terms = vec![Term::new("dh_t·o·(1 − tanh²c_t)", &[dh, o, 1.0 - tanh_c * tanh_c])];
                if !self.is_last() {
                    let next = t + 1;
                    let factors = [layer.dc[next][k], layer.gates[1].1[next][k]];
                    terms.push(Term::new(format!("dc_{next}·f_{next}"), &factors));
                }
                let line = Line::sum("dc_t", "dh_t ⊙ o ⊙ (1 − tanh²c_t) + dc ⊙ f of step t + 1", terms);
                lines.push(line.places(places("dc_t", &[])));
                let dc = layer.dc[t][k];
                vec![
                    da(0, "da_i", "dc_t ⊙ g ⊙ i ⊙ (1 − i)", &[dc, g, i, 1.0 - i]),
                    da(1, "da_f", "dc_t ⊙ c ⊙ f ⊙ (1 − f)", &[dc, layer.c[t][k], f, 1.0 - f]),
                    da(2, "da_g", "dc_t ⊙ i ⊙ (1 − g²)", &[dc, i, 1.0 - g * g]),
                    da(3, "da_o", "dh_t ⊙ tanh(c_t) ⊙ o ⊙ (1 − o)", &[dh, tanh_c, o, 1.0 - o]),
                ]
            }
            CellKind::Gru => {
                let [r, z, q, n] = [0, 1, 2, 3].map(|gate| self.gate(gate));
                let da_n = dh * (1.0 - z) * (1.0 - n * n);
                vec![
                    da(2, "da_n", "dh_t ⊙ (1 − z) ⊙ (1 − n²)", &[dh, 1.0 - z, 1.0 - n * n]),
                    da(0, "da_r", "da_n ⊙ q ⊙ r ⊙ (1 − r)", &[da_n, q, r, 1.0 - r]),
                    da(1, "da_z", "dh_t ⊙ (h − n) ⊙ z ⊙ (1 − z)", &[dh, layer.h[t][k] - n, z, 1.0 - z]),
                ]
            }
        };
        lines.extend(gates.into_iter().collect::<Result<Vec<Line>>>()?);
        Ok(lines)
    }

    /// dL/dh_t by way of what reads h_t at the same step: the layer above, the linear layer, or the loss itself.
    fn dy(&self) -> Line {
        let (walk, t, k) = (self.walk, self.t, self.k);
        let through = |name: &str, weight: &str, da: &[f64], w: &[Vec<f64>]| {
            let term = |(row, (da, w)): (usize, (&f64, &Vec<f64>))| {
                Term::new(format!("{name}[{row}]·{weight}[{row},{k}]"), &[*da, w[k]])
            };
            da.iter().zip(w).enumerate().map(term).collect::<Vec<Term>>()
        };
        let (name, output) = match walk.outputs.target {
            Target::Classes { .. } => ("dlogits", "dlogits"),
            Target::Values(_) => ("dL/dy", "dL/dh_t"),
        };
        let line = if !self.is_on_top() {
            let above = &walk.layers[self.index + 1].input;
            let terms = through("da_t", "W_ih", &above.da[t], &above.w);
            Line::sum("dy_t", "da_t·W_ih of the layer above", terms)
        } else if let Some(row) = walk.outputs.row(t) {
            let dy = &walk.outputs.dy[row];
            match &walk.linear {
                Some(linear) => Line::sum(
                    "dy_t",
                    format!("{name}·W of the linear layer"),
                    through(name, "W", dy, &linear.w),
                ),
                None => Line::sum("dy_t", output, vec![Term::new(format!("{output}[{k}]"), &[dy[k]])]),
            }
        } else {
            Line::sum("dy_t", "0: the loss reads the last step alone", vec![Term::new("nothing", &[0.0])])
        };
        line.device(self.layer.dy[t][k])
    }

    /// dy_t and what arrives from the next step.
    fn handed_back(&self) -> Vec<Term> {
        let (layer, k, next) = (self.layer, self.k, self.t + 1);
        let mut terms = vec![Term::new("dy_t", &[layer.dy[self.t][k]])];
        if !self.is_last() {
            let gru = self.walk.cell == CellKind::Gru;
            let da = if gru { "da_h" } else { "da" };
            let product = |(row, (da_next, w)): (usize, (&f64, &Vec<f64>))| {
                Term::new(format!("{da}_{next}[{row}]·W_hh[{row},{k}]"), &[*da_next, w[k]])
            };
            terms.extend(layer.state.da[next].iter().zip(&layer.state.w).enumerate().map(product));
            if gru {
                let factors = [layer.dh[next][k], layer.gates[1].1[next][k]];
                terms.push(Term::new(format!("dh_{next}[{k}]·z_{next}[{k}]"), &factors));
            }
        }
        terms
    }
}
