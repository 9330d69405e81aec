//! Operations and bytes of launches, counted by hand from the equations. An operation is one of + − · / max e^x ln √ tanh σ on
//! real numbers; a sum of K terms counts K.

use bptt::cpu::adam::{ADAM, Adam};
use bptt::cpu::cross_entropy::{CROSS_ENTROPY, CrossEntropy};
use bptt::cpu::matmul::{MATMUL, Matmul};
use bptt::cpu::work::work;
use bptt::device::Device;
use bptt::explain::{Explained, LayerSizes, OfLayer, explain};
use bptt::kernel::Kernel;
use bptt::nn::CellKind;
use bptt::parameters::Precision;

/// T, B, I and H.
const SHAPES: [[u64; 4]; 2] = [[5, 3, 6, 8], [2, 1, 3, 5]];

/// A step of a layer alone on the CPU, where all time steps are one launch.
fn layer(cell: CellKind, [time, batch, input, hidden]: [u64; 4]) -> Explained {
    let [time, batch, input, hidden] = [time, batch, input, hidden].map(|size| size as usize);
    let sizes = LayerSizes { cell, time, batch, input, hidden };
    explain(&mut OfLayer::new(&Device::cpu(), &sizes, Precision::F32).unwrap(), 0, None).unwrap()
}

/// Operations and bytes of the first launch of a kernel in a pass.
fn cost(explained: &Explained, pass: &str, kernel: &str) -> (u64, u64) {
    let parts = explained.parts.iter().filter(|part| part.pass == pass);
    let mut launches = parts.flat_map(|part| &part.launches).filter(|launch| launch.kernel == kernel);
    let launch = launches.next().unwrap_or_else(|| panic!("no {kernel}"));
    assert_eq!(launch.count, 1);
    (launch.operations.unwrap(), launch.bytes)
}

#[test]
fn rnn() {
    for shape @ [t, b, _, h] in SHAPES {
        let (explained, slot, units) = (layer(CellKind::Rnn, shape), b * h, t * b * h);
        // A sum of H products, to which xw is added, tanh. Read: xw, W_hh; written: h before, between and after the steps.
        let forward = (units * (2 * h + 1 + 1), 4 * (units + h * h + (t + 1) * slot));
        assert_eq!(cost(&explained, "forward", "rnn_forward"), forward, "{shape:?}");
        // But at the last step a sum of H products, added to what is carried. Then dy + arriving, (1 − h)·(1 + h), and the
        // product of both. Read: dy, W_hh, the states after each step; written: what is carried, da.
        let arriving = (t - 1) * slot * (2 * h + 1);
        let backward = (arriving + units * (1 + 3 + 1), 4 * (units + h * h + units + slot + units));
        assert_eq!(cost(&explained, "backward", "rnn_backward"), backward, "{shape:?}");
    }
}

#[test]
fn lstm() {
    for shape @ [t, b, _, h] in SHAPES {
        let (explained, slot, units) = (layer(CellKind::Lstm, shape), b * h, t * b * h);
        // Four sums of H products, four additions of xw, σ σ tanh σ; f·c + i·g is three, o·tanh(c_t) two. Read: xw, W_hh;
        // written: the gates, c and h.
        let forward = (
            units * (4 * 2 * h + 4 + 4 + 3 + 2),
            4 * (4 * units + 4 * h * h + 4 * units + 2 * (t + 1) * slot),
        );
        assert_eq!(cost(&explained, "forward", "lstm_forward"), forward, "{shape:?}");
        // A sum of 4H products and its addition; dh_t: 1; tanh(c_t): 1; dc_t = dc + dh_t·o·(1 − tanh)·(1 + tanh): 3 products
        // and 3 sums; dc_t·f: 1; da_i, da_f and da_o: 3 products and a difference each; da_g: 3 products, 2 sums.
        let each = 1 + 1 + (3 + 3) + 1 + 3 * (3 + 1) + (3 + 2);
        let operations = (t - 1) * slot * (2 * 4 * h + 1) + units * each;
        // Read: dy, W_hh, the gates, c before and after; written: what is carried of h and of c, da.
        let bytes = 4 * (units + 4 * h * h + 4 * units + (t + 1) * slot + 2 * slot + 4 * units);
        assert_eq!(cost(&explained, "backward", "lstm_backward"), (operations, bytes), "{shape:?}");
    }
}

#[test]
fn gru() {
    for shape @ [t, b, _, h] in SHAPES {
        let (explained, slot, units) = (layer(CellKind::Gru, shape), b * h, t * b * h);
        // Three sums of H products with a bias each; r and z: a sum and σ; n: r·q, a sum, tanh; (1 − z)·n + z·h: 4.
        let each = 3 * (2 * h + 1) + 2 * 2 + 3 + 4;
        // Read: xw, W_hh, b_hh; written: r, z, q, n and h.
        let bytes = 4 * (3 * units + 3 * h * h + 3 * h + 4 * units + (t + 1) * slot);
        assert_eq!(cost(&explained, "forward", "gru_forward"), (units * each, bytes), "{shape:?}");
        // A sum of 3H products and its addition; dh_t: 1; da_n = dh_t·(1 − z)·(1 − n)·(1 + n): 3 products, 3 sums; da_r:
        // 3 products, a difference; da_z: 3 products, 2 differences; da_n·r and dh_t·z.
        let operations = (t - 1) * slot * (2 * 3 * h + 1) + units * (1 + (3 + 3) + (3 + 1) + (3 + 2) + 1 + 1);
        // Read: dy, W_hh, the four that were kept, h before each step; written: what is carried, both da.
        let bytes = 4 * (units + 3 * h * h + 4 * units + units + slot + 2 * 3 * units);
        assert_eq!(cost(&explained, "backward", "gru_backward"), (operations, bytes), "{shape:?}");
    }
}

#[test]
fn products_of_a_layer() {
    for shape @ [t, b, i, h] in SHAPES {
        let explained = layer(CellKind::Lstm, shape);
        // x·W_ihᵀ for all rows at once, and two biases. Read: x, W_ih, both biases.
        let (rows, n) = (t * b, 4 * h);
        let forward = (2 * rows * n * i + 2 * rows * n, 4 * (rows * i + n * i + 2 * n + rows * n));
        assert_eq!(cost(&explained, "forward", "matmul"), forward, "{shape:?}");
        // Both biases' gradients: the rows of da added up and multiplied with 1, twice.
        let sums =
            explained.parts.iter().filter(|part| part.pass == "backward").flat_map(|part| &part.launches);
        let sums: u64 = sums
            .filter(|launch| launch.kernel == "column_sum")
            .map(|launch| launch.operations.unwrap())
            .sum();
        assert_eq!(sums, 2 * n * (rows + 1), "{shape:?}");
    }
}

/// Operations of a launch, and the elements of each argument that are read and written.
fn counted(kernel: &Kernel, params: &[u8], elements: &[u64]) -> (u64, Vec<[u64; 2]>) {
    let work = work(kernel, params, elements);
    (work.operations.unwrap(), work.elements)
}

#[test]
fn matmul_with_bias_and_what_is_there() {
    for [m, n, k] in [[7, 5, 11], [64, 1, 3]] {
        let p = Matmul { m, n, k, depth: k, biases: 1, accumulate: 1, ..Matmul::default() };
        let [m, n, k] = [m, n, k].map(u64::from);
        let elements = [m * k, k * n, n, 0, m * n];
        // A sum of k products for each of m·n, a bias added to it, and that to what is there, which is read and written.
        let moved = vec![[m * k, 0], [k * n, 0], [n, 0], [0, 0], [m * n, m * n]];
        let found = counted(&MATMUL, bytemuck::bytes_of(&p), &elements);
        assert_eq!(found, (2 * m * n * k + m * n + m * n, moved));
    }
}

#[test]
fn cross_entropy() {
    for [rows, classes] in [[6, 5], [40, 27]] {
        let p = CrossEntropy {
            rows,
            classes,
            ignore_index: -100,
            smoothing: 0.0,
            weighted: 0,
            scale: 1.0 / rows as f32,
        };
        let [r, c] = [rows, classes].map(u64::from);
        // Once: s/C, and Σ w. Each row: the largest of C; of each class x − largest, the bound below, e^x; their sum.
        let once = 1 + c;
        let powers = c + 3 * c + c;
        // ln Σ; (1 − s)·w_y; the label's loss, of two differences and a product; times scale.
        let loss = 1 + 2 + 3 + 1;
        // Each class: p, a quotient; (1 − s)·w_y + s/C·Σ w; their product; s/C·w; two differences; times scale.
        let gradient = c * (1 + 2 + 1 + 1 + 2 + 1);
        // Read: logits and labels; written: losses and the gradient.
        let moved = vec![[r * c, 0], [r, 0], [0, 0], [0, r], [0, r * c]];
        let found = counted(&CROSS_ENTROPY, bytemuck::bytes_of(&p), &[r * c, r, 0, r, r * c]);
        assert_eq!(found, (once + r * (powers + loss + gradient), moved));
    }
}

#[test]
fn adam() {
    for (count, amsgrad) in [(1000u32, 0), (37, 1)] {
        let p = Adam {
            count,
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            one_minus_beta1: 0.1,
            one_minus_beta2: 0.001,
            eps: 1e-8,
            weight_decay: 0.0,
            keep: 1.0,
            amsgrad,
        };
        let (n, more) = (u64::from(count), u64::from(amsgrad));
        // keep·param; g = grad + decay·param: 2; m: 3; v: 4; lr'·m / (√u / root + eps): 5, taken off the parameter: 1; with
        // amsgrad the larger of two. Once for all: lr / correction and √ correction.
        let operations = n * (1 + 2 + 3 + 4 + 5 + 1 + more) + 2;
        // Parameter and moments are read and written, the gradient is read.
        let largest = more * n;
        let moved = vec![[n, n], [n, 0], [n, n], [n, n], [largest, largest], [8, 0]];
        assert_eq!(counted(&ADAM, bytemuck::bytes_of(&p), &[n, n, n, n, n, 8]), (operations, moved));
    }
}
