//! The way back from a checkpoint.

use super::Trainer;
use crate::device::Host;
use crate::error::{Error, Result};
use crate::parameters::Parameters;
use crate::tensor::Tensor;
use crate::train::late::LateSteps;
use crate::train::run::{Platform, Progress, Run, Tensors};
use crate::train::task::Place;
use crate::train::{Event, Hooks};

impl Trainer<'_> {
    /// Goes on from the run's newest checkpoint, if it has one.
    pub(super) fn resume(&mut self, run: &mut Run, hooks: &mut Hooks<'_>) -> Result<()> {
        let (newest, damaged) = run.newest_checkpoint()?;
        for error in damaged {
            (hooks.on_event)(Event::Note(format!("{error}; going on from an older checkpoint")))?;
        }
        let Some(saved) = newest else { return Ok(()) };
        let found = &saved.progress;
        if found.step > self.config.steps {
            let (done, steps) = (found.step, self.config.steps);
            let message =
                format!("{done} steps are done already; --steps, {steps}, counts from the beginning");
            return Err(Error::argument("train", message));
        }
        let refuse = |message: &str| Err(Error::data(run.path(), message));
        if found.data != self.progress.data {
            return refuse(
                "the data are not those that it was trained on: they have changed, or another file was named",
            );
        }
        if found.model != self.progress.model {
            return refuse("its checkpoint is of another model than its settings and data make");
        }
        // Kernels run by the plans that they ran by, whatever has been measured since.
        if found.platform.device == self.progress.platform.device {
            self.device.set_plans(found.platform.plans.clone());
        }
        if let Some(difference) = found.platform.difference(&self.progress.platform) {
            let message =
                format!("the run was made with {difference}: it goes on, but not with the same bits");
            (hooks.on_event)(Event::Note(message))?;
        }
        // A plateau goes on with the settings of the checkpoint. Where the checkpoint has none, it begins now.
        let plateau =
            if self.progress.plateau.is_some() { found.plateau.or(self.progress.plateau) } else { None };
        let platform = Platform::of(self.device);
        let checkpoint = saved.read(self.task.model().parameters()).map_err(|error| at(run, error))?;
        let found = &checkpoint.progress;
        load(self.task.model().parameters(), &checkpoint.model).map_err(|error| at(run, error))?;
        self.stepper.optimizer.load_state(&checkpoint.optimizer).map_err(|error| at(run, error))?;
        let states = checkpoint.carried.iter();
        let states = states
            .map(|(name, shape, values)| Ok((name.clone(), Tensor::from_f32(self.device, *shape, values)?)));
        let place = Place { position: found.position, states: states.collect::<Result<_>>()? };
        self.task.seek(&place).map_err(|error| at(run, error))?;
        if found.best.is_some() {
            check_fit(self.task.model().parameters(), &checkpoint.best).map_err(|error| at(run, error))?;
            self.best = Some(checkpoint.best);
        }
        for lost in run.metrics.go_on(found.metrics, found.row)? {
            (hooks.on_event)(Event::Note(lost))?;
        }
        self.unsaved = false;
        self.progress = Progress { platform, plateau, ..checkpoint.progress };
        self.late =
            LateSteps::new(self.config.skip_nonfinite, [self.progress.skipped, self.progress.overflowed]);
        self.stepper.dropout.calls = self.progress.dropout_calls;
        // It may go on now, with more patience.
        if self.config.patience == 0 || self.progress.worse < self.config.patience {
            self.progress.stopped_early = false;
        }
        if self.progress.stopped_early && self.progress.step < self.config.steps {
            let worse = self.progress.worse;
            let message = format!(
                "it stopped early, after {worse} validations without a better loss: a larger --patience, or 0, goes on"
            );
            (hooks.on_event)(Event::Note(message))?;
        }
        Ok(())
    }
}

/// Overwrites parameters with a checkpoint's.
pub(super) fn load(parameters: &Parameters, tensors: &Tensors) -> Result<()> {
    check_fit(parameters, tensors)?;
    tensors.iter().try_for_each(|(name, _, values)| parameters.set(name, Host::F32(values)))
}

/// An error unless a checkpoint's tensors can be the parameters.
fn check_fit(parameters: &Parameters, tensors: &Tensors) -> Result<()> {
    let names: Vec<_> = parameters.names().map(|(name, shape)| (name.to_string(), shape)).collect();
    let fits = |(name, shape): &(String, _)| {
        tensors.iter().any(|(given, of, values)| given == name && of == shape && values.len() == of.count())
    };
    if tensors.len() != names.len() || !names.iter().all(fits) {
        return Err(Error::argument("train", "the checkpoint's parameters are not the model's"));
    }
    match tensors.iter().all(|(.., values)| values.iter().all(|x| x.is_finite())) {
        true => Ok(()),
        false => Err(Error::argument("train", "a parameter of the checkpoint is not finite")),
    }
}

/// An error about what was found in a run's checkpoint.
fn at(run: &Run, error: Error) -> Error {
    match error {
        Error::Argument { message, .. } => Error::data(run.path(), message),
        other => other,
    }
}
