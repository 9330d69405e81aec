//! The training loop that all experiments share: steps, validations, checkpoints, and the way back from a checkpoint.

mod resume;
mod verified;

use std::time::{Duration, Instant};

use super::Outcome;
use super::config::{Config, ScheduleKind, TrainConfig};
use super::late::{Begin, Fate, LATE, LateSteps, MOST_SKIPPED};
use super::recovery::Hooks;
use super::run::{Checkpoint, Metrics, Platform, Progress, Row, Run, Tensors, smaller_lr};
use super::stepper::{Stepper, assert_finite};
use super::task::{Place, Task};
use super::{Best, Event, Summary};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::optim::{LrSchedule, PlateauConfig, ReduceLrOnPlateau, Schedule};
use crate::tape::Var;
use crate::tensor::Tensor;
use resume::load;

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
    // A profile is of steps. The trainer leaves out of it whatever else it does.
    let aside = device.pause_profile();
    let mut trainer = Trainer::new(device, &config.train, task)?;
    if let Some(run) = run.as_deref_mut() {
        run.metrics = Metrics::new(run.path());
        if !run.replaces() {
            trainer.resume(run, hooks)?;
            if trainer.has_ended() {
                run.keep_config();
            }
            run.begin()?;
        }
    }
    let Progress { step: done, seconds, .. } = trainer.progress;
    (hooks.on_event)(Event::Begin { steps: config.train.steps, done, seconds })?;
    drop(aside);
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
    /// The moment up to which the progress counts its seconds.
    counted: Instant,
    saved: Instant,
    /// Whether there is something that the newest checkpoint does not hold.
    unsaved: bool,
    /// The last steps, as far as they were left out because something was not finite.
    skipped_in_a_row: u64,
    /// Steps that were made twice.
    verified: u64,
}

impl<'a> Trainer<'a> {
    fn new(device: &'a Device, config: &'a TrainConfig, task: &'a mut dyn Task) -> Result<Trainer<'a>> {
        let parameters = task.model().parameters();
        let stepper = Stepper::new(config, parameters)?;
        stepper.check_parts(task)?;
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
            overflowed: 0,
            outcome: None,
            metrics: [0; 2],
            row: None,
        };
        Ok(Trainer {
            device,
            config,
            schedule: LrSchedule::new(config.lr, schedule(config))?,
            stepper,
            late: LateSteps::new(config.skip_nonfinite, [0; 2]),
            progress,
            best: None,
            counted: Instant::now(),
            saved: Instant::now(),
            unsaved: true,
            skipped_in_a_row: 0,
            verified: 0,
            task,
        })
    }

    /// Whether there is nothing to train.
    fn has_ended(&self) -> bool {
        let Progress { step, validation_due, stopped_early, .. } = self.progress;
        !validation_due && (step == self.config.steps || stopped_early)
    }

    fn run(&mut self, mut run: Option<&mut Run>, hooks: &mut Hooks<'_>) -> Result<Summary> {
        let steps = self.config.steps;
        let validate_every = self.config.validate_every();
        loop {
            let mut best = false;
            if self.progress.validation_due {
                self.take_outcomes(0, &mut run, hooks)?;
                let _aside = self.device.pause_profile();
                // What the last step computed is needed no more, and a validation takes memory too.
                self.stepper.tape.clear();
                match self.task.validate(hooks.stop)? {
                    Some(loss) => best = self.validated(loss, &mut run, hooks)?,
                    None => return self.finish(run, hooks, true),
                }
            }
            if self.has_ended() {
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
            // A step that is left out must be known before the next one begins.
            let late = if self.config.skip_nonfinite { 0 } else { LATE };
            self.take_outcomes(late, &mut run, hooks)?;
            self.progress.validation_due =
                self.task.validates() && (step == steps || step.is_multiple_of(validate_every));
            let show = hooks.show_every > 0 && step.is_multiple_of(hooks.show_every);
            if show || step == steps || self.progress.validation_due {
                let _aside = self.device.pause_profile();
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
        let begin = self.begin();
        let (loss, _) = self.stepper.step(self.task, lr)?;
        self.late.push(step, lr, begin, self.stepper.optimizer.control())?;
        self.device.end_step()?;
        Ok(loss)
    }

    /// Where the next step begins.
    fn begin(&self) -> Begin {
        Begin { place: self.task.place(), dropout: self.stepper.dropout }
    }

    /// Goes back, so that the next step is the one that began there.
    fn go_back(&mut self, begin: &Begin) -> Result<()> {
        self.stepper.dropout = begin.dropout;
        self.task.seek(&begin.place)
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
                Fate::Skipped(begin, skipped) => {
                    self.skipped_in_a_row += 1;
                    if self.skipped_in_a_row == MOST_SKIPPED {
                        (hooks.on_event)(Event::Skipped { step: row.step, skipped })?;
                        return Err(self.stopped(&row, &begin, run)?);
                    }
                    self.progress.skipped = skipped;
                    // The states after the step may not be finite either: those before it are taken.
                    let position = self.task.place().position;
                    self.task.seek(&Place { position, states: begin.place.states })?;
                    (hooks.on_event)(Event::Skipped { step: row.step, skipped })?;
                }
                // The steps that follow on the device have a smaller scale already.
                Fate::Overflowed(overflowed) => {
                    self.progress.loss = Some(row.loss);
                    self.progress.overflowed = overflowed;
                }
                Fate::Done => {
                    self.progress.loss = Some(row.loss);
                    self.skipped_in_a_row = 0;
                }
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

    /// The error of a step that was not finite: it names the step and the first operation whose result is not. The parameters
    /// are still those before the step. A run that has a checkpoint gets another one of them, and keeps all that it has.
    fn stopped(&mut self, row: &Row, begin: &Begin, run: &mut Option<&mut Run>) -> Result<Error> {
        self.late.pending.clear();
        self.go_back(begin)?;
        let what = match self.stepper.search_nonfinite(self.task) {
            Err(Error::NonFinite { what, .. }) => what,
            Err(other) => return Err(other),
            Ok(()) if row.loss.is_finite() => "the norm of the gradient".into(),
            Ok(()) => "the loss".into(),
        };
        self.go_back(begin)?;
        let mut at = format!("step {}", row.step);
        if self.skipped_in_a_row > 0 {
            at += &format!(", the last of {MOST_SKIPPED} in a row that were left out");
        }
        self.progress.step = row.step - 1;
        self.progress.validation_due = false;
        if let Some(run) = run
            && run.is_saved()?
        {
            match self.save(run, usize::MAX) {
                Ok(()) => at += "; the state before it is saved",
                // A parameter is not finite, so that there is nothing good to save.
                Err(Error::NonFinite { .. }) => {}
                Err(other) => at += &format!("; the state before it could not be saved: {other}"),
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

    /// Writes a checkpoint, of which the last `keep` stay. All outcomes must have been taken.
    fn save(&mut self, run: &mut Run, keep: usize) -> Result<()> {
        let _aside = self.device.pause_profile();
        let model = self.task.model().parameters().to_host()?;
        assert_finite(&model).map_err(not_saved)?;
        let Place { position, states } = self.task.place();
        let to_host = |(name, state): (String, Tensor)| Ok((name, state.shape(), state.to_vec()?));
        let carried = states.into_iter().map(to_host).collect::<Result<_>>()?;
        let (optimizer, best) = (self.stepper.optimizer.state()?, self.best.clone().unwrap_or_default());
        // All is read: what fails from here on is the disk, not the device.
        run.begin()?;
        run.metrics.save()?;
        self.count_seconds();
        let progress = Progress {
            position,
            dropout_calls: self.stepper.dropout.calls,
            metrics: run.metrics.bytes,
            row: run.metrics.last,
            ..self.progress.clone()
        };
        let checkpoint = Checkpoint { progress, model, best, optimizer, carried };
        run.save_checkpoint(&checkpoint, keep)?;
        // The model can be used while training goes on, and if it never ends.
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

    /// Ends the training: a checkpoint, then the best model in place of the last, and its files.
    fn finish(
        &mut self,
        mut run: Option<&mut Run>,
        hooks: &mut Hooks<'_>,
        interrupted: bool,
    ) -> Result<Summary> {
        self.take_outcomes(0, &mut run, hooks)?;
        let _aside = self.device.pause_profile();
        if (1..hooks.verify).contains(&self.verified) {
            (hooks.on_event)(Event::Verified { steps: self.verified })?;
        }
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
            overflowed: progress.overflowed,
            interrupted,
        })
    }
}

/// Adds to an error of something that is not finite that it was not saved.
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
