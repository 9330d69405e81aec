//! Cases for kernels that sum or multiply over dimensions.

use crate::cpu::bias_add::{BIAS_ADD, BiasAdd};
use crate::cpu::column_sum::{self, COLUMN_SUM, ColumnSum};
use crate::cpu::matmul::Matmul;
use crate::cpu::reduce_sum::{self, REDUCE_SUM, ReduceSum};
use crate::kernel::GROUP;
use crate::verify::{Case, Draw, Value};

pub fn bias_add(draw: &mut Draw) -> Case {
    let p = BiasAdd { rows: draw.dim(8), cols: draw.dim(GROUP) };
    let count = p.rows * p.cols;
    let values = vec![draw.reals(count), draw.reals(p.cols), Value::Output(count as usize)];
    Case::new(p, draw.rows_of_fours(&BIAS_ADD, count, p.cols), values)
}

pub fn column_sum(draw: &mut Draw) -> Case {
    let tile = draw.variant(&COLUMN_SUM);
    let (rows, cols) = (draw.dim(tile.constant("LANES")), draw.dim(tile.constant("COLUMNS")));
    let (outer, start) = (draw.dim(4), draw.pick(&[0, 0, 3]));
    let p = ColumnSum {
        outer,
        rows,
        cols,
        start,
        pitch: start + rows + draw.below(3),
        scale: draw.pick(&[1.0, 0.1]),
        accumulate: draw.flag(),
    };
    let plans = draw.each_strided(column_sum::plans(&p));
    Case::new(p, plans, vec![draw.reals(outer * p.pitch * cols), draw.updated(outer * cols, p.accumulate)])
}

pub fn reduce_sum(draw: &mut Draw) -> Case {
    let p = ReduceSum {
        count: draw.dim(REDUCE_SUM.variants[0].constant("THREADS")),
        groups: draw.pick(&[1, 2, 7, 256]),
        power: draw.pick(&[1, 2]),
        scale: draw.pick(&[1.0, 0.1]),
    };
    let plans = draw.each_strided(reduce_sum::plans(&p));
    Case::new(p, plans, vec![draw.reals(p.count), Value::Output(p.groups as usize)])
}

pub fn matmul(draw: &mut Draw) -> Case {
    // Sizes beside the tiles of c, and beside the strips of k, of a variant.
    let (tile, strip) = draw.pick(&[(128, 16), (64, 32), (32, 16), (16, 128)]);
    let (m, n, k) = (draw.dim(tile), draw.dim(tile), draw.dim(strip));
    // Few rows or columns have variants of their own.
    let few = draw.pick(&[0, 0, 0, 1, 5, 8, 9]);
    let (m, n) = match draw.pick(&[0, 1]) {
        _ if few == 0 => (m, n),
        0 => (m.min(few), n),
        _ => (m, n.min(few)),
    };
    // Variants that load four numbers at once want multiples of four in m and n, most of them in k too; cooperative matrices
    // want whole tiles.
    let choices = [[4, 4]; 6].into_iter().chain([[4, 1], [1, 1], [32, 16], [64, 16], [64, 16]]);
    let [of_c, of_k] = draw.pick(&choices.collect::<Vec<_>>());
    let [m, n] = [m, n].map(|size: u32| size.next_multiple_of(of_c));
    let k = k.next_multiple_of(of_k);
    let unit = of_c.min(16);
    let (a_offset, a_row, a_col, a) = matrix(draw, unit, m, k);
    let (b_offset, b_row, b_col, b) = matrix(draw, unit, k, n);
    let depth = match draw.pick(&[1, 1, 2, 3]) {
        1 => k,
        parts => k.div_ceil(parts).next_multiple_of(of_k.max(4)),
    };
    let (biases, accumulate) = (draw.below(3), draw.flag());
    let p = Matmul { m, n, k, depth, a_offset, a_row, a_col, b_offset, b_row, b_col, biases, accumulate };
    let [bias, bias_2] = [1, 2].map(|at| if at <= biases { draw.reals(n) } else { Value::Absent });
    let c = draw.updated(p.parts() * m * n, accumulate);
    Case::new(p, p.plans(), vec![a, b, bias, bias_2, c])
}

/// A matrix, dense or padded, plain or transposed: its offset, the distances of its rows and of its columns, and the tensor that
/// holds it. Offset and padding are multiples of `unit`.
fn matrix(draw: &mut Draw, unit: u32, rows: u32, cols: u32) -> (u32, u32, u32, Value) {
    let (offset, padding) = match unit {
        1 => (draw.pick(&[0, 0, 5, 64]), draw.pick(&[0, 0, 3])),
        unit => (draw.pick(&[0, 2 * unit]), draw.pick(&[0, unit])),
    };
    if draw.pick(&[false, true]) {
        (offset, 1, rows + padding, draw.reals(offset + cols * (rows + padding)))
    } else {
        (offset, cols + padding, 1, draw.reals(offset + rows * (cols + padding)))
    }
}
