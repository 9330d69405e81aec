//! A case for each shader of `examples/ladder`.

#[path = "../../examples/ladder/lstm/kernels.rs"]
#[allow(dead_code, reason = "rungs use what cases do not")]
mod lstm;
#[path = "../../examples/ladder/matmul/kernels.rs"]
#[allow(dead_code, reason = "rungs use what cases do not")]
mod matmul;

use bptt::cpu::philox;
use bptt::kernel::{Kernel, Plan};
use bptt::verify::{Case, Value};
use bytemuck::Pod;
use lstm::{ELEMENTWISE, Elementwise, GATES, Gates, SEQUENCE, STEP, Sequence, Step};
use matmul::{ADD_PARTS, AddParts, PRODUCT, PRODUCT_IN_PARTS, Product, ProductInParts};

/// Reals between -1 and 1.
fn reals(count: u32) -> Value {
    Value::Reals((0..count.into()).map(|i| 2.0 * philox::uniform(0, count, i) - 1.0).collect())
}

fn output(count: u32) -> Value {
    Value::Output(count as usize)
}

fn case<P>(params: P, kernel: &'static Kernel, grid: [u32; 3], values: Vec<Value>) -> Case
where
    P: Pod + std::fmt::Debug + Send + Sync,
{
    let plans = (0..kernel.variants.len()).map(|variant| Plan { kernel, variant, grid });
    Case::new(params, plans.collect(), values)
}

/// Sizes that end within tiles, and are more than one of the smaller ones.
pub fn cases() -> Vec<Case> {
    let (m, n, k) = (36, 20, 52);
    let factors = || vec![reals(m * k), reals(k * n)];
    let with = |mut values: Vec<Value>, more: Vec<Value>| {
        values.extend(more);
        values
    };
    let (batch, hidden, time) = (3, 70, 4);
    let (state, sums) = (batch * hidden, 4 * batch * hidden);
    let cell = |start| [(start * 4 * hidden) + sums, hidden * 4 * hidden, 4 * hidden].map(reals).to_vec();
    let narrow = |op, b| {
        let p = Elementwise {
            rows: batch,
            width: hidden,
            op,
            a_pitch: 4 * hidden,
            a_start: hidden,
            b_pitch: hidden,
        };
        case(p, &ELEMENTWISE, [2, 1, 1], vec![reals(sums), b, output(state)])
    };
    let gates = vec![reals(2 * sums), reals(sums), reals(4 * hidden), reals(state), output(state)];
    vec![
        case(Product { m, n, k }, &PRODUCT, [3, 3, 1], with(factors(), vec![output(m * n)])),
        case(
            ProductInParts { m, n, k, depth: 32 },
            &PRODUCT_IN_PARTS,
            [1, 1, 2],
            with(factors(), vec![output(2 * m * n)]),
        ),
        case(AddParts { count: 100, parts: 3 }, &ADD_PARTS, [1, 1, 1], vec![reals(300), output(100)]),
        narrow(0, reals(state)),
        narrow(1, reals(state)),
        narrow(2, Value::Absent),
        narrow(3, Value::Absent),
        case(Gates { batch, hidden, start: batch }, &GATES, [2, 1, 1], gates),
        case(
            Step { batch, hidden, start: batch },
            &STEP,
            [2, batch, 1],
            with(cell(batch), vec![reals(state), reals(state), output(state)]),
        ),
        case(
            Sequence { time, batch, hidden },
            &SEQUENCE,
            [batch, 1, 1],
            with(cell(3 * batch), vec![output(time * state)]),
        ),
    ]
}
