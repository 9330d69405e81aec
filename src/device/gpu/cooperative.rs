//! Whether an adapter multiplies cooperative matrices as the kernels count on. The feature is wgpu's youngest, and what an
//! adapter lists was never run by us: products of many kinds are compared with the reference before any result depends on
//! them.

use std::fmt::Write;

use half::f16;

use crate::cpu::matmul::{MATMUL, Matmul};
use crate::cpu::philox;
use crate::cpu::real::Bounded;
use crate::device::{Arg, Checked, Device, Host};
use crate::error::Result;
use crate::kernel::{Access, Dtype, Plan, Slot};

/// How often each product is made: all results must have the same bits.
const TIMES: usize = 3;
/// What c holds before: nothing may stay of it.
const POISON: f32 = -24_576.0;
/// Numbers behind the end of c, of which all must stay.
const GUARD: usize = 256;

/// What the factors hold.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fill {
    Ordinary,
    /// As large as F16 can hold them.
    Huge,
    /// Too small for a normal number.
    Tiny,
    /// Of all magnitudes.
    Wide,
    /// Infinities and NaN among ordinary ones.
    NotFinite,
}

/// A product to be tried.
#[derive(Debug)]
struct Product {
    plan: Plan,
    params: Matmul,
    fill: Fill,
    a: Vec<f32>,
    b: Vec<f32>,
    biases: [Vec<f32>; 2],
}

/// Products by all variants for cooperative matrices, in all arrangements and of all kinds of numbers.
fn products() -> impl Iterator<Item = Product> {
    let variants = (0..MATMUL.variants.len()).filter(|at| MATMUL.variants[*at].needs.cooperative);
    variants.flat_map(|variant| {
        let fills = [Fill::Ordinary, Fill::Huge, Fill::Tiny, Fill::Wide, Fill::NotFinite];
        let kinds = (0..4).flat_map(move |arrangement| fills.map(|fill| (arrangement, fill)));
        kinds.enumerate().map(move |(number, (arrangement, fill))| {
            // Tiles down and across, k, parts.
            let sizes = [[1, 1, 16, 1], [2, 1, 144, 3], [1, 3, 256, 1], [3, 2, 80, 1]][number % 4];
            Product::new(variant, sizes, arrangement, fill, number as u32)
        })
    })
}

/// A matrix [rows, cols] by rows, or by columns, with padding and offset of so many numbers, all of them NaN: strides and
/// the buffer.
fn placed(
    [rows, cols]: [u32; 2],
    by_columns: bool,
    padding: u32,
    value: impl Fn(u32, u32) -> f32,
) -> ([u32; 2], Vec<f32>) {
    let (strides, lines) = if by_columns { ([1, rows + padding], cols) } else { ([cols + padding, 1], rows) };
    let mut all = vec![f32::NAN; (padding + lines * strides[0].max(strides[1])) as usize];
    for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
        all[(padding + row * strides[0] + col * strides[1]) as usize] = value(row, col);
    }
    (strides, all)
}

impl Product {
    fn new(variant: usize, sizes: [u32; 4], arrangement: u32, fill: Fill, seed: u32) -> Product {
        let side = 16 * MATMUL.variants[variant].constant("SIDE");
        let [m, n, k, parts] = [side * sizes[0], side * sizes[1], sizes[2], sizes[3]];
        let depth = (k / parts).next_multiple_of(16);
        let padding = 16 * (seed % 3);
        // In [-1, 1).
        let uniform =
            |stream: u32, i: u32| 2.0 * philox::uniform(u64::from(seed), stream, u64::from(i)) - 1.0;
        let number = |stream: u32, i: u32| {
            let u = uniform(stream, i);
            let scaled = match fill {
                Fill::Ordinary | Fill::NotFinite => 2.0 * u,
                Fill::Huge => 65_504.0 * u,
                Fill::Tiny => u * 2f32.powi(-14),
                Fill::Wide => u * 2f32.powf(14.0 * uniform(stream + 8, i)),
            };
            f16::from_f32(scaled).to_f32()
        };
        let not_finite = |row: u32, col: u32, places: [(u32, u32, f32); 2]| {
            let place = places.into_iter().find(|place| (place.0, place.1) == (row, col));
            place.filter(|_| fill == Fill::NotFinite).map(|place| place.2)
        };
        let ([a_row, a_col], a) = placed([m, k], arrangement & 1 == 1, padding, |i, at| {
            not_finite(i, at, [(3, 5, f32::INFINITY), (17, 0, f32::NAN)])
                .unwrap_or_else(|| number(0, i * k + at))
        });
        let ([b_row, b_col], b) = placed([k, n], arrangement & 2 == 2, padding, |at, j| {
            not_finite(at, j, [(9, 21, f32::NEG_INFINITY), (15, 31, f32::INFINITY)])
                .unwrap_or_else(|| number(1, at * n + j))
        });
        let biases = [2, 3].map(|stream| (0..n).map(|j| number(stream, j)).collect());
        let params = Matmul {
            m,
            n,
            k,
            depth,
            a_offset: padding,
            a_row,
            a_col,
            b_offset: padding,
            b_row,
            b_col,
            biases: seed % 3,
            accumulate: 0,
        };
        let plan = Plan { kernel: &MATMUL, variant, grid: [n / side, m / side, params.parts()] };
        Product { plan, params, fill, a, b, biases }
    }

    /// Elements of c.
    fn count(&self) -> usize {
        (self.params.parts() * self.params.m * self.params.n) as usize
    }

    /// What c, with its guard, is to hold, and how far it may be off.
    fn expected(&self) -> Vec<Bounded> {
        let wide =
            |x: &[f32]| x.iter().map(|x| Bounded { value: f64::from(*x), error: 0.0 }).collect::<Vec<_>>();
        let [a, b, bias, bias_2] = [&self.a, &self.b, &self.biases[0], &self.biases[1]].map(|x| wide(x));
        let mut c = wide(&vec![POISON; self.count() + GUARD]);
        let mut slots = [&a, &b, &bias, &bias_2].map(|x| Slot::Read(x)).into_iter();
        let [a, b, bias, bias_2] = std::array::from_fn(|_| slots.next().expect("there are four"));
        let written = Slot::Write(&mut c, Dtype::F32);
        (MATMUL.bounded)(bytemuck::bytes_of(&self.params), &mut [a, b, bias, bias_2, written]);
        c
    }

    /// What c, with its guard, holds after a launch.
    fn run(
        &self,
        device: &Device,
        launch: impl Fn(&Plan, &[u8], &[Arg<'_>]) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let poison = vec![POISON; self.count() + GUARD];
        let [first, second] = &self.biases;
        let given = [(Dtype::F16, &self.a), (Dtype::F16, &self.b), (Dtype::F32, first), (Dtype::F32, second)];
        let placed = given.into_iter().chain([(Dtype::F32, &poison)]).map(|(dtype, values)| {
            let buffer = device.allocate(dtype, values.len())?;
            device.upload(buffer.view(0, values.len()), Host::F32(values)).map(|()| buffer)
        });
        let buffers = placed.collect::<Result<Vec<_>>>()?;
        let args: Vec<Arg<'_>> = buffers
            .iter()
            .zip(MATMUL.args)
            .map(|(buffer, declared)| Arg::new(buffer.view(0, buffer.len()), declared.access))
            .collect();
        debug_assert_eq!(MATMUL.args[4].access, Access::Update);
        launch(&self.plan, bytemuck::bytes_of(&self.params), &args)?;
        Ok(device.read_back(buffers[4].view(0, poison.len()))?.wait()?.f32())
    }

    /// What is wrong with a result, for a sentence.
    fn fault(&self, got: &[f32], expected: &[Bounded]) -> Option<String> {
        let right = |got: f32, Bounded { value, error }: Bounded| match value.is_finite() {
            true => error.is_finite() && (f64::from(got) - value).abs() <= error,
            false => f64::from(got) == value || got.is_nan() && value.is_nan(),
        };
        let wrong =
            (0..expected.len()).find(|at| !got.get(*at).is_some_and(|got| right(*got, expected[*at])))?;
        let (Matmul { m, n, k, .. }, Bounded { value, error }) = (self.params, expected[wrong]);
        let mut text = String::new();
        let variant = MATMUL.variants[self.plan.variant].name;
        let _ =
            write!(text, "a product [{m}, {k}] x [{k}, {n}] ({variant}, {:?}): element {wrong} ", self.fill);
        let _ = match got.get(wrong) {
            Some(got) => write!(text, "is {got:e}, expected {value:e} ± {error:.1e}"),
            None => write!(text, "is missing"),
        };
        Some(text)
    }
}

/// Has all products made, each several times, and looks for a fault.
fn check(mut run: impl FnMut(&Product) -> Result<Vec<f32>>) -> Result<Checked> {
    for product in products() {
        let expected = product.expected();
        let first = run(&product)?;
        if let Some(fault) = product.fault(&first, &expected) {
            return Ok(Err(fault.into()));
        }
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for _ in 1..TIMES {
            if bits(&run(&product)?) != bits(&first) {
                return Ok(Err(format!("two launches of {:?} differ", product.params).into()));
            }
        }
    }
    Ok(Ok(()))
}

/// Tries them on a device; `launch` is its launch, without the question whether it may.
pub fn multiply_well(device: &Device, launch: impl Fn(&Plan, &[u8], &[Arg<'_>]) -> Result<()>) -> Checked {
    let found = check(|product| product.run(device, &launch));
    found.unwrap_or_else(|error| Err(format!("they cannot be tried: {error}").into()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::device::GpuOptions;

    /// Makes products on the CPU, and spoils them.
    fn spoiled(spoil: impl Fn(&Product, &mut [f32])) -> Checked {
        let device = Device::cpu();
        check(|product| {
            let mut c =
                product.run(&device, |plan, params, args| device.backend.launch(plan, params, args))?;
            spoil(product, &mut c);
            Ok(c)
        })
        .unwrap()
    }

    #[test]
    fn right_products_pass_and_each_fault_is_found() {
        assert_eq!(spoiled(|_, _| {}), Ok(()));
        let found = |says: &str, spoil: &dyn Fn(&Product, &mut [f32])| {
            let said = spoiled(spoil).unwrap_err();
            assert!(said.contains(says), "{said}");
        };
        // An element of one product only, whatever its numbers are.
        for (number, product) in products().enumerate().step_by(3) {
            let seen = Cell::new(0);
            let (at, last) = (product.count() / 2 + number, product.count() - 1);
            let runs = number * TIMES;
            let one = |spoil: &dyn Fn(&mut [f32])| {
                seen.set(0);
                spoiled(|_, c| {
                    if seen.get() == runs {
                        spoil(c);
                    }
                    seen.set(seen.get() + 1);
                })
            };
            let wrong = |outcome: Checked| assert!(outcome.unwrap_err().contains("element"), "{product:?}");
            wrong(one(&|c| c[last] = POISON));
            wrong(one(&|c| c[at] = if c[at].is_nan() { 0.0 } else { f32::NAN }));
            wrong(one(&|c| c[last + 1] = 0.0));
            if number == 0 {
                wrong(one(&|c| c.swap(1, 2)));
                wrong(one(&|c| c[at] *= 1.001));
            }
        }
        found("NotFinite", &|product, c| {
            let inside = &mut c[..product.count()];
            inside.iter_mut().filter(|x| x.is_infinite()).for_each(|x| *x = f32::MAX);
        });
        found("Tiny", &|_, c| c.iter_mut().filter(|x| x.abs() < 1e-9).for_each(|x| *x = 0.0));
        let times = Cell::new(0);
        found("two launches", &|product, c| {
            times.set(times.get() + 1);
            if times.get() % TIMES == 0 && product.fill == Fill::Wide {
                c[7] = f32::from_bits(c[7].to_bits() ^ 1);
            }
        });
    }

    #[test]
    fn a_gpu_can_be_tried() {
        // By the way for any product, since this adapter may have no cooperative matrices.
        let device = Device::gpu("gpu", &GpuOptions::default()).unwrap();
        let tile = MATMUL.variants.iter().position(|variant| variant.name == "tile 64").unwrap();
        let by_tiles = |plan: &Plan, params: &[u8], args: &[Arg<'_>]| {
            device.backend.launch(&Plan { variant: tile, ..*plan }, params, args)
        };
        assert_eq!(multiply_well(&device, by_tiles), Ok(()));
        let nothing = |_: &Plan, _: &[u8], _: &[Arg<'_>]| Ok(());
        assert!(multiply_well(&device, nothing).unwrap_err().contains("element 0"));
    }

    #[test]
    fn where_the_driver_refuses_other_kernels_multiply() {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        let mut gpu = super::super::Gpu::open(&adapters[0], &GpuOptions::default()).unwrap();
        if gpu.limits.cooperative {
            return; // it does not refuse
        }
        // As if the adapter listed them: then the first shader does not compile.
        gpu.limits.cooperative = true;
        gpu.limits.subgroup = 32;
        gpu.cooperative = Default::default();
        let device = Device { backend: std::sync::Arc::new(gpu) };
        let product = |device: &Device| -> Result<Vec<f32>> {
            let x: Vec<f32> = (0..64 * 64).map(|i| (i % 13) as f32 - 6.0).collect();
            let x = crate::tensor::Tensor::from_f32(device, [64, 64], &x)?.cast(Dtype::F16)?;
            let mut tape = crate::tape::Tape::without_parameters(device);
            let x = tape.constant(&x);
            let y = tape.matmul(x, x)?;
            tape.value(y)?.to_vec()
        };
        // Small whole numbers: every way gives the same.
        assert_eq!(product(&device).unwrap(), product(&Device::cpu()).unwrap());
        let said = device.cooperative_matrices().unwrap_err();
        assert!(said.contains("they cannot be tried"), "{said}");
        let variant = MATMUL.variants.iter().find(|variant| variant.needs.cooperative).unwrap();
        assert!(device.limits().allow(variant) && !device.allows(variant));
    }
}
