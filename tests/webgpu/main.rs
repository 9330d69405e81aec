//! Every kernel of the table in a second implementation of WebGPU: Chromium's, whose compiler (Tint) shares nothing with
//! naga, on the software adapter that it brings. The shaders are the portable ones: WebGPU's default limits, no optional
//! feature, parameters in a uniform buffer.

mod browser;
#[path = "../common/chromium.rs"]
mod chromium;
mod ladder;

use std::collections::BTreeSet;

use bptt::cpu::bias_add::BIAS_ADD;
use bptt::cpu::halves;
use bptt::cpu::matmul::MATMUL;
use bptt::cpu::scale::SCALE;
use bptt::cpu::sigmoid::SIGMOID;
use bptt::cpu::softmax::SOFTMAX;
use bptt::device::Values;
use bptt::kernel::{Access, Dtype, Form, Kernel, LEAST, ParamSpace, Plan};
use bptt::verify::{Case, GUARD, Row, Size, TABLE, compare, expected};
use browser::{Browser, Message};
use serde_json::{Value, json};

/// Cases for each kernel and variant, of each size and type of reals in turn; the environment variable PROPTEST_CASES asks for more.
const CASES: u64 = 3 * Size::ALL.len() as u64;

fn cases() -> u64 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES).max(CASES)
}

/// The shader as a device with nothing optional compiles it.
fn portable(case: &Case, plan: &Plan) -> String {
    let form = Form { space: ParamSpace::Uniform, storage: case.storage, native: false };
    plan.kernel.wgsl(plan.variant, &form).unwrap()
}

/// A launch that has the page run `wgsl` on the values of a case.
fn launch(case: &Case, plan: &Plan, wgsl: &str) -> Message {
    let args = plan.kernel.args;
    let contents: Vec<Option<Vec<u8>>> = case
        .values
        .iter()
        .zip(case.storage)
        .map(|(value, dtype)| {
            Some(match value.guarded(dtype)? {
                Values::I32(x) => bytemuck::cast_slice(&x).to_vec(),
                reals if dtype.is_half() => {
                    let reals = reals.f32();
                    let mut halves = vec![0; reals.len().next_multiple_of(2)];
                    halves::pack(dtype, &reals, &mut halves[..reals.len()]);
                    bytemuck::cast_slice(&halves).to_vec()
                }
                reals => bytemuck::cast_slice(&reals.f32()).to_vec(),
            })
        })
        .collect();
    let head = json!({
        "wgsl": wgsl,
        "read_only": args.iter().map(|arg| arg.access == Access::Read).collect::<Vec<_>>(),
        "bytes": contents.iter().map(|bytes| bytes.as_ref().map(Vec::len)).collect::<Vec<_>>(),
        "guards": case.storage.map(|dtype| GUARD * dtype.size()),
        "params": case.params,
        "grid": plan.grid,
    });
    Message { head, buffers: contents.into_iter().flatten().flatten().collect() }
}

/// The arguments behind a launch, as the page sends them.
fn values(case: &Case, mut buffers: &[u8]) -> Vec<Values> {
    let arguments = case.values.iter().zip(case.storage).map(|(value, dtype)| {
        let len = value.guarded(dtype).map_or(0, |_| value.len() + 2 * GUARD);
        let (bytes, rest) = buffers.split_at((len * dtype.size()).next_multiple_of(4));
        buffers = rest;
        match dtype {
            Dtype::F32 if len > 0 => Values::F32(bytemuck::pod_collect_to_vec(bytes)),
            Dtype::F16 | Dtype::BF16 => {
                let halves: Vec<u16> = bytemuck::pod_collect_to_vec(bytes);
                Values::F32(halves::unpacked(dtype, &halves[..len]))
            }
            _ => Values::I32(bytemuck::pod_collect_to_vec(bytes)),
        }
    });
    arguments.collect()
}

/// Whether a launch does anything: a device does not begin one that writes nothing.
fn writes(case: &Case, plan: &Plan) -> bool {
    case.values
        .iter()
        .zip(plan.kernel.args)
        .any(|(value, arg)| arg.access != Access::Read && !value.is_empty())
}

/// Runs `wgsl` in the browser as the shader of a plan: what is wrong with it, if anything is.
fn fault(browser: &Browser, case: &Case, plan: &Plan, wgsl: &str) -> Option<String> {
    let name = format!("{:?} ({})", plan.kernel, plan.kernel.variants[plan.variant].name);
    let Message { head, buffers } = browser.run(launch(case, plan, wgsl));
    for said in ["messages", "errors"] {
        if !head[said].as_array().expect("the page sends lists").is_empty() {
            return Some(format!("{name}: {said}: {}", head[said]));
        }
    }
    let report = compare(case, plan, values(case, &buffers), &expected(case).unwrap());
    (!report.passed()).then(|| report.to_string())
}

#[test]
fn every_portable_variant_agrees_with_the_twins_in_a_browser() {
    let (browser, about) = Browser::start();
    let (mut failures, mut shaders, mut launches) = (Vec::new(), 0, 0);
    for row in TABLE {
        for variant in (0..row.kernel.variants.len()).filter(|i| LEAST.allow(&row.kernel.variants[*i])) {
            let mut ran = false;
            let dtypes = Dtype::FLOATS.into_iter().cycle();
            for ((size, seed), dtype) in Size::ALL.into_iter().cycle().zip(0..cases()).zip(dtypes) {
                let case = case_of(row, variant, size, seed).stored(dtype);
                for plan in case.plans.iter().filter(|plan| plan.variant == variant && writes(&case, plan)) {
                    failures.extend(fault(&browser, &case, plan, &portable(&case, plan)));
                    (ran, launches) = (true, launches + 1);
                }
            }
            assert!(ran, "{row:?}: no case runs variant {variant}");
            shaders += 1;
        }
    }
    println!("{}: {shaders} shaders in {launches} launches, {} wrong", about["adapter"], failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_ladders_shaders_agree_with_their_twins_in_a_browser() {
    let (browser, _) = Browser::start();
    for case in ladder::cases() {
        for plan in &case.plans {
            assert_eq!(fault(&browser, &case, plan, &portable(&case, plan)), None);
        }
    }
}

/// The first case from `seed` on that can run a variant and writes anything, where one is near.
fn case_of(row: &Row, variant: usize, size: Size, seed: u64) -> Case {
    let mut cases = (0..16).map(|i| row.case(1000 * seed + i, size));
    let runs = |case: &Case| case.plans.iter().any(|plan| plan.variant == variant && writes(case, plan));
    cases.find(runs).unwrap_or_else(|| row.case(seed, size))
}

#[test]
fn the_browser_gives_no_more_than_webgpu_guarantees() {
    let (_browser, about) = Browser::start();
    let features: BTreeSet<&str> =
        about["features"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(features.is_subset(&BTreeSet::from(["core-features-and-limits"])), "{features:?}");
    for (limit, default) in [
        ("maxStorageBuffersPerShaderStage", 8),
        ("maxComputeInvocationsPerWorkgroup", LEAST.threads.into()),
        ("maxComputeWorkgroupSizeX", 256),
        ("maxComputeWorkgroupSizeY", 256),
        ("maxComputeWorkgroupSizeZ", 64),
        ("maxComputeWorkgroupStorageSize", LEAST.memory.into()),
        ("maxComputeWorkgroupsPerDimension", 65_535),
        ("maxStorageBufferBindingSize", LEAST.binding),
    ] {
        assert_eq!(about["limits"][limit], default, "{limit}");
    }
}

/// The tests above would see it.
#[test]
fn what_is_wrong_is_seen() {
    let (browser, _) = Browser::start();
    let row = |kernel: &'static Kernel| TABLE.iter().find(|row| row.kernel.name == kernel.name).unwrap();
    let check_seen = |kernel: &'static Kernel, from: &str, to: &str, expected: &str| {
        let case = case_of(row(kernel), 0, Size::Edge, 1);
        let plan = case.plans.iter().find(|plan| plan.variant == 0).unwrap();
        let wgsl = portable(&case, plan);
        assert_eq!(fault(&browser, &case, plan, &wgsl), None);
        assert!(wgsl.contains(from), "{kernel:?} has {from}");
        let fault = fault(&browser, &case, plan, &wgsl.replacen(from, to, 1)).unwrap_or_default();
        assert!(fault.contains(kernel.name) && fault.contains(expected), "{kernel:?} with {to}: {fault}");
    };
    // Values that are a little wrong, the wrong argument's, and what is left out.
    check_seen(&SIGMOID, "1.0 / (1.0 + exp(", "1.0 / (1.0001 + exp(", "of the limit");
    check_seen(&BIAS_ADD, "load_bias(i % columns)", "load_x(i % columns)", "of the limit");
    check_seen(&SCALE, "i < p.count / WIDE", "i + 1u < p.count / WIDE", "NaN");
    // What the compiler warns of, what it refuses, what is beyond a limit.
    check_seen(&SIGMOID, "fn is_nan(", "fn f() { return; let x = 1; }\nfn is_nan(", "unreachable");
    check_seen(&SOFTMAX, "let largest", "if index == 0u { workgroupBarrier(); }\nlet largest", "uniform");
    check_seen(&MATMUL, "2u * DEPTH * SIDE>", "5000>", "storage");
}
