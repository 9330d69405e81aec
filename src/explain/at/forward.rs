//! A unit's way forward.

use super::{Line, Products, Term, Unit};
use crate::explain::walk::Affine;
use crate::nn::CellKind;

const BOTH: &[Products] = &[Products::Input, Products::State];
const A: &str = "x_t·W_ihᵀ + b_ih + h·W_hhᵀ + b_hh";

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Unit<'_> {
    pub fn forward(&self) -> Vec<Line> {
        let (layer, t, k) = (self.layer, self.t, self.k);
        let places = |name: &str, products: &[Products]| self.walk.places(self.index, false, name, products);
        let own = |line: Line| {
            let places = places(&line.name, &[]);
            line.places(places)
        };
        let h_t = |line: Line| own(line.device(layer.h[t + 1][k]));
        let hidden = layer.hidden();
        match self.walk.cell {
            CellKind::Rnn => {
                let a = Line::sum("a", A, self.both(k)).places(places("a", BOTH));
                let h = Line::new("h_t", "tanh(a)", f64::tanh, vec![Term::new("a", &[a.computed])]);
                vec![a, h_t(h)]
            }
            CellKind::Lstm => {
                let mut lines = Vec::new();
                for (gate, name) in ["i", "f", "g", "o"].into_iter().enumerate() {
                    let (function, f): (_, fn(f64) -> f64) =
                        if name == "g" { ("tanh", f64::tanh) } else { ("σ", sigmoid) };
                    let a = format!("a_{name}");
                    let sum = Line::sum(&*a, A, self.both(gate * hidden + k)).places(places(&a, BOTH));
                    let term = Term::new(&*a, &[sum.computed]);
                    let line =
                        Line::new(name, format!("{function}({a})"), f, vec![term]).device(self.gate(gate));
                    lines.extend([sum, own(line)]);
                }
                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| self.gate(gate));
                let terms = vec![Term::new("f·c", &[f, layer.c[t][k]]), Term::new("i·g", &[i, g])];
                lines.push(own(Line::sum("c_t", "f ⊙ c + i ⊙ g", terms).device(layer.c[t + 1][k])));
                let terms = vec![Term::new("o·tanh(c_t)", &[o, layer.c[t + 1][k].tanh()])];
                lines.push(h_t(Line::sum("h_t", "o ⊙ tanh(c_t)", terms)));
                lines
            }
            CellKind::Gru => {
                let [r, z, q, n] = [0, 1, 2, 3].map(|gate| self.gate(gate));
                let mut lines = Vec::new();
                for (gate, (name, value)) in [("r", r), ("z", z)].into_iter().enumerate() {
                    let line = Line::new(name, format!("σ({A})"), sigmoid, self.both(gate * hidden + k));
                    lines.push(line.device(value).places(places(name, BOTH)));
                }
                let row = 2 * hidden + k;
                let line = Line::sum("q", "h·W_hnᵀ + b_hn", self.of_state(row)).device(q);
                lines.push(line.places(places("q", &[Products::State])));
                let mut terms = self.of_input(row);
                terms.push(Term::new("r·q", &[r, q]));
                let line = Line::new("n", "tanh(x_t·W_inᵀ + b_in + r ⊙ q)", f64::tanh, terms).device(n);
                lines.push(line.places(places("n", &[Products::Input])));
                let terms =
                    vec![Term::new("(1 − z)·n", &[1.0 - z, n]), Term::new("z·h", &[z, layer.h[t][k]])];
                lines.push(h_t(Line::sum("h_t", "(1 − z) ⊙ n + z ⊙ h", terms)));
                lines
            }
        }
    }

    /// x_t·W_ih[row] + b_ih[row].
    fn of_input(&self, row: usize) -> Vec<Term> {
        products(
            &format!("x_{}", self.t),
            &self.layer.input.x[self.t],
            ["W_ih", "b_ih"],
            &self.layer.input,
            row,
        )
    }

    /// h·W_hh[row] + b_hh[row], h being the state before the step.
    fn of_state(&self, row: usize) -> Vec<Term> {
        let before = if self.t == 0 { "h0".to_string() } else { format!("h_{}", self.t - 1) };
        products(&before, &self.layer.state.x[self.t], ["W_hh", "b_hh"], &self.layer.state, row)
    }

    /// Both.
    fn both(&self, row: usize) -> Vec<Term> {
        let mut terms = self.of_input(row);
        terms.extend(self.of_state(row));
        terms
    }
}

/// x·W[row] + b[row], term by term.
pub fn products(x: &str, values: &[f64], [w, b]: [&str; 2], of: &Affine, row: usize) -> Vec<Term> {
    let product = |(j, (value, weight)): (usize, (&f64, &f64))| {
        Term::new(format!("{x}[{j}]·{w}[{row},{j}]"), &[*value, *weight])
    };
    let mut terms: Vec<Term> = values.iter().zip(&of.w[row]).enumerate().map(product).collect();
    terms.push(Term::new(format!("{b}[{row}]"), &[of.b[row]]));
    terms
}
