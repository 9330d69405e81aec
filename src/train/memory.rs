//! What a training takes of a device, known before it begins. The first steps are made on a device that computes nothing and
//! counts what the real one would do, so that no formula has to agree with the code.
//!
//! The time of a submission is an estimate by fixed rates (see [`seconds`](crate::cpu::cost::seconds)), not a measurement.

use std::cell::Cell;
use std::collections::VecDeque;

use super::config::Config;
use super::late::LATE;
use super::source::Source;
use super::stepper::Stepper;
use crate::device::{Device, DryRun};
use crate::error::{Error, Result};
use crate::kernel::Processor;

/// What a training takes, in bytes of tensors as the device's pool hands them out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryPlan {
    /// The parameters.
    pub parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// What the optimizer keeps: moments, and its control buffer.
    pub moments: u64,
    /// Data that stay on the device.
    pub data: u64,
    /// The most that a step takes beside these: its batch, what is saved for the backward pass, gradients, workspace.
    pub activations: u64,
    /// The most that is in use at once, in steps, in validations and where the model's outcome is computed.
    pub peak: u64,
    /// What the device holds in all: memory in use, and memory kept for later tensors of about the same size. A smaller last
    /// batch of a pass may add tensors of its own sizes.
    pub held: u64,
    /// 32-bit copies of what kernels take in half precision, which the CPU device keeps beside the tensors; 0 on GPUs.
    pub converted: u64,
    /// The largest tensor.
    pub largest: u64,
    /// The largest that the device can bind; none where nothing is bound.
    pub binding: Option<u64>,
    /// The memory that is free for it, where the device uses the host's memory and the system tells how much is free.
    pub available: Option<u64>,
    /// Kernels launched in a step.
    pub launches: u64,
    /// The seconds that the longest submission is estimated to take; 0 on the CPU device, which has none.
    pub longest_submission: f64,
}

/// What the training of these settings takes of a device. Nothing is computed there, and nothing is allocated.
///
/// # Errors
/// As [`Source::task`].
pub fn plan_memory(device: &Device, config: &Config, source: &Source) -> Result<MemoryPlan> {
    let run = DryRun::of(device);
    let (dry, mut config) = (run.device(), config.clone());
    let mut task = source.task(&dry, &mut config)?;
    let made = dry.stats();
    let (parameters, gradients) = task.model().parameters().bytes();
    let mut stepper = Stepper::new(&config.train, task.model().parameters())?;
    let fixed = dry.stats().bytes_in_use;
    // The first step begins without states. And as in a training, the states are kept with which the steps began whose
    // outcome has not come yet.
    let mut begin = dry.stats();
    let mut places = VecDeque::new();
    for step in 1..=config.train.steps.min(LATE as u64 + 2) {
        begin = dry.stats();
        places.push_back(task.place());
        stepper.step(&mut *task, config.train.lr)?;
        dry.end_step()?;
        if places.len() > LATE {
            places.pop_front();
        }
        if task.validates() && step.is_multiple_of(config.train.validate_every()) {
            places.clear();
        }
    }
    drop(places);
    let steps = dry.stats();
    task.outcome(&stepper.tape)?;
    stepper.tape.clear();
    let chunks = Cell::new(0);
    task.validate(&|| chunks.replace(chunks.get() + 1) == 2)?;
    let end = dry.stats();
    let limits = device.limits();
    let shared = limits.processor != Processor::Gpu;
    Ok(MemoryPlan {
        parameters,
        gradients,
        moments: fixed - made.bytes_in_use,
        data: made.bytes_in_use - parameters - gradients,
        activations: steps.bytes_peak - fixed,
        peak: end.bytes_peak,
        held: end.bytes_held,
        converted: end.bytes_converted,
        largest: end.bytes_largest,
        binding: (limits.processor != Processor::Cpu).then_some(limits.binding),
        available: if shared { available() } else { None },
        launches: steps.dispatches - begin.dispatches,
        longest_submission: run.longest_submission(),
    })
}

/// [`plan_memory`], which refuses what cannot fit, and names an option that would make it fit. With `auto_batch` the batch is
/// taken in more parts instead, if that helps. Of a run that goes on (`begun`) no other size can change.
///
/// # Errors
/// [`Error::Argument`] when it cannot fit; else as [`plan_memory`].
pub fn fit_memory(
    device: &Device,
    config: &mut Config,
    source: &Source,
    begun: bool,
    auto_batch: bool,
) -> Result<MemoryPlan> {
    let plan = plan_memory(device, config, source)?;
    let Some(fault) = plan.fault() else { return Ok(plan) };
    let fits = |(_, config): &(String, Config)| {
        plan_memory(device, config, source).is_ok_and(|plan| plan.fault().is_none())
    };
    let rows = source.task(&DryRun::of(device).device(), &mut config.clone())?.rows();
    let parts = || in_parts(config, rows).filter(|_| plan.model_fits()).find(fits);
    if auto_batch && let Some((_, fitting)) = parts() {
        *config = fitting;
        return plan_memory(device, config, source);
    }
    let fitting = match begun {
        true => parts(),
        false => parts().or_else(|| smaller(config, source, plan.model_fits()).find(fits)),
    };
    let advice = match (fitting, begun) {
        (Some((option, _)), _) => format!("{option} fits"),
        (None, true) => "the run's sizes cannot change: name another --device".into(),
        (None, false) => "make the model smaller".into(),
    };
    Err(Error::argument("train", format!("{fault} on {}; {advice}", device.info().name)))
}

impl MemoryPlan {
    /// Why it cannot fit, if it cannot, for a sentence.
    pub fn fault(&self) -> Option<String> {
        if let Some(binding) = self.binding.filter(|binding| self.largest > *binding) {
            let (largest, binding) = (readable(self.largest), readable(binding));
            return Some(format!(
                "training takes a tensor of {largest}, and a kernel can use at most {binding}"
            ));
        }
        let peak = self.peak + self.converted;
        let available = self.available.filter(|available| peak > *available)?;
        let (peak, available) = (readable(peak), readable(available));
        Some(format!("training takes {peak} of memory, and {available} are free"))
    }

    /// Whether the model fits, whatever the steps take.
    fn model_fits(&self) -> bool {
        let fixed = self.parameters + self.gradients + self.moments;
        self.binding.is_none_or(|binding| self.parameters <= binding)
            && self.available.is_none_or(|available| fixed <= available)
    }
}

/// Sets a size in the settings.
type Set = fn(&mut Config, usize);

/// B. All windows of a table are about as many as its rows.
fn batch(config: &Config, source: &Source) -> usize {
    match (source, config.train.batch) {
        (Source::Table(table), 0) => table.rows(),
        (_, batch) => batch,
    }
}

/// The same training with its batch in more and more parts, `most` at most, and the option that says it.
fn in_parts(config: &Config, most: usize) -> impl Iterator<Item = (String, Config)> {
    let doubled = std::iter::successors(Some(2 * config.train.accumulate), |parts| Some(2 * parts));
    doubled.take_while(move |parts| *parts <= most).map(|parts| {
        let mut config = config.clone();
        config.train.accumulate = parts;
        (format!("--accumulate {parts}"), config)
    })
}

/// Smaller trainings, and the option that makes each: first those that leave the model as it is, each with smaller and smaller
/// sizes.
fn smaller(config: &Config, source: &Source, model_fits: bool) -> impl Iterator<Item = (String, Config)> {
    let Config { data, model, train, .. } = config;
    let batch = batch(config, source);
    let options: [(&str, usize, Set); 5] = [
        ("batch", batch, |config, size| config.train.batch = size),
        ("sequence", train.sequence, |config, size| config.train.sequence = size),
        ("hidden", model.hidden.unwrap_or(1), |config, size| config.model.hidden = Some(size)),
        ("layers", model.layers, |config, size| config.model.layers = size),
        ("window", data.window, |config, size| config.data.window = size),
    ];
    let helps = move |key: &str| match key {
        "batch" | "sequence" => model_fits,
        // A sentence's model without a linear layer has as many units as there are characters.
        "hidden" => config.experiment.sentence().is_none() || config.model.linear,
        _ => true,
    };
    let free = move |key: &str| config.experiment.takes(key) && helps(key);
    options.into_iter().filter(move |(key, ..)| free(key)).flat_map(move |(key, size, set)| {
        let halves = std::iter::successors(Some(below(size)), |size| Some(size / 2));
        halves.take_while(|size| *size > 0).map(move |size| {
            let mut config = config.clone();
            set(&mut config, size);
            (format!("--{key} {size}"), config)
        })
    })
}

/// The largest power of two below a size; 0 below 1.
fn below(size: usize) -> usize {
    if size > 1 { size.next_power_of_two() / 2 } else { 0 }
}

/// The bytes that can be taken of the host's memory: what is free or could be freed, and what can be swapped out, within
/// the limits of the process's control group.
fn available() -> Option<u64> {
    if !sysinfo::IS_SUPPORTED_SYSTEM {
        return None;
    }
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let host = system.available_memory() + system.free_swap();
    let group = system
        .cgroup_limits()
        .map(|limits| limits.total_memory.saturating_sub(limits.rss) + limits.free_swap);
    Some(group.map_or(host, |group| group.min(host))).filter(|bytes| *bytes > 0)
}

/// Bytes in the unit that suits their number: `6.7 kB`.
pub fn readable(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.into_iter().find(|(_, size)| bytes as f64 >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", bytes as f64 / size),
        None => format!("{bytes} B"),
    }
}
