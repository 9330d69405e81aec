//! Benchmarks: training steps, kernels and the costs of a launch.
//!
//! The cases and the protocol are those of `benches/peers/cases.json`, so that PyTorch, burn and candle can be measured in the
//! same way. The command `bptt bench` measures and prints them; `bptt tune` looks for faster plans with the training steps.

mod data;
mod difference;
mod dispatch;
mod kernels;
mod report;
mod roofline;
mod train;
mod tune;

use std::time::{Duration, Instant};

use crate::device::{Device, DryRun};
use crate::error::{Error, Result};
use crate::parameters::Precision;

pub use difference::difference;
pub use dispatch::dispatch;
pub use kernels::kernels;
pub use report::{Earlier, write_report};
pub use roofline::Roofline;
pub use train::{Set, training};
pub use tune::{Compared, task_case, tune};

/// Something to be measured.
pub struct Case {
    /// Its name. Cases that are in cases.json have the name that they have there.
    pub name: String,
    /// What it does, for readers.
    pub about: String,
    /// Whether it can also be measured in half precision.
    pub halves: bool,
    /// Makes it ready on a device, in a precision. The values are the same in each precision.
    pub prepare: Box<Prepare>,
}

/// Makes a case ready on a device, in a precision.
pub type Prepare = dyn Fn(&Device, Precision) -> Result<Box<dyn Bench>>;

impl Case {
    /// Whether it can be measured in a precision.
    pub fn is_in(&self, precision: Precision) -> bool {
        self.halves || precision == Precision::F32
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.about)
    }
}

/// A case that is ready.
pub trait Bench {
    /// Records the work of a step; the device may do it later.
    ///
    /// # Errors
    /// Those of the operations in it.
    fn step(&mut self) -> Result<()>;

    /// Waits for the device to finish, and reads one number of the last step's result.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    fn fetch(&mut self) -> Result<f64>;

    /// What the steps computed: the numbers in which precisions are compared.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a fault.
    fn results(&mut self) -> Result<Vec<Vec<f64>>>;

    /// What is known of a step besides its time.
    fn facts(&self) -> Facts;
}

/// What is known of a step besides its time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// Trained parameters.
    pub parameters: Option<usize>,
    /// Floating-point operations; a multiplication and an addition count as two.
    pub operations: Option<f64>,
    /// Bytes that must be read and written at least.
    pub bytes: Option<f64>,
}

/// How long to measure. The default is the protocol of cases.json.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Protocol {
    /// Seconds of measuring. Warming up takes 0.4 times as long. All of a case takes at most about four times as long.
    pub seconds: f64,
    /// Steps of a measurement, after which the device is waited for; fewer where they would take more than two seconds.
    pub steps_per_sync: u32,
    /// The most measurements.
    pub most_batches: usize,
}

impl Default for Protocol {
    fn default() -> Self {
        Protocol { seconds: 5.0, steps_per_sync: 20, most_batches: 40 }
    }
}

/// The time of a case: milliseconds a step, from `n` measurements of `steps_per_sync` steps each.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The case.
    pub name: String,
    /// How its numbers are stored.
    pub precision: Precision,
    /// The median.
    pub ms: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
    /// Measurements.
    pub n: usize,
    /// Steps of a measurement.
    pub steps_per_sync: u32,
    /// The time of the very first step, in which kernels are compiled and memory is first used.
    pub first_ms: f64,
    /// What [`Bench::fetch`] read after the first step and after the last; in training, the loss.
    pub values: [f64; 2],
    /// Kernels launched in a step.
    pub dispatches: f64,
    /// The most bytes of tensors that are alive at once, counted in a dry run.
    pub bytes_peak: u64,
    /// In half precision, how far the results are from those in 32 bits: see [`difference`].
    pub difference: Option<f64>,
    /// What is known of a step besides its time.
    pub facts: Facts,
}

/// The fewest measurements, and the fewest steps of warming up.
const FEWEST: usize = 3;

/// Measures a case on a device, in a precision. `stop` is asked before each measurement whether to end.
///
/// # Errors
/// Those of the case's steps; [`Error::Interrupted`] when `stop` said so.
pub fn measure(
    device: &Device,
    case: &Case,
    precision: Precision,
    protocol: &Protocol,
    stop: &dyn Fn() -> bool,
) -> Result<Measured> {
    let bytes_peak = peak(device, case, precision)?;
    let mut bench = (case.prepare)(device, precision)?;
    let seconds = Duration::from_secs_f64(protocol.seconds);
    let begin = Instant::now();
    let go_on = || if stop() { Err(Error::Interrupted) } else { Ok(()) };
    let one = |bench: &mut dyn Bench| {
        go_on()?;
        let start = Instant::now();
        bench.step()?;
        let value = bench.fetch()?;
        Ok((start.elapsed(), value))
    };
    let (first, first_value) = one(&mut *bench)?;
    let (warm, mut steps) = (Instant::now(), 1);
    while (steps < FEWEST || warm.elapsed() < seconds.mul_f64(0.4)) && begin.elapsed() < seconds * 2 {
        one(&mut *bench)?;
        steps += 1;
    }
    let (estimate, _) = one(&mut *bench)?;
    let fitting = (2.0 / estimate.as_secs_f64().max(1e-9)).floor() as u32;
    let steps_per_sync = fitting.clamp(1, protocol.steps_per_sync);
    let (start, before) = (Instant::now(), device.stats().dispatches);
    let mut times = Vec::new();
    let mut last;
    loop {
        go_on()?;
        let batch = Instant::now();
        for _ in 0..steps_per_sync {
            bench.step()?;
        }
        last = bench.fetch()?;
        times.push(batch.elapsed().as_secs_f64() * 1e3 / f64::from(steps_per_sync));
        let enough = times.len() >= FEWEST && start.elapsed() > seconds;
        if enough || times.len() >= protocol.most_batches || begin.elapsed() > seconds * 4 {
            break;
        }
    }
    let dispatches = device.stats().dispatches - before;
    let made = times.len() as f64 * f64::from(steps_per_sync);
    let n = times.len();
    let facts = bench.facts();
    // Gives its memory back, for the comparison below.
    drop(bench);
    let difference = match precision {
        Precision::F32 => None,
        half => Some(difference(device, case, half)?),
    };
    times.sort_by(f64::total_cmp);
    Ok(Measured {
        name: case.name.clone(),
        precision,
        ms: (times[(n - 1) / 2] + times[n / 2]) / 2.0,
        min: times[0],
        max: times[n - 1],
        n,
        steps_per_sync,
        first_ms: first.as_secs_f64() * 1e3,
        values: [first_value, last],
        dispatches: dispatches as f64 / made,
        bytes_peak,
        difference,
        facts,
    })
}

/// The most bytes of tensors that are alive at once in the first two steps; all later steps are like the second.
fn peak(device: &Device, case: &Case, precision: Precision) -> Result<u64> {
    let dry = DryRun::of(device).device();
    let mut bench = (case.prepare)(&dry, precision)?;
    for _ in 0..2 {
        bench.step()?;
    }
    Ok(dry.stats().bytes_peak)
}
