//! Sizes and values for cases, drawn from a seed.

use super::{Case, Value};
use crate::cpu::philox;
use crate::kernel::{Kernel, Plan, Variant};

/// Which sizes a case has. Ordered: a failure at a smaller one is easier to understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// Every dimension is 1.
    One,
    /// Up to 9.
    Small,
    /// Some dimensions are 0.
    Empty,
    /// Beside multiples of the tile, where kernels go wrong.
    Edge,
    /// Many tiles, and not a multiple.
    Large,
    /// For measuring: all dimensions together span about four million elements. See [`Draw::for_bench`].
    Bench,
}

impl Size {
    /// All that check, simplest first.
    pub const ALL: [Size; 5] = [Size::One, Size::Small, Size::Empty, Size::Edge, Size::Large];
}

/// How a tensor's values are chosen: what is hard for arithmetic, and what makes a wrong index easy to see.
#[derive(Clone, Copy, Debug)]
enum Fill {
    Zeros,
    Ones,
    /// 0, φ, 2φ .. with φ, the golden ratio.
    Iota,
    /// In [-1, 1).
    Uniform,
    /// Of variance 1.
    Normal,
    /// In [-1e4, 1e4).
    Huge,
    /// In [-1e-30, 1e-30): products are below what f32 can hold.
    Tiny,
    /// 1, -1, 1 ..
    Alternating,
    /// 1 and the three f32 above it.
    NearTies,
}

const FILLS: [Fill; 12] = [
    Fill::Uniform,
    Fill::Uniform,
    Fill::Normal,
    Fill::Normal,
    Fill::Normal,
    Fill::Zeros,
    Fill::Ones,
    Fill::Iota,
    Fill::Huge,
    Fill::Tiny,
    Fill::Alternating,
    Fill::NearTies,
];

/// The most elements that the dimensions of a large case span together.
const BUDGET: u32 = 1 << 20;
/// The elements that the dimensions of a case for measuring span together.
const BENCH: u32 = 1 << 22;

/// Draws sizes and values. The same seed and size give the same, everywhere.
#[derive(Clone, Debug)]
pub struct Draw {
    seed: u64,
    size: Size,
    /// Streams used up: each draw takes one.
    streams: u32,
    /// The part of [`BUDGET`] that is left.
    budget: u32,
    /// Dimensions drawn.
    dims: u32,
    /// The size of every dimension where cases are [`Size::Bench`].
    bench: u32,
}

impl Draw {
    /// A source for one case.
    pub fn new(seed: u64, size: Size) -> Self {
        Draw { seed, size, streams: 0, budget: BUDGET, dims: 0, bench: 1 }
    }

    /// A source for one large case of a row: about four million elements, however many dimensions it draws. With the seed 0
    /// every choice is the simplest one; with other seeds those are drawn that may decide which variants can run it.
    pub fn for_bench(make: fn(&mut Draw) -> Case, seed: u64) -> Self {
        // The same choices, for they decide how many dimensions there are; of 1 each.
        let mut dry = Draw::new(seed, Size::Bench);
        make(&mut dry);
        let bench = f64::from(BENCH).powf(1.0 / f64::from(dry.dims.max(1))) as u32;
        // A multiple of every tile, so that every variant can run it.
        let bench = (bench - bench % 32).max(32);
        Draw { bench, ..Draw::new(seed, Size::Bench) }
    }

    /// Which sizes it draws.
    pub fn size(&self) -> Size {
        self.size
    }

    /// A fresh stream of numbers in [0, 1).
    fn numbers(&mut self) -> impl Iterator<Item = f32> + use<> {
        self.streams += 1;
        let (seed, stream) = (self.seed, self.streams);
        (0..).map(move |i| philox::uniform(seed, stream, i))
    }

    /// A number below `bound`; 0, the simplest, in a case for measuring with the seed 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        if self.size == Size::Bench && self.seed == 0 {
            return 0;
        }
        let u = self.numbers().next().expect("a stream has no end");
        (f64::from(u) * f64::from(bound)) as u32
    }

    /// One of the choices.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// A variant of a kernel: sizes are then drawn beside its tiles.
    pub fn variant(&mut self, kernel: &'static Kernel) -> &'static Variant {
        &kernel.variants[self.below(kernel.variants.len() as u32) as usize]
    }

    /// Whether an option is on: 0 or 1. In a case for measuring none is, whatever the seed.
    pub fn flag(&mut self) -> u32 {
        if self.size == Size::Bench { 0 } else { self.below(2) }
    }

    /// The size of a dimension that the kernel covers in tiles of `tile` elements.
    pub fn dim(&mut self, tile: u32) -> u32 {
        self.dims += 1;
        match self.size {
            Size::Bench => self.bench,
            Size::One => 1,
            Size::Small => 1 + self.below(9),
            Size::Empty => self.pick(&[0, 0, 1, 3]),
            Size::Edge => self.pick(&[tile - 1, tile, tile + 1, 2 * tile - 1, 2 * tile, 2 * tile + 1]),
            Size::Large => {
                let dim = self.pick(&[7, 4 * tile - 1, 9 * tile + 1, 17 * tile + 5]).min(self.budget);
                self.budget = (self.budget / dim).max(1);
                dim
            }
        }
    }

    /// The size of a dimension that must be a multiple of `unit`, of which the kernel covers `tile` units at a time.
    pub fn multiple(&mut self, unit: u32, tile: u32) -> u32 {
        let dim = self.dim(tile);
        if self.size == Size::Bench { dim - dim % unit } else { unit * dim }
    }

    /// `count` values of a kind that is hard for arithmetic.
    pub fn reals(&mut self, count: u32) -> Value {
        let fill = if self.size == Size::Bench { Fill::Uniform } else { self.pick(&FILLS) };
        let mut numbers = self.numbers();
        let mut uniform = |scale: f32| scale * (2.0 * numbers.next().expect("a stream has no end") - 1.0);
        let value = |i| match fill {
            Fill::Zeros => 0.0,
            Fill::Ones => 1.0,
            // Not whole numbers: beyond 2²⁴ a long sum would round all of them the same way, while its limit takes the
            // errors for random. The multiples of the golden ratio have last places that are spread evenly.
            Fill::Iota => i as f32 * 1.618_034,
            Fill::Uniform => uniform(1.0),
            // Three uniform numbers of variance 1/3.
            Fill::Normal => uniform(1.0) + uniform(1.0) + uniform(1.0),
            Fill::Huge => uniform(1e4),
            Fill::Tiny => uniform(1e-30),
            Fill::Alternating => [1.0, -1.0][i as usize % 2],
            Fill::NearTies => 1.0 + (2.0 + uniform(2.0)).floor() * f32::EPSILON,
        };
        Value::Reals((0..count).map(value).collect())
    }

    /// `count` values in [low, high).
    pub fn between(&mut self, count: u32, low: f32, high: f32) -> Value {
        Value::Reals(self.numbers().take(count as usize).map(|u| low + (high - low) * u).collect())
    }

    /// `count` integers in 0..bound.
    pub fn ints(&mut self, count: u32, bound: u32) -> Vec<i32> {
        self.numbers().take(count as usize).map(|u| (f64::from(u) * f64::from(bound)) as i32).collect()
    }

    /// What an `update` argument holds: old values where the kernel adds to them, else poison.
    pub fn updated(&mut self, count: u32, accumulate: u32) -> Value {
        if accumulate == 1 { self.reals(count) } else { Value::Output(count as usize) }
    }

    /// The plan of a kernel whose threads stride over the grid's x, sometimes with fewer workgroups, so that they have to. But
    /// never a single one where there were many: Mesa's software adapter silently ends the loops of a thread after 65,535
    /// iterations, all loops together (`LP_MAX_TGSI_LOOP_ITERATIONS`).
    pub fn strided(&mut self, mut plan: Plan) -> Plan {
        plan.grid[0] = plan.grid[0].div_ceil(self.pick(&[1, 2, 17]));
        plan
    }

    /// [`strided`](Self::strided) of each plan.
    pub fn each_strided(&mut self, plans: impl IntoIterator<Item = Plan>) -> Vec<Plan> {
        plans.into_iter().map(|plan| self.strided(plan)).collect()
    }

    /// The plans of a kernel with two variants over `count` independent elements: one element a thread and, where `count` is a
    /// multiple of four, four.
    pub fn fours(&mut self, kernel: &'static Kernel, count: u32) -> Vec<Plan> {
        self.rows_of_fours(kernel, count, count)
    }

    /// The same for elements of rows of `width`.
    pub fn rows_of_fours(&mut self, kernel: &'static Kernel, count: u32, width: u32) -> Vec<Plan> {
        let mut plans = vec![Plan::elements(kernel, count as usize)];
        if width.is_multiple_of(4) {
            plans.push(Plan::rows_of_fours(kernel, count as usize, width as usize));
        }
        self.each_strided(plans)
    }

    /// The plans of a kernel with one variant over `count` independent elements.
    pub fn elements(&mut self, kernel: &'static Kernel, count: u32) -> Vec<Plan> {
        vec![self.strided(Plan::elements(kernel, count as usize))]
    }
}
