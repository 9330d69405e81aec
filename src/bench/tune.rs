//! Finds better plans than the cost models do, by measuring whole training steps with each way to run each kernel.

use std::time::Instant;

use super::{Bench, Case, Facts};
use crate::device::Device;
use crate::error::Result;
use crate::parameters::Precision;
use crate::plans::Plans;
use crate::tensor::Tensor;
use crate::train::{Config, Source, Stepper, Task};

/// A way to run a kernel over a shape, compared with the way that the training step took until then.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The kernel and the shape.
    pub site: String,
    /// The way that was taken until then.
    pub old: String,
    /// The other way.
    pub new: String,
    /// The time of a step with the new way, divided by that with the old: the median over pairs of measurements.
    pub ratio: f64,
    /// Whether the new way is taken from now on.
    pub taken: bool,
}

/// The largest ratio of times at which a new way is taken. It must also be faster in three of four pairs of measurements.
/// Smaller gains may be noise.
const GAIN: f64 = 0.97;
/// The seconds that a measurement takes at least: it has as many steps as that needs.
const SAMPLE: f64 = 0.02;
/// The fewest pairs of measurements.
const PAIRS: usize = 5;

/// Tries every way to run every kernel of a training step, one after the other, for `seconds` each. What makes the step faster
/// is kept: the device runs the kernel that way from then on. Returns the ways that differ from the cost models' choice.
///
/// # Errors
/// [`Error::Gpu`](crate::error::Error::Gpu) on a fault; those of `on_compared`.
pub fn tune(
    device: &Device,
    case: &Case,
    seconds: f64,
    on_compared: &mut dyn FnMut(&Compared) -> Result<()>,
) -> Result<Plans> {
    let mut bench = (case.prepare)(device, Precision::F32)?;
    let before = device.plans();
    run(&mut *bench, 1)?;
    let count = (SAMPLE / run(&mut *bench, 1)?).ceil().max(1.0) as usize;
    let mut found = Plans::new();
    // How layers run decides for which shapes kernels do, so that comes first.
    for of_layers in [true, false] {
        device.set_plans(before.clone().into_iter().chain(found.clone()).collect());
        let seen = device.record_plans(|| run(&mut *bench, 1).map(drop))?;
        for (site, seen) in seen.into_iter().filter(|(site, _)| site.is_of_layers() == of_layers) {
            let mut old = seen.taken.clone();
            for new in seen.ways.into_iter().filter(|way| *way != seen.taken) {
                let with = |way: &String| {
                    let mut plans = before.clone();
                    plans.extend(found.clone());
                    plans.insert(site.to_string(), way.clone());
                    plans
                };
                let (ratio, high) = compare(device, &mut *bench, [with(&old), with(&new)], count, seconds)?;
                let taken = ratio < GAIN && high < 1.0;
                on_compared(&Compared {
                    site: site.to_string(),
                    old: old.clone(),
                    new: new.clone(),
                    ratio,
                    taken,
                })?;
                if taken {
                    old = new;
                }
            }
            if old != seen.taken {
                found.insert(site.to_string(), old);
            }
        }
    }
    let mut plans = before;
    plans.extend(found.clone());
    device.set_plans(plans);
    Ok(found)
}

/// The time of a step with the second plans, divided by that with the first: the median and the third quartile.
fn compare(
    device: &Device,
    bench: &mut dyn Bench,
    plans: [Plans; 2],
    count: usize,
    seconds: f64,
) -> Result<(f64, f64)> {
    // The first step with new plans compiles kernels, and so is not measured.
    for plans in &plans {
        device.set_plans(plans.clone());
        run(bench, 1)?;
    }
    let start = Instant::now();
    let mut ratios = Vec::new();
    while ratios.len() < PAIRS || start.elapsed().as_secs_f64() < seconds {
        let mut times = [0.0; 2];
        for (time, plans) in times.iter_mut().zip(&plans) {
            device.set_plans(plans.clone());
            *time = run(bench, count)?;
        }
        ratios.push(times[1] / times[0]);
    }
    ratios.sort_by(f64::total_cmp);
    Ok((ratios[ratios.len() / 2], ratios[ratios.len() * 3 / 4]))
}

/// The seconds that a step takes: the mean of `count` steps.
fn run(bench: &mut dyn Bench, count: usize) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        bench.step()?;
    }
    bench.fetch()?;
    Ok(start.elapsed().as_secs_f64() / count as f64)
}

/// The training step of a run's settings and data, in the run's precision.
pub fn task_case(name: String, config: Config, source: Source) -> Case {
    let about = format!("a step of {}", config.experiment.name());
    let prepare = move |device: &Device, _| {
        let mut config = config.clone();
        let task = source.task(device, &mut config)?;
        let stepper = Stepper::new(&config.train, task.model().parameters())?;
        Ok(Box::new(TaskBench { stepper, task, lr: config.train.lr, loss: None }) as Box<dyn Bench>)
    };
    Case { name, about, halves: false, prepare: Box::new(prepare) }
}

struct TaskBench {
    stepper: Stepper,
    task: Box<dyn Task>,
    lr: f64,
    loss: Option<Tensor>,
}

impl Bench for TaskBench {
    fn step(&mut self) -> Result<()> {
        let (_, loss) = self.stepper.step(&mut *self.task, self.lr)?;
        self.loss = Some(loss);
        self.task.model().parameters().device().end_step()
    }

    fn fetch(&mut self) -> Result<f64> {
        let loss = self.loss.as_ref().expect("a step has been made");
        Ok(loss.to_f64()?[0])
    }

    fn results(&mut self) -> Result<Vec<Vec<f64>>> {
        Ok(vec![vec![self.fetch()?]])
    }

    fn facts(&self) -> Facts {
        Facts { parameters: Some(self.task.model().parameters().count()), ..Facts::default() }
    }
}
