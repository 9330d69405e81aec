//! A recurrent layer that is walked through.

use serde::Serialize;

use super::affine::{Affine, Read, affine};
use super::recorded::Recorded;
use super::{Batch, Matrix, product, refuse, rows};
use crate::device::{Profile, Work};
use crate::error::Result;
use crate::nn::CellKind;
use crate::tape::{NodeInfo, Tape};

/// A recurrent layer of a [`Walk`](super::Walk). Its weights have a row for each unit of each gate.
#[derive(Clone, Debug, Serialize)]
pub struct WalkLayer {
    /// x·W_ihᵀ + b_ih. Its da are the gradients of what the gates are functions of.
    pub input: Affine,
    /// h·W_hhᵀ + b_hh, h being the state before each step. Its da are the same, but in a GRU, where r multiplies a part of it.
    pub state: Affine,
    /// The variant of the cell's backward kernel.
    pub backward_variant: usize,
    /// What matmul makes of all steps at once: x·W_ihᵀ + b_ih, and but in a GRU b_hh too.
    pub xw: Matrix,
    /// What is kept of each step: i, f, g, o of an LSTM; r, z, q, n of a GRU.
    pub gates: Vec<(&'static str, Matrix)>,
    /// h before the first step and after each.
    pub h: Matrix,
    /// c likewise, of an LSTM.
    pub c: Matrix,
    /// dL/dh_t by way of the output of step t alone.
    pub dy: Matrix,
    /// What step t + 1 adds to it.
    pub arriving: Matrix,
    /// dL/dh_t in all.
    pub dh: Matrix,
    /// dL/dc_t in all, of an LSTM.
    pub dc: Matrix,
}

impl WalkLayer {
    pub(super) fn read(
        tape: &Tape,
        profile: &Profile,
        cell: CellKind,
        (index, node): (usize, &NodeInfo),
        batch: Batch,
    ) -> Result<WalkLayer> {
        let forward = format!("{}_forward", cell.name());
        let forward = Recorded::last(profile, &forward, Work::Forward(Some(index)))?;
        let backward = format!("{}_backward", cell.name());
        let backward = Recorded::last(profile, &backward, Work::Backward(index))?;
        if node.inputs.len() != 5 || ["reverse", "ragged", "relu"].iter().any(|name| forward.is_on(name)) {
            return refuse(
                "a layer is no plain one: from zero states, forward in time, with biases, with tanh",
            );
        }
        let input = product(profile, index)?;
        let (w_ih, b_ih) = affine(&input);
        let shape = tape.value_info(node.inputs[0])?.shape;
        let (time, hidden, width) = (shape[0], tape.value_info(node.inputs[2])?.shape[1], w_ih.len());
        let gru = cell == CellKind::Gru;
        let w_hh = rows(&backward.values("w_hh"), hidden);
        let b_hh = if gru { forward.values("b_hh") } else { input.values("bias_2") };
        let all_x = rows(&tape.value(node.inputs[0])?.to_f64()?, shape[2]);
        let states = rows(&forward.values("h")[forward.param("base") as usize..], hidden);
        let states = &states[..(time + 1) * batch.size];
        let da_x = rows(&backward.values(if gru { "da_x" } else { "da" }), width);
        let da_h = if gru { rows(&backward.values("da_h"), width) } else { da_x.clone() };
        let [_, weight_ih, weight_hh, bias_ih, bias_hh] = node.inputs[..] else {
            unreachable!("checked above")
        };
        let of_input = Read { x: &all_x, da: &da_x };
        let of_state = Read { x: states, da: &da_h };
        let own = |values: Vec<f64>, width: usize| batch.own(&rows(&values, width));
        let gates = match cell {
            CellKind::Rnn => Vec::new(),
            CellKind::Lstm => parts(&["i", "f", "g", "o"], &own(forward.values("gates"), width)),
            CellKind::Gru => {
                // All r, z and q, then all n.
                let mut rzq = forward.values("gates");
                let n = rzq.split_off(rzq.len() / 4 * 3);
                let mut gates = parts(&["r", "z", "q"], &own(rzq, width));
                gates.push(("n", own(n, hidden)));
                gates
            }
        };
        let mut layer = WalkLayer {
            input: Affine::new(tape, input.variant(), (w_ih, b_ih), [weight_ih, bias_ih], of_input, batch)?,
            state: Affine::new(tape, forward.variant(), (w_hh, b_hh), [weight_hh, bias_hh], of_state, batch)?,
            backward_variant: backward.variant(),
            xw: own(forward.values("xw"), width),
            gates,
            h: batch.own(states),
            c: if cell == CellKind::Lstm { own(forward.values("c"), hidden) } else { Vec::new() },
            dy: own(backward.values("dy"), hidden),
            arriving: Vec::new(),
            dh: Vec::new(),
            dc: Vec::new(),
        };
        layer.follow(cell);
        Ok(layer)
    }

    /// H.
    pub fn hidden(&self) -> usize {
        self.h[0].len()
    }

    /// What the kernels do not keep, by their equations: dh and dc of every step, from the last to the first.
    fn follow(&mut self, cell: CellKind) {
        let (time, hidden) = (self.xw.len(), self.hidden());
        let zero = vec![vec![0.0; hidden]; time];
        (self.arriving, self.dh) = (zero.clone(), zero.clone());
        self.dc = if cell == CellKind::Lstm { zero } else { Vec::new() };
        for t in (0..time).rev() {
            for k in 0..hidden {
                let mut arriving = 0.0;
                if t + 1 < time {
                    let terms = self.state.da[t + 1].iter().zip(&self.state.w);
                    arriving = terms.map(|(da, row)| da * row[k]).sum();
                    if cell == CellKind::Gru {
                        arriving += self.dh[t + 1][k] * self.gates[1].1[t + 1][k];
                    }
                }
                self.arriving[t][k] = arriving;
                self.dh[t][k] = self.dy[t][k] + arriving;
                if cell == CellKind::Lstm {
                    let (o, tanh_c) = (self.gates[3].1[t][k], self.c[t + 1][k].tanh());
                    let kept = if t + 1 < time { self.dc[t + 1][k] * self.gates[1].1[t + 1][k] } else { 0.0 };
                    self.dc[t][k] = kept + self.dh[t][k] * o * (1.0 - tanh_c * tanh_c);
                }
            }
        }
    }
}

/// The columns of each gate.
fn parts(names: &[&'static str], all: &[Vec<f64>]) -> Vec<(&'static str, Matrix)> {
    let hidden = all[0].len() / names.len();
    let part = |gate: usize| all.iter().map(|row| row[gate * hidden..][..hidden].to_vec()).collect();
    names.iter().enumerate().map(|(gate, name)| (*name, part(gate))).collect()
}
