//! Some steps of a training, recorded with all that device and host do in them: what `bptt trace` shows.

use super::config::TrainConfig;
use super::late::{Begin, Fate, LATE, LateSteps};
use super::stepper::Stepper;
use super::task::Task;
use crate::device::{Detail, Profile, Stats};
use crate::error::{Error, Result};

/// What [`observe`] saw.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Launches and spans. Each step is a span of that name.
    pub profile: Profile,
    /// The loss of each step, before its update.
    pub losses: Vec<f32>,
    /// The device's counters before the steps and behind them.
    pub stats: [Stats; 2],
}

/// Makes `warmup` steps, in which kernels are compiled and memory is taken, then `steps` more that are recorded. The outcomes of
/// steps are read as late as in a training. `stop` is asked between steps.
///
/// # Errors
/// [`Error::Interrupted`] when `stop` said so; [`Error::NonFinite`] when a loss or gradient is not finite; [`Error::Gpu`] when the
/// device fails or has no timestamps; [`Error::Data`] when the data can no longer be read.
pub fn observe(
    config: &TrainConfig,
    task: &mut dyn Task,
    warmup: u64,
    steps: u64,
    stop: &dyn Fn() -> bool,
) -> Result<Observed> {
    let device = task.model().parameters().device().clone();
    let stepper = Stepper::new(config, task.model().parameters())?;
    let late = LateSteps::new(config.skip_nonfinite, [0; 2]);
    let mut observer = Observer { stepper, late, lr: config.lr, step: 0, losses: Vec::new() };
    observer.make(task, warmup, stop)?;
    observer.losses.clear();
    device.start_profile(Detail::Launches)?;
    let before = device.stats();
    let made = observer.make(task, steps, stop);
    let after = device.stats();
    // Also when a step has failed, so that the recording ends.
    let profile = device.finish_profile();
    made?;
    Ok(Observed { profile: profile?, losses: observer.losses, stats: [before, after] })
}

struct Observer {
    stepper: Stepper,
    late: LateSteps,
    lr: f64,
    /// Steps made.
    step: u64,
    losses: Vec<f32>,
}

impl Observer {
    /// Makes steps and waits for their outcomes.
    fn make(&mut self, task: &mut dyn Task, steps: u64, stop: &dyn Fn() -> bool) -> Result<()> {
        let device = self.stepper.tape().device().clone();
        for _ in 0..steps {
            if stop() {
                return Err(Error::Interrupted);
            }
            let _span = device.span("step");
            self.step += 1;
            let begin = Begin { place: task.place(), dropout: self.stepper.dropout };
            self.stepper.step(task, self.lr)?;
            self.late.push(self.step, self.lr, begin, self.stepper.optimizer.control())?;
            device.end_step()?;
            self.take_outcomes(LATE)?;
        }
        self.take_outcomes(0)
    }

    /// Takes the outcomes of all but the last `late` steps.
    fn take_outcomes(&mut self, late: usize) -> Result<()> {
        while self.late.pending.len() > late {
            let device = self.stepper.tape().device().clone();
            let _span = device.span("read back");
            let (row, fate) = self.late.next()?;
            if let Fate::Stopped(_) = fate {
                let at = Some(format!("step {}", row.step));
                return Err(Error::NonFinite { what: "the loss or the gradient".into(), at });
            }
            self.losses.push(row.loss);
        }
        Ok(())
    }
}
