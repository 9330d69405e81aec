//! Training in spite of faults: where the device fails, it is opened again, and training goes on from the newest checkpoint,
//! in the same way as a run that is resumed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::config::Config;
use super::run::Run;
use super::task::Task;
use super::trainer::train_once;
use super::{Event, OnEvent, Summary};
use crate::device::Device;
use crate::error::{Error, Fault, Result};

/// Makes a task anew, as it was at first, on a device and with settings that may have changed.
pub type Remake<'a> = &'a mut dyn FnMut(&Device, &Config) -> Result<Box<dyn Task>>;

/// How the caller takes part in a training.
pub struct Hooks<'a> {
    /// Asked after each step whether to end. Training then ends with a checkpoint.
    pub stop: &'a dyn Fn() -> bool,
    /// Receives what happens.
    pub on_event: OnEvent<'a>,
    /// After every so many steps [`Event::Decoded`] tells the predictions; 0: never.
    pub show_every: u64,
    /// Makes the task again after a fault; none: a fault ends the training. Only the training of a run goes on after a
    /// fault, since its checkpoints are what it goes on from, and its folder is where the model is found.
    pub remake: Option<Remake<'a>>,
    /// Whether a batch is taken in more parts where memory runs out, if the task can be made again.
    pub auto_batch: bool,
    /// So many of the first steps are made twice: that their bits differ is an error.
    pub verify: u64,
}

impl<'a> Hooks<'a> {
    /// Hooks that receive events and can stop the training, and nothing else.
    pub fn new(stop: &'a dyn Fn() -> bool, on_event: OnEvent<'a>) -> Hooks<'a> {
        Hooks { stop, on_event, show_every: 0, remake: None, auto_batch: false, verify: 0 }
    }
}

/// The most faults that are survived within [`WHILE`].
const MOST: usize = 3;
const WHILE: Duration = Duration::from_secs(3600);

/// Trains a task's model. With a run it saves in the run's folder what the settings ask for, and goes on from the newest
/// checkpoint where there is one. When `stop` says so, it ends after the current step, with a checkpoint. A profile of the
/// device is one of the steps: all else is left out of it.
///
/// A fault that [ended](Fault::ends_device) the device is survived where the hooks can remake the task, three times an hour at
/// most; the result then has the same bits as without the fault. Where memory runs out, a batch can be taken in parts, which
/// is the same step but for rounding.
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
        let Some(remake) = &mut hooks.remake else { return Err(Error::Gpu(fault)) };
        match &fault {
            Fault::OutOfMemory { .. } | Fault::TooLarge { .. } if hooks.auto_batch => {
                let (parts, most) = (config.train.accumulate, task.rows());
                if parts >= most {
                    return Err(Error::Gpu(fault));
                }
                config.train.accumulate = (2 * parts).min(most);
                note(&format!("taking a batch in {} parts", config.train.accumulate))?;
                run.set_config(&config)?;
                // The old task goes first, with all that its steps have changed: its memory is needed.
                drop(remade.take());
                remade = Some(remake(&device, &config)?);
            }
            fault if fault.ends_device() => {
                note("opening the device again and going on")?;
                drop(remade.take());
                loop {
                    let now = Instant::now();
                    survived.retain(|then| now - *then < WHILE);
                    if survived.len() == MOST {
                        note(&format!("the device failed more than {MOST} times within an hour"))?;
                        return Err(Error::Gpu(fault.clone()));
                    }
                    survived.push_back(now);
                    let reopened = device.reopen();
                    match reopened.and_then(|again| Ok((remake(&again, &config)?, again))) {
                        Ok((task, again)) => {
                            (remade, device) = (Some(task), again);
                            break;
                        }
                        // A driver that has just reset its card may refuse for a moment.
                        Err(error) if is_passing(&error) => {
                            note(&format!("and it cannot be opened yet: {error}"))?;
                            std::thread::sleep(PAUSE);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            _ => return Err(Error::Gpu(fault)),
        }
    }
}

/// How long is waited before a device is opened once more.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether what failed may be there again in a moment.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::NoDevice { .. } | Error::Gpu(Fault::Unusable { .. }) => true,
        Error::Gpu(fault) => fault.ends_device(),
        _ => false,
    }
}
