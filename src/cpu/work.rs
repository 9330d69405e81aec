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
use super::lstm_project_backward::LstmProjectBackward;
use super::lstm_project_forward::LstmProjectForward;
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
            let run = Run::forward(p.product(), p.span(), p.fresh);
            set("w_hh", run.weights());
            set("xw", [run.units, 0]);
            set("h", run.states());
            run.operations(2)
        }
        "lstm_forward" => {
            let p = params!(LstmForward);
            let run = Run::forward(p.product(), p.span(), p.fresh);
            set("w_hh", run.weights());
            set("xw", [4 * run.units, 0]);
            set("gates", [0, 4 * run.units]);
            set("c", run.states());
            let [batch, width] = [p.batch, p.width].map(u64::from);
            let slot = batch * width;
            let out = if p.projected == 1 { run.units } else { run.steps * slot };
            set("h", [(run.begun - run.fresh) * slot, run.fresh * slot + out]);
            run.operations(13)
        }
        "gru_forward" => {
            let p = params!(GruForward);
            let run = Run::forward(p.product(), p.span(), p.fresh);
            set("w_hh", run.weights());
            set("xw", [3 * run.units, 0]);
            set("gates", [0, 4 * run.units]);
            set("h", run.states());
            run.operations(11 + 3 * u64::from(p.bias))
        }
        "lstm_project_forward" => {
            let p = params!(LstmProjectForward);
            let [batch, hidden, width] = [p.batch, p.hidden, p.width].map(u64::from);
            set("h", [batch * hidden, batch * width]);
            2 * batch * width * hidden
        }
        "lstm_project_backward" => {
            let p = params!(LstmProjectBackward);
            let step = u64::from(p.batch) * u64::from(p.width);
            set("dy", [step, 0]);
            set("dh", [step, step]);
            set("dp", [0, step]);
            step
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
            set("c", [run.units + run.begun * run.slot, 0]);
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

/// The steps of a launch of a recurrent kernel, those of all its chains together.
struct Run {
    product: Product,
    /// Elements of a state of one chain.
    slot: u64,
    /// Steps.
    steps: u64,
    /// Elements of the states of all steps.
    units: u64,
    /// The steps that make the product.
    multiplied: u64,
    /// The chains that make it.
    weighted: u64,
    /// The chains that make any step.
    begun: u64,
    /// Those whose first step makes the product from what an earlier launch has left.
    goes_on: u64,
    /// Those for which what is carried is 0 at first, and not there yet.
    fresh: u64,
    backward: bool,
}

impl Run {
    fn forward(product: Product, steps: Steps, fresh: u32) -> Run {
        let chains = (steps.lowest..steps.chains).map(|chain| steps.forward(chain).collect());
        Run::new(product, chains, fresh, |_| true)
    }

    fn backward(product: Product, steps: Steps, fresh: u32, multiplies: bool) -> Run {
        let chains = (steps.lowest..steps.chains).map(|chain| steps.backward(chain).collect());
        let run = Run::new(product, chains, fresh, |step| multiplies && step.later.is_some());
        Run { backward: true, ..run }
    }

    /// Of steps by chain, and which of them make the product.
    fn new(
        product: Product,
        chains: impl Iterator<Item = Vec<Step>>,
        fresh: u32,
        multiplies: impl Fn(&Step) -> bool,
    ) -> Run {
        let slot = u64::from(product.batch) * u64::from(product.hidden);
        let [mut steps, mut multiplied, mut weighted, mut begun, mut goes_on, mut zeros] = [0; 6];
        for chain in chains {
            let Some(first) = chain.first() else { continue };
            let many = chain.iter().filter(|step| multiplies(step)).count() as u64;
            steps += chain.len() as u64;
            multiplied += many;
            weighted += u64::from(many > 0);
            begun += 1;
            goes_on += u64::from(multiplies(first));
            zeros += u64::from(fresh == 1 && first.first);
        }
        let units = steps * slot;
        Run {
            product,
            slot,
            steps,
            units,
            multiplied,
            weighted,
            begun,
            goes_on,
            fresh: zeros,
            backward: false,
        }
    }

    /// The states of a forward pass: that before all steps, and those after them.
    fn states(&self) -> [u64; 2] {
        let Run { slot, units, begun, fresh, .. } = self;
        [(begun - fresh) * slot, units + fresh * slot]
    }

    /// The weights, which a first step alone of a backward pass does not need.
    fn weights(&self) -> [u64; 2] {
        [self.weighted * self.product.first_weight(1) as u64, 0]
    }

    /// What goes from step to step.
    fn carried(&self) -> [u64; 2] {
        [(self.begun - self.fresh) * self.slot, self.begun * self.slot]
    }

    /// Gradients of so many gates.
    fn made(&self, gates: u64) -> [u64; 2] {
        [self.goes_on * gates * self.slot, gates * self.units]
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
