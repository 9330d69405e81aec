//! Kernels that are declared outside the crate: this file is a crate of its own, as a user's program is.

mod common;

use bptt::device::Device;
use bptt::error::Error;
use bptt::kernel;
use bptt::kernel::{Kernel, Plan, Real};
use bptt::tensor::Tensor;
use common::{devices, gpu};

kernel! {
    /// `y[i] += p.a · n[i] + BIAS`, with every kind of parameter, integers, a constant and text in two pieces.
    static MIXED = mixed(Mixed { count: u32, a: f32, shift: i32 }; n: read I32, y: update F32);
    variants [{ "elements", (MIXED_WGSL) & (TERM_WGSL), [("BIAS", 3)] }]
}

const MIXED_WGSL: &str = "
@group(0) @binding(0) var<storage, read> n: array<i32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        y[i] += term(n[i]);
    }
}";

const TERM_WGSL: &str = "
fn term(n: i32) -> f32 {
    return p.a * f32(n + p.shift) + f32(BIAS);
}";

fn mixed<R: Real>(p: &Mixed, n: &[i32], y: &mut [R]) {
    for i in 0..p.count as usize {
        y[i] = y[i] + R::of(p.a.into()) * R::of((n[i] + p.shift).into()) + R::of(3.0);
    }
}

/// Public, as a library of kernels has them.
mod broken {
    use super::*;

    kernel! {
        /// Not WGSL.
        pub static SYNTAX = nothing(Syntax { count: u32 }; y: write F32);
        variants [{ "elements", ("fn main( {"), [] }]
    }
    kernel! {
        /// Writes what is declared to be read.
        pub static ACCESS = copied(Access { count: u32 }; x: read F32, y: write F32);
        variants [{ "elements", ("
            @group(0) @binding(0) var<storage, read_write> x: array<f32>;
            @group(0) @binding(1) var<storage, read_write> y: array<f32>;
            @compute @workgroup_size(GROUP)
            fn main(@builtin(global_invocation_id) id: vec3<u32>) {
                if id.x < p.count {
                    y[id.x] = x[id.x];
                    x[id.x] = 0.0;
                }
            }"), [] }]
    }

    fn nothing<R: Real>(p: &Syntax, y: &mut [R]) {
        y[..p.count as usize].fill(R::zero());
    }

    fn copied<R: Real>(p: &Access, x: &[R], y: &mut [R]) {
        y[..p.count as usize].copy_from_slice(&x[..p.count as usize]);
    }
}

fn run_mixed(device: &Device) -> Vec<f32> {
    let numbers: Vec<i32> = (-100..100).collect();
    let n = Tensor::from_i32(device, [200], &numbers).unwrap();
    assert_eq!(n.to_i32().unwrap(), numbers);
    let y = Tensor::from_f32(device, [200], &[0.25; 200]).unwrap();
    assert!(y.to_i32().is_err(), "reals are no integers");
    let params = Mixed { count: 200, a: 0.5, shift: -7 };
    device.launch(&Plan::elements(&MIXED, 200), &params, &[n.read(), y.update()]).unwrap();
    y.to_vec().unwrap()
}

#[test]
fn a_kernel_of_a_user_runs_on_every_device() {
    // Every number is a multiple of 1/4, so that no device rounds.
    let expected: Vec<f32> = (-100..100).map(|n| 0.25 + 0.5 * (n - 7) as f32 + 3.0).collect();
    for device in devices() {
        assert_eq!(run_mixed(&device), expected, "{device:?}");
    }
}

#[test]
fn kernels_of_others_keep_the_guards() {
    assert!(!MIXED.covered && !broken::SYNTAX.covered);
    assert!(bptt::verify::TABLE.iter().all(|row| row.kernel.covered));
}

#[test]
fn an_invalid_shader_is_an_error_that_names_the_kernel() {
    let device = gpu();
    let [x, y] = [(); 2].map(|()| Tensor::from_f32(device, [4], &[1.0; 4]).unwrap());
    let says = |kernel: &'static Kernel, result: Result<(), Error>| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(&format!("kernel {} (elements)", kernel.name)), "{message}");
        assert!(message.contains("its WGSL is invalid, or not what its kernel! declares"), "{message}");
        message
    };
    let plan = Plan::elements(&broken::SYNTAX, 4);
    let message = says(plan.kernel, device.launch(&plan, &broken::Syntax { count: 4 }, &[y.write()]));
    assert!(message.contains("fn main( {"), "the place is shown: {message}");
    let plan = Plan::elements(&broken::ACCESS, 4);
    says(plan.kernel, device.launch(&plan, &broken::Access { count: 4 }, &[x.read(), y.write()]));
    // The device goes on.
    assert_eq!(run_mixed(device)[0], 0.25 + 0.5 * -107.0 + 3.0);
}
