//! A step of a small network with all its numbers, as the launches of the step have read and written them.

use serde::Serialize;

use super::recorded::Recorded;
use super::steps::Steps;
use crate::cpu::cross_entropy::CROSS_ENTROPY;
use crate::cpu::matmul::MATMUL;
use crate::device::{Detail, Profile, Work};
use crate::error::{Error, Result};
use crate::kernel::Processor;
use crate::nn::CellKind;
use crate::tape::{NodeInfo, Tape, Var};

/// What goes through layers of one kind over a sequence, and back: T steps of a batch of one, with cross-entropy at the end.
/// Matrices are lists of rows. What belongs to steps has one entry a step.
#[derive(Clone, Debug, Serialize)]
pub struct Walk {
    /// The kind of the layers.
    pub cell: CellKind,
    /// Whether twins have computed it, on the CPU, and not the shaders themselves.
    pub by_twins: bool,
    /// The layers, the one that reads the input first.
    pub layers: Vec<WalkLayer>,
    /// The linear layer that makes the logits, where there is one.
    pub linear: Option<Linear>,
    /// The logits.
    pub logits: Vec<Vec<f64>>,
    /// The class that each step is to name.
    pub labels: Vec<usize>,
    /// softmax of the logits.
    pub probabilities: Vec<Vec<f64>>,
    /// −ln of the probability of the label.
    pub losses: Vec<f64>,
    /// Their mean.
    pub loss: f64,
    /// dL/dlogits.
    pub dlogits: Vec<Vec<f64>>,
}

/// A recurrent layer of a [`Walk`]. W has a row for each unit of each gate.
#[derive(Clone, Debug, Serialize)]
pub struct WalkLayer {
    /// The variants of matmul, which makes x·W_ihᵀ, and of the cell's kernels forward and backward.
    pub variants: [usize; 3],
    /// x_t.
    pub x: Vec<Vec<f64>>,
    /// W_ih, W_hh.
    pub w: [Vec<Vec<f64>>; 2],
    /// b_ih, b_hh.
    pub b: [Vec<f64>; 2],
    /// x·W_ihᵀ + b_ih (+ b_hh but in a GRU).
    pub xw: Vec<Vec<f64>>,
    /// What is kept of each step: h of an RNN; i, f, g, o of an LSTM; r, z, q, n of a GRU.
    pub gates: Vec<(&'static str, Vec<Vec<f64>>)>,
    /// h before the first step and after each.
    pub h: Vec<Vec<f64>>,
    /// c likewise, of an LSTM.
    pub c: Vec<Vec<f64>>,
    /// dL/dh_t by way of the output of step t alone.
    pub dy: Vec<Vec<f64>>,
    /// What step t + 1 adds to it.
    pub arriving: Vec<Vec<f64>>,
    /// dL/dh_t in all.
    pub dh: Vec<Vec<f64>>,
    /// dL/dc_t in all, of an LSTM.
    pub dc: Vec<Vec<f64>>,
    /// The gradients of x·W_ihᵀ: what the gates are functions of, all units of one gate after those of the other.
    pub da: Vec<Vec<f64>>,
    /// The gradients of h·W_hhᵀ, which in a GRU are others.
    pub da_h: Vec<Vec<f64>>,
    /// The gradients of W_ih and W_hh.
    pub dw: [Vec<Vec<f64>>; 2],
    /// The gradients of b_ih and b_hh.
    pub db: [Vec<f64>; 2],
}

/// The linear layer of a [`Walk`].
#[derive(Clone, Debug, Serialize)]
pub struct Linear {
    /// W.
    pub w: Vec<Vec<f64>>,
    /// b.
    pub b: Vec<f64>,
    /// dL/dW.
    pub dw: Vec<Vec<f64>>,
    /// dL/db.
    pub db: Vec<f64>,
}

/// The most units, steps and layers that anyone would read the numbers of.
const MOST: usize = 64;

impl Walk {
    /// Makes a step and writes down what it computes.
    ///
    /// # Errors
    /// [`Error::Argument`] when the network is not one that a walk can be made through; [`Error::Gpu`] on a fault, or where
    /// the adapter has no timestamps.
    pub fn of(steps: &mut dyn Steps) -> Result<Walk> {
        let device = steps.tape().device().clone();
        device.start_profile(Detail::Values)?;
        let stepped = steps.step();
        let profile = device.finish_profile()?;
        stepped?;
        Walk::read(steps.tape(), &profile)
    }

    fn read(tape: &Tape, profile: &Profile) -> Result<Walk> {
        let refuse = |what: String| {
            let message =
                format!("--values walks through one sequence of a sentence: {what}; try hihello or charseq");
            Err(Error::argument("explain", message))
        };
        let nodes: Vec<NodeInfo> = tape.nodes().collect();
        let cell = |node: &NodeInfo| match node.name {
            "rnn" => Some(CellKind::Rnn),
            "lstm" => Some(CellKind::Lstm),
            "gru" => Some(CellKind::Gru),
            _ => None,
        };
        let Some(kind) = nodes.iter().find_map(cell) else {
            return refuse("there is no recurrent layer".into());
        };
        let Some(last) = nodes.iter().position(|node| node.name == "cross_entropy") else {
            return refuse("the loss is no cross-entropy".into());
        };
        let mut layers = Vec::new();
        for (index, node) in nodes.iter().enumerate().filter(|(_, node)| cell(node).is_some()) {
            let shape = tape.value_info(node.inputs[0])?.shape;
            let hidden = tape.value_info(node.inputs[2])?.shape[1];
            if shape[1] != 1 {
                return refuse(format!("here are {}", shape[1]));
            }
            if shape.iter().chain([&hidden]).any(|size| *size > MOST) {
                return refuse(format!(
                    "{} steps, {} inputs and {hidden} units are too many to read",
                    shape[0], shape[2]
                ));
            }
            layers.push(WalkLayer::read(tape, profile, kind, index, node)?);
        }
        let linear = nodes.iter().position(|node| node.name == "linear");
        let linear = linear.map(|index| Linear::read(tape, profile, index, &nodes[index]));
        let loss = Recorded::last(profile, CROSS_ENTROPY.name, Work::Forward(Some(last)))?;
        let classes = loss.param("classes") as usize;
        let logits = rows(loss.values("logits", 0), classes);
        let scale = f64::from(f32::from_bits(loss.param("scale")));
        Ok(Walk {
            cell: kind,
            by_twins: tape.device().limits().processor == Processor::Cpu,
            layers,
            linear: linear.transpose()?,
            probabilities: logits.iter().map(|row| softmax(row)).collect(),
            logits,
            labels: loss.values("labels", 0).into_iter().map(|label| label as usize).collect(),
            losses: loss.values("losses", 0).into_iter().map(|loss| loss / scale).collect(),
            loss: tape.value(nodes[last].outputs[0])?.to_f64()?[0],
            dlogits: rows(loss.values("dlogits", 0), classes),
        })
    }

    /// T.
    pub fn time(&self) -> usize {
        self.labels.len()
    }
}

impl WalkLayer {
    fn read(
        tape: &Tape,
        profile: &Profile,
        cell: CellKind,
        index: usize,
        node: &NodeInfo,
    ) -> Result<WalkLayer> {
        let forward =
            Recorded::last(profile, &format!("{}_forward", cell.name()), Work::Forward(Some(index)))?;
        let backward = Recorded::last(profile, &format!("{}_backward", cell.name()), Work::Backward(index))?;
        // Not from the tape: the optimizer has changed them meanwhile.
        let input = Recorded::first(profile, MATMUL.name, Work::Forward(Some(index)))?;
        let (w_ih, b_ih) = affine(&input);
        let hidden = tape.value_info(node.inputs[2])?.shape[1];
        let w = [w_ih, rows(backward.values("w_hh", 0), hidden)];
        let width = w[1].len();
        let b_hh = match cell {
            CellKind::Gru => forward.values("b_hh", 0),
            _ => input.values("bias_2", 0),
        };
        let base = forward.param("base") as usize;
        let gates = match cell {
            CellKind::Rnn => Vec::new(),
            CellKind::Lstm => parts(&["i", "f", "g", "o"], &rows(forward.values("gates", 0), width)),
            CellKind::Gru => {
                let all = forward.values("gates", 0);
                let (rzq, n) = all.split_at(all.len() / 4 * 3);
                let mut gates = parts(&["r", "z", "q"], &rows(rzq.to_vec(), width));
                gates.push(("n", rows(n.to_vec(), hidden)));
                gates
            }
        };
        let da = rows(backward.values(if cell == CellKind::Gru { "da_x" } else { "da" }, 0), width);
        let da_h = match cell {
            CellKind::Gru => rows(backward.values("da_h", 0), width),
            _ => da.clone(),
        };
        let mut layer = WalkLayer {
            variants: [&input, &forward, &backward].map(Recorded::variant),
            x: rows(tape.value(node.inputs[0])?.to_f64()?, w[0][0].len()),
            b: [b_ih, b_hh],
            xw: rows(forward.values("xw", 0), width),
            gates,
            h: rows(forward.values("h", base), hidden),
            c: if cell == CellKind::Lstm { rows(forward.values("c", 0), hidden) } else { Vec::new() },
            dy: rows(backward.values("dy", 0), hidden),
            arriving: Vec::new(),
            dh: Vec::new(),
            dc: Vec::new(),
            da,
            da_h,
            dw: [
                rows(gradient(tape, node.inputs[1])?, w[0][0].len()),
                rows(gradient(tape, node.inputs[2])?, hidden),
            ],
            db: [gradient(tape, node.inputs[3])?, gradient(tape, node.inputs[4])?],
            w,
        };
        layer.h.truncate(layer.x.len() + 1);
        layer.c.truncate(layer.x.len() + 1);
        if cell == CellKind::Rnn {
            layer.gates = vec![("h", layer.h[1..].to_vec())];
        }
        layer.follow(cell);
        Ok(layer)
    }

    /// What the kernels do not keep, by their equations: dh and dc of every step, from the last to the first.
    fn follow(&mut self, cell: CellKind) {
        let (time, hidden) = (self.x.len(), self.h[0].len());
        let zero = vec![vec![0.0; hidden]; time];
        (self.arriving, self.dh) = (zero.clone(), zero.clone());
        self.dc = if cell == CellKind::Lstm { zero } else { Vec::new() };
        for t in (0..time).rev() {
            for k in 0..hidden {
                let mut arriving = 0.0;
                if t + 1 < time {
                    let terms = self.da_h[t + 1].iter().zip(&self.w[1]);
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

    /// The gradient of W_ih (0) or W_hh (1) from the steps from `t` on alone: Σ da_sᵀ·x_s or Σ da_sᵀ·h before step s. The
    /// product of all steps is one launch of matmul.
    pub fn growing(&self, which: usize, t: usize) -> Vec<Vec<f64>> {
        let mut sum: Vec<Vec<f64>> = self.w[which].iter().map(|row| vec![0.0; row.len()]).collect();
        for s in t..self.x.len() {
            let (da, source) =
                if which == 0 { (&self.da[s], &self.x[s]) } else { (&self.da_h[s], &self.h[s]) };
            for (row, da) in sum.iter_mut().zip(da) {
                row.iter_mut().zip(source).for_each(|(sum, source)| *sum += da * source);
            }
        }
        sum
    }
}

impl Linear {
    fn read(tape: &Tape, profile: &Profile, index: usize, node: &NodeInfo) -> Result<Linear> {
        let (w, b) = affine(&Recorded::first(profile, MATMUL.name, Work::Forward(Some(index)))?);
        let [dw, db] = [1, 2].map(|input| gradient(tape, node.inputs[input]));
        Ok(Linear { dw: rows(dw?, w[0].len()), w, b, db: db? })
    }
}

/// W and the first bias of x·Wᵀ + b.
fn affine(product: &Recorded<'_>) -> (Vec<Vec<f64>>, Vec<f64>) {
    let [n, k] = ["n", "k"].map(|name| product.param(name) as usize);
    let mut w = rows(product.values("b", product.param("b_offset") as usize), k);
    w.truncate(n);
    (w, product.values("bias", 0))
}

/// The gradient of a parameter.
fn gradient(tape: &Tape, var: Var) -> Result<Vec<f64>> {
    tape.gradient(var)?.expect("a parameter has a gradient").to_f64()
}

fn rows(values: Vec<f64>, width: usize) -> Vec<Vec<f64>> {
    values.chunks_exact(width).map(<[f64]>::to_vec).collect()
}

/// The columns of each gate.
fn parts(names: &[&'static str], all: &[Vec<f64>]) -> Vec<(&'static str, Vec<Vec<f64>>)> {
    let hidden = all[0].len() / names.len();
    let part = |gate: usize| all.iter().map(|row| row[gate * hidden..][..hidden].to_vec()).collect();
    names.iter().enumerate().map(|(gate, name)| (*name, part(gate))).collect()
}

fn softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}
