//! How much work a launch has, whatever runs it: the operations of its plain twin, and the elements that it reads and writes. A test
//! checks the operations by running the twins with numbers that count them.

use super::adagrad::Adagrad;
use super::adam::Adam;
use super::binary::Binary;
use super::column_sum::ColumnSum;
use super::cross_entropy::CrossEntropy;
use super::embedding_backward::EmbeddingBackward;
use super::gru_backward::GruBackward;
use super::gru_forward::GruForward;
use super::lstm_backward::LstmBackward;
use super::lstm_forward::LstmForward;
use super::matmul::Matmul;
use super::recurrence::Product;
use super::reduce_sum::ReduceSum;
use super::regression_loss::{self, RegressionLoss};
use super::rmsprop::Rmsprop;
use super::rnn_backward::RnnBackward;
use super::rnn_forward::RnnForward;
use super::sgd::Sgd;
use super::softmax::Softmax;
use super::steps::{Step, Steps};
use super::{clip_gradients::ClipGradients, softmax_backward::SoftmaxBackward};
use crate::kernel::{Access, Kernel};

/// The least work of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Each +, −, ·, /, max, min, e^x, ln, √, tanh and σ on real numbers counts 1, a sum of K terms K. What depends on the
    /// numbers (labels to ignore, sequences that end) is counted as if nothing were left out. `None` where it is not known.
    pub operations: Option<u64>,
    /// Of each argument the elements that are read and were not made by the launch itself, and those that are written.
    pub elements: Vec<[u64; 2]>,
}

/// The work of a launch with these parameters, whose arguments have so many elements.
pub fn work(kernel: &Kernel, params: &[u8], counts: &[u64]) -> Work {
    let moved = |(declared, count): (&crate::kernel::Declared, &u64)| match declared.access {
        Access::Read => [*count, 0],
        Access::Write => [0, *count],
        Access::Update => [*count, *count],
    };
    let mut elements: Vec<[u64; 2]> = kernel.args.iter().zip(counts).map(moved).collect();
    let mut set = |name: &str, moved: [u64; 2]| {
        let place = kernel.args.iter().position(|arg| arg.name == name).expect("an argument of the kernel");
        // What is absent stays so.
        if counts[place] > 0 {
            elements[place] = moved;
        }
    };
    macro_rules! params {
        ($kind:ty) => {
            bytemuck::pod_read_unaligned::<$kind>(params)
        };
    }
    let first = |index: usize| counts.get(index).copied().unwrap_or_default();
    let operations = match kernel.name {
        "matmul" => {
            let p = params!(Matmul);
            let [m, n, k, parts] = [p.m, p.n, p.k, p.parts()].map(u64::from);
            let sums = parts * m * n;
            set("a", [m * k, 0]);
            set("b", [k * n, 0]);
            set("c", [u64::from(p.accumulate) * sums, sums]);
            2 * m * n * k + u64::from(p.biases) * m * n + u64::from(p.accumulate) * sums
        }
        "rnn_forward" => {
            let p = params!(RnnForward);
            let run = Run::forward(p.product(), p.steps);
            set("xw", [run.units, 0]);
            set("h", run.states(p.fresh));
            run.operations(2)
        }
        "lstm_forward" => {
            let p = params!(LstmForward);
            let run = Run::forward(p.product(), p.steps);
            set("xw", [4 * run.units, 0]);
            set("gates", [0, 4 * run.units]);
            set("c", run.states(p.fresh));
            let [batch, width, hidden] = [p.batch * p.directions, p.width, p.hidden].map(u64::from);
            let (slot, out) = (batch * width, if p.projected == 1 { batch * hidden } else { batch * width });
            let fresh = u64::from(p.fresh) * slot;
            set("h", [slot - fresh, fresh + u64::from(p.steps) * out]);
            run.operations(13)
        }
        "gru_forward" => {
            let p = params!(GruForward);
            let run = Run::forward(p.product(), p.steps);
            set("xw", [3 * run.units, 0]);
            set("gates", [0, 4 * run.units]);
            set("h", run.states(p.fresh));
            run.operations(11 + 3 * u64::from(p.bias))
        }
        "rnn_backward" => {
            let p = params!(RnnBackward);
            let run = Run::backward(p.product(), p.span(), p.fresh, true);
            set("dy", [run.units, 0]);
            set("w_hh", run.weights());
            set("h", [run.units, 0]);
            set("dh", run.carried());
            set("da", run.made(1));
            run.operations(if p.relu == 1 { 3 } else { 5 })
        }
        "lstm_backward" => {
            let p = params!(LstmBackward);
            let run = Run::backward(p.product(), p.span(), p.fresh, p.projected == 0);
            set("dy", [run.units, 0]);
            set("w_hh", run.weights());
            set("gates", [4 * run.units, 0]);
            set("c", [run.units + run.slot, 0]);
            set("dh", run.carried());
            set("dc", run.carried());
            set("da", run.made(4));
            run.operations(26)
        }
        "gru_backward" => {
            let p = params!(GruBackward);
            let run = Run::backward(p.product(), p.span(), p.fresh, true);
            set("dy", [run.units, 0]);
            set("w_hh", run.weights());
            set("gates", [4 * run.units, 0]);
            set("h", [run.units, 0]);
            set("dh", run.carried());
            set("da_x", [0, 3 * run.units]);
            set("da_h", run.made(3));
            run.operations(18)
        }
        "cross_entropy" => {
            let p = params!(CrossEntropy);
            let [rows, classes] = [p.rows, p.classes].map(u64::from);
            let smooth = if p.smoothing > 0.0 { 3 * classes + 4 } else { 0 };
            1 + classes + rows * (13 * classes + 7 + smooth)
        }
        "column_sum" => {
            let p = params!(ColumnSum);
            let [sums, rows, more] =
                [u64::from(p.outer) * u64::from(p.cols), p.rows.into(), p.accumulate.into()];
            set("x", [sums * rows, 0]);
            set("y", [more * sums, sums]);
            sums * (rows + 1 + more)
        }
        "embedding_backward" => {
            let p = params!(EmbeddingBackward);
            let more = u64::from(p.accumulate) * first(3);
            set("dweight", [more, first(3)]);
            first(2) + more
        }
        "reduce_sum" => {
            let p = params!(ReduceSum);
            u64::from(p.count) * u64::from(p.power) + u64::from(p.groups)
        }
        "clip_gradients" => {
            let p = params!(ClipGradients);
            u64::from(p.partials) + 6 + u64::from(p.count)
        }
        "copy" => {
            set("y", [0, u64::from(params!(super::copy::Copy).count)]);
            0
        }
        "adam" => {
            let p = params!(Adam);
            if p.amsgrad == 0 {
                set("v_max", [0, 0]);
            }
            u64::from(p.count) * (16 + u64::from(p.amsgrad)) + 2
        }
        "adagrad" => 9 * u64::from(params!(Adagrad).count) + 4,
        "rmsprop" => {
            let p = params!(Rmsprop);
            if p.centered == 0 {
                set("grad_avg", [0, 0]);
            }
            if p.momentum == 0.0 {
                set("buf", [0, 0]);
            }
            let momentum = u64::from(p.momentum != 0.0);
            u64::from(p.count) * (11 + 6 * u64::from(p.centered) + 2 * momentum)
        }
        "sgd" => {
            let p = params!(Sgd);
            if p.momentum == 0.0 {
                set("buf", [0, 0]);
            }
            let momentum = if p.momentum == 0.0 { 0 } else { 4 + 2 * u64::from(p.nesterov) };
            u64::from(p.count) * (4 + momentum)
        }
        "regression_loss" => {
            let p = params!(RegressionLoss);
            let loss = match p.kind {
                regression_loss::MSE => 2,
                regression_loss::L1 => 1,
                _ => 5,
            };
            u64::from(p.count) * (3 + loss)
        }
        "softmax" => {
            let p = params!(Softmax);
            let each = if p.log == 1 { 8 } else { 9 };
            u64::from(p.rows) * u64::from(p.cols) * each
        }
        "softmax_backward" => {
            let p = params!(SoftmaxBackward);
            let each = if p.log == 1 { 5 } else { 4 };
            u64::from(p.rows) * u64::from(p.cols) * each
        }
        "binary" => params!(Binary).count.into(),
        "bias_add" | "scale" | "scale_by" | "dropout" | "tanh" | "sigmoid" | "relu" | "relu_backward"
        | "unary" => first(kernel.args.len() - 1),
        "sigmoid_backward" => 3 * first(2),
        "tanh_backward" => 4 * first(2),
        "fill" | "cast" | "embedding" | "one_hot" | "gather" | "mask_steps" => 0,
        _ => return Work { operations: None, elements },
    };
    Work { operations: Some(operations), elements }
}

/// The steps of a launch of a recurrent kernel.
struct Run {
    product: Product,
    /// Elements of a state.
    slot: u64,
    /// Those of all steps.
    units: u64,
    /// The steps that make the product.
    multiplied: u64,
    /// Whether the first of the steps makes it, from what an earlier launch has left.
    goes_on: bool,
    /// Whether what is carried is 0 at first, and not there yet.
    fresh: bool,
    backward: bool,
}

impl Run {
    fn new(product: Product) -> Run {
        let slot = u64::from(product.directions) * u64::from(product.batch) * u64::from(product.hidden);
        Run { product, slot, units: 0, multiplied: 0, goes_on: false, fresh: false, backward: false }
    }

    fn forward(product: Product, steps: u32) -> Run {
        let (run, count) = (Run::new(product), u64::from(steps));
        Run { units: count * run.slot, multiplied: count, ..run }
    }

    /// The directions make mirrored steps: what is said of those of the first holds for both.
    fn backward(product: Product, steps: Steps, fresh: u32, multiplies: bool) -> Run {
        let run = Run::new(product);
        let steps: Vec<Step> = steps.backward(0).collect();
        let later = |step: &&Step| multiplies && step.later.is_some();
        Run {
            units: steps.len() as u64 * run.slot,
            multiplied: steps.iter().filter(later).count() as u64,
            goes_on: steps.first().as_ref().is_some_and(later),
            fresh: fresh == 1 && steps.first().is_some_and(|step| step.first),
            backward: true,
            ..run
        }
    }

    /// The states of a forward pass: that before all steps, and those after them.
    fn states(&self, fresh: u32) -> [u64; 2] {
        let fresh = u64::from(fresh) * self.slot;
        [self.slot - fresh, self.units + fresh]
    }

    /// The weights of a backward pass, which a first step alone does not need.
    fn weights(&self) -> [u64; 2] {
        let needed = u64::from(self.multiplied > 0);
        [needed * self.product.first_weight(self.product.directions as usize) as u64, 0]
    }

    /// What goes from step to step.
    fn carried(&self) -> [u64; 2] {
        [if self.fresh { 0 } else { self.slot }, self.slot]
    }

    /// Gradients of so many gates.
    fn made(&self, gates: u64) -> [u64; 2] {
        [if self.goes_on { gates * self.slot } else { 0 }, gates * self.units]
    }

    /// The product and what else each unit takes. Both passes add the sum to something.
    fn operations(&self, unit: u64) -> u64 {
        let Product { columns, inner, .. } = self.product;
        let product = u64::from(columns) * 2 * u64::from(inner);
        let added = u64::from(self.backward);
        self.multiplied * self.slot * (product + added) + self.units * unit
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::work;
    use crate::cpu::counted;
    use crate::cpu::cross_entropy::CrossEntropy;
    use crate::device::Device;
    use crate::verify::{Size, TABLE, Value, run};

    /// Kernels whose operations depend on the numbers: there the formula is the most.
    const DEPEND: [&str; 6] = ["clip_gradients", "dropout", "embedding_backward", "sgd", "softmax", "adam"];

    #[test]
    fn operations_are_those_of_the_twins() {
        let device = Device::bounded();
        let mut exact = BTreeSet::new();
        for row in TABLE {
            for seed in 0..6 {
                let case = row.case(seed, if seed == 0 { Size::One } else { Size::Small });
                let counts: Vec<u64> = case.values.iter().map(|value| value.len() as u64).collect();
                let mut params = case.params.clone();
                if row.kernel.name == "cross_entropy" {
                    // Rows whose label is to be ignored make nothing.
                    let mut p: CrossEntropy = bytemuck::pod_read_unaligned(&params);
                    let Value::Ints(labels) = &case.values[1] else { unreachable!("labels are integers") };
                    p.rows -= labels.iter().filter(|label| **label == p.ignore_index).count() as u32;
                    params = bytemuck::bytes_of(&p).to_vec();
                }
                let Some(expected) = work(row.kernel, &params, &counts).operations else { continue };
                counted::take();
                run(&device, &case, &case.plans[0]).unwrap();
                let counted = counted::take();
                let name = row.kernel.name;
                // Sequences that end: the rows after that make less.
                let ragged = row.kernel.args.iter().position(|arg| arg.name == "lengths");
                let ragged = ragged.is_some_and(|i| !matches!(case.values[i], Value::Absent));
                // An optimizer that has been stopped does nothing.
                let stopped = row.kernel.args.iter().any(|arg| arg.name == "control");
                match counted == expected {
                    true => drop(exact.insert(name)),
                    false => assert!(
                        counted < expected && (ragged || stopped || DEPEND.contains(&name)),
                        "{name}: counted {counted}, expected {expected}, {}",
                        case.label
                    ),
                }
            }
        }
        for name in
            ["matmul", "rnn_forward", "lstm_backward", "gru_forward", "cross_entropy", "adam", "column_sum"]
        {
            assert!(exact.contains(name), "{name}: {exact:?}");
        }
    }
}
