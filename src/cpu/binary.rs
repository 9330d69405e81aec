//! Twin of `shaders/binary.wgsl`.

use super::real::Real;
use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use super::walk::{self, Walk};
use crate::kernel;

kernel! {
    /// Combines two tensors element by element: for every index i of the shape [n5, .., n0] of y,
    /// `y[i] = a[Σ_d i_d·a_d] ∘ b[Σ_d i_d·b_d]`, where `op` says what ∘ is: [`ADD`], [`SUB`], [`MUL`] or [`DIV`]. A stride
    /// of 0 repeats an operand along a dimension.
    pub static BINARY = binary(Binary {
        op: u32, count: u32, n0: u32, n1: u32, n2: u32, n3: u32, n4: u32, n5: u32,
        a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32,
        b0: u32, b1: u32, b2: u32, b3: u32, b4: u32, b5: u32,
    }; a: read Float, b: read Float, y: write Float);
    fast binary_fast;
    variants [{ "elements", "binary.wgsl", [] }]
}

/// a + b.
pub const ADD: u32 = 0;
/// a − b.
pub const SUB: u32 = 1;
/// a · b.
pub const MUL: u32 = 2;
/// a / b.
pub const DIV: u32 = 3;

impl Binary {
    /// The parameters for `count` elements along a walk through a and b.
    pub fn new(op: u32, count: u32, walk: &Walk) -> Self {
        let [[n0, a0, b0], [n1, a1, b1], [n2, a2, b2], [n3, a3, b3], [n4, a4, b4], [n5, a5, b5]] = *walk;
        Binary { op, count, n0, n1, n2, n3, n4, n5, a0, a1, a2, a3, a4, a5, b0, b1, b2, b3, b4, b5 }
    }

    fn walk(&self) -> Walk {
        let p = self;
        [
            [p.n0, p.a0, p.b0],
            [p.n1, p.a1, p.b1],
            [p.n2, p.a2, p.b2],
            [p.n3, p.a3, p.b3],
            [p.n4, p.a4, p.b4],
            [p.n5, p.a5, p.b5],
        ]
    }
}

/// See [`BINARY`].
pub fn binary<R: Real>(p: &Binary, a: &[R], b: &[R], y: &mut [R]) {
    let walk = p.walk();
    for (i, y) in y[..p.count as usize].iter_mut().enumerate() {
        let [left, right] = walk::places(&walk, i as u32);
        let (a, b) = (a[left], b[right]);
        *y = match p.op {
            ADD => a + b,
            SUB => a - b,
            MUL => a * b,
            _ => a / b,
        };
    }
}

/// What an element costs, in multiplications: above all to read and to write it.
const COST: usize = 32;

/// [`binary`], some elements a thread, in plain loops along the innermost dimension.
pub fn binary_fast(p: &Binary, a: &[f32], b: &[f32], y: &mut [f32]) {
    let (count, walk, y) = (p.count as usize, p.walk(), Shared::new(y));
    in_blocks(count, GRAIN, COST * count, |block| {
        // SAFETY: each thread makes elements of its own.
        let y = unsafe { y.part(block.start, block.len()) };
        widest(
            #[inline(always)]
            || match p.op {
                ADD => along_lines(&walk, block.start, a, b, y, |a, b| a + b),
                SUB => along_lines(&walk, block.start, a, b, y, |a, b| a - b),
                MUL => along_lines(&walk, block.start, a, b, y, |a, b| a * b),
                _ => along_lines(&walk, block.start, a, b, y, |a, b| a / b),
            },
        );
    });
}

/// The elements from `first` on, a line of the innermost dimension at a time.
#[inline(always)]
fn along_lines(
    walk: &Walk,
    first: usize,
    a: &[f32],
    b: &[f32],
    mut y: &mut [f32],
    op: impl Fn(f32, f32) -> f32,
) {
    let [n, a_step, b_step] = walk[0].map(|n| n as usize);
    let mut i = first;
    while !y.is_empty() {
        let (line, rest) = y.split_at_mut((n - i % n).min(y.len()));
        let [left, right] = walk::places(walk, i as u32);
        match [a_step, b_step] {
            [1, 1] => {
                line.iter_mut().zip(&a[left..]).zip(&b[right..]).for_each(|((y, a), b)| *y = op(*a, *b));
            }
            [1, 0] => {
                let b = b[right];
                line.iter_mut().zip(&a[left..]).for_each(|(y, a)| *y = op(*a, b));
            }
            [0, 1] => {
                let a = a[left];
                line.iter_mut().zip(&b[right..]).for_each(|(y, b)| *y = op(a, *b));
            }
            _ => {
                for (k, y) in line.iter_mut().enumerate() {
                    *y = op(a[left + k * a_step], b[right + k * b_step]);
                }
            }
        }
        i += line.len();
        y = rest;
    }
}
