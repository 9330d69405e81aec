//! The product of a recurrence on the CPU: a few rows times a matrix that stays the same from step to step. General matrix
//! products copy both factors into a better order each time, which costs as much as the product where rows are few. Here
//! the matrix is brought into that order once for all steps.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

/// Columns of a panel.
const PANEL: usize = 32;

/// Half a panel's row, as wide as the widest vector and aligned to it.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Block([f32; 16]);

/// A matrix [inner, columns], in panels of [`PANEL`] columns, each panel's rows one after the other. The last is filled up
/// with zeros.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    blocks: &'a [Block],
    inner: usize,
    columns: usize,
}

thread_local! {
    /// Memory for the panels, kept for the next launch.
    static SCRATCH: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

impl Packed<'_> {
    /// Packs w [inner, columns] and runs `f` with it.
    pub fn with<T>(w: &[f32], inner: usize, columns: usize, f: impl FnOnce(Packed<'_>) -> T) -> T {
        let mut blocks = SCRATCH.take();
        let panels = columns.div_ceil(PANEL);
        let count = panels * inner * PANEL / 16;
        if blocks.len() < count {
            blocks.resize(count, Block([0.0; 16]));
        }
        let floats: &mut [f32] = bytemuck::cast_slice_mut(&mut blocks[..count]);
        for panel in 0..panels {
            let first = panel * PANEL;
            let width = PANEL.min(columns - first);
            for (k, row) in
                floats[panel * inner * PANEL..][..inner * PANEL].chunks_exact_mut(PANEL).enumerate()
            {
                row[..width].copy_from_slice(&w[k * columns + first..][..width]);
                row[width..].fill(0.0);
            }
        }
        let result = f(Packed { blocks: &blocks[..count], inner, columns });
        SCRATCH.set(blocks);
        result
    }

    /// c += a·w for a [rows, inner] and c [rows, columns]. Each element of c is summed in the order of `inner`, whatever
    /// the number of rows: the same row gives the same bits in any company.
    pub fn add_product(self, a: &[f32], c: &mut [f32]) {
        struct Tiles<'a>(Packed<'a>, &'a [f32], &'a mut [f32]);
        impl WithSimd for Tiles<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let Tiles(w, a, c) = self;
                // Rows and vectors of a tile: as many sums as the registers hold.
                match S::F32_LANES {
                    16 => w.tiles::<S, 8, 2>(simd, a, c),
                    8 => w.tiles::<S, 3, 4>(simd, a, c),
                    4 => w.tiles::<S, 3, 8>(simd, a, c),
                    _ => w.tiles::<S, 1, 32>(simd, a, c),
                }
            }
        }
        Arch::new().dispatch(Tiles(self, a, c));
    }

    #[inline(always)]
    fn tiles<S: Simd, const ROWS: usize, const VECTORS: usize>(&self, simd: S, a: &[f32], c: &mut [f32]) {
        let Packed { blocks, inner, columns } = *self;
        if inner == 0 || columns == 0 {
            return;
        }
        let rows = a.len() / inner;
        assert!(a.len() == rows * inner && c.len() == rows * columns, "a has as many rows as c");
        for (panel, blocks) in blocks.chunks_exact(inner * PANEL / 16).enumerate() {
            let first = panel * PANEL;
            let width = PANEL.min(columns - first);
            let (vectors, _) = S::as_simd_f32s(bytemuck::cast_slice(blocks));
            for start in (0..rows).step_by(ROWS) {
                // Rows beyond the last are the last again, and are not stored.
                let of: [&[f32]; ROWS] =
                    std::array::from_fn(|r| &a[(start + r).min(rows - 1) * inner..][..inner]);
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
                for (k, w) in vectors.chunks_exact(VECTORS).enumerate() {
                    for (row, sums) in of.iter().zip(&mut sums) {
                        // SAFETY: there are `inner` rows of w, and each row of a has `inner` elements. The check would
                        // stand in the innermost loop: 30 % of the time.
                        let x = simd.splat_f32s(unsafe { *row.get_unchecked(k) });
                        for (sum, w) in sums.iter_mut().zip(w) {
                            *sum = simd.mul_add_e_f32s(x, *w, *sum);
                        }
                    }
                }
                for (r, sums) in sums.iter().enumerate().take(rows - start) {
                    let c = &mut c[(start + r) * columns + first..][..width];
                    let sums: &[f32] = bytemuck::cast_slice(sums);
                    c.iter_mut().zip(sums).for_each(|(c, sum)| *c += sum);
                }
            }
        }
    }
}

/// Multiplications from which on a launch is worth waking other threads for.
const WORTH_THREADS: usize = 1 << 22;

/// Runs `f` for blocks of rows that are together all rows: on several threads where `work`, the multiplications of the whole
/// launch, is worth it. `f` must compute each row by itself, so that the blocks do not matter to the result.
pub fn in_row_blocks(rows: usize, work: usize, f: impl Fn(Range<usize>) + Sync) {
    let threads = if work < WORTH_THREADS { 1 } else { rayon::current_num_threads() };
    // A multiple of every tile's rows wastes none of them.
    let size = rows.div_ceil(threads).next_multiple_of(8);
    if size >= rows {
        return f(0..rows);
    }
    rayon::scope(|scope| {
        for start in (0..rows).step_by(size) {
            let f = &f;
            scope.spawn(move |_| f(start..rows.min(start + size)));
        }
    });
}

/// A buffer that several threads write, each its own part of it.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    lifetime: std::marker::PhantomData<&'a mut [f32]>,
}

// SAFETY: it is only a pointer; those who take parts of it promise that parts in use at once do not overlap.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(x: &'a mut [f32]) -> Self {
        Shared { start: x.as_mut_ptr(), len: x.len(), lifetime: std::marker::PhantomData }
    }

    /// `len` elements from `from` on.
    ///
    /// # Safety
    /// While the part is used, nobody else uses a part that overlaps it.
    #[allow(clippy::mut_from_ref, reason = "that is what it is for; see Safety")]
    #[inline(always)]
    pub unsafe fn part(&self, from: usize, len: usize) -> &mut [f32] {
        assert!(from <= self.len && len <= self.len - from, "a part lies inside its buffer");
        // SAFETY: inside the buffer, which is borrowed exclusively for 'a; and see above.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_right_at_every_edge_and_rows_do_not_depend_on_their_company() {
        let number = |i: usize| ((i * 7919) % 2003) as f32 / 1000.0 - 1.0;
        for rows in [0, 1, 2, 3, 7, 8, 9, 17] {
            for inner in [0, 1, 2, 5, 16, 33] {
                for columns in [0, 1, 5, 31, 32, 33, 64, 100] {
                    let a: Vec<f32> = (0..rows * inner).map(number).collect();
                    let w: Vec<f32> = (0..inner * columns).map(|i| number(i + 17)).collect();
                    let mut c = vec![0.5; rows * columns];
                    Packed::with(&w, inner, columns, |w| w.add_product(&a, &mut c));
                    for i in 0..rows {
                        for j in 0..columns {
                            let terms = (0..inner)
                                .map(|k| f64::from(a[i * inner + k]) * f64::from(w[k * columns + j]));
                            let expected = 0.5 + terms.sum::<f64>();
                            let error = (f64::from(c[i * columns + j]) - expected).abs();
                            assert!(
                                error < 1e-5,
                                "{rows} x {inner} x {columns}: [{i}, {j}] is off by {error}"
                            );
                        }
                        let mut alone = vec![0.5; columns];
                        let row = &a[i * inner..][..inner];
                        Packed::with(&w, inner, columns, |w| w.add_product(row, &mut alone));
                        assert_eq!(alone, c[i * columns..][..columns]);
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_cover_every_row_once() {
        for rows in [0, 1, 7, 8, 9, 63, 200] {
            for work in [0, WORTH_THREADS] {
                let seen = std::sync::Mutex::new(vec![0; rows]);
                in_row_blocks(rows, work, |block| {
                    seen.lock().unwrap()[block].iter_mut().for_each(|n| *n += 1)
                });
                assert!(seen.into_inner().unwrap().iter().all(|n| *n == 1));
            }
        }
    }
}
