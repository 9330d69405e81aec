//! Matrix products on the CPU. The right factor is copied into the order in which it is read, panel by panel (*packed*). In a
//! recurrence, a few rows times a matrix that stays the same from step to step, that is done once for all steps.

use std::cell::RefCell;

use pulp::{Arch, Simd, WithSimd};

use super::threads::{Shared, in_blocks};

/// Columns of a panel.
pub const PANEL: usize = 32;
/// Rows that are worth a block of their own: as many as a tile has.
pub const TILE: usize = 8;

/// Half a panel's row, as wide as the widest vector and aligned to it.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Block([f32; 16]);

/// Elements of a [`Block`].
const BLOCK: usize = 16;

/// A matrix as it lies in memory: element (i, k) is `data[i·row + k·col]`.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    pub data: &'a [f32],
    pub row: usize,
    pub col: usize,
}

impl<'a> Strided<'a> {
    /// The rows of `data`, of so many columns each.
    pub fn dense(data: &'a [f32], columns: usize) -> Self {
        Strided { data, row: columns, col: 1 }
    }

    /// The matrix without its first rows and columns.
    pub fn from(self, row: usize, column: usize) -> Self {
        Strided { data: &self.data[row * self.row + column * self.col..], ..self }
    }
}

/// A matrix [inner, columns], in panels of [`PANEL`] columns, each panel's rows one after the other. What fills up the last panel
/// has no meaning; its sums are not stored.
#[derive(Clone, Copy)]
pub struct Packed<'a> {
    blocks: &'a [Block],
    inner: usize,
    columns: usize,
}

thread_local! {
    /// Memory for panels, and for rows, kept for the next launch.
    static PANELS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
    static ROWS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// Lends `count` elements of a thread's memory to `f`.
fn with_memory<T>(
    memory: &'static std::thread::LocalKey<RefCell<Vec<Block>>>,
    count: usize,
    f: impl FnOnce(&mut [Block]) -> T,
) -> T {
    let (mut blocks, needed) = (memory.take(), count.div_ceil(BLOCK));
    if blocks.len() < needed {
        blocks.resize(needed, Block([0.0; BLOCK]));
    }
    let result = f(&mut blocks[..needed]);
    memory.set(blocks);
    result
}

/// Copies at least `count` elements, in whole blocks as far as there are any. There are few, mostly: a call of memcpy would take
/// longer.
#[inline(always)]
fn copy_lines(from: &[f32], to: &mut [f32], count: usize) {
    for at in (0..count).step_by(BLOCK) {
        match (from[at..].first_chunk::<BLOCK>(), to[at..].first_chunk_mut::<BLOCK>()) {
            (Some(from), Some(to)) => *to = *from,
            _ => to[at..count].copy_from_slice(&from[at..count]),
        }
    }
}

/// Copies elements of x that are `step` apart, from the first on, to places that are `pitch` apart.
#[inline(always)]
fn spread(x: &[f32], step: usize, to: &mut [f32], pitch: usize) {
    let places = to.chunks_mut(pitch);
    match step {
        // Neighbours, as always in practice: a loop of its own.
        1 => places.zip(x).for_each(|(to, x)| to[0] = *x),
        _ => places.zip(x.iter().step_by(step.max(1))).for_each(|(to, x)| to[0] = *x),
    }
}

/// Copies columns of w, at most [`PANEL`] of them from its first on, to a panel of `inner` rows.
fn pack_panel(w: Strided<'_>, columns: usize, panel: &mut [f32]) {
    let rows = panel.chunks_exact_mut(PANEL).enumerate();
    if w.col == 1 {
        rows.for_each(|(k, row)| copy_lines(&w.data[k * w.row..], row, columns));
        return;
    }
    // Down the columns, which lie in memory so, as many rows at a time as a cache line holds.
    for (start, rows) in panel.chunks_mut(BLOCK * PANEL).enumerate() {
        for column in 0..columns {
            let down = &w.data[start * BLOCK * w.row + column * w.col..];
            match (<&mut [f32; BLOCK * PANEL]>::try_from(&mut *rows), down.first_chunk::<BLOCK>()) {
                (Ok(rows), Some(down)) if w.row == 1 => {
                    (0..BLOCK).for_each(|k| rows[k * PANEL + column] = down[k])
                }
                _ => spread(down, w.row, &mut rows[column..], PANEL),
            }
        }
    }
}

/// Lends `f` the matrix a [rows, inner] in an order that is quick to read. Where the numbers of a row are neighbours that is a
/// itself, else a copy of its columns, close together.
pub fn with_rows<T>(a: Strided<'_>, rows: usize, inner: usize, f: impl FnOnce(Strided<'_>) -> T) -> T {
    if a.col == 1 {
        return f(a);
    }
    // An odd number of cache lines from column to column: with whole pages they would compete for the same places.
    let pitch = (rows.div_ceil(BLOCK) | 1) * BLOCK;
    with_memory(&ROWS, inner * pitch, |blocks| {
        let copy: &mut [f32] = bytemuck::cast_slice_mut(blocks);
        for (k, to) in copy.chunks_exact_mut(pitch).enumerate() {
            let from = &a.data[k * a.col..];
            match a.row {
                1 => copy_lines(from, to, rows),
                step => spread(from, step, &mut to[..rows], 1),
            }
        }
        f(Strided { data: copy, row: 1, col: pitch })
    })
}

/// Matrices of one shape, [inner, columns], each in panels.
#[derive(Clone, Copy)]
pub struct Packs<'a> {
    all: Packed<'a>,
    /// Blocks of a matrix.
    apart: usize,
}

impl<'a> Packs<'a> {
    /// The matrix with this number.
    pub fn get(self, matrix: usize) -> Packed<'a> {
        Packed { blocks: &self.all.blocks[matrix * self.apart..][..self.apart], ..self.all }
    }
}

impl Packed<'_> {
    /// Packs w [inner, columns] and runs `f` with it.
    pub fn with<T>(w: Strided<'_>, inner: usize, columns: usize, f: impl FnOnce(Packed<'_>) -> T) -> T {
        Packed::with_all(1, w, inner, columns, |packs| f(packs.get(0)))
    }

    /// Packs so many matrices [inner, columns], of which w has the rows one after the other, and runs `f` with them.
    pub fn with_all<T>(
        matrices: usize,
        w: Strided<'_>,
        inner: usize,
        columns: usize,
        f: impl FnOnce(Packs<'_>) -> T,
    ) -> T {
        let panels = if inner == 0 { 0 } else { columns.div_ceil(PANEL) };
        with_memory(&PANELS, matrices * panels * inner * PANEL, |blocks| {
            let to = Shared::new(bytemuck::cast_slice_mut(blocks));
            in_blocks(matrices * panels, 1, COPYING * matrices * panels * inner * PANEL, |all| {
                for panel in all {
                    let (matrix, first) = (panel / panels, panel % panels * PANEL);
                    // SAFETY: each panel is packed by one thread.
                    let to = unsafe { to.part(panel * PANEL * inner, PANEL * inner) };
                    pack_panel(w.from(matrix * inner, first), PANEL.min(columns - first), to);
                }
            });
            let apart = blocks.len() / matrices;
            f(Packs { all: Packed { blocks, inner, columns }, apart })
        })
    }

    /// c += a·w for a [rows, inner] and c [rows, columns]. Each element of c is summed in the order of `inner`, whatever
    /// the number of rows: the same row gives the same bits in any company.
    pub fn add_product(self, a: &[f32], c: &mut [f32]) {
        if self.columns == 0 {
            return;
        }
        let rows = c.len() / self.columns;
        assert!(a.len() == rows * self.inner && c.len() == rows * self.columns, "a has as many rows as c");
        let pitch = self.columns;
        let target = Target { c: &Shared::new(c), start: 0, pitch, rows, add: true, biases: [&[]; 2] };
        // SAFETY: all of c, which is borrowed exclusively.
        unsafe { self.product(Strided::dense(a, self.inner), &target) }
    }

    /// The product with as many rows of a as the target has.
    /// # Safety
    /// Nobody else uses the target's rows, within the matrix's columns, meanwhile.
    pub unsafe fn product(self, a: Strided<'_>, target: &Target<'_>) {
        struct Tiles<'a>(Packed<'a>, Strided<'a>, &'a Target<'a>);
        impl WithSimd for Tiles<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                let Tiles(w, a, target) = self;
                // Rows and vectors of a tile: as many sums as the registers hold.
                match S::F32_LANES {
                    16 => w.tiles::<S, 8, 4, 2, 1>(simd, a, target),
                    8 => w.tiles::<S, 3, 3, 4, 2>(simd, a, target),
                    4 => w.tiles::<S, 3, 3, 8, 4>(simd, a, target),
                    _ => w.tiles::<S, 1, 1, 32, 16>(simd, a, target),
                }
            }
        }
        Arch::new().dispatch(Tiles(self, a, target));
    }

    /// Takes MANY rows at a time, SOME or one where fewer are left; and all vectors of a panel, or half of them where it is half
    /// empty.
    #[inline(always)]
    fn tiles<S: Simd, const MANY: usize, const SOME: usize, const ALL: usize, const HALF: usize>(
        self,
        simd: S,
        a: Strided<'_>,
        target: &Target<'_>,
    ) {
        let Packed { blocks, inner, columns } = self;
        if target.rows == 0 {
            return;
        }
        if inner == 0 {
            // SAFETY: the caller's, as below.
            let rows = (0..target.rows).map(|row| unsafe { target.row(row, 0, columns) });
            return rows.filter(|_| !target.add).for_each(|row| row.fill(0.0));
        }
        for (panel, blocks) in blocks.chunks_exact(inner * PANEL / BLOCK).enumerate() {
            let first = panel * PANEL;
            let width = PANEL.min(columns - first);
            let (w, _) = S::as_simd_f32s(bytemuck::cast_slice(blocks));
            let mut row = 0;
            while row < target.rows {
                let (a, left) = (a.from(row, 0), target.rows - row);
                let place = Place { target, row, first, width };
                row += match (left >= MANY, left > 1, width > PANEL / 2) {
                    (true, _, true) => tile::<S, MANY, ALL, ALL>(simd, a, w, &place),
                    (true, _, false) => tile::<S, MANY, ALL, HALF>(simd, a, w, &place),
                    (_, true, true) => tile::<S, SOME, ALL, ALL>(simd, a, w, &place),
                    (_, true, false) => tile::<S, SOME, ALL, HALF>(simd, a, w, &place),
                    (_, _, true) => tile::<S, 1, ALL, ALL>(simd, a, w, &place),
                    (_, _, false) => tile::<S, 1, ALL, HALF>(simd, a, w, &place),
                };
            }
        }
    }
}

/// What copying an element costs, in multiplications.
const COPYING: usize = 8;

/// Where a product belongs: `rows` rows of c, the first from element `start` on.
pub struct Target<'a> {
    pub c: &'a Shared<'a>,
    pub start: usize,
    pub pitch: usize,
    pub rows: usize,
    /// Whether to add to what is there.
    pub add: bool,
    /// What to add to every row beside: nothing, one bias, or the sum of two.
    pub biases: [&'a [f32]; 2],
}

impl Target<'_> {
    /// # Safety
    /// Nobody else uses that part of the row meanwhile.
    #[allow(clippy::mut_from_ref, reason = "as of Shared")]
    #[inline(always)]
    unsafe fn row(&self, row: usize, first: usize, width: usize) -> &mut [f32] {
        // SAFETY: the caller's.
        unsafe { self.c.part(self.start + row * self.pitch + first, width) }
    }
}

/// Where a tile belongs.
struct Place<'a> {
    target: &'a Target<'a>,
    row: usize,
    first: usize,
    width: usize,
}

/// Multiplies up to ROWS rows of a with the first USED vectors of a panel of VECTORS, and returns how many rows.
#[inline(always)]
fn tile<S: Simd, const ROWS: usize, const VECTORS: usize, const USED: usize>(
    simd: S,
    a: Strided<'_>,
    w: &[S::f32s],
    place: &Place<'_>,
) -> usize {
    let inner = w.len() / VECTORS;
    let rows = ROWS.min(place.target.rows - place.row);
    assert!(
        (rows - 1) * a.row + inner.saturating_sub(1) * a.col < a.data.len(),
        "the rows of a lie inside it"
    );
    // Rows beyond the last are the last again, and are not stored.
    let starts: [usize; ROWS] = std::array::from_fn(|r| r.min(rows - 1) * a.row);
    let mut sums = [[simd.splat_f32s(0.0); USED]; ROWS];
    for (k, w) in w.chunks_exact(VECTORS).enumerate() {
        for (start, sums) in starts.iter().zip(&mut sums) {
            // SAFETY: see the assertion; k is below `inner`. The check would stand in the innermost loop: 30 % of the time.
            let x = simd.splat_f32s(unsafe { *a.data.get_unchecked(start + k * a.col) });
            for (sum, w) in sums.iter_mut().zip(w) {
                *sum = simd.mul_add_e_f32s(x, *w, *sum);
            }
        }
    }
    let bias = bias::<S, USED>(simd, place);
    // Every index is a constant once the loops are unrolled, so that the sums stay in registers.
    for (r, sums) in sums.into_iter().enumerate() {
        if r >= rows {
            break;
        }
        // SAFETY: the caller of `product` answers for the target.
        let c = unsafe { place.target.row(place.row + r, place.first, place.width) };
        for (v, mut sum) in sums.into_iter().enumerate() {
            let end = c.len().min((v + 1) * S::F32_LANES);
            let c = &mut c[end.min(v * S::F32_LANES)..end];
            if place.target.add {
                let old = match S::as_simd_f32s(c) {
                    ([old], []) => *old,
                    _ => simd.partial_load_f32s(c),
                };
                sum = simd.add_f32s(old, sum);
            }
            if let Some(bias) = bias {
                sum = simd.add_f32s(sum, bias[v]);
            }
            match S::as_mut_simd_f32s(c) {
                ([c], []) => *c = sum,
                (_, []) => {}
                (_, c) => simd.partial_store_f32s(c, sum),
            }
        }
    }
    rows
}

/// The bias of each of the first USED vectors of a tile.
#[inline(always)]
fn bias<S: Simd, const USED: usize>(simd: S, place: &Place<'_>) -> Option<[S::f32s; USED]> {
    let [one, two] = place.target.biases;
    if one.is_empty() {
        return None;
    }
    let mut sums = [simd.splat_f32s(0.0); USED];
    for (v, sum) in sums.iter_mut().enumerate() {
        let from = place.first + place.width.min(v * S::F32_LANES);
        let to = place.first + place.width.min((v + 1) * S::F32_LANES);
        *sum = simd.partial_load_f32s(&one[from..to]);
        if !two.is_empty() {
            *sum = simd.add_f32s(*sum, simd.partial_load_f32s(&two[from..to]));
        }
    }
    Some(sums)
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
                    let w = Strided::dense(&w, columns);
                    let mut c = vec![0.5; rows * columns];
                    Packed::with(w, inner, columns, |w| w.add_product(&a, &mut c));
                    for i in 0..rows {
                        for j in 0..columns {
                            let terms = (0..inner)
                                .map(|k| f64::from(a[i * inner + k]) * f64::from(w.data[k * columns + j]));
                            let expected = 0.5 + terms.sum::<f64>();
                            let error = (f64::from(c[i * columns + j]) - expected).abs();
                            assert!(
                                error < 1e-5,
                                "{rows} x {inner} x {columns}: [{i}, {j}] is off by {error}"
                            );
                        }
                        let mut alone = vec![0.5; columns];
                        let row = &a[i * inner..][..inner];
                        Packed::with(w, inner, columns, |w| w.add_product(row, &mut alone));
                        assert_eq!(alone, c[i * columns..][..columns]);
                    }
                }
            }
        }
    }
}
