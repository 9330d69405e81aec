//! Tests of the checks: a kernel that is a little wrong must fail its check. And tests of what the checks rest on: the functions of
//! the twins are compared with f64.

use std::cell::Cell;
use std::sync::LazyLock;

use bptt::cpu::common::{sigmoid, tanh_rational};
use bptt::device::Device;
use bptt::kernel::{Dtype, Kernel, Slot, Variant};
use bptt::verify::{Row, Size, TABLE, check};

static GPU: LazyLock<Device> = LazyLock::new(|| {
    Device::named("gpu").unwrap_or_else(|error| panic!("{error}\nscripts/test installs a software adapter"))
});

fn row(name: &str) -> &'static Row {
    TABLE.iter().find(|row| row.kernel.name == name).expect("a kernel of the table")
}

/// The same kernel, to be changed.
fn copy(kernel: &'static Kernel) -> Kernel {
    Kernel { ..*kernel }
}

fn leak<T>(x: T) -> &'static T {
    Box::leak(Box::new(x))
}

/// Whether the checks of a few cases, stored as `dtype`, find a fault when `kernel` stands in for the row's own.
fn caught(device: &Device, row: &Row, kernel: &'static Kernel, variant: usize, dtype: Dtype) -> bool {
    let fails = |seed, size| {
        let mut case = row.case(seed, size).stored(dtype);
        case.plans.iter_mut().for_each(|plan| plan.kernel = kernel);
        case.plans_of(variant, device).any(|plan| !check(device, &case, plan).unwrap().passed())
    };
    // A seed of its own for each: the same one would draw the same kind of case in every size.
    Size::ALL
        .into_iter()
        .cycle()
        .take(12 * Size::ALL.len())
        .enumerate()
        .any(|(seed, size)| fails(seed as u64, size))
}

#[test]
fn a_wrong_shader_is_caught() {
    for (name, variant, right, wrong) in [
        ("sigmoid_backward", 0, "(1.0 - load_y(i))", "(1.0 + load_y(i))"),
        ("tanh_backward", 0, " * (1.0 + load_y(i))", ""),
        ("relu_backward", 0, "load_y(i) > 0.0", "load_y(i) >= 0.0"),
        ("binary", 0, "left + right", "(left + right) * 1.000001"),
        ("binary", 0, "rest % p.n2 * vec2(p.a2, p.b2)", "rest % p.n2 * vec2(p.b2, p.a2)"),
        ("unary", 0, "exp(load_x(i))", "exp(load_x(i) * 1.00001)"),
        ("fill", 0, "i < p.count", "i + 1u < p.count"),
        ("copy", 0, "i < min(run + RUN, count)", "i + 1u < min(run + RUN, count)"),
        ("copy", 1, "return at / WIDE", "return at / WIDE / WIDE"),
        ("copy", 2, "at = places(i);", "at = places(i + 1u);"),
        ("copy", 3, "var left = n0 - run % n0", "var left = n0"),
        ("binary", 0, "i += groups.x * GROUP", "i += 2u * groups.x * GROUP"),
        // A strip that is not loaded, parts that overlap, biases in every part, a lane left out, blocks in the wrong place.
        ("matmul", 0, "start + DEPTH < end", "start + 2u * DEPTH < end"),
        ("matmul", 0, "place / (2u * DEPTH) * 8u", "0u"),
        ("matmul", 1, "k + 3u < end", "true"),
        ("matmul", 2, "min(p.k, first + p.depth)", "p.k"),
        ("matmul", 3, "lane < LANES", "lane + 1u < LANES"),
        ("matmul", 4, "total += load_c(at)", "total += 0.0"),
        ("matmul", 5, "group.z * p.depth", "0u"),
        ("matmul", 6, "p.biases == 2u", "p.biases == 3u"),
        ("matmul", 7, "s / ACROSS % 4u", "0u"),
        ("matmul", 8, "s % ACROSS * QUADS_ACROSS", "0u"),
        ("matmul", 9, "ks < vec4(p.k)", "ks + 1u < vec4(p.k)"),
        ("matmul", 10, "(1u - TURNED) * q", "0u"),
        ("matmul", 10, "part == 0u", "part < 2u"),
        ("matmul", 11, "transpose(mat4x4(", "(mat4x4("),
        ("matmul", 12, "lane / 4u * 4u", "0u"),
        ("column_sum", 0, "r += LANES", "r += LANES + 1u"),
        ("max_dim", 0, "element > best", "element >= best"),
        ("gather_backward", 0, "if p.accumulate == 1u", "if p.accumulate == 2u"),
        ("softmax", 0, "z - logarithm(sum)", "z - sum"),
        ("softmax", 1, "max(largest, subgroupBroadcast(x, thread))", "subgroupBroadcast(x, thread)"),
        ("softmax_backward", 1, "sum += subgroupBroadcast(x, thread)", "sum = subgroupBroadcast(x, thread)"),
        ("softmax_backward", 0, "load_dy(start + c) - sum", "load_dy(start + c)"),
        ("layer_norm", 0, "sum) / n + p.eps", "sum) / n"),
        ("layer_norm_backward", 0, " - h * means.y", ""),
        ("reduce_sum", 0, "p.power == 2u", "p.power == 3u"),
        ("reduce_sum", 1, "subgroupBroadcast(x, thread)", "subgroupBroadcast(x, 0u)"),
        ("column_sum", 3, "p.start + r", "r"),
        (
            "rnn_forward",
            0,
            "load_xw(row_of_step(step, row) * hidden + unit)",
            "load_xw(step.before * p.batch * hidden + row * hidden + unit)",
        ),
        ("rnn_backward", 0, "(1.0 - y) * (1.0 + y)", "(1.0 - y)"),
        (
            "rnn_backward",
            0,
            "load_w_hh(weights + k * pitch + c * p.hidden + unit)",
            "load_w_hh(weights + unit * pitch + k)",
        ),
        ("rnn_forward", 0, "p.ragged == 1u", "p.ragged == 2u"),
        // Of two directions.
        ("rnn_forward", 0, "p.time - 1u - place", "place"),
        ("rnn_forward", 2, "return chain * inner()", "return 0u * inner()"),
        ("lstm_backward", 0, "step.chain * rows_apart(p.batch)", "0u"),
        ("lstm_forward", 3, "p.reverse ^ chain", "p.reverse"),
        ("gru_backward", 4, "* p.chains + step.chain", "* p.chains"),
        // Of layers one behind the other.
        ("rnn_forward", 1, "return chain * p.stagger", "return p.stagger"),
        ("lstm_forward", 0, "begin + i32(p.steps)", "p.start + i32(p.steps)"),
        ("gru_forward", 3, "let chain = p.lowest + group.y", "let chain = group.y"),
        ("lstm_backward", 1, "(p.chains - 1u - chain)", "chain"),
        ("gru_backward", 0, "select(row_of_step(step, row), beside, p.stagger == 0u)", "beside"),
        ("rnn_backward", 3, "clamp(begin, 0, i32(p.time))", "clamp(begin, 1, i32(p.time))"),
        ("gru_forward", 1, "/ step * step", "/ step * step + 1u"),
        ("rnn_backward", 0, "dh[carried] = arriving", "dh[carried] = 0.0"),
        ("rnn_forward", 0, "k < SLICES", "k + 1u < SLICES"),
        ("rnn_forward", 2, "return x[i];", "return x[0];"),
        ("lstm_forward", 2, "wide(at + c * p.hidden)", "wide(at)"),
        ("gru_backward", 2, "store_da_x(start + hidden, da_z)", "store_da_x(start + hidden, da_r)"),
        ("lstm_forward", 1, "x.y * w[c]", "x.x * w[c]"),
        ("gru_backward", 0, "select(time + 1u, time - 1u, reverse == 1u)", "time + 1u"),
        ("gru_forward", 1, "time + reverse, time + 1u - reverse", "time, time + 1u"),
        // A swapped gate, a gate's input, a forgotten derivative, a cell state of the wrong step.
        ("lstm_forward", 0, "f * old + i * g", "i * old + f * g"),
        ("lstm_forward", 0, "load_xw(start + 3u * hidden)", "load_xw(start + 2u * hidden)"),
        ("lstm_backward", 0, "row_of_slot(step, step.before, row)", "row_of_slot(step, step.after, row)"),
        ("lstm_backward", 0, "t * o * (1.0 - o)", "t * o"),
        ("lstm_backward", 0, "dc[carried] = dc_t * f", "dc[carried] = dc_t"),
        ("lstm_project_forward", 0, "p.before * size", "p.after * size"),
        ("lstm_project_backward", 0, "select(0.0, arriving, ended)", "0.0"),
        ("gru_forward", 0, "(1.0 - z) * n + z * old", "z * n + (1.0 - z) * old"),
        (
            "gru_forward",
            0,
            "load_b_hh((step.chain * 3u + gate) * hidden + unit)",
            "load_b_hh((step.chain * 3u) * hidden + unit)",
        ),
        ("gru_backward", 0, "da_n * r))", "da_n))"),
        ("gru_backward", 0, "da_n * q * r * (1.0 - r)", "da_n * q * r"),
        ("mask_steps", 0, "i32(step) < lengths[row]", "i32(step) <= lengths[row]"),
        ("dropout", 0, "u[k] >= p.rate", "u[k] > 1.0 - p.rate"),
        ("mask_steps", 1, "i / columns % p.batch", "i % p.batch"),
        ("embedding", 1, "token * columns", "token * p.width"),
        ("embedding_backward", 1, "* columns + at % columns", "* columns"),
        ("embedding_backward", 2, "starts[v] + i32(thread.y)", "starts[v]"),
        ("embedding_backward", 3, "sums[index + lanes * COLUMNS]", "sums[index + lanes]"),
        ("embedding_backward", 0, "if p.accumulate == 1u", "if p.accumulate == 2u"),
        ("cross_entropy", 0, "select(0.0, hit, c == label)", "0.0"),
        ("cross_entropy", 1, "share * weight_of(c)", "share"),
        ("cross_entropy", 2, "sum_of_threads(index, x.y)", "x.y"),
        ("cross_entropy_soft", 2, "sum_of_threads(index, x.z)", "x.z"),
        ("cross_entropy_soft", 0, "softmax * mass - wanted", "softmax - wanted"),
        ("cross_entropy_soft", 1, "p.smoothing / f32(p.classes)", "p.smoothing"),
        ("scale_by", 0, "load_factor(i / p.width)", "load_factor(0u)"),
        ("regression_loss", 0, "2.0 * e", "e"),
        ("regression_loss", 0, "x_i > label", "x_i >= label"),
        ("regression_loss", 1, "0.5 * slope", "slope"),
        ("philox_uniform", 0, "p.stream, 0u", "p.stream, 1u"),
        // Held weights: of another k, of another unit; a state that the next step does not get; one slice taken for all.
        ("rnn_forward", 3, "let k = min(first + n,", "let k = min(first + n + 1u,"),
        ("lstm_forward", 4, "at + c * p.hidden)", "at)"),
        ("gru_forward", 5, "held[k] = x;\n}", "}"),
        ("lstm_backward", 3, "(c * SLICES + slice)", "(c * SLICES)"),
        ("begin_step", 0, "not_finite(watch[0])", "watch[0] != watch[0]"),
        ("sgd", 0, "control[T] != 1.0", "true"),
        ("adam", 0, "sqrt(u) / root", "sqrt(u)"),
        ("adam", 0, "v_max[i] = u", "v_max[i] = v[i]"),
        ("adam", 0, "p.weight_decay * kept", "p.weight_decay * kept * 1.01"),
        ("rmsprop", 0, "variance - mean * mean", "variance - mean"),
        ("rmsprop", 0, "buf[i] = step", "buf[i] = g"),
        ("adagrad", 0, "control[T] - 1.0", "control[T]"),
        (
            "clip_values",
            0,
            "keep_nan_of_each(x[i], clamp(x[i], Elements(-p.limit), Elements(p.limit)))",
            "min(x[i], Elements(p.limit))",
        ),
    ] {
        is_caught(name, variant, right, wrong, Dtype::F32);
    }
}

/// The kernel with `wrong` in place of `right` in its shader fails its check.
fn is_caught(name: &str, variant: usize, right: &str, wrong: &str, dtype: Dtype) {
    let row = row(name);
    let original = &row.kernel.variants[variant];
    let text = original.text();
    assert!(text.contains(right), "{name} has changed: find another fault for it");
    if !GPU.limits().allow(original) {
        return; // an adapter with subgroups of another size never runs it
    }
    let wgsl = leak([&**leak(text.replace(right, wrong))]);
    let sabotaged = Variant { name: "sabotaged", wgsl, ..*original };
    let mut variants: Vec<_> = row.kernel.variants.iter().map(|v| Variant { ..*v }).collect();
    variants[variant] = sabotaged;
    let kernel = leak(Kernel { variants: variants.leak(), ..copy(row.kernel) });
    let caught = caught(&GPU, row, kernel, variant, dtype);
    assert!(caught, "{name} in {dtype:?} with {wrong} for {right} is not caught");
}

/// What goes wrong only where two numbers share a word, and what is only off by a digit of them.
#[test]
fn a_wrong_shader_in_half_precision_is_caught() {
    const SCALED: &str = "p.factor * load_x(i)";
    for (name, variant, right, wrong) in [
        // The other half of the word, read and written; the other half lost; two threads' halves in one.
        ("tanh", 0, "load_x(i)", "load_x(i ^ 1u)"),
        ("tanh", 0, "store_y(i,", "store_y(i ^ 1u,"),
        (
            "tanh",
            0,
            "store_y(i, tanh_rational(load_x(i)))",
            "atomicStore(&y[i / 2u], to_bf16(tanh_rational(load_x(i))) << (16u * (i % 2u)))",
        ),
        ("bias_add", 0, "store_y(i,", "store_y(i & ~1u,"),
        // Digits cut off in place of rounded, and half of a last digit too many.
        ("scale", 0, SCALED, "bitcast<f32>(bitcast<u32>(p.factor * load_x(i)) & 0xffff0000u)"),
        ("scale", 0, SCALED, "bitcast<f32>(bitcast<u32>(p.factor * load_x(i)) + 0x8000u)"),
        ("binary", 0, "left + right", "(left + right) * 1.02"),
        ("matmul", 0, "start + DEPTH < end", "start + 2u * DEPTH < end"),
        ("lstm_forward", 0, "f * old + i * g", "i * old + f * g"),
        ("lstm_backward", 0, "t * o * (1.0 - o)", "t * o"),
        ("gru_backward", 0, "da_n * q * r * (1.0 - r)", "da_n * q * r"),
        ("embedding_backward", 0, "if p.accumulate == 1u", "if p.accumulate == 2u"),
        ("cross_entropy", 0, "select(0.0, hit, c == label)", "0.0"),
    ] {
        is_caught(name, variant, right, wrong, Dtype::BF16);
    }
}

thread_local! {
    /// What [`off`] stands in for: a twin is a plain function and holds nothing.
    static RIGHT: Cell<&'static Kernel> = Cell::new(TABLE[0].kernel);
}

/// The right results, all of them off by one part in a hundred thousand.
fn off(params: &[u8], slots: &mut [Slot<'_, f32>]) {
    (RIGHT.get().f32)(params, slots);
    for slot in slots {
        if let Slot::Write(x, _) = slot {
            x.iter_mut().for_each(|x| *x *= 1.00001);
        }
    }
}

#[test]
fn a_wrong_twin_is_caught() {
    for row in TABLE {
        RIGHT.set(row.kernel);
        let wrong = leak(Kernel { f32: off, ..copy(row.kernel) });
        assert!(caught(&Device::cpu(), row, wrong, 0, Dtype::F32), "{row:?} off by 1e-5 is not caught");
    }
}

/// The limits hold for arithmetic that is known to be right: the plain twins in f32.
#[test]
fn a_right_twin_is_not_caught() {
    for row in TABLE {
        let plain = leak(Kernel { f32: row.kernel.plain, ..copy(row.kernel) });
        assert!(
            !caught(&Device::cpu(), row, plain, 0, Dtype::F32),
            "{row:?} in plain f32 is beyond its limit"
        );
    }
}

/// What f32 loses its digits below.
const SUBNORMAL: f64 = f32::MIN_POSITIVE as f64;

/// Arguments of either sign, dense to 10 and of every magnitude to 100.
fn sweep() -> impl Iterator<Item = f32> {
    let dense = (-1_000_000..=1_000_000).map(|i| i as f32 * 1e-5);
    let tiny = (-38..3).flat_map(|e| [10f32.powi(e), -(10f32.powi(e))]);
    dense.chain(tiny).chain([0.0, 20.0, -20.0, 88.5, -88.5])
}

/// The error of the fit alone, which `Real::tanh` of [`Bounded`] adds to that of the arithmetic.
#[test]
fn tanh_is_fitted_to_27_parts_in_a_hundred_million() {
    for x in sweep().map(f64::from) {
        let (got, expected) = (tanh_rational(x), x.tanh());
        assert!((got - expected).abs() <= 2.7e-7 * expected.abs(), "tanh {x:e} is {got:e}, not {expected:e}");
    }
}

#[test]
fn tanh_is_true_to_four_parts_in_ten_million() {
    for x in sweep() {
        let (got, expected) = (f64::from(tanh_rational(x)), f64::from(x).tanh());
        let error = (got - expected).abs() - SUBNORMAL;
        assert!(error <= 4e-7 * expected.abs(), "tanh {x:e} is {got:e}, not {expected:e}");
    }
}

#[test]
fn sigmoid_is_true_to_three_parts_in_ten_million() {
    for x in sweep() {
        let (got, expected) = (f64::from(sigmoid(x)), 1.0 / (1.0 + (-f64::from(x)).exp()));
        let error = (got - expected).abs() - SUBNORMAL;
        assert!(error <= 3e-7 * expected, "sigmoid {x:e} is {got:e}, not {expected:e}");
    }
}
