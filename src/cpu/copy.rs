//! Twin of `shaders/copy.wgsl`.

use super::real::Real;
use super::walk::{self, Walk};
use crate::kernel;
use crate::kernel::{Plan, Processor};

kernel! {
    /// Copies elements of a tensor to places of another: for every index i of the shape [n5, .., n0],
    /// `y[to + Σ_d i_d·y_d] = x[start + Σ_d i_d·x_d]`. (`from` is reserved in WGSL.)
    pub static COPY = copy(Copy {
        count: u32, start: u32, to: u32, n0: u32, n1: u32, n2: u32, n3: u32, n4: u32, n5: u32,
        x0: u32, x1: u32, x2: u32, x3: u32, x4: u32, x5: u32,
        y0: u32, y1: u32, y2: u32, y3: u32, y4: u32, y5: u32,
    }; x: read Float, y: update Float);
    fast copy_fast;
    variants [
        { "elements", "copy.wgsl" & "elements_of_one.wgsl", [("RUN", 1)] },
        { "fours", "copy.wgsl" & "elements_of_four.wgsl", [("RUN", 1)] },
        { "runs", "copy.wgsl" & "elements_of_one.wgsl", [("RUN", 16)] },
        { "runs of fours", "copy.wgsl" & "elements_of_four.wgsl", [("RUN", 8)] },
    ]
}

/// The variants by their place above.
const ELEMENTS: usize = 0;
const FOURS: usize = 1;
const RUNS: usize = 2;
const RUNS_OF_FOURS: usize = 3;

impl Copy {
    /// The parameters for `count` elements along a walk through x and y, which begins at the elements `start` and `to`.
    pub fn new(count: u32, start: u32, to: u32, walk: &Walk) -> Self {
        let [[n0, x0, y0], [n1, x1, y1], [n2, x2, y2], [n3, x3, y3], [n4, x4, y4], [n5, x5, y5]] = *walk;
        Copy { count, start, to, n0, n1, n2, n3, n4, n5, x0, x1, x2, x3, x4, x5, y0, y1, y2, y3, y4, y5 }
    }

    /// How to run it. Software is slow at divisions, which vectors of a CPU lack; but runs keep its threads busy only where there
    /// are many.
    pub fn plan(&self, processor: Processor) -> Plan {
        /// Workgroups that keep both threads busy.
        const GROUPS: u32 = 8;
        let fours = self.comes_in_fours();
        let runs = self.plan_of(if fours { RUNS_OF_FOURS } else { RUNS });
        match processor == Processor::Software && runs.grid[0] >= GROUPS {
            true => runs,
            false => self.plan_of(if fours { FOURS } else { ELEMENTS }),
        }
    }

    /// How to run a variant of it.
    fn plan_of(&self, variant: usize) -> Plan {
        let wide = if matches!(variant, FOURS | RUNS_OF_FOURS) { 4 } else { 1 };
        let each = wide * COPY.variants[variant].constant("RUN");
        Plan { variant, ..Plan::elements(&COPY, self.count.div_ceil(each) as usize) }
    }

    /// Every way to run it.
    pub fn plans(&self) -> Vec<Plan> {
        let able = |variant: &usize| self.comes_in_fours() || matches!(*variant, ELEMENTS | RUNS);
        (ELEMENTS..=RUNS_OF_FOURS).filter(able).map(|variant| self.plan_of(variant)).collect()
    }

    /// Whether rows are neighbours in both tensors, and everything begins and ends at a multiple of four.
    fn comes_in_fours(&self) -> bool {
        let [[n0, x0, y0], rest @ ..] = self.walk();
        // The stride of a dimension of size 1 means nothing.
        let whole = |[n, x, y]: [u32; 3]| n <= 1 || x.is_multiple_of(4) && y.is_multiple_of(4);
        // Of nothing not even the four that a vector takes need be there.
        self.count > 0
            && [x0, y0] == [1, 1]
            && [n0, self.start, self.to].into_iter().all(|n| n.is_multiple_of(4))
            && rest.into_iter().all(whole)
    }

    fn walk(&self) -> Walk {
        let p = self;
        [
            [p.n0, p.x0, p.y0],
            [p.n1, p.x1, p.y1],
            [p.n2, p.x2, p.y2],
            [p.n3, p.x3, p.y3],
            [p.n4, p.x4, p.y4],
            [p.n5, p.x5, p.y5],
        ]
    }
}

/// See [`COPY`].
pub fn copy<R: Real>(p: &Copy, x: &[R], y: &mut [R]) {
    let walk = p.walk();
    for i in 0..p.count {
        let [from, to] = walk::places(&walk, i);
        y[p.to as usize + to] = x[p.start as usize + from];
    }
}

/// Rows and columns of the squares in which [`copy_fast`] walks: a cache line of each.
const SQUARE: usize = 16;

/// [`copy`] by planes of the two innermost dimensions: rows of neighbours at once, other planes in squares, so that what
/// is read in steps and what is written in steps both stay in the cache meanwhile.
pub fn copy_fast(p: &Copy, x: &[f32], y: &mut [f32]) {
    if p.count == 0 {
        return;
    }
    let walk = p.walk();
    let [[n, x_step, y_step], [rows, x_pitch, y_pitch]] =
        [walk[0], walk[1]].map(|dimension| dimension.map(|n| n as usize));
    for i in (0..p.count).step_by(n * rows) {
        let [from, to] = walk::places(&walk, i);
        let (x, y) = (&x[p.start as usize + from..], &mut y[p.to as usize + to..]);
        if [x_step, y_step] == [1, 1] {
            for row in 0..rows {
                y[row * y_pitch..][..n].copy_from_slice(&x[row * x_pitch..][..n]);
            }
            continue;
        }
        for top in (0..rows).step_by(SQUARE) {
            for left in (0..n).step_by(SQUARE) {
                for row in top..rows.min(top + SQUARE) {
                    let (x, y) = (&x[row * x_pitch..], &mut y[row * y_pitch..]);
                    for i in left..n.min(left + SQUARE) {
                        y[i * y_step] = x[i * x_step];
                    }
                }
            }
        }
    }
}
