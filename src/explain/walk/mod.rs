//! A step of a small network with all its numbers, as the launches of the step have read and written them.

mod affine;
mod difference;
mod layer;
mod outputs;
mod recorded;

use serde::Serialize;

use super::steps::Steps;
use crate::cpu::matmul::MATMUL;
use crate::device::{Detail, Profile, Work};
use crate::error::{Error, Result};
use crate::kernel::Processor;
use crate::nn::CellKind;
use crate::parameters::{Parameters, Precision};
use crate::tape::{NodeInfo, Tape, Var};
use recorded::Recorded;

pub use affine::{Affine, Gradient};
pub use layer::WalkLayer;
pub use outputs::{Outputs, Target};

/// A matrix as the list of its rows. What belongs to the steps of a sequence has a row for each of them.
pub type Matrix = Vec<Vec<f64>>;

/// One sequence of a batch on its way through recurrent layers of one kind, perhaps a linear layer and the loss, and back:
/// every number of it. The gradients of weights are those of the whole batch.
#[derive(Clone, Debug, Serialize)]
pub struct Walk {
    /// The kind of the layers.
    pub cell: CellKind,
    /// Whether twins have computed it, on the CPU, and not the shaders themselves.
    pub by_twins: bool,
    /// How numbers are stored between the kernels.
    pub precision: Precision,
    /// B: the sequences of the batch.
    pub batch: usize,
    /// Which of them is walked along, from 0.
    pub sample: usize,
    /// The layers, the one that reads the input first.
    pub layers: Vec<WalkLayer>,
    /// The linear layer behind them, where there is one. It reads h of the steps that have an output.
    pub linear: Option<Affine>,
    /// What comes out, and the loss.
    pub outputs: Outputs,
    /// What the whole batch reads, to compute its loss anew.
    #[serde(skip)]
    whole: Whole,
}

/// What the loss of a whole batch is computed from, beside the parameters.
#[derive(Clone, Debug)]
struct Whole {
    /// The input of the first layer, [T, B, I].
    x: Vec<f64>,
    /// The labels or targets, in the order of the loss.
    targets: Vec<f64>,
}

/// The widest row that anyone would read.
const WIDEST: usize = 32;
/// The most steps.
const LONGEST: usize = 64;

impl Walk {
    /// Makes a step and writes down what it computes of one sample of its batch, counted from 0.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no such sample, the network is not one that a walk can be made through, or its
    /// numbers are too many to read; [`Error::Gpu`] on a fault, or where the adapter has no timestamps.
    pub fn of(steps: &mut dyn Steps, sample: usize) -> Result<Walk> {
        // Before the step: too large a network would write down gigabytes.
        readable_weights(steps.parameters())?;
        let device = steps.tape().device().clone();
        device.start_profile(Detail::Values)?;
        let stepped = steps.step();
        let profile = device.finish_profile()?;
        stepped?;
        Walk::read(steps, &profile, sample)
    }

    fn read(steps: &dyn Steps, profile: &Profile, sample: usize) -> Result<Walk> {
        let tape = steps.tape();
        let nodes: Vec<NodeInfo> = tape.nodes().collect();
        let way = Way::back(&nodes)?;
        let input = tape.value(nodes[way.layers[0]].inputs[0])?;
        let (time, batch) = (input.shape()[0], input.shape()[1]);
        if time > LONGEST {
            return too_many(&format!(
                "{time} steps are more than {LONGEST}: take fewer by --time, --sequence or --window"
            ));
        }
        if sample >= batch {
            let message = format!(
                "--sample must be from 0 to {}, got {sample}: the size of the batch is {batch}",
                batch - 1
            );
            return Err(Error::argument("explain", message));
        }
        let batch = Batch { size: batch, sample };
        let layers: Result<Vec<WalkLayer>> = way
            .layers
            .iter()
            .map(|index| WalkLayer::read(tape, profile, way.cell, (*index, &nodes[*index]), batch))
            .collect();
        let layers = layers?;
        let (outputs, targets, dy) = Outputs::read(tape, profile, (way.loss, &nodes[way.loss]), batch, time)?;
        let h = &layers[layers.len() - 1].h[1..];
        let linear = way
            .linear
            .map(|index| Affine::of_linear(tape, profile, (index, &nodes[index]), &dy, batch))
            .transpose()?;
        if way.selects && linear.as_ref().is_some_and(|linear| linear.x[..] != h[time - 1..]) {
            return refuse("the linear layer reads a step that is not the last");
        }
        Ok(Walk {
            cell: way.cell,
            by_twins: tape.device().limits().processor == Processor::Cpu,
            precision: steps.parameters().precision(),
            batch: batch.size,
            sample,
            layers,
            linear,
            outputs,
            whole: Whole { x: input.to_f64()?, targets },
        })
    }

    /// T.
    pub fn time(&self) -> usize {
        self.layers[0].xw.len()
    }
}

/// The nodes that are walked along.
struct Way {
    cell: CellKind,
    layers: Vec<usize>,
    /// Whether only one step goes on behind them.
    selects: bool,
    linear: Option<usize>,
    loss: usize,
}

impl Way {
    /// From the loss, which is last, back to the input.
    fn back(nodes: &[NodeInfo]) -> Result<Way> {
        let Some(loss) = nodes.len().checked_sub(1) else { return refuse("nothing has a gradient") };
        if !["cross_entropy", "mse_loss"].contains(&nodes[loss].name) {
            return refuse(&format!("it ends with {}, and not with its loss", nodes[loss].name));
        }
        let mut way = Way { cell: CellKind::Rnn, layers: Vec::new(), selects: false, linear: None, loss };
        let mut var = nodes[loss].inputs[0];
        while let Some(index) = nodes.iter().position(|node| node.outputs.contains(&var)) {
            let behind = way.layers.is_empty();
            match (nodes[index].name, cell(&nodes[index])) {
                (_, Some(cell)) if behind || cell == way.cell => {
                    way.cell = cell;
                    way.layers.insert(0, index);
                }
                ("linear", _)
                    if behind && !way.selects && way.linear.is_none() && nodes[index].inputs.len() == 3 =>
                {
                    way.linear = Some(index)
                }
                ("select", _) if behind && !way.selects && way.linear.is_some() => way.selects = true,
                ("embedding", _) if !behind => break,
                ("dropout", _) => return refuse("dropout leaves numbers out: take --dropout 0"),
                (name, _) => return refuse(&format!("there is {name} on its way")),
            }
            var = nodes[index].inputs[0];
        }
        if way.layers.is_empty() { refuse("it has no recurrent layer") } else { Ok(way) }
    }
}

fn cell(node: &NodeInfo) -> Option<CellKind> {
    [CellKind::Rnn, CellKind::Lstm, CellKind::Gru].into_iter().find(|cell| cell.name() == node.name)
}

fn refuse<T>(what: &str) -> Result<T> {
    let network =
        "--values and --at walk through recurrent layers of one kind, perhaps a linear layer, and a loss";
    Err(Error::argument("explain", format!("{network}; here {what}")))
}

fn too_many<T>(what: &str) -> Result<T> {
    Err(Error::argument("explain", format!("--values and --at show every number, and {what}")))
}

/// An error where a weight has rows too long to read.
fn readable_weights(parameters: &Parameters) -> Result<()> {
    let widths = parameters
        .names()
        .filter_map(|(_, shape)| if shape.len() == 2 { shape.last().copied() } else { None });
    widths.max().map_or(Ok(()), readable)
}

/// An error where rows are too long to read.
fn readable(width: usize) -> Result<()> {
    match width <= WIDEST {
        true => Ok(()),
        false => too_many(&format!(
            "rows of {width} are longer than {WIDEST}: shorten them by --hidden, --embedding or --columns"
        )),
    }
}

/// Which rows of a batch's matrices are those of the walked sample: in [T, B, ..] each B-th.
#[derive(Clone, Copy)]
struct Batch {
    size: usize,
    sample: usize,
}

impl Batch {
    /// The rows of the sample.
    fn own(self, all: &[Vec<f64>]) -> Matrix {
        all.iter().skip(self.sample).step_by(self.size).cloned().collect()
    }

    /// Whether a row is one of the sample's.
    fn owns(self, row: usize) -> bool {
        row % self.size == self.sample
    }
}

/// The gradient of a parameter.
fn gradient(tape: &Tape, var: Var) -> Result<Vec<f64>> {
    tape.gradient(var)?.expect("a parameter has a gradient").to_f64()
}

fn rows(values: &[f64], width: usize) -> Matrix {
    values.chunks_exact(width).map(<[f64]>::to_vec).collect()
}

/// The product x·Wᵀ of a node's forward pass, which reads W and its biases: the tape no longer has them, for the optimizer has
/// changed them meanwhile.
fn product<'p>(profile: &'p Profile, node: usize) -> Result<Recorded<'p>> {
    Recorded::first(profile, MATMUL.name, Work::Forward(Some(node)))
}
