//! The ladder of matrix products: c [M, N] = a [M, K] · b [K, N].

use std::sync::Arc;

use bptt::kernel;
use bptt::kernel::{Limits, Plan, Processor, Real};
use bptt::prelude::*;

use super::rung::{Ladder, Launches, Rung, exact, looked_at, numbers, poisoned};

kernel! {
    /// `c[s, i, j] = Σ_k a[i, k]·b[k, j]` over the k from `s·depth` up to `(s + 1)·depth`.
    pub static PRODUCT = product(Product { m: u32, n: u32, k: u32, depth: u32 }; a: read F32, b: read F32, c: write F32);
    variants [
        { "naive", (include_str!("matmul/1_naive.wgsl")), [] },
        { "coalesced", (include_str!("matmul/2_coalesced.wgsl")), [] },
        { "tile", (include_str!("matmul/3_tile.wgsl")), [] },
        { "registers", (include_str!("matmul/4_registers.wgsl")), [] },
        { "vectors", (include_str!("matmul/5_vectors.wgsl")), [] },
    ]
}

/// The twin: what every rung computes, and how it is to be read.
fn product<R: Real>(p: &Product, a: &[R], b: &[R], c: &mut [R]) {
    let [m, n, k, depth] = [p.m, p.n, p.k, p.depth].map(|size| size as usize);
    for part in 0..p.parts() as usize {
        for i in 0..m {
            for j in 0..n {
                let ks = part * depth..k.min((part + 1) * depth);
                c[(part * m + i) * n + j] = R::sum(ks.map(|k_| a[i * k + k_] * b[k_ * n + j]));
            }
        }
    }
}

kernel! {
    /// `c[i] = Σ_s parts[s, i]`
    static ADD_PARTS = add_parts(AddParts { count: u32, parts: u32 }; parts: read F32, c: write F32);
    variants [{ "elements", (include_str!("matmul/6_add_parts.wgsl")), [] }]
}

fn add_parts<R: Real>(p: &AddParts, parts: &[R], c: &mut [R]) {
    let count = p.count as usize;
    for i in 0..count {
        c[i] = R::sum((0..p.parts as usize).map(|s| parts[s * count + i]));
    }
}

/// The variants by their place above.
#[derive(Clone, Copy)]
pub enum Way {
    Naive,
    Coalesced,
    Tile,
    Registers,
    Vectors,
}

impl Way {
    /// Rows and columns that a workgroup computes.
    fn tile(self) -> u32 {
        match self {
            Way::Naive | Way::Coalesced | Way::Tile => 16,
            Way::Registers | Way::Vectors => 64,
        }
    }

    /// Times that a number is used when it was loaded.
    fn uses(self) -> u32 {
        match self {
            Way::Naive | Way::Coalesced => 1,
            Way::Tile | Way::Registers | Way::Vectors => self.tile(),
        }
    }
}

impl Product {
    /// The product as one part.
    pub fn new([m, k, n]: [usize; 3]) -> Product {
        let [m, n, k] = [m, n, k].map(|size| size as u32);
        Product { m, n, k, depth: k }
    }

    fn parts(&self) -> u32 {
        self.k.div_ceil(self.depth)
    }

    /// The grid of a way.
    pub fn plan(&self, way: Way) -> Plan {
        let [down, across] = [self.m, self.n].map(|size| size.div_ceil(way.tile()));
        let grid = match way {
            Way::Naive => [down, across, 1], // rows lie along x
            _ => [across, down, self.parts()],
        };
        Plan { kernel: &PRODUCT, variant: way as usize, grid }
    }

    fn launch(&self, launches: &mut Launches, way: Way, [a, b, c]: [&Tensor; 3]) -> Result<()> {
        let args = [a.read(), b.read(), c.write()];
        launches.launch(&self.plan(way), self, &args, self.loads(way) + c.count())
    }

    /// Numbers that all threads together load from memory.
    fn loads(&self, way: Way) -> usize {
        let [m, n, k] = [self.m, self.n, self.k].map(|size| size as usize);
        2 * m * n * k / way.uses() as usize
    }
}

/// Depth of the parts of rung 6: as many parts as give a large GPU two workgroups for each processor, but at least two.
fn depth(whole: &Product) -> u32 {
    const WORKGROUPS: u32 = 256;
    let tile = Way::Vectors.tile();
    let parts = WORKGROUPS / (whole.m.div_ceil(tile) * whole.n.div_ceil(tile));
    whole.k.div_ceil(parts.clamp(2, 64)).next_multiple_of(16)
}

/// The factors.
struct Factors {
    sizes: [usize; 3],
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Factors {
    fn place(&self, device: &Device) -> Result<[Tensor; 2]> {
        let [m, k, n] = self.sizes;
        Ok([Tensor::from_f32(device, [m, k], &self.a)?, Tensor::from_f32(device, [k, n], &self.b)?])
    }
}

/// The ladder for sizes M, K, N.
pub fn ladder(size: Option<&[usize]>, limits: &Limits) -> Result<Ladder> {
    let default = match limits.processor {
        Processor::Cpu => [128; 3],
        Processor::Software => [512; 3],
        Processor::Gpu => [1024; 3],
    };
    let fits = |sizes: &[usize; 3]| sizes.iter().all(|n| (4..=16_384).contains(n) && n.is_multiple_of(4));
    let asked = size.map_or(Ok(default), <[usize; 3]>::try_from);
    let Some(sizes @ [m, k, n]) = asked.ok().filter(fits) else {
        let message = format!("--size {size:?}: a product takes M,K,N, multiples of 4 from 4 to 16384");
        return Err(Error::argument("ladder", message));
    };
    let factors = Factors { sizes, a: numbers(1, m * k, 1.0), b: numbers(2, k * n, 1.0) };
    let rows = looked_at(m, k * n);
    let expected = expected(&factors, rows.clone());
    let factors = Arc::new(factors);
    let one = |name, change, way: Way| {
        let factors = factors.clone();
        let prepare = move |device: &Device| -> Result<Box<super::rung::Record>> {
            let [a, b] = factors.place(device)?;
            let c = poisoned(device, [m, n])?;
            let product = Product::new(sizes);
            Ok(Box::new(move |launches| {
                product.launch(launches, way, [&a, &b, &c])?;
                Ok(vec![c.clone()])
            }))
        };
        Rung { name, change, kernels: &["product"], prepare: Box::new(prepare) }
    };
    Ok(Ladder {
        title: format!(
            "matmul: [{m}, {k}] x [{k}, {n}]; {} of {m} rows are checked, every number of them",
            rows.len()
        ),
        traffic: "loaded",
        operations: 2.0 * m as f64 * k as f64 * n as f64,
        rungs: vec![
            one("1_naive", "a thread an element, neighbours in a column", Way::Naive),
            one("2_coalesced", "neighbouring threads in a row", Way::Coalesced),
            one("3_tile", "16 x 16 tiles through workgroup memory", Way::Tile),
            one("4_registers", "64 x 64 tiles, 4 x 4 sums in each thread's registers", Way::Registers),
            one("5_vectors", "loads and multiplications by fours", Way::Vectors),
            split(&factors),
            package(&factors),
        ],
        reference: Box::new(move |_| expected.clone()),
    })
}

/// The elements of the rows that are looked at.
fn expected(
    factors: &Factors,
    rows: impl Iterator<Item = usize>,
) -> Vec<(usize, bptt::cpu::real::Bounded)> {
    let [_, k, n] = factors.sizes;
    let (a, b) = (exact(&factors.a), exact(&factors.b));
    let mut row_of_c = exact(&vec![0.0; n]);
    let mut expected = Vec::new();
    for row in rows {
        product(&Product::new([1, k, n]), &a[row * k..][..k], &b, &mut row_of_c);
        expected.extend(row_of_c.iter().enumerate().map(|(col, c)| (row * n + col, *c)));
    }
    expected
}

/// Rung 6: two launches.
fn split(factors: &Arc<Factors>) -> Rung {
    let factors = factors.clone();
    let prepare = move |device: &Device| -> Result<Box<super::rung::Record>> {
        let [a, b] = factors.place(device)?;
        let [m, _, n] = factors.sizes;
        let whole = Product::new(factors.sizes);
        let in_parts = Product { depth: depth(&whole), ..whole };
        let parts = poisoned(device, [in_parts.parts() as usize, m, n])?;
        let c = poisoned(device, [m, n])?;
        let count = c.count();
        let add = AddParts { count: count as u32, parts: in_parts.parts() };
        Ok(Box::new(move |launches| {
            in_parts.launch(launches, Way::Vectors, [&a, &b, &parts])?;
            let args = [parts.read(), c.write()];
            launches.launch(&Plan::elements(&ADD_PARTS, count), &add, &args, parts.count() + count)?;
            Ok(vec![c.clone()])
        }))
    };
    let change = "the sums over k in parts, for more workgroups";
    Rung { name: "6_split", change, kernels: &["add_parts"], prepare: Box::new(prepare) }
}

/// The last rung: what the package does.
fn package(factors: &Arc<Factors>) -> Rung {
    let factors = factors.clone();
    let prepare = move |device: &Device| -> Result<Box<super::rung::Record>> {
        let [a, b] = factors.place(device)?;
        let mut tape = Tape::without_parameters(device);
        Ok(Box::new(move |_| {
            tape.clear();
            let (a, b) = (tape.constant(&a), tape.constant(&b));
            let c = tape.matmul(a, b)?;
            Ok(vec![tape.value(c)?.clone()])
        }))
    };
    let change = "all of it, chosen by shape and adapter";
    Rung { name: "7_package", change, kernels: &["matmul", "column_sum"], prepare: Box::new(prepare) }
}
