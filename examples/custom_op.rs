//! An operation of one's own, defined outside the crate: its kernels in WGSL, their twins for the CPU, its gradient, checks that
//! all of these agree, and a network trained with it.
//!
//!     cargo run --release --example custom_op
//!
//! The operation is a leaky integrator, the unit of echo state networks (Jaeger and others 2007, Neural Networks 20):
//!
//!     y = (1 - rate)·h + rate·tanh(u)
//!
//! With a small rate the state h changes slowly, so that the unit remembers for about 1 / rate steps by construction.

use bptt::kernel;
use bptt::kernel::{Dtype, Plan, Real};
use bptt::prelude::*;
use bptt::verify::gradients::{Computation, compare, gradient_check};

// A kernel is a shader and its twin, a plain function that computes the same. The declaration says what both have: the
// parameters, which the shader reads as `p.count` and `p.rate`, and the buffers, in the order of the shader's bindings.
// A package would keep its shaders in files such as `shaders/leak.wgsl`, and write "leak.wgsl" in place of (LEAK_WGSL).
kernel! {
    /// `y[i] = (1 - rate)·h[i] + rate·tanh(u[i])`
    static LEAK = leak(Leak { count: u32, rate: f32 }; h: read F32, u: read F32, y: write F32);
    variants [{ "elements", (LEAK_WGSL), [] }]
}

// The text is completed with GROUP, the functions of shaders/common.wgsl and the parameters `p`. `tanh_rational` replaces the
// builtin tanh, which some drivers get wrong for large arguments. Each thread loops over the grid, so that any size works.
const LEAK_WGSL: &str = "
@group(0) @binding(0) var<storage, read> h: array<f32>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        y[i] = (1.0 - p.rate) * h[i] + p.rate * tanh_rational(u[i]);
    }
}";

/// The twin, generic over the type of numbers. It runs in f32 on the CPU device, in f64 for finite differences, and with numbers
/// that carry the error which a correct GPU may make.
fn leak<R: Real>(p: &Leak, h: &[R], u: &[R], y: &mut [R]) {
    let (keep, rate) = (R::of(1.0) - R::of(p.rate.into()), R::of(p.rate.into()));
    for i in 0..p.count as usize {
        y[i] = keep * h[i] + rate * u[i].tanh();
    }
}

kernel! {
    /// `dh[i] = (1 - rate)·dy[i]`, `du[i] = rate·(1 - tanh²(u[i]))·dy[i]`
    static LEAK_BACKWARD = leak_backward(LeakBackward { count: u32, rate: f32 };
        u: read F32, dy: read F32, dh: write F32, du: write F32);
    variants [{ "elements", (LEAK_BACKWARD_WGSL), [] }]
}

const LEAK_BACKWARD_WGSL: &str = "
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dh: array<f32>;
@group(0) @binding(3) var<storage, read_write> du: array<f32>;

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        let t = tanh_rational(u[i]);
        dh[i] = (1.0 - p.rate) * dy[i];
        du[i] = p.rate * (1.0 - t * t) * dy[i];
    }
}";

fn leak_backward<R: Real>(p: &LeakBackward, u: &[R], dy: &[R], dh: &mut [R], du: &mut [R]) {
    let (keep, rate) = (R::of(1.0) - R::of(p.rate.into()), R::of(p.rate.into()));
    for i in 0..p.count as usize {
        let t = u[i].tanh();
        dh[i] = keep * dy[i];
        du[i] = rate * (R::of(1.0) - t * t) * dy[i];
    }
}

/// The operation as a method of the tape, beside those that come with it.
trait LeakOp {
    fn leak(&mut self, h: Var, u: Var, rate: f32) -> Result<Var>;
}

impl LeakOp for Tape {
    fn leak(&mut self, h: Var, u: Var, rate: f32) -> Result<Var> {
        let (state, input) = (self.value(h)?.clone(), self.value(u)?.clone());
        // Kernels trust the sizes that they are given. So mistakes of a caller are found here; the error names the operation.
        if state.shape() != input.shape() {
            let message = format!("h is {:?}, u is {:?}", state.shape(), input.shape());
            return Err(Error::argument("leak", message));
        }
        let (device, count) = (self.device().clone(), input.count());
        let y = Tensor::empty(&device, Dtype::F32, input.shape())?;
        let params = Leak { count: count as u32, rate };
        device.launch(&Plan::elements(&LEAK, count), &params, &[state.read(), input.read(), y.write()])?;
        // A node of the tape: its name, its inputs, its result, and the backward rule, which computes the gradients of the inputs
        // from that of the result. The rule keeps what it needs, here u; a clone shares the memory.
        self.push("leak", &[h, u], y, move || {
            Box::new(move |gradients| {
                let dy = gradients.of_output()?;
                let dh = Tensor::empty(&device, Dtype::F32, dy.shape())?;
                let du = Tensor::empty(&device, Dtype::F32, dy.shape())?;
                let params = LeakBackward { count: count as u32, rate };
                let args = [input.read(), dy.read(), dh.write(), du.write()];
                device.launch(&Plan::elements(&LEAK_BACKWARD, count), &params, &args)?;
                gradients.give(0, dh)?;
                gradients.give(1, du)
            })
        })
    }
}

fn main() -> Result<()> {
    let device = Device::auto()?;
    println!("device: {}", device.info());

    // Is the gradient right? It is compared with finite differences of the twin in 64 bits, for a random gradient of the result.
    let inputs: [(&str, &[usize]); 2] = [("h", &[3, 7]), ("u", &[3, 7])];
    let computation = Computation::new("leak", &inputs, |tape, x| tape.leak(x[0], x[1], 0.3));
    let report = gradient_check(&computation, 0)?;
    println!("gradient against finite differences: {:.1e} of the limit", report.share);
    assert!(report.passed(), "{report}");
    // Do the shaders compute what the twins do? Result and gradients on the device must lie within derived limits.
    let report = compare(&device, &computation, 0)?;
    println!("device against the twins: {:.1e} of the limit", report.share);
    assert!(report.passed(), "{report}");

    // A network with the operation: h' = leak(h, W·x + U·h + b), where h is [B, H]. It reads a number and then 15 zeros, and must
    // then output the number.
    const STEPS: usize = 16;
    const BATCH: usize = 32;
    const HIDDEN: usize = 16;
    let numbers: Vec<f32> = (0..BATCH).map(|i| (i as f32 + 0.5) / BATCH as f32 * 2.0 - 1.0).collect();
    let numbers = Tensor::from_f32(&device, [BATCH, 1], &numbers)?;
    let zeros = Tensor::from_f32(&device, [BATCH, HIDDEN], &[0.0; BATCH * HIDDEN])?;
    let mut init = Initializer::new(&device, 0);
    let config = LinearConfig { in_features: 1, out_features: HIDDEN, bias: true };
    let input = Linear::new(&mut init, "input", &config)?;
    let config = LinearConfig { in_features: HIDDEN, out_features: HIDDEN, bias: false };
    let recurrent = Linear::new(&mut init, "recurrent", &config)?;
    let config = LinearConfig { in_features: HIDDEN, out_features: 1, bias: true };
    let output = Linear::new(&mut init, "output", &config)?;
    let parameters = init.build()?;
    let mut adam = Adam::new(&parameters, AdamConfig { lr: 0.01, ..AdamConfig::default() })?;
    let mut tape = Tape::new(&parameters);
    let mut final_loss = f32::NAN;
    for step in 1..=100 {
        tape.clear();
        let target = tape.constant(&numbers);
        let nothing = tape.scale(target, 0.0)?;
        let mut h = tape.constant(&zeros);
        for t in 0..STEPS {
            let x = input.forward(&mut tape, if t == 0 { target } else { nothing })?;
            let from_h = recurrent.forward(&mut tape, h)?;
            let u = tape.add(x, from_h)?;
            h = tape.leak(h, u, 0.1)?;
        }
        let y = output.forward(&mut tape, h)?;
        let loss = tape.mse_loss(y, target, &RegressionLoss::default())?;
        adam.zero_grad();
        tape.backward(loss)?;
        adam.step(None)?;
        device.submit()?;
        if step == 1 || step % 25 == 0 {
            final_loss = tape.value(loss)?.to_vec()?[0];
            println!("step {step:3}  loss {final_loss:.5}");
        }
    }
    println!("final loss {final_loss:.5}, that of always answering 0: {:.5}", 1.0 / 3.0);
    Ok(())
}
