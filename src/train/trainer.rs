//! The loop that all experiments share: steps, validations, checkpoints, and the way back from one.

use std::time::{Duration, Instant};

use super::Outcome;
use super::config::{Config, ScheduleKind, TrainConfig};
use super::late::{Begin, Fate, LATE, LateSteps};
use super::recovery::Hooks;
use super::run::{Checkpoint, Metrics, Platform, Progress, Row, Run, Tensors, smaller_lr};
use super::stepper::{Stepper, assert_finite};
use super::task::{Place, Task};
use super::verified::Bits;
use super::{Best, Event, Summary};
use crate::device::{Device, Host};
use crate::error::{Error, Result};
use crate::optim::{LrSchedule, PlateauConfig, ReduceLrOnPlateau, Schedule};
use crate::parameters::Parameters;
use crate::tape::Var;
use crate::tensor::Tensor;

/// The time between two checkpoints where no number of steps is given.
const CHECKPOINT: Duration = Duration::from_secs(60);

/// Trains once: until the end, a fault, or `stop`.
pub(super) fn train_once(
    device: &Device,
    config: &Config,
    task: &mut dyn Task,
    mut run: Option<&mut Run>,
    hooks: &mut Hooks<'_>,
) -> Result<Summary> {
    let mut trainer = Trainer::new(device, &config.train, task)?;
    if let Some(run) = run.as_deref_mut() {
        run.metrics = Metrics::new(run.path());
        if !run.replaces() {
            trainer.resume(run, hooks)?;
            run.begin()?;
        }
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
    /// Steps that were made twice.
    verified: u64,
}

impl<'a> Trainer<'a> {
    fn new(device: &'a Device, config: &'a TrainConfig, task: &'a mut dyn Task) -> Result<Trainer<'a>> {
        let parameters = task.model().parameters();
        let (parts, rows) = (config.accumulate, task.rows());
        if parts > rows {
            let message = format!("--accumulate {parts}: a batch can be taken in {rows} parts at most");
            return Err(Error::argument("train", message));
        }
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
            skipped: 0,
            outcome: None,
            metrics: [0; 2],
            row: None,
        };
        Ok(Trainer {
            device,
            config,
            schedule: LrSchedule::new(config.lr, schedule(config))?,
            stepper,
            late: LateSteps::new(config.skip_nonfinite, 0),
            progress,
            best: None,
            counted: Instant::now(),
            saved: Instant::now(),
            unsaved: true,
            verified: 0,
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
        self.late = LateSteps::new(self.config.skip_nonfinite, self.progress.skipped);
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
                // What the last step computed is needed no more, and a validation takes memory too.
                self.stepper.tape.clear();
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
                self.save(run.as_mut().expect("there is one"), self.config.keep)?;
            }

            let step = self.progress.step + 1;
            let loss = if self.verified < hooks.verify {
                self.take_outcomes(0, &mut run, hooks)?;
                self.step_verified(step, hooks)?
            } else {
                self.step(step)?
            };
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
        let begin = Begin { place: self.task.place(), dropout: self.stepper.dropout };
        let (loss, _) = self.stepper.step(self.task, lr)?;
        self.late.push(step, lr, begin, self.stepper.optimizer.control())?;
        self.device.end_step()?;
        Ok(loss)
    }

    /// Queues a step that was made before and taken back: its bits must be the same.
    fn step_verified(&mut self, step: u64, hooks: &mut Hooks<'_>) -> Result<Var> {
        let place = self.task.place();
        let before = Bits::of(&self.stepper, self.task, None)?;
        let dropout = self.stepper.dropout;
        let lr = self.lr(step);
        let (_, loss) = self.stepper.step(self.task, lr)?;
        let first = Bits::of(&self.stepper, self.task, Some(&loss))?;
        load(self.task.model().parameters(), &before.parameters)?;
        self.stepper.optimizer.load_state(&before.optimizer)?;
        self.late = LateSteps::new(self.config.skip_nonfinite, self.progress.skipped);
        self.stepper.dropout = dropout;
        self.task.seek(&place)?;
        let loss = self.step(step)?;
        let value = self.stepper.tape.value(loss)?.clone();
        first.compare(&Bits::of(&self.stepper, self.task, Some(&value))?, step)?;
        self.verified += 1;
        if self.verified == hooks.verify {
            let steps = self.verified;
            (hooks.on_event)(Event::Note(format!("{steps} steps were made twice: all bits were the same")))?;
        }
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
            let (row, fate) = self.late.next()?;
            (hooks.on_event)(Event::Step { step: row.step, loss: row.loss })?;
            match fate {
                Fate::Stopped(begin) => return Err(self.stopped(&row, &begin, run)?),
                Fate::Skipped(skipped) => {
                    self.progress.skipped = skipped;
                    (hooks.on_event)(Event::Skipped { step: row.step, skipped })?;
                }
                Fate::Done => self.progress.loss = Some(row.loss),
            }
            if let Some(run) = run {
                run.metrics.push(row);
            }
        }
        match run {
            Some(run) if run.has_begun() => run.metrics.write_due(),
            _ => Ok(()),
        }
    }

    /// What a step met that was not finite, and at which operation. The parameters are still those before it: a run that has
    /// been saved before is saved as it is then, beside what it has.
    fn stopped(&mut self, row: &Row, begin: &Begin, run: &mut Option<&mut Run>) -> Result<Error> {
        self.late.pending.clear();
        let go_back = |trainer: &mut Self| {
            trainer.stepper.dropout = begin.dropout;
            trainer.task.seek(&begin.place)
        };
        go_back(self)?;
        let what = match self.stepper.search_nonfinite(self.task) {
            Err(Error::NonFinite { what, .. }) => what,
            Err(other) => return Err(other),
            Ok(()) if row.loss.is_finite() => "the norm of the gradient".into(),
            Ok(()) => "the loss".into(),
        };
        go_back(self)?;
        let mut at = format!("step {}", row.step);
        self.progress.step = row.step - 1;
        self.progress.validation_due = false;
        if let Some(run) = run
            && run.is_saved()?
        {
            match self.save(run, usize::MAX) {
                Ok(()) => at += "; the state before it is saved",
                // It was so before, which is why the loss is.
                Err(Error::NonFinite { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(smaller_lr(Error::NonFinite { what, at: Some(at) }))
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

    /// Writes a checkpoint, of which the last `keep` stay; all outcomes are known by now.
    fn save(&mut self, run: &mut Run, keep: usize) -> Result<()> {
        let model = self.task.model().parameters().to_host()?;
        assert_finite(&model).map_err(not_saved)?;
        run.begin()?;
        run.metrics.save()?;
        let Place { position, states } = self.task.place();
        let to_host = |(name, state): (String, Tensor)| Ok((name, state.shape(), state.to_vec()?));
        let carried = states.into_iter().map(to_host).collect::<Result<_>>()?;
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
        run.save_checkpoint(&checkpoint, keep)?;
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
                Some(run) => self.save(run, self.config.keep)?,
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
                self.task.save(run)?;
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
            skipped: progress.skipped,
            interrupted,
        })
    }
}

/// Why a state was not saved.
fn not_saved(error: Error) -> Error {
    match error {
        Error::NonFinite { what, .. } => {
            smaller_lr(Error::NonFinite { what, at: Some("it was not saved".into()) })
        }
        other => other,
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
