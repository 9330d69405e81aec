//! Every kernel of the table against its twin, on every kind of device, within derived limits.

use std::sync::LazyLock;

use bptt::cpu::lstm_forward::LSTM_FORWARD;
use bptt::cpu::matmul::Matmul;
use bptt::cpu::matmul_ways;
use bptt::cpu::philox;
use bptt::cpu::philox_uniform::{self, PhiloxUniform};
use bptt::cpu::recurrence::{Product, Schedule};
use bptt::cpu::threads::with_threads;
use bptt::device::{Device, GpuOptions};
use bptt::kernel::{Access, Dtype, Kernel, LEAST, Limits, MAX_ARGS, MAX_GROUPS, Plan, Processor};
use bptt::verify::conversions::{WAYS, cast_by, wrong};
use bptt::verify::{Case, GUARD, Row, Size, TABLE, Value, bits, check, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

/// The adapter of the machine, a software one included.
static GPU: LazyLock<Device> = LazyLock::new(|| gpu(&GpuOptions::default()));
/// The same adapter as the least that bptt runs on: WebGPU's limits, no immediates, naga's guards in the shaders.
static LEAST_GPU: LazyLock<Device> = LazyLock::new(|| gpu(&GpuOptions::LEAST));

fn gpu(options: &GpuOptions) -> Device {
    Device::gpu("gpu", options)
        .unwrap_or_else(|error| panic!("{error}\nscripts/test installs a software adapter"))
}

/// Cases for each kernel and variant, and those in half precision; the environment variable PROPTEST_CASES asks for more.
const CASES: u32 = 64;
const HALVED_CASES: u32 = 24;

fn config(cases: u32) -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    Config {
        cases: asked.unwrap_or(cases),
        max_shrink_iters: 64,
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

/// Runs a property of seed and size for every kernel and variant, and lists all that fail.
fn for_all(cases: u32, property: impl Fn(&Row, usize, u64, Size) -> Result<(), String>) {
    let mut failures = Vec::new();
    for row in TABLE {
        for variant in 0..row.kernel.variants.len() {
            let strategy = (any::<u64>().no_shrink(), prop::sample::select(Size::ALL.to_vec()));
            let outcome = TestRunner::new(config(cases)).run(&strategy, |(seed, size)| {
                property(row, variant, seed, size).map_err(TestCaseError::fail)
            });
            failures.extend(outcome.err().map(|error| error.to_string()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn agrees_with_the_twins(device: &Device) {
    for_all(CASES, |row, variant, seed, size| {
        agrees(device, row.kernel, variant, &row.case(seed, size).stored_for(variant))
    });
}

fn agrees(device: &Device, kernel: &Kernel, variant: usize, case: &Case) -> Result<(), String> {
    for plan in case.plans_of(variant, device) {
        match check(device, case, plan) {
            Ok(report) if report.passed() => {}
            Ok(report) => return Err(report.to_string()),
            Err(fault) => return Err(format!("{} with {case:?}: {fault}", kernel.name)),
        }
    }
    Ok(())
}

/// A case in half precision: everything in F16, or in BF16; what is read in F16 and what is written in 32 bits; the other way
/// round, with every second argument that is read in 32 bits.
fn halved(row: &Row, seed: u64, size: Size) -> Case {
    use Dtype::{BF16, F16, F32};
    let [even, odd, written] = [[F16; 3], [BF16; 3], [F16, F16, F32], [F32, F16, F16]][seed as usize % 4];
    let mut reads = [even, odd].into_iter().cycle();
    let mut dtypes = [written; MAX_ARGS];
    for (dtype, _) in dtypes.iter_mut().zip(row.kernel.args).filter(|(_, arg)| arg.access == Access::Read) {
        *dtype = reads.next().expect("a cycle has no end");
    }
    row.case(seed, size).stored_as(dtypes)
}

fn agrees_with_the_twins_in_halves(device: &Device) {
    for_all(HALVED_CASES, |row, variant, seed, size| {
        agrees(device, row.kernel, variant, &halved(row, seed, size))
    });
}

#[test]
fn the_cpu_agrees_with_the_twins() {
    agrees_with_the_twins(&Device::cpu());
}

#[test]
fn the_gpu_agrees_with_the_twins() {
    agrees_with_the_twins(&GPU);
}

#[test]
fn the_least_gpu_agrees_with_the_twins() {
    agrees_with_the_twins(&LEAST_GPU);
}

#[test]
fn the_cpu_agrees_with_the_twins_in_halves() {
    agrees_with_the_twins_in_halves(&Device::cpu());
}

#[test]
fn the_gpu_agrees_with_the_twins_in_halves() {
    agrees_with_the_twins_in_halves(&GPU);
}

#[test]
fn the_least_gpu_agrees_with_the_twins_in_halves() {
    agrees_with_the_twins_in_halves(&LEAST_GPU);
}

/// Two F16 in a word, converted by our own arithmetic, and WGSL's `f16`, converted by the driver.
#[test]
fn packed_and_native_f16_give_the_same_bits() {
    let packed = gpu(&GpuOptions { packed_f16: true, ..GpuOptions::default() });
    assert!(!packed.native_f16().unwrap());
    let wanted = |variable| std::env::var(variable).is_ok_and(|value| value == "1");
    let switched_off = ["BPTT_PACKED_F16", "BPTT_DEFAULT_LIMITS"].into_iter().any(wanted);
    let native = GPU.native_f16().unwrap();
    assert!(
        native || switched_off || !GPU.info().name.contains("llvmpipe"),
        "llvmpipe has f16, and converts well"
    );
    if !native {
        eprintln!("{:?} has no f16 to compare with, or none that is asked for", *GPU);
    }
    for row in TABLE {
        for (seed, size) in Size::ALL.into_iter().enumerate() {
            let case = row.case(seed as u64, size).stored(Dtype::F16);
            for variant in 0..row.kernel.variants.len() {
                for plan in case.plans_of(variant, &GPU) {
                    let of = |device| bits(&run(device, &case, plan).unwrap());
                    assert_eq!(of(&GPU), of(&packed), "{row:?} with {case:?}");
                }
            }
        }
    }
}

/// All numbers of 16 bits, and those of 32 bits half way between two of them with their neighbours, as the crate `half`
/// converts them.
#[test]
fn halves_are_converted_alike_everywhere() {
    let packed = gpu(&GpuOptions { packed_f16: true, ..GpuOptions::default() });
    assert!(!packed.native_f16().unwrap());
    for dtype in [Dtype::F16, Dtype::BF16] {
        for device in [&Device::cpu(), &GPU, &LEAST_GPU, &packed] {
            for (way, plan) in WAYS {
                let (_, wrong) = wrong(dtype, |from, to, x| cast_by(plan, device, from, to, x)).unwrap();
                assert_eq!(wrong, None, "{way} a thread on {device:?}");
            }
        }
    }
}

#[test]
fn the_same_launch_gives_the_same_bits() {
    for row in TABLE {
        for variant in 0..row.kernel.variants.len() {
            for (seed, size) in Size::ALL.into_iter().enumerate() {
                let case = row.case(seed as u64, size);
                for device in [&Device::cpu(), &GPU] {
                    for plan in case.plans_of(variant, device) {
                        let once = || bits(&run(device, &case, plan).unwrap());
                        assert_eq!(once(), once(), "{row:?} on {device:?} with {case:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_variant_has_cases() {
    for row in TABLE {
        for (variant, declared) in row.kernel.variants.iter().enumerate() {
            let sizes = Size::ALL.into_iter().cycle().take(200);
            let cases = sizes.enumerate().map(|(seed, size)| row.case(seed as u64, size));
            let runs = |case: Case| case.plans.iter().any(|plan| plan.variant == variant);
            let count = cases.map(runs).filter(|runs| *runs).count();
            assert!(count >= 20, "{row:?}: {count} cases of 200 run {}", declared.name);
        }
    }
}

#[test]
fn plans_keep_to_what_devices_offer() {
    let processors = [Processor::Gpu, Processor::Software, Processor::Cpu];
    let sizes = [0, 1, 3, 4, 7, 8, 16, 31, 32, 33, 256, 1024, 20_000];
    for processor in processors {
        for subgroup in [0, 8, 16, 32, 64] {
            for cooperative in [false, true] {
                let limits = Limits { processor, subgroup, cooperative, ..LEAST };
                let allowed = |plan: &Plan| {
                    let variant = &plan.kernel.variants[plan.variant];
                    assert!(limits.allow(variant), "{plan:?} on {limits:?}");
                    assert!(plan.grid.iter().all(|groups| (1..=MAX_GROUPS).contains(groups)), "{plan:?}");
                };
                for (m, n) in sizes.iter().flat_map(|m| sizes.map(|n| (*m, n))) {
                    let strides = Matmul { a_row: n, a_col: 1, b_row: n, b_col: 1, ..Matmul::default() };
                    let dense = Matmul { m, n, k: n, depth: n, ..strides };
                    allowed(&matmul_ways::plan(&dense, &limits).plan);
                    dense.ways(&limits).iter().for_each(|way| allowed(&way.plan));
                    let product = Product { batch: m, hidden: n, columns: 4, inner: n, chains: 1 + m % 3 };
                    for steps in [1, 2, 1000] {
                        let Schedule { plan, steps: at_once } =
                            product.schedule(&LSTM_FORWARD, steps, &limits);
                        allowed(&plan);
                        assert!((1..=steps).contains(&at_once), "{at_once} of {steps} steps in {plan:?}");
                        // A launch of several steps needs each row to be one workgroup's.
                        assert!(at_once == 1 || plan.grid[0] == 1, "{at_once} steps in {plan:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let cpu = Device::cpu();
    for row in TABLE {
        for (seed, size) in Size::ALL.into_iter().cycle().take(4 * Size::ALL.len()).enumerate() {
            let case = row.case(seed as u64, size);
            let plan = &case.plans[0];
            let with = |threads| with_threads(threads, || bits(&run(&cpu, &case, plan).unwrap()));
            let alone = with(1);
            for threads in [2, 3, 16] {
                assert_eq!(with(threads), alone, "{row:?} on {threads} threads with {case:?}");
            }
        }
    }
}

#[test]
fn random_numbers_have_the_same_bits_everywhere() {
    let (seed, stream, count) = (0x0123_4567_89ab_cdef_u64, 5, 1001);
    let (seed_low, seed_high) = (seed as u32, (seed >> 32) as u32);
    let p = PhiloxUniform { count, seed_low, seed_high, stream, low: 0.0, high: 1.0 };
    let expected: Vec<f32> = (0..u64::from(count)).map(|i| philox::uniform(seed, stream, i)).collect();
    for device in [&Device::cpu(), &GPU, &LEAST_GPU] {
        let case = Case::new(p, vec![philox_uniform::plan(&p)], vec![Value::Output(count as usize)]);
        let got = run(device, &case, &case.plans[0]).unwrap().remove(0).f32();
        assert_eq!(got[GUARD..][..count as usize], expected, "on {device:?}");
    }
}

#[test]
fn every_shader_belongs_to_a_kernel_of_the_table() {
    let text = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
    };
    let appended = ["common.wgsl", "f16.wgsl", "bf16.wgsl"];
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders")).unwrap();
    for (file, wgsl) in folder.map(text).filter(|(file, _)| !appended.contains(&&**file)) {
        let mut variants = TABLE.iter().flat_map(|row| row.kernel.variants);
        assert!(
            variants.any(|variant| variant.wgsl.contains(&&*wgsl)),
            "{file} belongs to no kernel in verify::TABLE"
        );
    }
    for row in TABLE {
        let times = TABLE.iter().filter(|other| other.kernel.name == row.kernel.name).count();
        assert_eq!(times, 1, "{row:?} is in the table");
    }
}
