//! Training in spite of faults: where the device fails it is opened again, and training goes on from the newest checkpoint,
//! as a run does that is resumed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::config::Config;
use super::run::Run;
use super::task::Task;
use super::trainer::train_once;
use super::{Event, OnEvent, Summary};
use crate::device::Device;
use crate::error::{Error, Fault, Result};

/// Makes a task again, on a device that was opened again.
pub type Remake<'a> = &'a mut dyn FnMut(&Device) -> Result<Box<dyn Task>>;

/// How the world takes part in a training.
pub struct Hooks<'a> {
    /// Asked after each step: training ends then, as after a checkpoint.
    pub stop: &'a dyn Fn() -> bool,
    /// Told what happens.
    pub on_event: OnEvent<'a>,
    /// Every so many steps the predictions are told; 0: never.
    pub show_every: u64,
    /// Makes the task again after a fault of the device; none: a fault ends the training. Only the training of a run goes on
    /// after a fault, since its checkpoints are what it goes on from, and its folder is where the model is found.
    pub remake: Option<Remake<'a>>,
    /// Whether a batch is taken in more parts where memory runs out, in the training of a run.
    pub auto_batch: bool,
    /// So many of the first steps are made twice: that their bits differ is an error.
    pub verify: u64,
}

impl<'a> Hooks<'a> {
    /// Only told what happens and asked whether to stop.
    pub fn new(stop: &'a dyn Fn() -> bool, on_event: OnEvent<'a>) -> Hooks<'a> {
        Hooks { stop, on_event, show_every: 0, remake: None, auto_batch: false, verify: 0 }
    }
}

/// The most faults that are survived in [`WHILE`].
const MOST: usize = 3;
const WHILE: Duration = Duration::from_secs(3600);

/// Trains a task's model; with a run, saves in its folder what the settings ask for, and goes on from its newest
/// checkpoint where there is one. When `stop` says so it ends after the current step, with a checkpoint.
///
/// A fault that [ended](Fault::ends_device) the device is survived, three times an hour at most, where the hooks can remake
/// the task: the end has the same bits then as without the fault. Where memory runs out, a batch can be taken in parts: the
/// same step, but for rounding.
///
/// # Errors
/// [`Error::NonFinite`] when a loss or gradient is; [`Error::Data`] when data cannot be read, something cannot be saved, or
/// the run's checkpoint does not belong to the task; [`Error::Gpu`] on a fault; those of `on_event`.
pub fn train(
    device: &Device,
    config: &Config,
    task: &mut dyn Task,
    mut run: Option<&mut Run>,
    hooks: &mut Hooks<'_>,
) -> Result<Summary> {
    let (mut device, mut config) = (device.clone(), config.clone());
    let mut remade: Option<Box<dyn Task>> = None;
    let mut survived = VecDeque::with_capacity(MOST);
    loop {
        let task = match &mut remade {
            Some(task) => &mut **task,
            None => &mut *task,
        };
        let fault = match train_once(&device, &config, task, run.as_deref_mut(), hooks) {
            Err(Error::Gpu(fault)) => fault,
            ended => return ended,
        };
        let Some(run) = run.as_deref_mut() else { return Err(Error::Gpu(fault)) };
        let mut note =
            |what: &str| (hooks.on_event)(Event::Note(format!("{}: {what}", Error::Gpu(fault.clone()))));
        match (&fault, &mut hooks.remake) {
            (Fault::OutOfMemory { .. } | Fault::TooLarge { .. }, _) if hooks.auto_batch => {
                let (parts, most) = (config.train.accumulate, task.rows());
                if parts >= most {
                    return Err(Error::Gpu(fault));
                }
                config.train.accumulate = (2 * parts).min(most);
                note(&format!("taking a batch in {} parts", config.train.accumulate))?;
                run.set_config(&config)?;
            }
            (_, Some(remake)) if fault.ends_device() => {
                let now = Instant::now();
                survived.retain(|then| now - *then < WHILE);
                if survived.len() == MOST {
                    note(&format!("the device failed more than {MOST} times within an hour"))?;
                    return Err(Error::Gpu(fault));
                }
                survived.push_back(now);
                note("opening the device again and going on")?;
                // What is on the old device goes before the new one is asked for memory.
                drop(remade.take());
                device = device.reopen().map_err(|error| Error::Gpu(not_again(&fault, &error)))?;
                remade = Some(remake(&device)?);
            }
            _ => return Err(Error::Gpu(fault)),
        }
    }
}

/// A fault after which the device could not be opened again.
fn not_again(fault: &Fault, error: &Error) -> Fault {
    Fault::Lost { message: format!("{fault}; opened again: {error}") }
}
