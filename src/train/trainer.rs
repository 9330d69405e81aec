//! The loop that all experiments share: steps, validations, checkpoints, and the way back from one.

use std::time::{Duration, Instant};

use super::config::{Config, ScheduleKind, TrainConfig};
use super::late::{LATE, LateSteps};
use super::run::{Checkpoint, Platform, Progress, Run, Tensors, smaller_lr};
use super::stepper::Stepper;
use super::task::Task;
use super::{Best, Event, OnEvent, Outcome, Summary};
use crate::device::{Device, Host};
use crate::error::{Error, Result};
use crate::optim::{LrSchedule, PlateauConfig, ReduceLrOnPlateau, Schedule};
use crate::parameters::Parameters;
use crate::tape::Var;

/// How the world takes part in a training.
pub struct Hooks<'a> {
    /// Asked after each step: training ends then, as after a checkpoint.
    pub stop: &'a dyn Fn() -> bool,
    /// Told what happens.
    pub on_event: OnEvent<'a>,
    /// Every so many steps the predictions are told; 0: never.
    pub show_every: u64,
}

/// The time between two checkpoints where no number of steps is given.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Trains a task's model; with a run, saves in its folder what the settings ask for, and goes on from its newest
/// checkpoint where there is one. When `stop` says so it ends after the current step, with a checkpoint.
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
    let mut trainer = Trainer::new(device, &config.train, task)?;
    if let Some(run) = run.as_deref_mut().filter(|run| !run.replaces()) {
        trainer.resume(run, hooks)?;
        run.begin()?;
    }
    let Progress { step: done, seconds, .. } = trainer.progress;
    (hooks.on_event)(Event::Begin { steps: config.train.steps, done, seconds })?;
    trainer.run(run, hooks)
}

struct Trainer<'a> {
    device: &'a Device,
    config: &'a TrainConfig,
    task: &'a mut dyn Task,
    stepper: Stepper,
    schedule: LrSchedule,
    late: LateSteps,
    progress: Progress,
    /// The parameters of the best validation.
    best: Option<Tensors>,
    /// Up to when the seconds of the progress are counted.
    counted: Instant,
    saved: Instant,
    /// Whether there is something that the newest checkpoint does not hold.
    unsaved: bool,
}

impl<'a> Trainer<'a> {
    fn new(device: &'a Device, config: &'a TrainConfig, task: &'a mut dyn Task) -> Result<Trainer<'a>> {
        let parameters = task.model().parameters();
        let stepper = Stepper::new(config, parameters)?;
        let plateau = PlateauConfig {
            factor: config.lr_gamma(),
            patience: config.lr_patience,
            ..PlateauConfig::default()
        };
        let plateau = (config.schedule == ScheduleKind::Plateau)
            .then(|| ReduceLrOnPlateau::new(config.lr, plateau))
            .transpose()?;
        let progress = Progress {
            format: 1,
            platform: Platform::of(device),
            model: task.model().config_json(),
            data: task.data(),
            step: 0,
            validation_due: false,
            loss: None,
            seconds: 0.0,
            dropout_calls: 0,
            position: 0,
            best: None,
            validation_loss: None,
            worse: 0,
            plateau,
            stopped_early: false,
            outcome: None,
            metrics: [0; 2],
            row: None,
        };
        Ok(Trainer {
            device,
            config,
            schedule: LrSchedule::new(config.lr, schedule(config))?,
            stepper,
            late: LateSteps::new(),
            progress,
            best: None,
            counted: Instant::now(),
            saved: Instant::now(),
            unsaved: true,
            task,
        })
    }

    /// Goes on from the run's newest checkpoint, if it has one.
    fn resume(&mut self, run: &mut Run, hooks: &mut Hooks<'_>) -> Result<()> {
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
        // Kernels run as they did, whatever has been measured since.
        if found.platform.device == self.progress.platform.device {
            self.device.set_plans(found.platform.plans.clone());
        }
        if let Some(difference) = found.platform.difference(&self.progress.platform) {
            let message =
                format!("the run was made with {difference}: it goes on, but not with the same bits");
            (hooks.on_event)(Event::Note(message))?;
        }
        // The plateau's settings are the run's own; those asked for now count for a schedule that begins only now.
        let plateau =
            if self.progress.plateau.is_some() { found.plateau.or(self.progress.plateau) } else { None };
        let platform = Platform::of(self.device);
        let checkpoint = saved.read(self.task.model().parameters()).map_err(|error| at(run, error))?;
        let found = &checkpoint.progress;
        load(self.task.model().parameters(), &checkpoint.model).map_err(|error| at(run, error))?;
        self.stepper.optimizer.load_state(&checkpoint.optimizer).map_err(|error| at(run, error))?;
        self.task.seek(found.position, &checkpoint.carried).map_err(|error| at(run, error))?;
        if found.best.is_some() {
            check_fit(self.task.model().parameters(), &checkpoint.best).map_err(|error| at(run, error))?;
            self.best = Some(checkpoint.best);
        }
        for lost in run.metrics.go_on(found.metrics, found.row)? {
            (hooks.on_event)(Event::Note(lost))?;
        }
        self.unsaved = false;
        self.progress = Progress { platform, plateau, ..checkpoint.progress };
        self.stepper.dropout.calls = self.progress.dropout_calls;
        // It may have been asked to go on for longer than its patience.
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

    fn run(&mut self, mut run: Option<&mut Run>, hooks: &mut Hooks<'_>) -> Result<Summary> {
        let steps = self.config.steps;
        let validate_every = self.config.validate_every();
        loop {
            let mut best = false;
            if self.progress.validation_due {
                self.take_outcomes(0, &mut run, hooks)?;
                match self.task.validate(hooks.stop)? {
                    Some(loss) => best = self.validated(loss, &mut run, hooks)?,
                    None => return self.finish(run, hooks, true),
                }
            }
            if self.progress.step == steps || self.progress.stopped_early {
                return self.finish(run, hooks, false);
            }
            if (hooks.stop)() {
                return self.finish(run, hooks, true);
            }
            let due = match self.config.checkpoint_every {
                0 => self.saved.elapsed() >= CHECKPOINT,
                every => self.progress.step > 0 && self.progress.step.is_multiple_of(every),
            };
            if run.is_some() && self.unsaved && (best || due) {
                self.take_outcomes(0, &mut run, hooks)?;
                self.save(run.as_mut().expect("there is one"))?;
            }

            let step = self.progress.step + 1;
            let loss = self.step(step)?;
            self.progress.step = step;
            self.unsaved = true;
            self.take_outcomes(LATE, &mut run, hooks)?;
            self.progress.validation_due =
                self.task.validates() && (step == steps || step.is_multiple_of(validate_every));
            let show = hooks.show_every > 0 && step.is_multiple_of(hooks.show_every);
            if show || step == steps || self.progress.validation_due {
                let outcome = self.task.outcome(&self.stepper.tape)?;
                if show && let Outcome::Text { decoded, .. } = &outcome {
                    let loss = self.stepper.tape.value(loss)?.to_vec()?[0];
                    (hooks.on_event)(Event::Decoded { step, loss, text: decoded.clone() })?;
                }
                self.progress.outcome = Some(outcome);
            }
        }
    }

    /// Queues a step.
    fn step(&mut self, step: u64) -> Result<Var> {
        let lr = self.lr(step);
        let (loss, _) = self.stepper.step(self.task, lr)?;
        self.late.push(step, lr, self.stepper.optimizer.control())?;
        self.device.submit()?;
        Ok(loss)
    }

    /// The learning rate of a step, counted from 1.
    fn lr(&self, step: u64) -> f64 {
        let lr = match &self.progress.plateau {
            Some(plateau) => plateau.lr(),
            None => self.schedule.lr(step - 1),
        };
        let warmup = self.config.warmup;
        if step < warmup { lr * (step as f64 / warmup as f64) } else { lr }
    }

    /// Takes the outcomes of all but the last `late` steps.
    fn take_outcomes(
        &mut self,
        late: usize,
        run: &mut Option<&mut Run>,
        hooks: &mut Hooks<'_>,
    ) -> Result<()> {
        while self.late.pending.len() > late {
            let (mut row, done) = self.late.next()?;
            (hooks.on_event)(Event::Step { step: row.step, loss: row.loss })?;
            done.check(&row)?;
            self.progress.loss = Some(row.loss);
            row.grad_norm = row.grad_norm.filter(|_| self.config.clip > 0.0);
            if let Some(run) = run {
                run.metrics.push(row);
            }
        }
        match run {
            Some(run) if run.has_begun() => run.metrics.write_due(),
            _ => Ok(()),
        }
    }

    /// Takes note of a validation: whether it is the best so far.
    fn validated(&mut self, loss: f64, run: &mut Option<&mut Run>, hooks: &mut Hooks<'_>) -> Result<bool> {
        let progress = &mut self.progress;
        if !loss.is_finite() {
            let at = Some(format!("step {}", progress.step));
            return Err(smaller_lr(Error::NonFinite { what: "the validation loss".into(), at }));
        }
        self.unsaved = true;
        progress.validation_due = false;
        progress.validation_loss = Some(loss);
        if let Some(row) = run.as_mut().and_then(|run| run.metrics.last.as_mut()) {
            row.validation_loss = Some(loss);
        }
        let best = progress.best.is_none_or(|best| loss < best.loss);
        if best {
            progress.best = Some(Best { step: progress.step, loss });
            progress.worse = 0;
            self.best = Some(self.task.model().parameters().to_host()?);
        } else {
            progress.worse += 1;
            progress.stopped_early = self.config.patience > 0 && progress.worse >= self.config.patience;
        }
        if let Some(plateau) = &mut progress.plateau {
            plateau.step(loss);
        }
        (hooks.on_event)(Event::Validation { step: progress.step, loss, best })?;
        Ok(best)
    }

    /// Writes a checkpoint; all outcomes are known by now.
    fn save(&mut self, run: &mut Run) -> Result<()> {
        let model = self.task.model().parameters().to_host()?;
        if let Some((name, ..)) = model.iter().find(|(.., values)| !values.iter().all(|x| x.is_finite())) {
            let at = Some("it was not saved".into());
            return Err(smaller_lr(Error::NonFinite { what: format!("the parameter {name}"), at }));
        }
        run.begin()?;
        run.metrics.save()?;
        let (position, carried) = self.task.position()?;
        self.count_seconds();
        let progress = Progress {
            position,
            dropout_calls: self.stepper.dropout.calls,
            metrics: run.metrics.bytes,
            row: run.metrics.last,
            ..self.progress.clone()
        };
        let (optimizer, best) = (self.stepper.optimizer.state()?, self.best.clone().unwrap_or_default());
        let checkpoint = Checkpoint { progress, model, best, optimizer, carried };
        run.save_checkpoint(&checkpoint, self.config.keep)?;
        // What can be used meanwhile, and if training never ends.
        let Checkpoint { progress, model, best, .. } = &checkpoint;
        run.save_model(&progress.model, if best.is_empty() { model } else { best })?;
        self.saved = Instant::now();
        self.unsaved = false;
        Ok(())
    }

    fn count_seconds(&mut self) {
        let now = Instant::now();
        self.progress.seconds += (now - std::mem::replace(&mut self.counted, now)).as_secs_f64();
    }

    /// The end: checkpoint, then the best model in place of the last, and its files.
    fn finish(
        &mut self,
        mut run: Option<&mut Run>,
        hooks: &mut Hooks<'_>,
        interrupted: bool,
    ) -> Result<Summary> {
        self.take_outcomes(0, &mut run, hooks)?;
        if self.unsaved {
            match &mut run {
                Some(run) => self.save(run)?,
                None => self.count_seconds(),
            }
        }
        if let Some(best) = &self.best {
            load(self.task.model().parameters(), best)?;
        }
        if let Some(run) = run {
            let model = self.task.model();
            run.save_model(&model.config_json(), &model.parameters().to_host()?)?;
            if !interrupted {
                run.metrics.end()?;
            }
        }
        let progress = &self.progress;
        Ok(Summary {
            steps: progress.step,
            loss: progress.loss.unwrap_or(f32::NAN),
            seconds: progress.seconds,
            outcome: progress.outcome.clone(),
            validation_loss: progress.validation_loss,
            best: progress.best,
            stopped_early: progress.stopped_early,
            interrupted,
        })
    }
}

/// The schedule in the library's terms.
fn schedule(config: &TrainConfig) -> Schedule {
    let (steps, step_size, gamma) = (config.steps, config.lr_every(), config.lr_gamma());
    match config.schedule {
        ScheduleKind::Constant | ScheduleKind::Plateau => Schedule::Constant,
        ScheduleKind::Cosine => Schedule::CosineAnnealingLr { t_max: steps, eta_min: 0.0 },
        ScheduleKind::Onecycle => Schedule::one_cycle(steps),
        ScheduleKind::Step => Schedule::StepLr { step_size, gamma },
        ScheduleKind::Exponential => Schedule::ExponentialLr { gamma },
    }
}

/// Overwrites parameters with a checkpoint's.
fn load(parameters: &Parameters, tensors: &Tensors) -> Result<()> {
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
