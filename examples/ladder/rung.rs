//! What the ladders have in common: a rung, how it is checked, and how it is timed.

use std::collections::BTreeSet;

use bptt::bench::{Bench, Case, Facts, Protocol, measure};
use bptt::cpu::philox;
use bptt::cpu::real::Bounded;
use bptt::device::{Arg, Sabotage, Wrong};
use bptt::kernel::Plan;
use bptt::prelude::*;

/// Rungs that all compute the same.
pub struct Ladder {
    pub title: String,
    /// The heading of the column of bytes.
    pub traffic: &'static str,
    /// Floating-point operations.
    pub operations: f64,
    pub rungs: Vec<Rung>,
    pub reference: Box<Reference>,
}

/// The places of a result that are looked at, what is expected there, and by how much a correct device may be off.
pub type Reference = dyn Fn(&[f64]) -> Vec<(usize, Bounded)>;

/// A way to compute what all rungs of its ladder compute.
pub struct Rung {
    pub name: &'static str,
    /// What it does differently from the rung before.
    pub change: &'static str,
    /// The kernels whose result `--sabotage` makes wrong.
    pub kernels: &'static [&'static str],
    pub prepare: Box<Prepare>,
}

/// Makes a rung's tensors on a device.
pub type Prepare = dyn Fn(&Device) -> Result<Box<Record>>;

/// Launches a rung's kernels. Returns the tensors that are the result, one after the other.
pub type Record = dyn FnMut(&mut Launches) -> Result<Vec<Tensor>>;

/// Where a rung launches its kernels.
pub struct Launches {
    pub device: Device,
    /// The numbers that they read and write.
    numbers: f64,
}

impl Launches {
    pub fn launch<P: bytemuck::Pod>(
        &mut self,
        plan: &Plan,
        params: &P,
        args: &[Arg<'_>],
        numbers: usize,
    ) -> Result<()> {
        self.numbers += numbers as f64;
        self.device.launch(plan, params, args)
    }
}

/// What was found about a rung.
pub struct Outcome {
    pub launches: f64,
    /// `None` where the rung does not say.
    pub bytes: Option<f64>,
    /// The median.
    pub ms: f64,
    /// The largest error as a share of what is allowed: more than 1 is wrong.
    pub share: f64,
    /// The ways that the package chose for its own kernels.
    pub plans: BTreeSet<String>,
}

/// Runs a rung, checks its result, and times it.
pub fn climb(device: &Device, rung: Rung, reference: &Reference, protocol: &Protocol) -> Result<Outcome> {
    let ready = |device: &Device, rung: &Rung| -> Result<Timed> {
        let launches = Launches { device: device.clone(), numbers: 0.0 };
        Ok(Timed { record: (rung.prepare)(device)?, launches, result: Vec::new() })
    };
    let mut timed = ready(device, &rung)?;
    let plans = device.record_plans(|| timed.step())?;
    let mut got = Vec::new();
    for tensor in &timed.result {
        got.extend(tensor.to_f64()?);
    }
    let shares = reference(&got).into_iter().map(|(at, expected)| share(got[at], expected));
    let share = shares.fold(0.0, f64::max);
    let bytes = Some(4.0 * timed.launches.numbers).filter(|bytes| *bytes > 0.0);
    let (name, about) = (rung.name.into(), rung.change.into());
    drop(timed);
    let prepare = move |device: &Device, _| Ok(Box::new(ready(device, &rung)?) as Box<dyn Bench>);
    let case = Case { name, about, halves: false, prepare: Box::new(prepare) };
    let measured = measure(device, &case, Precision::F32, protocol, &|| false)?;
    Ok(Outcome {
        launches: measured.dispatches,
        bytes,
        ms: measured.ms,
        share,
        plans: plans.into_iter().map(|(site, seen)| format!("{}: {}", site.kernel, seen.taken)).collect(),
    })
}

/// An error as a share of its limit. Where it is not a number, or has no limit, nothing is proved: then it counts as infinite.
fn share(got: f64, expected: Bounded) -> f64 {
    // Even the right number has to be rounded to 32 bits.
    let limit = expected.error + expected.value.abs() * f64::from(f32::EPSILON) / 2.0;
    let share = (got - expected.value).abs() / limit;
    if share.is_nan() || limit.is_infinite() { f64::INFINITY } else { share }
}

/// A rung as something to be measured.
struct Timed {
    record: Box<Record>,
    launches: Launches,
    result: Vec<Tensor>,
}

impl Bench for Timed {
    fn step(&mut self) -> Result<()> {
        self.result = (self.record)(&mut self.launches)?;
        Ok(())
    }

    fn fetch(&mut self) -> Result<f64> {
        let last = self.result.last().expect("a rung has a result");
        Ok(last.slice(0, [1])?.to_vec()?[0].into())
    }

    fn results(&mut self) -> Result<Vec<Vec<f64>>> {
        self.result.iter().map(Tensor::to_f64).collect()
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }
}

/// The same device, but one number of the rung's result comes out wrong.
pub fn sabotaged(device: &Device, rung: &Rung) -> Device {
    device.sabotaged(Sabotage { kernels: rung.kernels.to_vec(), wrong: Wrong::Off(0.01) })
}

/// A tensor for a result, filled with NaN: so what a kernel leaves out is found.
pub fn poisoned(device: &Device, shape: impl Into<Shape>) -> Result<Tensor> {
    let shape = shape.into();
    Tensor::from_f32(device, shape, &vec![f32::NAN; shape.count()])
}

/// Numbers between -bound and bound.
pub fn numbers(stream: u32, count: usize, bound: f32) -> Vec<f32> {
    (0..count as u64).map(|i| (2.0 * philox::uniform(0, stream, i) - 1.0) * bound).collect()
}

/// Numbers for the reference: exact.
pub fn exact(x: &[f32]) -> Vec<Bounded> {
    x.iter().map(|x| Bounded { value: f64::from(*x), error: 0.0 }).collect()
}

/// Which of `rows` rows are looked at, if a row costs the reference so many multiplications. All, where that takes about a second.
/// Else every third, fifth and so on: an odd number, so that every place in a tile, whose size is a power of 2, is looked at.
pub fn looked_at(rows: usize, cost: usize) -> std::iter::StepBy<std::ops::Range<usize>> {
    const BUDGET: usize = 1 << 27;
    let every = (rows * cost).div_ceil(BUDGET);
    (0..rows).step_by(if every <= 1 { 1 } else { every | 1 })
}
