//! The ways to run a matrix product on a GPU, and which of them is estimated to be the quickest.

use std::sync::LazyLock;

use super::matmul::{MATMUL, Matmul};
use crate::kernel::{Limits, MAX_GROUPS, Plan, Processor};
use crate::plans::{Site, Way};

/// The variants by their place in the declaration.
const TILES_OF_FOURS: [usize; 3] = [0, 1, 2];
const FEW_ROWS_OF_FOURS: usize = 3;
const TILES: [usize; 3] = [4, 5, 6];
const FEW_ROWS: usize = 7;
const FEW_COLUMNS: usize = 8;
const SUBGROUP_ANY: usize = 9;
const NN: usize = 10;
const NT: usize = 11;
const TN: usize = 12;
const COOPERATIVE: [usize; 2] = [13, 14];

/// Columns of a workgroup of matmul_subgroup.wgsl, and how deep its steps are.
const SUBGROUP_COLUMNS: u32 = 32;
const SUBGROUP_DEPTH: u32 = 4;

/// Rows, or columns, up to which the variants for few of them come into question: two workgroups of them.
const FEW: u32 = 16;
/// Into how many parts a product may be split.
const PARTS: [u32; 4] = [1, 4, 16, 64];
/// Strips that each part has at least.
const LEAST_STRIPS: u32 = 2;
/// Rows and columns of a cooperative matrix.
const MATRIX: u32 = 16;

/// A way to run a product: a variant, and how many k a part sums over. The plan's grid has one layer (z) for each part.
#[derive(Clone, Copy, Debug)]
pub struct Split {
    /// The variant and its grid.
    pub plan: Plan,
    /// The kernel's parameter of that name.
    pub depth: u32,
}

impl Split {
    /// Into how many parts it splits the sums.
    pub fn parts(&self) -> u32 {
        self.plan.grid[2]
    }

    /// Whether it multiplies cooperative matrices. c and the biases must be F32 then.
    pub fn is_cooperative(&self) -> bool {
        COOPERATIVE.contains(&self.plan.variant)
    }
}

impl Way for Split {
    fn name(&self) -> String {
        let variant = self.plan.kernel.variants[self.plan.variant].name;
        match self.parts() {
            1 => variant.into(),
            parts => format!("{variant}, {parts} parts"),
        }
    }
}

/// What a workgroup of a variant computes, and what that takes.
struct Tile {
    rows: u32,
    columns: u32,
    /// How deep a strip is.
    depth: u32,
    threads: u32,
    /// Multiplications of a thread in a strip, and what loading takes it beside them, in multiplications.
    multiplications: f64,
    loading: f64,
    /// Multiplications that are made in the time of one, if the numbers come from where this variant has them.
    speed: f64,
}

/// The tile of a variant.
fn tile(variant: usize) -> &'static Tile {
    // A launch asks for many of them.
    static TILES: LazyLock<Vec<Tile>> = LazyLock::new(|| (0..MATMUL.variants.len()).map(measured).collect());
    &TILES[variant]
}

/// Works out a tile from the constants of its variant.
///
/// The speeds: a thread with 8 x 8 elements reads 16 numbers of workgroup memory for 64 multiplications; one with 4 x 4 elements
/// reads 8 for 16, which keeps the memory as busy as the arithmetic. To load a block of 4 x 4 takes 4 loads of fours, or 16 of
/// ones, and the arithmetic of their places. Cooperative matrices are assumed to be multiplied at eight times the speed of single
/// numbers, and to be loaded from a cache that all processors share, at 40 GB a second for each; this is not measured.
fn measured(variant: usize) -> Tile {
    const OF_FOURS: f64 = 40.0;
    const OF_ONES: f64 = 160.0;
    let constant = |name| MATMUL.variants[variant].constant(name);
    let loading = if TILES_OF_FOURS.contains(&variant) || [FEW_ROWS_OF_FOURS, NN, NT, TN].contains(&variant) {
        OF_FOURS
    } else {
        OF_ONES
    };
    if COOPERATIVE.contains(&variant) {
        let matrices = constant("SIDE");
        let side = MATRIX * matrices;
        return Tile {
            rows: side,
            columns: side,
            depth: MATRIX,
            threads: 32,
            multiplications: f64::from(side * side * MATRIX / 32),
            loading: f64::from(150 * matrices),
            speed: 8.0,
        };
    }
    if variant >= SUBGROUP_ANY {
        let rows = constant("ROWS");
        let multiplications = f64::from(rows * 4 * SUBGROUP_DEPTH);
        let (columns, depth) = (SUBGROUP_COLUMNS, SUBGROUP_DEPTH);
        return Tile { rows, columns, depth, threads: 8, multiplications, loading, speed: 1.0 };
    }
    if [FEW_ROWS_OF_FOURS, FEW_ROWS, FEW_COLUMNS].contains(&variant) {
        let [down, across] = ["DOWN", "ACROSS"].map(constant);
        let [quads_down, quads_across] = ["QUADS_DOWN", "QUADS_ACROSS"].map(constant);
        return Tile {
            rows: 4 * down * quads_down,
            columns: 4 * across * quads_across,
            depth: 4 * constant("LANES"),
            threads: quads_down * quads_across * constant("LANES"),
            multiplications: f64::from(64 * down * across),
            loading: loading * f64::from(down + across),
            speed: 0.8,
        };
    }
    let [side, threads, blocks] = ["TILE", "THREADS", "BLOCKS"].map(constant);
    let depth = 8 * threads * threads / side;
    Tile {
        rows: side,
        columns: side,
        depth,
        threads: threads * threads,
        multiplications: f64::from(depth * 16 * blocks * blocks),
        loading,
        speed: if blocks == 1 { 0.6 } else { 0.75 },
    }
}

/// What is known, or assumed, of the machine that runs the workgroups. Times are in seconds.
struct Machine {
    /// Processors that each run workgroups of their own.
    processors: u32,
    /// Multiplications that one of them makes in a second.
    rate: f64,
    /// Threads that one of them holds at once, and what a strip takes at least: its loads, and two barriers.
    threads: u32,
    strip: f64,
    /// A launch.
    launch: f64,
    /// Bytes in a second.
    bandwidth: f64,
}

/// An estimate for a large GPU, not measured: 128 lanes at 1.5 GHz in a processor, half a microsecond until memory answers, and
/// registers for 512 threads with 128 registers each.
const GPU: Machine = Machine {
    processors: 128,
    rate: 128.0 * 1.5e9,
    threads: 512,
    strip: 0.7e-6,
    launch: 3e-6,
    bandwidth: 1e12,
};

/// llvmpipe with two threads. A launch that sums parts has barriers, which cost it more than the launch.
const SOFTWARE: Machine =
    Machine { processors: 2, rate: 8e9, threads: 1, strip: 0.0, launch: 200e-6, bandwidth: 5e9 };

fn machine(limits: &Limits) -> &'static Machine {
    if limits.processor == Processor::Gpu { &GPU } else { &SOFTWARE }
}

/// How to run a product: the way that is estimated to be the quickest. On an adapter made of software that has subgroups, it is the
/// subgroup variant for the arrangement of a and b, which is ten times as fast there. The caller's limits allow cooperative
/// matrices only where a and b are F16.
pub fn plan(p: &Matmul, limits: &Limits) -> Split {
    if limits.processor == Processor::Cpu {
        // The twin knows neither variants nor grids.
        return Split { plan: Plan { kernel: &MATMUL, variant: TILES[0], grid: [1; 3] }, depth: p.k };
    }
    let subgroup = limits.processor == Processor::Software && limits.allow(&MATMUL.variants[SUBGROUP_ANY]);
    let candidates = p.candidates().filter(|variant| {
        limits.allow(&MATMUL.variants[*variant]) && subgroup == (SUBGROUP_ANY..=TN).contains(variant)
    });
    let splits = candidates.flat_map(|variant| p.splits(variant, limits));
    let quickest = splits.map(|split| (p.seconds(&split, limits), split)).min_by(|a, b| a.0.total_cmp(&b.0));
    quickest.expect("a tile can compute every product").1
}

impl Matmul {
    /// How to run a variant on at most so many parts of the sums.
    pub fn split(&self, variant: usize, parts: u32) -> Split {
        let Tile { rows, columns, depth: strip, .. } = *tile(variant);
        let depth = match parts {
            1 => self.k,
            _ => self.k.div_ceil(parts).next_multiple_of(strip),
        };
        let groups = |n: u32, tile: u32| n.div_ceil(tile).clamp(1, MAX_GROUPS);
        let grid = [groups(self.n, columns), groups(self.m, rows), Matmul { depth, ..*self }.parts()];
        Split { plan: Plan { kernel: &MATMUL, variant, grid }, depth }
    }

    /// Whether a variant can compute it. Variants that load four neighbours at once need them dense and aligned.
    pub fn suits(&self, variant: usize) -> bool {
        let fours = |sizes: &[u32]| sizes.iter().all(|size| size.is_multiple_of(4));
        let even = fours(&[self.n, self.a_offset, self.b_offset]) && self.n > 0;
        let along_k = fours(&[self.k]);
        let a_rows = self.a_col == 1 && along_k && fours(&[self.a_row]);
        let a_columns = self.a_row == 1 && self.a_col != 1 && fours(&[self.m, self.a_col]);
        let b_rows = self.b_col == 1 && fours(&[self.b_row]);
        let b_columns = self.b_row == 1 && self.b_col != 1 && along_k && fours(&[self.b_col]);
        let whole = |sizes: &[u32], of: u32| sizes.iter().all(|size| size.is_multiple_of(of));
        let empty = [self.m, self.n, self.k].contains(&0);
        let matrices =
            |row: u32, col: u32| whole(&[row], MATRIX) && col == 1 || whole(&[col], MATRIX) && row == 1;
        match variant {
            _ if COOPERATIVE.contains(&variant) => {
                !empty
                    && whole(&[self.m, self.n], tile(variant).rows)
                    && whole(&[self.k, self.depth, self.a_offset, self.b_offset], MATRIX)
                    && matrices(self.a_row, self.a_col)
                    && matrices(self.b_row, self.b_col)
            }
            NN => even && along_k && a_rows && b_rows,
            NT => even && along_k && a_rows && self.b_row == 1 && fours(&[self.b_col]),
            TN => even && along_k && self.a_row == 1 && fours(&[self.m, self.a_col]) && b_rows,
            _ if variant <= FEW_ROWS_OF_FOURS => even && (a_rows || a_columns) && (b_rows || b_columns),
            _ => true,
        }
    }

    /// The variants to choose from. Of two with the same tiles only one: that which loads fours, where it can, else the other.
    fn candidates(&self) -> impl Iterator<Item = usize> {
        let by_fours = self.suits(FEW_ROWS_OF_FOURS);
        let (tiles, few) = if by_fours { (TILES_OF_FOURS, FEW_ROWS_OF_FOURS) } else { (TILES, FEW_ROWS) };
        let subgroup = [NN, NT, TN].into_iter().find(|variant| self.suits(*variant)).unwrap_or(SUBGROUP_ANY);
        let few_rows = (self.m <= FEW).then_some(few);
        let few_columns = (self.n <= FEW).then_some(FEW_COLUMNS);
        let cooperative = COOPERATIVE.into_iter().filter(move |variant| self.suits(*variant));
        tiles.into_iter().chain(few_rows).chain(few_columns).chain([subgroup]).chain(cooperative)
    }

    /// The ways to run a variant: in parts where there are fewer tiles than processors, sums that are long enough, and room
    /// for the parts in a binding.
    fn splits(&self, variant: usize, limits: &Limits) -> impl Iterator<Item = Split> + use<> {
        let (product, whole, binding) = (*self, self.split(variant, 1), limits.binding);
        let few = whole.plan.grid[0] * whole.plan.grid[1] < machine(limits).processors;
        let longest = product.k / (LEAST_STRIPS * tile(variant).depth);
        let fits = move |parts: u32| {
            let bytes = 4 * u64::from(parts) * u64::from(product.m) * u64::from(product.n);
            let alone = parts == 1 && !whole.is_cooperative();
            alone || (parts == 1 || few && parts <= longest) && bytes <= binding
        };
        PARTS.into_iter().filter(move |parts| fits(*parts)).map(move |parts| product.split(variant, parts))
    }

    /// The seconds that a way is estimated to take, from one launch to the next. Each processor has its share of the workgroups, and
    /// needs for their strips as long as the arithmetic takes, or as long as the loads take of the workgroups that it holds at
    /// once, whichever is longer. Sums in parts need a second launch. So do those of cooperative matrices, unless c is F32; here
    /// it is assumed that they always do.
    fn seconds(&self, split: &Split, limits: &Limits) -> f64 {
        let Machine { processors, rate, threads, strip, launch, bandwidth } = *machine(limits);
        let tile = tile(split.plan.variant);
        let [columns, rows, parts] = split.plan.grid.map(u64::from);
        let turns = (columns * rows * parts).div_ceil(processors.into());
        let at_once = u64::from((threads / tile.threads).max(1));
        let arithmetic = f64::from(tile.threads) * (tile.multiplications / tile.speed + tile.loading) / rate;
        let strips = f64::from(split.depth.div_ceil(tile.depth));
        let product = strips * (turns as f64 * arithmetic).max(turns.div_ceil(at_once) as f64 * strip);
        if parts == 1 && !split.is_cooperative() {
            return product;
        }
        let bytes = 4 * (2 * parts + 1) * u64::from(self.m) * u64::from(self.n);
        product + launch + bytes as f64 / bandwidth
    }

    /// What [`plans`](crate::plans) know it by, all that its speed depends on: the sizes, whether a factor or the product is stored
    /// in half precision, whether c is added to and has biases, which factors are dense along their rows, and whether there are
    /// variants for it that load fours, or cooperative matrices.
    pub fn site(&self, half: bool, limits: &Limits) -> Site {
        let dense = u32::from(self.a_col == 1) + 2 * u32::from(self.b_col == 1);
        let fours =
            u32::from(self.suits(FEW_ROWS_OF_FOURS)) + 2 * u32::from((NN..=TN).any(|v| self.suits(v)));
        let cooperative = limits.cooperative && COOPERATIVE.iter().any(|v| self.suits(*v));
        Site {
            kernel: MATMUL.name,
            shape: [
                self.m,
                self.n,
                self.k,
                self.accumulate + 2 * self.biases,
                dense,
                fours + 4 * u32::from(cooperative),
            ],
            half,
        }
    }

    /// All ways that a device allows.
    pub fn ways(&self, limits: &Limits) -> Vec<Split> {
        self.estimates(limits).into_iter().map(|(split, _)| split).collect()
    }

    /// All ways that a device allows, with the seconds that each is estimated to take.
    pub fn estimates(&self, limits: &Limits) -> Vec<(Split, f64)> {
        let allowed = |variant: &usize| limits.allow(&MATMUL.variants[*variant]);
        let splits = |variant| self.splits(variant, limits);
        let splits = self.candidates().filter(allowed).flat_map(splits);
        splits.map(|split| (split, self.seconds(&split, limits))).collect()
    }

    /// A plan for each variant that can compute it, with its own depth.
    pub fn plans(&self) -> Vec<Plan> {
        let suitable = (0..MATMUL.variants.len()).filter(|variant| self.suits(*variant));
        let plan = |variant| {
            let Plan { kernel, variant, grid: [x, y, _] } = self.split(variant, 1).plan;
            Plan { kernel, variant, grid: [x, y, self.parts()] }
        };
        suitable.map(plan).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{COOPERATIVE, LEAST, SUBGROUP};

    /// a [m, k] times b [k, n], both dense along their rows.
    fn product(m: u32, n: u32, k: u32) -> Matmul {
        Matmul { m, n, k, depth: k, a_row: k, a_col: 1, b_row: n, b_col: 1, ..Matmul::default() }
    }

    fn chosen(p: &Matmul, limits: &Limits) -> String {
        plan(p, limits).name()
    }

    #[test]
    fn large_products_take_large_tiles_and_few_elements_many_parts() {
        let gpu = LEAST;
        assert_eq!(chosen(&product(4096, 4096, 4096), &gpu), "tile 128 of fours");
        assert_eq!(chosen(&product(4097, 4095, 4096), &gpu), "tile 128");
        assert_eq!(chosen(&product(1, 4096, 1024), &gpu), "few rows of fours");
        assert!(chosen(&product(1024, 256, 16_384), &gpu).ends_with(" parts"));
        assert_eq!(chosen(&product(64, 128, 40), &gpu), "tile 32 of fours");
        assert_eq!(chosen(&product(4096, 4096, 4096), &COOPERATIVE), "cooperative 64");
        assert_eq!(chosen(&product(4096, 4080, 4096), &COOPERATIVE), "tile 128 of fours");
        let software = Limits { processor: Processor::Software, ..SUBGROUP };
        assert_eq!(chosen(&product(1024, 1024, 1024), &software), "subgroup NN");
        assert_eq!(chosen(&product(1023, 1023, 1023), &software), "subgroup");
    }

    #[test]
    fn every_part_has_work_and_what_is_chosen_is_among_the_ways() {
        let sizes = [0, 1, 4, 5, 8, 40, 100, 1024, 32_768];
        for processor in [Processor::Gpu, Processor::Software] {
            for limits in [LEAST, SUBGROUP, COOPERATIVE].map(|limits| Limits { processor, ..limits }) {
                for (m, n) in sizes.iter().flat_map(|m| sizes.map(|n| (*m, n))) {
                    for k in sizes {
                        let p = product(m, n, k);
                        let ways = p.ways(&limits);
                        let names: std::collections::BTreeSet<String> = ways.iter().map(Way::name).collect();
                        assert_eq!(names.len(), ways.len(), "a plan names one way");
                        assert!(names.contains(&chosen(&p, &limits)), "{p:?}");
                        let cooperative = ways.iter().any(Split::is_cooperative);
                        let whole = [m, n, k].iter().all(|size| [1024, 32_768].contains(size));
                        // What they give may have to wait in F32.
                        let fits = 4 * u64::from(m) * u64::from(n) <= limits.binding;
                        assert_eq!(cooperative, limits.cooperative && whole && fits, "{p:?}");
                        for way in ways {
                            let parts = Matmul { depth: way.depth, ..p }.parts();
                            assert_eq!(parts, way.parts());
                            assert!(parts == 1 || way.depth.is_multiple_of(4) && way.depth * (parts - 1) < k);
                            let bytes = 4 * u64::from(parts) * u64::from(m) * u64::from(n);
                            assert!(parts == 1 || bytes <= limits.binding);
                        }
                    }
                }
            }
        }
    }
}
