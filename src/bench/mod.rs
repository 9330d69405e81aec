//! Benchmarks: training steps, kernels and the costs of a launch, measured on a device as `benches/peers/cases.json` says,
//! so that PyTorch, burn and candle can be measured beside them. The command `bptt bench` prints them.

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
use crate::error::Result;
use crate::parameters::Precision;

pub use difference::difference;
pub use dispatch::dispatch;
pub use kernels::kernels;
pub use report::{read_medians, write_report};
pub use roofline::Roofline;
pub use train::{Set, training};
pub use tune::{Compared, task_case, tune};

/// Something to be measured.
pub struct Case {
    /// Its name, as in cases.json where it is there.
    pub name: String,
    /// What it does, to be read.
    pub about: String,
    /// Whether half precision changes it.
    pub halves: bool,
    /// Makes it ready on a device, in a precision: the same values in each.
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
    /// Records a step.
    ///
    /// # Errors
    /// Those of what it does.
    fn step(&mut self) -> Result<()>;

    /// What a user waits for: one number of the last step on the host, and an idle device.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn fetch(&mut self) -> Result<f64>;

    /// What the steps computed: the numbers in which precisions are compared.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    fn results(&mut self) -> Result<Vec<Vec<f64>>>;

    /// What is known of a step beside its time.
    fn facts(&self) -> Facts;
}

/// What is known of a step beside its time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Facts {
    /// Trained parameters.
    pub parameters: Option<usize>,
    /// Floating-point operations, a multiplication and an addition counted as two.
    pub operations: Option<f64>,
    /// Bytes that must be read and written: each argument of a kernel once, twice where it is changed in place.
    pub bytes: Option<f64>,
}

/// How long to measure. The default is the protocol of cases.json.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Protocol {
    /// Seconds of measuring; warming up takes 0.4 times as long, and a case at most four times as long in all.
    pub seconds: f64,
    /// Steps between two waits for the device, fewer where that would take more than two seconds.
    pub steps_per_sync: u32,
    /// The most measurements.
    pub most_batches: usize,
}

impl Default for Protocol {
    fn default() -> Self {
        Protocol { seconds: 5.0, steps_per_sync: 20, most_batches: 40 }
    }
}

/// The time of a case: milliseconds of a step, over `n` measurements of `steps_per_sync` steps each.
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
    /// The first step of all: compilation, first use of memory.
    pub first_ms: f64,
    /// What was read after the first step and after the last: of training, the loss.
    pub values: [f64; 2],
    /// Kernels launched in a step.
    pub dispatches: f64,
    /// The most bytes of tensors at once, as a run without work counts them.
    pub bytes_peak: u64,
    /// Of half precision: see [`difference`].
    pub difference: Option<f64>,
    /// See [`Facts`].
    pub facts: Facts,
}

/// Fewest measurements, and fewest steps of warming up.
const FEWEST: usize = 3;

/// Measures a case on a device, in a precision.
///
/// # Errors
/// Those of what it does.
pub fn measure(device: &Device, case: &Case, precision: Precision, protocol: &Protocol) -> Result<Measured> {
    let bytes_peak = peak(device, case, precision)?;
    let mut bench = (case.prepare)(device, precision)?;
    let seconds = Duration::from_secs_f64(protocol.seconds);
    let begin = Instant::now();
    let one = |bench: &mut dyn Bench| {
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
    // The comparison is to have the memory for itself.
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

/// The most bytes of tensors at once: of the first two steps, as all others are like the second.
fn peak(device: &Device, case: &Case, precision: Precision) -> Result<u64> {
    let dry = DryRun::of(device).device();
    let mut bench = (case.prepare)(&dry, precision)?;
    for _ in 0..2 {
        bench.step()?;
    }
    Ok(dry.stats().bytes_peak)
}
