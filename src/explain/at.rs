//! One unit at one step: every product and sum that leads to it, with the line of the shader that makes it, and its gradients
//! beside finite differences.

use serde::Serialize;

use super::Walk;
use crate::cpu::gru_backward::GRU_BACKWARD;
use crate::cpu::gru_forward::GRU_FORWARD;
use crate::cpu::lstm_backward::LSTM_BACKWARD;
use crate::cpu::lstm_forward::LSTM_FORWARD;
use crate::cpu::matmul::MATMUL;
use crate::cpu::rnn_backward::RNN_BACKWARD;
use crate::cpu::rnn_forward::RNN_FORWARD;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::nn::CellKind;

/// A unit of a layer at a step.
#[derive(Clone, Debug, Serialize)]
pub struct At {
    /// t.
    pub step: usize,
    /// k.
    pub unit: usize,
    /// Forward, then backward.
    pub lines: Vec<Line>,
}

/// A number and how it comes to be.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What it is, `a_i` say.
    pub name: String,
    /// Its formula, in the terms of the shader's header.
    pub formula: String,
    /// Factors and summands: the number is the sum of their products, then perhaps a function of it.
    pub terms: Vec<Term>,
    /// What the terms come to, in 64 bits.
    pub computed: f64,
    /// What the device has computed; none of what no buffer keeps.
    pub device: Option<f64>,
    /// The finite difference of the loss, of a gradient that has one.
    pub difference: Option<f64>,
    /// Files and lines of the shaders that compute it: first the products, where there are any.
    pub places: Vec<String>,
}

/// A product of numbers, one of which may stand alone.
#[derive(Clone, Debug, Serialize)]
pub struct Term {
    /// What it is, `h[2]·W_hh[0, 2]` say.
    pub name: String,
    /// The factors.
    pub factors: Vec<f64>,
}

impl Term {
    fn new(name: String, factors: &[f64]) -> Term {
        Term { name, factors: factors.to_vec() }
    }

    fn value(&self) -> f64 {
        self.factors.iter().product()
    }
}

/// What a number is a sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// x·W_ihᵀ, or the gradient of a weight: matmul makes them for all steps at once.
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
    (CellKind::Rnn, false, "h_t", "tanh_rational(a)"),
    (CellKind::Rnn, true, "arriving", "let arriving ="),
    (CellKind::Rnn, true, "dh_t", "(load_dy"),
    (CellKind::Rnn, true, "da", "da = (load_dy"),
    (CellKind::Lstm, false, "a_i", "+ vec4(load_xw"),
    (CellKind::Lstm, false, "a_f", "+ vec4(load_xw"),
    (CellKind::Lstm, false, "a_g", "+ vec4(load_xw"),
    (CellKind::Lstm, false, "a_o", "+ vec4(load_xw"),
    (CellKind::Lstm, false, "i", "let i = sigmoid"),
    (CellKind::Lstm, false, "f", "let f = sigmoid"),
    (CellKind::Lstm, false, "g", "let g = tanh_rational"),
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
    (CellKind::Gru, false, "q", "ah += vec3"),
    (CellKind::Gru, false, "n", "let n = tanh_rational"),
    (CellKind::Gru, false, "h_t", "var state ="),
    (CellKind::Gru, true, "arriving", "let arriving ="),
    (CellKind::Gru, true, "dh_t", "let dh_t ="),
    (CellKind::Gru, true, "da_n", "let da_n ="),
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

impl Walk {
    /// The lines of shaders that compute a number of a layer's cell, forward or backward, `h_t` or `da_i` say: of the products
    /// that it is a sum of, `input` for x·W_ihᵀ and `state` for h·W_hhᵀ or da·W_hh, and of itself.
    pub fn places(&self, layer: usize, backward: bool, name: &str, products: &[Products]) -> Vec<String> {
        let [product, forward, back] = self.layers[layer].variants;
        let shaders = Shaders::of(self.cell);
        let (kernel, variant) = if backward { (shaders.backward, back) } else { (shaders.forward, forward) };
        let sums = products.iter().filter_map(|of| match of {
            Products::Input => PRODUCTS.iter().find_map(|piece| MATMUL.place_of(product, piece)),
            Products::State => SUMS.iter().find_map(|piece| kernel.place_of(variant, piece)),
        });
        let own =
            PIECES.iter().filter(|(of, pass, found, _)| (*of, *pass, *found) == (self.cell, backward, name));
        sums.chain(own.filter_map(|(.., piece)| kernel.place_of(variant, piece))).collect()
    }

    /// Unit `unit` of a layer at step `step`.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is none such.
    pub fn at(&self, layer: usize, step: usize, unit: usize) -> Result<At> {
        let Some(found) = self.layers.get(layer) else {
            let message = format!("--layer must be from 0 to {}, got {layer}", self.layers.len() - 1);
            return Err(Error::argument("explain", message));
        };
        let hidden = found.h[0].len();
        if step >= self.time() || unit >= hidden {
            let message = format!(
                "--at takes a step from 0 to {} and a unit from 0 to {}, got {step},{unit}",
                self.time() - 1,
                hidden - 1
            );
            return Err(Error::argument("explain", message));
        }
        let mut lines = self.forward_lines(layer, step, unit);
        lines.extend(self.backward_lines(layer, step, unit)?);
        Ok(At { step, unit, lines })
    }

    /// x_t·W_ih[row] + b_ih[row].
    fn input_terms(&self, layer: usize, t: usize, row: usize) -> Vec<Term> {
        let of = &self.layers[layer];
        let product =
            |(j, (x, w)): (usize, (&f64, &f64))| Term::new(format!("x_{t}[{j}]·W_ih[{row},{j}]"), &[*x, *w]);
        let mut terms: Vec<Term> = of.x[t].iter().zip(&of.w[0][row]).enumerate().map(product).collect();
        terms.push(Term::new(format!("b_ih[{row}]"), &[of.b[0][row]]));
        terms
    }

    /// h·W_hh[row] + b_hh[row], h being the state before step t.
    fn state_terms(&self, layer: usize, t: usize, row: usize) -> Vec<Term> {
        let of = &self.layers[layer];
        let before = if t == 0 { "h0".to_string() } else { format!("h_{}", t - 1) };
        let product = |(j, (h, w)): (usize, (&f64, &f64))| {
            Term::new(format!("{before}[{j}]·W_hh[{row},{j}]"), &[*h, *w])
        };
        let mut terms: Vec<Term> = of.h[t].iter().zip(&of.w[1][row]).enumerate().map(product).collect();
        terms.push(Term::new(format!("b_hh[{row}]"), &[of.b[1][row]]));
        terms
    }

    fn forward_lines(&self, layer: usize, t: usize, k: usize) -> Vec<Line> {
        let of = &self.layers[layer];
        let hidden = of.h[0].len();
        let mut lines = Vec::new();
        let mut line =
            |name: &str, formula: String, terms: Vec<Term>, function: fn(f64) -> f64, device: Option<f64>| {
                let computed = function(terms.iter().map(Term::value).sum());
                let of = |part: &str, of| terms.iter().any(|term| term.name.contains(part)).then_some(of);
                let products = [of("W_ih", Products::Input), of("W_hh", Products::State)];
                let products: Vec<Products> = products.into_iter().flatten().collect();
                let places = self.places(layer, false, name, &products);
                lines.push(Line {
                    name: name.into(),
                    formula,
                    terms,
                    computed,
                    device,
                    difference: None,
                    places,
                });
                computed
            };
        let same = |x: f64| x;
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let gate = |gate: usize| of.gates[gate].1[t][k];
        let old_h = of.h[t][k];
        match self.cell {
            CellKind::Rnn => {
                let mut terms = self.input_terms(layer, t, k);
                terms.extend(self.state_terms(layer, t, k));
                let a = line("a", "x_t·W_ihᵀ + b_ih + h·W_hhᵀ + b_hh".into(), terms, same, None);
                line(
                    "h_t",
                    "tanh(a)".into(),
                    vec![Term::new("a".into(), &[a])],
                    f64::tanh,
                    Some(of.h[t + 1][k]),
                );
            }
            CellKind::Lstm => {
                for (index, name) in ["i", "f", "g", "o"].into_iter().enumerate() {
                    let row = index * hidden + k;
                    let mut terms = self.input_terms(layer, t, row);
                    terms.extend(self.state_terms(layer, t, row));
                    let a_name = format!("a_{name}");
                    let a = line(&a_name, "x_t·W_ihᵀ + b_ih + h·W_hhᵀ + b_hh".into(), terms, same, None);
                    let (function, f): (_, fn(f64) -> f64) =
                        if name == "g" { ("tanh", f64::tanh) } else { ("σ", sigmoid) };
                    let formula = format!("{function}({a_name})");
                    line(name, formula, vec![Term::new(a_name.clone(), &[a])], f, Some(gate(index)));
                }
                let [i, f, g, o] = [0, 1, 2, 3].map(gate);
                let terms = vec![Term::new("f·c".into(), &[f, of.c[t][k]]), Term::new("i·g".into(), &[i, g])];
                line("c_t", "f ⊙ c + i ⊙ g".into(), terms, same, Some(of.c[t + 1][k]));
                let terms = vec![Term::new("o·tanh(c_t)".into(), &[o, of.c[t + 1][k].tanh()])];
                line("h_t", "o ⊙ tanh(c_t)".into(), terms, same, Some(of.h[t + 1][k]));
            }
            CellKind::Gru => {
                for (index, name) in ["r", "z"].into_iter().enumerate() {
                    let row = index * hidden + k;
                    let mut terms = self.input_terms(layer, t, row);
                    terms.extend(self.state_terms(layer, t, row));
                    let formula = "σ(x_t·W_ihᵀ + b_ih + h·W_hhᵀ + b_hh)".into();
                    line(name, formula, terms, sigmoid, Some(gate(index)));
                }
                let row = 2 * hidden + k;
                let terms = self.state_terms(layer, t, row);
                line("q", "h·W_hnᵀ + b_hn".into(), terms, same, Some(gate(2)));
                let mut terms = self.input_terms(layer, t, row);
                terms.push(Term::new("r·q".into(), &[gate(0), gate(2)]));
                line("n", "tanh(x_t·W_inᵀ + b_in + r ⊙ q)".into(), terms, f64::tanh, Some(gate(3)));
                let [z, n] = [gate(1), gate(3)];
                let terms =
                    vec![Term::new("(1 − z)·n".into(), &[1.0 - z, n]), Term::new("z·h".into(), &[z, old_h])];
                line("h_t", "(1 − z) ⊙ n + z ⊙ h".into(), terms, same, Some(of.h[t + 1][k]));
            }
        }
        lines
    }

    fn backward_lines(&self, layer: usize, t: usize, k: usize) -> Result<Vec<Line>> {
        let of = &self.layers[layer];
        let (hidden, last) = (of.h[0].len(), t + 1 == self.time());
        let mut lines = Vec::new();
        let mut line =
            |name: &str, formula: &str, terms: Vec<Term>, device: Option<f64>, difference: Option<f64>| {
                let computed = terms.iter().map(Term::value).sum();
                let products: &[Products] =
                    if terms.len() > 1 && name == "dh_t" { &[Products::State] } else { &[] };
                let places = self.places(layer, true, name, products);
                let (name, formula) = (name.to_string(), formula.to_string());
                lines.push(Line { name, formula, terms, computed, device, difference, places });
            };
        let mut terms = vec![Term::new(format!("dy_{t}[{k}]"), &[of.dy[t][k]])];
        if !last {
            let da = if self.cell == CellKind::Gru { "da_h" } else { "da" };
            let product = |(row, (da_next, w)): (usize, (&f64, &Vec<f64>))| {
                Term::new(format!("{da}_{}[{row}]·W_hh[{row},{k}]", t + 1), &[*da_next, w[k]])
            };
            terms.extend(of.da_h[t + 1].iter().zip(&of.w[1]).enumerate().map(product));
            if self.cell == CellKind::Gru {
                let factors = [of.dh[t + 1][k], of.gates[1].1[t + 1][k]];
                terms.push(Term::new(format!("dh_{}[{k}]·z_{}[{k}]", t + 1, t + 1), &factors));
            }
        }
        line("dh_t", "dy_t + what step t + 1 hands back", terms, None, None);
        let gate = |gate: usize| of.gates[gate].1[t][k];
        let dh = of.dh[t][k];
        let difference = |row: usize| self.difference(layer, t, row).map(Some);
        let da = |gate: usize| Some(of.da[t][gate * hidden + k]);
        match self.cell {
            CellKind::Rnn => {
                let h = of.h[t + 1][k];
                let terms = vec![Term::new("dh_t·(1 − h_t²)".into(), &[dh, 1.0 - h * h])];
                line("da", "dh_t ⊙ (1 − h_t²)", terms, da(0), difference(k)?);
            }
            CellKind::Lstm => {
                let [i, f, g, o] = [0, 1, 2, 3].map(gate);
                let tanh_c = of.c[t + 1][k].tanh();
                let mut terms =
                    vec![Term::new("dh_t·o·(1 − tanh²c_t)".into(), &[dh, o, 1.0 - tanh_c * tanh_c])];
                if !last {
                    let name = format!("dc_{}·f_{}", t + 1, t + 1);
                    terms.push(Term::new(name, &[of.dc[t + 1][k], of.gates[1].1[t + 1][k]]));
                }
                line("dc_t", "dc + dh_t ⊙ o ⊙ (1 − tanh²c_t)", terms, None, None);
                let dc = of.dc[t][k];
                let gates = [
                    ("da_i", "dc_t ⊙ g ⊙ i(1 − i)", [dc, g, i, 1.0 - i]),
                    ("da_f", "dc_t ⊙ c ⊙ f(1 − f)", [dc, of.c[t][k], f, 1.0 - f]),
                    ("da_g", "dc_t ⊙ i ⊙ (1 − g²)", [dc, i, 1.0 - g * g, 1.0]),
                    ("da_o", "dh_t ⊙ tanh c_t ⊙ o(1 − o)", [dh, tanh_c, o, 1.0 - o]),
                ];
                for (index, (name, formula, factors)) in gates.into_iter().enumerate() {
                    let terms = vec![Term::new(formula.into(), &factors)];
                    line(name, formula, terms, da(index), difference(index * hidden + k)?);
                }
            }
            CellKind::Gru => {
                let [r, z, q, n] = [0, 1, 2, 3].map(gate);
                let da_n = dh * (1.0 - z) * (1.0 - n * n);
                let gates = [
                    (0, "da_r", "da_n ⊙ q ⊙ r(1 − r)", [da_n, q, r, 1.0 - r]),
                    (1, "da_z", "dh_t ⊙ (h − n) ⊙ z(1 − z)", [dh, of.h[t][k] - n, z, 1.0 - z]),
                    (2, "da_n", "dh_t ⊙ (1 − z) ⊙ (1 − n²)", [dh, 1.0 - z, 1.0 - n * n, 1.0]),
                ];
                for (index, name, formula, factors) in gates {
                    let terms = vec![Term::new(formula.into(), &factors)];
                    line(name, formula, terms, da(index), difference(index * hidden + k)?);
                }
            }
        }
        Ok(lines)
    }
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
        for variant in 0..MATMUL.variants.len() {
            let found = PRODUCTS.iter().filter(|piece| MATMUL.place_of(variant, piece).is_some()).count();
            assert_eq!(found, 1, "matmul, variant {variant}");
        }
    }
}
