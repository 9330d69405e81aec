//! Whether an adapter multiplies cooperative matrices (tensor cores, say) correctly. The feature is experimental in wgpu, and
//! its kernels were never run on an adapter that has it. So products of many kinds are compared with the reference before
//! any result depends on them.

use std::fmt::Write;

use half::f16;

use crate::cpu::matmul::{MATMUL, Matmul};
use crate::cpu::philox;
use crate::cpu::real::Bounded;
use crate::device::{Arg, Checked, Device, Host};
use crate::error::Result;
use crate::kernel::{Dtype, Plan, Slot};

/// How often each product is made: all results must have the same bits.
const TIMES: usize = 3;
/// What c holds before, where it is not added to: nothing of it may stay.
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
    /// What c, with its guard, holds before.
    c: Vec<f32>,
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

/// The strides and the buffer of a matrix [rows, cols], stored by rows or by columns. It begins behind `padding` numbers, and
/// as many follow each line; all of these are NaN.
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
        let padding = 16 * (seed / 3 % 3);
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
            accumulate: seed / 2 % 2,
        };
        let c = |i| if params.accumulate == 1 { number(4, i) } else { POISON };
        let c = (0..params.parts() * m * n).map(c).chain([POISON; GUARD]).collect();
        let plan = Plan { kernel: &MATMUL, variant, grid: [n / side, m / side, params.parts()] };
        Product { plan, params, fill, a, b, biases, c }
    }

    /// What c, with its guard, is to hold, and how far it may be off.
    fn expected(&self) -> Vec<Bounded> {
        let wide =
            |x: &[f32]| x.iter().map(|x| Bounded { value: f64::from(*x), error: 0.0 }).collect::<Vec<_>>();
        let [a, b, bias, bias_2] = [&self.a, &self.b, &self.biases[0], &self.biases[1]].map(|x| wide(x));
        let mut c = wide(&self.c);
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
        let [first, second] = &self.biases;
        let given = [(Dtype::F16, &self.a), (Dtype::F16, &self.b), (Dtype::F32, first), (Dtype::F32, second)];
        let placed = given.into_iter().chain([(Dtype::F32, &self.c)]).map(|(dtype, values)| {
            let buffer = device.allocate(dtype, values.len())?;
            device.upload(buffer.view(0, values.len()), Host::F32(values)).map(|()| buffer)
        });
        let buffers = placed.collect::<Result<Vec<_>>>()?;
        let args: Vec<Arg<'_>> = buffers
            .iter()
            .zip(MATMUL.args)
            .map(|(buffer, declared)| Arg::new(buffer.view(0, buffer.len()), declared.access))
            .collect();
        launch(&self.plan, bytemuck::bytes_of(&self.params), &args)?;
        Ok(device.read_back(buffers[4].view(0, self.c.len()))?.wait()?.f32())
    }

    /// What is wrong with a result, if anything, for a sentence.
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

/// Makes all products by `run`, each several times, and looks for a fault.
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

/// Tries all products on a device. `launch` launches there without asking whether the device allows the kernel, which is
/// what is to be found out.
pub fn multiply_well(device: &Device, launch: impl Fn(&Plan, &[u8], &[Arg<'_>]) -> Result<()>) -> Checked {
    let found = check(|product| product.run(device, &launch));
    found.unwrap_or_else(|error| Err(format!("they cannot be tried: {error}").into()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::{Arc, OnceLock};

    use super::*;
    use crate::device::gpu::Gpu;
    use crate::device::gpu::open::EXPERIMENTAL;
    use crate::device::gpu::pipelines::Pipelines;
    use crate::device::{DryRun, GpuOptions};
    use crate::kernel::{Limits, ParamSpace, Processor};
    use crate::tape::Tape;
    use crate::tensor::Tensor;

    fn on_the_cpu(product: &Product) -> Result<Vec<f32>> {
        let device = Device::cpu();
        product.run(&device, |plan, params, args| device.backend.launch(plan, params, args))
    }

    #[test]
    fn right_products_pass_and_each_fault_is_found() {
        let mut seen = false;
        for (number, product) in products().enumerate() {
            let (right, expected) = (on_the_cpu(&product).unwrap(), product.expected());
            assert_eq!(product.fault(&right, &expected), None);
            let last = product.c.len() - GUARD - 1;
            let at = last / 2 + 7 * number;
            let found = |at: usize, x: f32| {
                let mut c = right.clone();
                c[at] = x;
                let said =
                    product.fault(&c, &expected).unwrap_or_else(|| panic!("{x} in place of {}", right[at]));
                assert!(said.contains(&format!("element {at} is")), "{said}");
            };
            found(last, product.c[last]);
            found(last + 1, 0.0);
            found(at, if right[at].is_nan() { 0.0 } else { f32::NAN });
            if right[at].is_finite() {
                let Bounded { value, error } = expected[at];
                found(at, (value + 2.0 * error) as f32);
                found(at, f32::INFINITY);
            }
            let flushed = right.iter().map(|x| if x.abs() < 1e-9 { 0.0 } else { *x }).collect::<Vec<_>>();
            let lost = product.fault(&flushed, &expected).is_some();
            if product.fill != Fill::Tiny {
                assert!(!lost);
            } else if product.params.biases + product.params.accumulate == 0 {
                // Nothing larger is added to the sums.
                assert!(lost);
                seen = true;
            }
            let capped = right.iter().map(|x| x.clamp(f32::MIN, f32::MAX)).collect::<Vec<_>>();
            assert_eq!(product.fault(&capped, &expected).is_some(), product.fill == Fill::NotFinite);
            assert!(product.fault(&right[1..], &expected).is_some());
            assert!(product.fault(&right[..last], &expected).unwrap().contains("is missing"));
        }
        assert!(seen, "some product has tiny numbers alone");
    }

    #[test]
    fn results_that_differ_are_found() {
        assert_eq!(check(on_the_cpu).unwrap(), Ok(()));
        let times = Cell::new(0);
        let said = check(|product| {
            times.set(times.get() + 1);
            let mut c = on_the_cpu(product)?;
            if times.get() == 9 * TIMES {
                c[7] = f32::from_bits(c[7].to_bits() ^ 1);
            }
            Ok(c)
        });
        assert!(said.unwrap().unwrap_err().contains("differ"));
    }

    #[test]
    fn a_gpu_can_be_tried() {
        // By another variant, since this adapter may have no cooperative matrices.
        let device = Device::gpu("gpu", &GpuOptions::default()).unwrap();
        let tile = MATMUL.variants.iter().position(|variant| variant.name == "tile 64").unwrap();
        let by_tiles = |plan: &Plan, params: &[u8], args: &[Arg<'_>]| {
            device.backend.launch(&Plan { variant: tile, ..*plan }, params, args)
        };
        assert_eq!(multiply_well(&device, by_tiles), Ok(()));
        let nothing = |_: &Plan, _: &[u8], _: &[Arg<'_>]| Ok(());
        assert!(multiply_well(&device, nothing).unwrap_err().contains("element 0"));
    }

    /// This adapter as if it listed cooperative matrices; `None` where it does.
    fn listing(change: impl FnOnce(&mut Gpu)) -> Option<Device> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        let mut gpu = Gpu::open(&adapters[0], &GpuOptions::default()).unwrap();
        if gpu.limits.cooperative {
            return None;
        }
        gpu.limits = Limits { processor: Processor::Gpu, subgroup: 32, cooperative: true, ..gpu.limits };
        gpu.cooperative = OnceLock::new();
        change(&mut gpu);
        Some(Device { backend: Arc::new(gpu) })
    }

    #[test]
    fn where_the_driver_refuses_other_kernels_multiply() {
        let Some(device) = listing(|gpu| gpu.native_f16 = OnceLock::from(true)) else { return };
        // The first shader does not compile.
        let said = device.cooperative_matrices().unwrap_err();
        assert!(said.contains("they cannot be tried: GPU fault: "), "{said}");
        let Some(device) = listing(|_| {}) else { return };
        let product = |device: &Device| -> Result<Vec<f32>> {
            let x: Vec<f32> = (0..64 * 64).map(|i| (i % 13) as f32 - 6.0).collect();
            let x = Tensor::from_f32(device, [64, 64], &x)?.cast(Dtype::F16)?;
            let mut tape = Tape::without_parameters(device);
            let x = tape.constant(&x);
            let y = tape.matmul(x, x)?;
            tape.value(y)?.to_vec()
        };
        // Small whole numbers: every way gives the same.
        assert_eq!(product(&device).unwrap(), product(&Device::cpu()).unwrap());
        let variant = MATMUL.variants.iter().find(|variant| variant.needs.cooperative).unwrap();
        assert!(device.limits().allow(variant) && !device.allows(variant));
    }

    #[test]
    fn products_are_launched_with_the_types_that_matrices_take() {
        let Some(device) = listing(|gpu| gpu.cooperative = OnceLock::from(Ok(()))) else { return };
        let launches = |dtype: Dtype, size: usize| {
            // The launches are checked, and not made.
            let dry = DryRun::of(&device).device();
            let tensor =
                |dims: &[usize]| Tensor::from_f32(&dry, dims, &vec![0.0; dims.iter().product()]).unwrap();
            let mut tape = Tape::without_parameters(&dry);
            let [x, w, bias] = [tensor(&[size, size]), tensor(&[size, size]), tensor(&[size])]
                .map(|tensor| tape.constant(&tensor.cast(dtype).unwrap()));
            let before = dry.stats().dispatches;
            tape.linear(x, w, Some(bias)).unwrap();
            dry.stats().dispatches - before
        };
        // The bias in F32, the product, and its rounding to F16.
        assert_eq!((launches(Dtype::F16, 512), launches(Dtype::F16, 500)), (3, 1));
        assert_eq!((launches(Dtype::F32, 512), launches(Dtype::BF16, 512)), (1, 1));
        let wrong = listing(|gpu| gpu.cooperative = OnceLock::from(Err("wrong".into())));
        let Some(device) = wrong else { return };
        assert!(!device.is_cooperative());
        assert_eq!(device.cooperative_matrices(), Err("wrong".into()));
    }

    /// An adapter that runs nothing, but refuses what its features do not allow.
    fn noop(features: wgpu::Features) -> wgpu::Device {
        let noop =
            wgpu::NoopBackendOptions { features: Some(features), ..wgpu::NoopBackendOptions::enabled() };
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            backend_options: wgpu::BackendOptions { noop, ..Default::default() },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
        let descriptor = wgpu::DeviceDescriptor {
            required_features: features,
            experimental_features: EXPERIMENTAL,
            ..Default::default()
        };
        pollster::block_on(adapter.request_device(&descriptor)).unwrap().0
    }

    #[test]
    fn pipelines_are_made_with_the_feature_alone() {
        let needed = wgpu::Features::SHADER_F16 | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let without = needed.iter().map(|feature| needed - feature);
        for features in without.chain([needed]) {
            for trusted in [false, true] {
                let mut pipelines = Pipelines::new(&noop(features), ParamSpace::Uniform, trusted);
                for Product { plan, .. } in products().step_by(products().count() / 2) {
                    let made = pipelines.get(&plan, MATMUL.widest_of(plan.variant), || Ok(true));
                    assert_eq!(made.is_ok(), features == needed, "{features:?}: {:?}", made.err());
                }
            }
        }
    }
}
