//! What recurrent kernels have in common: their declaration, their schedules on GPUs, and products. The steps are in
//! [`steps`](super::steps).

use super::matmul::{Matmul, matmul_fast};
use super::real::Number;
use crate::kernel::{Kernel, Limits, MAX_GROUPS, Plan, Processor};
use crate::plans::{Site, Way};

/// The product that a recurrent kernel makes at each step: [batch, inner]·[inner, columns·hidden].
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// B: rows.
    pub batch: u32,
    /// H: units.
    pub hidden: u32,
    /// Columns that belong to one unit: the gates in a forward pass, 1 in a backward pass.
    pub columns: u32,
    /// The number of products in each sum.
    pub inner: u32,
    /// Chains of steps side by side, each with weights of its own: directions, or layers.
    pub chains: u32,
}

/// How a recurrent kernel runs: the plan, and how many steps a launch makes at most.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The variant and its grid.
    pub plan: Plan,
    /// Steps of a launch.
    pub steps: u32,
}

impl Way for Schedule {
    fn name(&self) -> String {
        let order = if self.steps > 1 { "sequence" } else { "step" };
        format!("{}, {order}", self.plan.kernel.variants[self.plan.variant].name)
    }
}

/// Declares a recurrent kernel, as [`kernel!`](macro@crate::kernel) does. In place of variants stand its shader, that of its pass,
/// the columns of a unit, and over how many numbers each is a sum: so many times a parameter; how many rows of the batch a tile
/// has, in how many rounds their sums are added (`shaders/recurrent_tiles.wgsl`); and for how many units registers can hold the
/// weights at most (`shaders/recurrent_held.wgsl`).
macro_rules! recurrent_kernel {
    (
        $(#[$doc:meta])*
        pub static $NAME:ident = $twin:ident($params:ident { $($fields:tt)* }; $($arguments:tt)*);
        fast $fast:path;
        $cell:literal in $pass:literal: $columns:literal columns of $inner:literal $of:ident,
            $rows:literal rows in $rounds:literal rounds, $held:literal: $most:literal units
    ) => {
        $crate::kernel! {
            $(#[$doc])*
            pub static $NAME = $twin($params { $($fields)* }; $($arguments)*);
            fast $fast;
            variants [
                { "tiles", $cell & $pass & "recurrent_steps.wgsl" & "recurrent_tiles.wgsl" & "units_of_one.wgsl",
                    [("COLUMNS", $columns), ("WIDE", 1), ("SLICES", 16), ("UNITS", 16), ("ROWS", $rows), ("ROUND", 4), ("ROUNDS", $rounds)] },
                { "lanes", $cell & $pass & "recurrent_steps.wgsl" & "recurrent_lanes.wgsl" & "units_of_one.wgsl",
                    [("COLUMNS", $columns), ("WIDE", 1)], needs $crate::kernel::SUBGROUP },
                { "lanes of four", $cell & $pass & "recurrent_steps.wgsl" & "recurrent_lanes.wgsl" & "units_of_four.wgsl",
                    [("COLUMNS", $columns), ("WIDE", 4)], needs $crate::kernel::SUBGROUP },
                { "held of 32", $cell & $pass & "recurrent_steps.wgsl" & "recurrent_held.wgsl" & "units_of_one.wgsl",
                    [("COLUMNS", $columns), ("WIDE", 1), ("SLICES", 4), ("UNITS", 32), ("KEEP", $inner * 8)] },
                { "held of 64", $cell & $pass & "recurrent_steps.wgsl" & "recurrent_held.wgsl" & "units_of_one.wgsl",
                    [("COLUMNS", $columns), ("WIDE", 1), ("SLICES", 4), ("UNITS", 64), ("KEEP", $inner * 16)] },
                { $held, $cell & $pass & "recurrent_steps.wgsl" & "recurrent_held.wgsl" & "units_of_one.wgsl",
                    [("COLUMNS", $columns), ("WIDE", 1), ("SLICES", 4), ("UNITS", $most), ("KEEP", $inner * $most / 4)],
                    needs $crate::kernel::Limits { threads: 4 * $most, ..$crate::kernel::LEAST } },
            ]
        }

        impl From<$crate::cpu::steps::Steps> for $params {
            /// The parameters of a launch that makes these steps; all others are 0.
            fn from(steps: $crate::cpu::steps::Steps) -> Self {
                let $crate::cpu::steps::Steps { start, reverse, .. } = steps;
                let [batch, hidden, time, steps, chains, lowest, stagger] =
                    [steps.batch, steps.hidden, steps.time, steps.count, steps.chains, steps.lowest, steps.stagger]
                        .map(|n| n as u32);
                let reverse = reverse.into();
                Self { batch, hidden, time, start, steps, reverse, chains, lowest, stagger, ..Self::default() }
            }
        }

        impl $params {
            /// The product of a step.
            pub fn product(&self) -> $crate::cpu::recurrence::Product {
                let Self { batch, hidden, chains, .. } = *self;
                let (columns, inner) = ($columns, $inner * self.$of);
                $crate::cpu::recurrence::Product { batch, hidden, columns, inner, chains }
            }

            /// How many steps a schedule divides among launches: all, or of layers those that one is behind another.
            pub fn longest(&self) -> u32 {
                if self.stagger == 0 { self.time } else { self.stagger }
            }

            /// The steps of the launch.
            pub fn span(&self) -> $crate::cpu::steps::Steps {
                let [batch, hidden, time] = [self.batch, self.hidden, self.time].map(|n| n as usize);
                let [count, chains, lowest, stagger] =
                    [self.steps, self.chains, self.lowest, self.stagger].map(|n| n as usize);
                let (start, reverse) = (self.start, self.reverse == 1);
                $crate::cpu::steps::Steps { batch, hidden, time, start, count, reverse, chains, lowest, stagger }
            }
        }
    };
}
pub(crate) use recurrent_kernel;

/// The variants by their place above.
const TILES: usize = 0;
const LANES_OF_ONE: usize = 1;
const LANES_OF_FOUR: usize = 2;
/// Those that hold the weights, from the fewest units to the most.
const HELD: std::ops::Range<usize> = 3..6;

/// Rows of the batch, and lanes, of a workgroup of recurrent_lanes.wgsl.
const LANE_ROWS: u32 = 16;
const LANES: u32 = 8;

/// llvmpipe silently ends the loops of an invocation after 65,535 iterations, all loops together
/// (LP_MAX_TGSI_LOOP_ITERATIONS).
const MOST_ITERATIONS: u64 = 60_000;

impl Product {
    /// What `steps` steps cost a CPU, in multiplications. A gate costs about as much as GATE of them.
    pub fn work(&self, steps: u32) -> usize {
        const GATE: usize = 48;
        let [batch, hidden, columns, inner, chains] =
            [self.batch, self.hidden, self.columns, self.inner, self.chains].map(|n| n as usize);
        steps as usize * chains * batch * hidden * columns * (inner + GATE)
    }

    /// The weights of a chain: the first of [D, inner, columns·H].
    pub fn first_weight(&self, chain: usize) -> usize {
        chain * self.inner as usize * self.columns as usize * self.hidden as usize
    }

    /// The schedule for `steps` steps on a device: of the variants for its kind the quickest by estimate. In a `sequence` one
    /// launch makes several steps, and a workgroup owns its rows through all of them; in a `step` each step is a launch of its
    /// own, which all of the device works at.
    pub fn schedule(&self, kernel: &'static Kernel, steps: u32, limits: &Limits) -> Schedule {
        match limits.processor {
            Processor::Cpu => Schedule { plan: self.sequence(kernel, TILES), steps },
            _ => self.quickest(kernel, steps, limits).0,
        }
    }

    /// [`schedule`](Self::schedule) on a GPU, with the seconds that a step is estimated to take.
    pub fn quickest(&self, kernel: &'static Kernel, steps: u32, limits: &Limits) -> (Schedule, f64) {
        let general = match self.suits(kernel, LANES_OF_ONE, limits) {
            true if self.comes_in_fours() => LANES_OF_FOUR,
            true => LANES_OF_ONE,
            false => TILES,
        };
        let found = [Some(general), self.holding(kernel, limits)].into_iter().flatten();
        let found = found.flat_map(|variant| self.of_variant(kernel, variant, steps, limits));
        let quickest = found.min_by(|(_, a), (_, b)| a.total_cmp(b));
        quickest.expect("a variant has at least the schedule `step`")
    }

    /// The schedules that a device allows: of the variants that hold weights, with the smallest that can.
    pub fn schedules(&self, kernel: &'static Kernel, steps: u32, limits: &Limits) -> Vec<Schedule> {
        self.estimates(kernel, steps, limits).into_iter().map(|(schedule, _)| schedule).collect()
    }

    /// [`schedules`](Self::schedules), with the seconds that a step is estimated to take in each.
    pub fn estimates(&self, kernel: &'static Kernel, steps: u32, limits: &Limits) -> Vec<(Schedule, f64)> {
        let general = [TILES, LANES_OF_ONE, LANES_OF_FOUR].into_iter();
        let general = general.filter(|variant| self.suits(kernel, *variant, limits));
        let suitable = general.chain(self.holding(kernel, limits));
        suitable.flat_map(|variant| self.of_variant(kernel, variant, steps, limits)).collect()
    }

    /// What [`plans`](crate::plans) know it by, all that its speed depends on: the sizes, and whether numbers are stored in half
    /// precision.
    pub fn site(&self, kernel: &'static Kernel, steps: u32, half: bool) -> Site {
        let Product { batch, hidden, columns, inner, chains } = *self;
        Site { kernel: kernel.name, shape: [steps, batch, hidden, columns, inner, chains - 1], half }
    }

    /// Whether a variant can make the product on a device.
    fn suits(&self, kernel: &'static Kernel, variant: usize, limits: &Limits) -> bool {
        limits.allow(&kernel.variants[variant])
            && match variant {
                TILES => true,
                LANES_OF_ONE => self.iterations() < MOST_ITERATIONS,
                LANES_OF_FOUR => self.iterations() < MOST_ITERATIONS && self.comes_in_fours(),
                _ => self.is_held(kernel, variant),
            }
    }

    /// Whether rows of the weights and of what they multiply are whole vectors of four.
    fn comes_in_fours(&self) -> bool {
        self.hidden > 0 && self.hidden.is_multiple_of(4) && self.inner.is_multiple_of(4)
    }

    /// Whether a variant has registers for all weights.
    fn is_held(&self, kernel: &'static Kernel, variant: usize) -> bool {
        let variant = &kernel.variants[variant];
        (1..=variant.constant("UNITS")).contains(&self.hidden)
            && (1..=variant.constant("SLICES") * variant.constant("KEEP")).contains(&self.inner)
    }

    /// The smallest variant that has registers for all weights, where there is one.
    fn holding(&self, kernel: &'static Kernel, limits: &Limits) -> Option<usize> {
        HELD.into_iter().find(|variant| self.suits(kernel, *variant, limits))
    }

    /// The schedules of a variant, with the seconds of a step in each.
    fn of_variant(
        &self,
        kernel: &'static Kernel,
        variant: usize,
        steps: u32,
        limits: &Limits,
    ) -> impl Iterator<Item = (Schedule, f64)> {
        let costs = costs(limits);
        let (sequence, step) = (self.sequence(kernel, variant), self.step(kernel, variant));
        let [in_sequence, in_steps] = self.times(&step, costs);
        // No launch is to take longer than a watchdog lets it, nor to loop further than the adapter does.
        let loops = self.loops(&step);
        let most = (costs.most_iterations / loops).min((LONGEST / in_sequence).max(1.0) as u64);
        let in_sequence = if most == 0 { f64::INFINITY } else { in_sequence };
        let most = steps.min(most.clamp(1, u64::from(u32::MAX)) as u32);
        // A sequence of one step is a step that less of the device works at.
        let sequence = Some((Schedule { plan: sequence, steps: most }, in_sequence)).filter(|_| most > 1);
        // A step alone would hold the weights for nothing.
        let step = Some((Schedule { plan: step, steps: 1 }, in_steps)).filter(|_| !HELD.contains(&variant));
        [sequence, step].into_iter().flatten()
    }

    /// The seconds of a step in the two schedules: that of a launch of its own has the plan `step`.
    fn times(&self, step: &Plan, costs: Costs) -> [f64; 2] {
        if HELD.contains(&step.variant) { costs.held(step) } else { self.times_of_blocks(step, costs) }
    }

    // ANCHOR: times
    /// The seconds of a step in the two schedules, where weights are loaded in each: of a launch of its own the plan is `step`.
    fn times_of_blocks(&self, step: &Plan, costs: Costs) -> [f64; 2] {
        let [rows, blocks] = [step.grid[1] * step.grid[2], step.grid[0]].map(f64::from);
        // Of one step: what each workgroup reads and adds up, how many of them run at once, and in how many turns.
        let work = f64::from(self.columns) * f64::from(self.inner);
        let block = costs.start + work * costs.per_column;
        [costs.turns(rows) * blocks * block, costs.launch + costs.turns(rows * blocks) * block]
    }
    // ANCHOR_END: times

    /// The seconds that a launch of `steps` steps is estimated to take.
    pub fn seconds(&self, plan: &Plan, steps: u32, limits: &Limits) -> f64 {
        let step = self.step(plan.kernel, plan.variant);
        let [in_sequence, in_steps] = self.times(&step, costs(limits));
        if plan.grid[0] == step.grid[0] && steps == 1 { in_steps } else { f64::from(steps) * in_sequence }
    }

    /// Iterations of the loops of a thread in a step, by the plan of a step.
    fn loops(&self, step: &Plan) -> u64 {
        match HELD.contains(&step.variant) {
            true => 1,
            false => self.iterations() * u64::from(step.grid[0]),
        }
    }

    /// Iterations of the loops of a lane for a block of units: over k, and over what it finishes.
    fn iterations(&self) -> u64 {
        u64::from(self.inner) + u64::from(4 * LANE_ROWS)
    }

    /// One workgroup for each block of rows: it can make any number of steps.
    pub fn sequence(&self, kernel: &'static Kernel, variant: usize) -> Plan {
        let Plan { grid: [_, chains, rows], .. } = self.step(kernel, variant);
        Plan { kernel, variant, grid: [1, chains, rows] }
    }

    /// One workgroup for each block of rows and units: it makes one step.
    pub fn step(&self, kernel: &'static Kernel, variant: usize) -> Plan {
        let (rows, units) = match variant {
            TILES => {
                let tile = &kernel.variants[TILES];
                (tile.constant("ROWS"), tile.constant("UNITS"))
            }
            LANES_OF_ONE => (LANE_ROWS, LANES),
            LANES_OF_FOUR => (LANE_ROWS, 4 * LANES),
            _ => (1, u32::MAX),
        };
        let groups = |n: u32, tile: u32| n.div_ceil(tile).clamp(1, MAX_GROUPS);
        // Chains before rows: a device that gives each of its processors neighbouring workgroups then keeps all of them busy where
        // some chains of a launch have no step to make.
        let grid = [groups(self.hidden, units), self.chains, groups(self.batch, rows)];
        Plan { kernel, variant, grid }
    }

    /// Every way to make `steps` steps.
    pub fn plans(&self, kernel: &'static Kernel, steps: u32) -> Vec<Plan> {
        let general = 0..if self.comes_in_fours() { 3 } else { 2 };
        let variants = general.chain(HELD.filter(|variant| self.is_held(kernel, *variant)));
        let both = |variant| [self.sequence(kernel, variant), self.step(kernel, variant)];
        let loops = |variant| self.loops(&self.step(kernel, variant)) * u64::from(steps);
        let able = |plan: &Plan| {
            (steps <= 1 || plan.grid[0] == 1)
                && (plan.variant == TILES || plan.grid[0] > 1 || loops(plan.variant) < MOST_ITERATIONS)
        };
        let mut plans: Vec<Plan> = variants.flat_map(both).filter(able).collect();
        plans.dedup_by(|a, b| (a.variant, a.grid) == (b.variant, b.grid));
        plans
    }
}

/// What the parts of a step cost on a device.
fn costs(limits: &Limits) -> Costs {
    match limits.processor {
        Processor::Gpu => GPU,
        Processor::Cpu | Processor::Software => SOFTWARE,
    }
}

/// What the parts of a step cost, in seconds.
#[derive(Clone, Copy)]
struct Costs {
    /// A launch.
    launch: f64,
    /// A block of units in a workgroup: its barriers and the latency of its first loads.
    start: f64,
    /// In it, the weights of one k and one column of each unit.
    per_column: f64,
    /// A step of a workgroup that holds its weights: the latency of its barriers and of what it finishes.
    start_held: f64,
    /// In it, each thread: software runs them one after the other from barrier to barrier.
    per_thread: f64,
    /// In it, each weight that a thread holds, times the threads of a slice.
    per_held: f64,
    /// Workgroups that run at once.
    at_once: f64,
    /// Iterations that the loops of a thread may make in all.
    most_iterations: u64,
}

impl Costs {
    /// In how many turns so many workgroups run.
    fn turns(&self, groups: f64) -> f64 {
        (groups / self.at_once).ceil()
    }

    /// The seconds of a step of workgroups that hold their weights, without a launch and with it.
    fn held(&self, step: &Plan) -> [f64; 2] {
        let tile = &step.kernel.variants[step.variant];
        let weights = tile.constant("KEEP") * tile.constant("COLUMNS") * tile.constant("UNITS");
        let threads = tile.constant("SLICES") * tile.constant("UNITS");
        let one = self.start_held + f64::from(threads) * self.per_thread + f64::from(weights) * self.per_held;
        let seconds = self.turns(f64::from(step.grid[1] * step.grid[2])) * one;
        [seconds, self.launch + seconds]
    }
}

/// Measured on llvmpipe with two threads.
const SOFTWARE: Costs = Costs {
    launch: 30e-6,
    start: 2e-6,
    per_column: 40e-9,
    start_held: 0.0,
    per_thread: 30e-9,
    per_held: 4.1e-9,
    at_once: 2.0,
    most_iterations: MOST_ITERATIONS,
};
/// Estimated for a large GPU: 64 bytes of weights per clock and multiprocessor from the second-level cache; where weights are
/// held, 128 products per clock, two barriers and two times the latency of that cache.
const GPU: Costs = Costs {
    launch: 3e-6,
    start: 0.4e-6,
    per_column: 0.6e-9,
    start_held: 0.6e-6,
    per_thread: 0.0,
    per_held: 0.02e-9,
    at_once: 128.0,
    most_iterations: u64::MAX,
};

/// The longest that a launch of several steps may be estimated to take, in seconds.
const LONGEST: f64 = 0.05;

/// (1 − y)(1 + y): the derivative of tanh from its result.
#[inline(always)]
pub fn tanh_slope<R: Number>(y: R) -> R {
    let one = y.like(1.0);
    (one - y) * (one + y)
}

/// c += a·wᵀ for a [rows, k] and w [n, k], in f32.
pub fn add_product_transposed(rows: u32, n: u32, k: u32, a: &[f32], w: &[f32], c: &mut [f32]) {
    let strides = Matmul { a_row: k, a_col: 1, b_row: 1, b_col: k, ..Matmul::default() };
    matmul_fast(&Matmul { m: rows, n, k, depth: k, accumulate: 1, ..strides }, a, w, &[], &[], c);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::lstm_forward::LSTM_FORWARD;
    use crate::kernel::{LEAST, SUBGROUP};

    proptest! {
        /// On adapters made of software no launch loops further than they do, whatever the shape; weights are held where 256
        /// threads can; and what is chosen is one of the schedules that there are.
        #[test]
        fn no_schedule_breaks_a_limit(
            batch in 1u32..5000,
            hidden in prop_oneof![1u32..5000, 1u32..200],
            columns in prop_oneof![Just(1u32), Just(3), Just(4)],
            inner in prop_oneof![1u32..20_000, 1u32..200],
            chains in 1u32..3,
            steps in 1u32..100_000,
            subgroup in any::<bool>(),
        ) {
            let product = Product { batch, hidden, columns, inner, chains };
            let limits = if subgroup { SUBGROUP } else { LEAST };
            let limits = Limits { processor: Processor::Software, ..limits };
            let chosen = product.schedule(&LSTM_FORWARD, steps, &limits);
            let all = product.schedules(&LSTM_FORWARD, steps, &limits);
            prop_assert!(all.iter().any(|other| other.name() == chosen.name()), "{chosen:?} is none of {all:?}");
            for schedule in all.iter().chain([&chosen]) {
                prop_assert!(limits.allow(&LSTM_FORWARD.variants[schedule.plan.variant]));
                prop_assert!(schedule.steps >= 1 && schedule.steps <= steps);
                let Schedule { plan, steps } = schedule;
                let held = HELD.contains(&plan.variant);
                prop_assert!(!held || hidden <= 64 && inner <= 64 && *steps > 1, "{schedule:?}");
                // Of a lane: over k, and over what it finishes, for each of its blocks of units.
                let blocks = if plan.grid[0] == 1 { product.step(plan.kernel, plan.variant).grid[0] } else { 1 };
                let in_step = if held { 1 } else { u64::from(inner + 64) * u64::from(blocks) };
                let loops = in_step * u64::from(*steps);
                prop_assert!(plan.variant == TILES || loops <= MOST_ITERATIONS, "{schedule:?}");
            }
            let names: std::collections::BTreeSet<String> = all.iter().map(Way::name).collect();
            prop_assert_eq!(names.len(), all.len(), "{:?}", all);
        }
    }
}
