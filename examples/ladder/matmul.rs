//! The ladder of matrix products: computes c [M, N] = a [M, K] · b [K, N].

mod kernels;

use std::sync::Arc;

use bptt::cpu::real::Bounded;
use bptt::kernel::{Limits, Plan, Processor};
use bptt::prelude::*;

use self::kernels::{ADD_PARTS, AddParts, PRODUCT, PRODUCT_IN_PARTS, Product, ProductInParts, product};
use super::rung::{Ladder, Launches, Record, Rung, exact, looked_at, numbers, poisoned};

/// The variants of `PRODUCT`, as indices in its declaration.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Naive,
    Coalesced,
    Tile,
    Registers,
}

/// Rows and columns that a workgroup of rungs 4 to 6 computes.
const TILE: usize = 64;

impl Way {
    /// Rows and columns that a workgroup computes.
    fn tile(self) -> usize {
        if self == Way::Registers { TILE } else { 16 }
    }

    /// How often a number is used once it was loaded.
    fn uses(self) -> usize {
        match self {
            Way::Naive | Way::Coalesced => 1,
            Way::Tile | Way::Registers => self.tile(),
        }
    }
}

/// M, K and N of a · b.
fn sizes(a: &Tensor, b: &Tensor) -> [usize; 3] {
    [a.shape()[0], a.shape()[1], b.shape()[1]]
}

impl Launches {
    /// c = a · b by one of rungs 1 to 4. `moved` is what it reads and writes.
    pub fn product(&mut self, way: Way, [a, b, c]: [&Tensor; 3], moved: usize) -> Result<()> {
        let [m, k, n] = sizes(a, b);
        let [down, across] = [m, n].map(|size| size.div_ceil(way.tile()) as u32);
        // In the naive kernel x counts the rows, in the others the columns.
        let grid = if way == Way::Naive { [down, across, 1] } else { [across, down, 1] };
        let plan = Plan { kernel: &PRODUCT, variant: way as usize, grid };
        let [m, k, n] = [m, k, n].map(|size| size as u32);
        self.launch(&plan, &Product { m, n, k }, &[a.read(), b.read(), c.write()], moved)
    }

    /// c = a · b by rung 5. The sums over k are made in parts of a depth, which lie one after the other in c.
    fn product_in_parts(&mut self, depth: usize, [a, b, c]: [&Tensor; 3]) -> Result<()> {
        let [m, k, n] = sizes(a, b);
        let [down, across] = [m, n].map(|size| size.div_ceil(TILE) as u32);
        let moved = 2 * m * k * n / TILE + c.count();
        let [m, k, n, depth] = [m, k, n, depth].map(|size| size as u32);
        let p = ProductInParts { m, n, k, depth };
        let plan = Plan { kernel: &PRODUCT_IN_PARTS, variant: 0, grid: [across, down, p.parts()] };
        self.launch(&plan, &p, &[a.read(), b.read(), c.write()], moved)
    }
}

/// The factors on the host.
struct Factors {
    /// M, K, N.
    sizes: [usize; 3],
    a: Vec<f32>,
    b: Vec<f32>,
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
        let size = size.unwrap_or_default();
        let message = format!("--size {size:?}: a product takes M,K,N, multiples of 4 from 4 to 16384");
        return Err(Error::argument("ladder", message));
    };
    let factors = Arc::new(Factors { sizes, a: numbers(1, m * k, 1.0), b: numbers(2, k * n, 1.0) });
    let rows = looked_at(m, k * n);
    let checked = rows.len();
    let expected = factors.expected(rows);
    let rung = |name, change, kernels, prepare: fn(&Factors, &Device) -> Result<Box<Record>>| {
        let factors = factors.clone();
        Rung { name, change, kernels, prepare: Box::new(move |device| prepare(&factors, device)) }
    };
    Ok(Ladder {
        title: format!("matmul: [{m}, {k}] x [{k}, {n}]; {checked} of {m} rows are checked"),
        traffic: "loaded",
        operations: 2.0 * m as f64 * k as f64 * n as f64,
        rungs: vec![
            rung("1_naive", "a thread an element, neighbours in a column", &["product"], |f, device| {
                f.alone(device, Way::Naive)
            }),
            rung("2_coalesced", "neighbouring threads in a row", &["product"], |f, device| {
                f.alone(device, Way::Coalesced)
            }),
            rung("3_tile", "16 x 16 tiles through workgroup memory", &["product"], |f, device| {
                f.alone(device, Way::Tile)
            }),
            rung(
                "4_registers",
                "64 x 64 tiles, 4 x 4 sums a thread in registers",
                &["product"],
                |f, device| f.alone(device, Way::Registers),
            ),
            rung("5_vectors", "loads and multiplications by fours", &["product_in_parts"], Factors::by_fours),
            rung("6_split", "sums over k in parts, for more workgroups", &["add_parts"], Factors::split),
            rung("7_package", "chosen by shape and adapter", &["matmul", "column_sum"], Factors::package),
        ],
        reference: Box::new(move |_| expected.clone()),
    })
}

impl Factors {
    /// Some rows of the product: where their elements are, and what they should be.
    fn expected(&self, rows: impl Iterator<Item = usize>) -> Vec<(usize, Bounded)> {
        let [_, depth, width] = self.sizes;
        let (a, b) = (exact(&self.a), exact(&self.b));
        let mut elements = exact(&vec![0.0; width]);
        let mut expected = Vec::new();
        for row in rows {
            let p = Product { m: 1, n: width as u32, k: depth as u32 };
            product(&p, &a[row * depth..][..depth], &b, &mut elements);
            expected.extend(elements.iter().enumerate().map(|(col, c)| (row * width + col, *c)));
        }
        expected
    }

    /// a and b.
    fn place(&self, device: &Device) -> Result<[Tensor; 2]> {
        let [m, k, n] = self.sizes;
        Ok([Tensor::from_f32(device, [m, k], &self.a)?, Tensor::from_f32(device, [k, n], &self.b)?])
    }

    /// Rungs 1 to 4: a launch.
    fn alone(&self, device: &Device, way: Way) -> Result<Box<Record>> {
        let [m, k, n] = self.sizes;
        let [a, b] = self.place(device)?;
        let c = poisoned(device, [m, n])?;
        Ok(Box::new(move |launches| {
            launches.product(way, [&a, &b, &c], 2 * m * k * n / way.uses() + m * n)?;
            Ok(vec![c.clone()])
        }))
    }

    /// Rung 5: one part.
    fn by_fours(&self, device: &Device) -> Result<Box<Record>> {
        let [m, k, n] = self.sizes;
        let [a, b] = self.place(device)?;
        let c = poisoned(device, [m, n])?;
        Ok(Box::new(move |launches| {
            launches.product_in_parts(k, [&a, &b, &c])?;
            Ok(vec![c.clone()])
        }))
    }

    /// Rung 6: so many parts that a large GPU has two workgroups for each processor, but at least two.
    fn split(&self, device: &Device) -> Result<Box<Record>> {
        const WORKGROUPS: usize = 256;
        let [m, k, n] = self.sizes;
        let [a, b] = self.place(device)?;
        let wanted = WORKGROUPS / (m.div_ceil(TILE) * n.div_ceil(TILE));
        let depth = k.div_ceil(wanted.clamp(2, 64)).next_multiple_of(16);
        let parts = poisoned(device, [k.div_ceil(depth), m, n])?;
        let c = poisoned(device, [m, n])?;
        let add = AddParts { count: c.count() as u32, parts: k.div_ceil(depth) as u32 };
        let plan = Plan::elements(&ADD_PARTS, c.count());
        Ok(Box::new(move |launches| {
            launches.product_in_parts(depth, [&a, &b, &parts])?;
            launches.launch(&plan, &add, &[parts.read(), c.write()], parts.count() + c.count())?;
            Ok(vec![c.clone()])
        }))
    }

    /// Rung 7: the operation of the package.
    fn package(&self, device: &Device) -> Result<Box<Record>> {
        let [a, b] = self.place(device)?;
        let mut tape = Tape::without_parameters(device);
        Ok(Box::new(move |_| {
            tape.clear();
            let (a, b) = (tape.constant(&a), tape.constant(&b));
            let c = tape.matmul(a, b)?;
            Ok(vec![tape.value(c)?.clone()])
        }))
    }
}
