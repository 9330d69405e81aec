//! What the steps of recurrent layers have in common.

use super::matmul::{Matmul, matmul_fast};
use super::real::Real;

/// Whether the sequence of a row has ended before the step. Without lengths (`ragged` 0) none has.
#[inline(always)]
pub fn ended(ragged: u32, lengths: &[i32], row: usize, step: u32) -> bool {
    ragged == 1 && step as i32 >= lengths[row]
}

/// (1 − y)(1 + y): the derivative of tanh from its result.
#[inline(always)]
pub fn tanh_slope<R: Real>(y: R) -> R {
    let one = R::of(1.0);
    (one - y) * (one + y)
}

/// c += a·wᵀ for a [rows, k] and w [n, k], in f32.
pub fn add_product_transposed(rows: u32, n: u32, k: u32, a: &[f32], w: &[f32], c: &mut [f32]) {
    let strides = Matmul { a_row: k, a_col: 1, b_row: 1, b_col: k, ..Matmul::default() };
    matmul_fast(&Matmul { m: rows, n, k, accumulate: 1, ..strides }, a, w, c);
}

/// c += a·w for a [rows, k] and w [k, n], in f32.
pub fn add_product(rows: u32, n: u32, k: u32, a: &[f32], w: &[f32], c: &mut [f32]) {
    let strides = Matmul { a_row: k, a_col: 1, b_row: n, b_col: 1, ..Matmul::default() };
    matmul_fast(&Matmul { m: rows, n, k, accumulate: 1, ..strides }, a, w, c);
}

/// a = x + b_ih + b_hh in every row of `width`; without biases the two are empty.
pub fn add_biases(width: usize, x: &[f32], b_ih: &[f32], b_hh: &[f32], a: &mut [f32]) {
    a.copy_from_slice(x);
    if !b_ih.is_empty() {
        for row in a.chunks_exact_mut(width.max(1)) {
            for ((a, b_ih), b_hh) in row.iter_mut().zip(b_ih).zip(b_hh) {
                *a += b_ih + b_hh;
            }
        }
    }
}

/// Slot `before` of a buffer of slots of `size` elements, and slot `after`, to be written. The two are neighbours.
pub fn two_slots(slots: &mut [f32], size: usize, before: u32, after: u32) -> (&[f32], &mut [f32]) {
    let (low, high) = slots[before.min(after) as usize * size..][..2 * size].split_at_mut(size);
    if before < after { (low, high) } else { (high, low) }
}
