//! What the user sees of a training: its data and memory, the progress, and how it ended.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Instant;

use bptt::device::Device;
use bptt::error::{Error, Result};
use bptt::train::{
    Config, Event, Experiment, MemoryPlan, Outcome, Summary, bits_per_character, decimals, readable,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::{Value, json};

use super::super::output::{Output, STDOUT};
use super::super::profile::Profile;
use super::beats_naive;
use super::options;

/// Prints what the user sees of a training.
pub struct Show {
    experiment: Experiment,
    device: Device,
    output: Output,
    /// What the user should know when training begins. It is told once, also where training goes on after a fault.
    notes: RefCell<Vec<String>>,
    begun: Cell<bool>,
    start: Cell<Instant>,
    bar: ProgressBar,
    /// The steps that were done before this process.
    done: Cell<u64>,
    /// The seconds that they took.
    before: Cell<f64>,
}

impl Show {
    pub fn new(options: &options::Run, config: &Config, device: &Device, notes: Vec<String>) -> Show {
        let output = Output::new(options.json).quiet(options.quiet);
        let (experiment, device) = (config.experiment, device.clone());
        Show {
            experiment,
            device,
            output,
            notes: RefCell::new(notes),
            begun: Cell::new(false),
            start: Cell::new(Instant::now()),
            bar: ProgressBar::hidden(),
            done: Cell::new(0),
            before: Cell::new(0.0),
        }
    }

    /// Says how much memory the training will take.
    pub fn memory(&self, plan: &MemoryPlan) -> Result<()> {
        let MemoryPlan { parameters, gradients, moments, data, activations, peak, held, largest, .. } = *plan;
        let [parts @ .., peak, held, largest] =
            [parameters, gradients, moments, data, activations, peak, held, largest].map(readable);
        let [parameters, gradients, moments, data, activations] = parts;
        let copies = match plan.converted {
            0 => String::new(),
            bytes => {
                format!("; beside them {} for copies in 32 bits, in which the CPU computes", readable(bytes))
            }
        };
        self.output.line(format!(
            "memory: parameters {parameters}, gradients {gradients}, optimizer {moments}, data {data}, a step \
             {activations}; at most {peak} of tensors at once, {held} with those kept for reuse{copies}"
        ))?;
        let of = plan.binding.map_or(String::new(), |binding| format!(" of {}", readable(binding)));
        let launches = plan.launches;
        let mut line = format!("the largest tensor takes {largest}{of}; a step makes {launches} launches");
        if plan.longest_submission > 0.0 {
            let ms = plan.longest_submission * 1e3;
            line += &format!(", the longest submission about {ms:.1} ms by the rates of a {}", self.kind());
        }
        self.output.line(line)?;
        self.output.event(&json!({
            "event": "memory", "parameters": plan.parameters, "gradients": plan.gradients, "moments": plan.moments,
            "data": plan.data, "activations": plan.activations, "bytes_peak": plan.peak, "bytes_held": plan.held,
            "bytes_largest": plan.largest, "bytes_converted": plan.converted, "binding": plan.binding, "launches": launches,
            "longest_submission_ms": plan.longest_submission * 1e3,
        }))
    }

    /// The adapter whose rates the estimates are made with.
    fn kind(&self) -> &'static str {
        if self.device.info().software { "llvmpipe on two threads" } else { "large GPU" }
    }

    pub fn event(&self, event: Event) -> Result<()> {
        match event {
            Event::Begin { steps, done, seconds } => self.begin(steps, done, seconds)?,
            Event::Note(text) => self.bar.suspend(|| self.output.note(&text)),
            Event::Step { step, loss } => {
                self.bar.set_position(step);
                if self.output.is_json() {
                    self.output.event(&json!({"event": "step", "step": step, "loss": loss}))?;
                } else if !self.bar.is_hidden() {
                    self.bar.set_message(format!("loss {}", decimals(loss.into(), 4)));
                }
            }
            Event::Verified { steps } => {
                self.bar.suspend(|| {
                    self.output.note(&format!("{steps} steps were made twice: all bits were the same"));
                });
                self.output.event(&json!({"event": "verified", "steps": steps}))?;
            }
            Event::Skipped { step, skipped } => {
                self.bar.suspend(|| {
                    self.output.note(&format!(
                        "step {step} was left out: its loss or gradient is not finite ({skipped} left out so far)"
                    ))
                });
                self.output.event(&json!({"event": "skipped", "step": step, "skipped": skipped}))?;
            }
            Event::Decoded { step, loss, text } => {
                self.bar.suspend(|| {
                    self.output.line(format!("step {step:>5}  loss {}  {text}", decimals(loss.into(), 4)))
                })?;
            }
            Event::Validation { step, loss, best } => {
                let bits = bits_per_character(loss);
                let [shown, shown_bits] = [decimals(loss, 4), decimals(bits, 3)];
                let mark = if best { "" } else { ", no better than before" };
                self.bar.suspend(|| {
                    self.output.line(format!(
                        "step {step:>6}  validation loss {shown}, {shown_bits} bits per character, {:.0} s{mark}",
                        self.before.get() + self.start.get().elapsed().as_secs_f64()
                    ))
                })?;
                self.output.event(&json!({
                    "event": "validation", "step": step, "validation_loss": loss, "bits_per_character": bits,
                }))?;
            }
        }
        Ok(())
    }

    fn begin(&self, steps: u64, done: u64, seconds: f64) -> Result<()> {
        self.done.set(done);
        self.before.set(seconds);
        self.start.set(Instant::now());
        let info = self.device.info();
        let from = match done {
            0 => String::new(),
            done if done == steps => format!(": all {steps} steps are done, --steps with more goes on"),
            done => format!(", from step {done} on"),
        };
        self.output.line(format!("training {} on {info}{from}", self.experiment.name()))?;
        if info.software {
            self.output.note(&format!(
                "{} is a GPU made of software: right, but slower than --device cpu",
                info.name
            ));
        }
        for note in self.notes.take() {
            self.output.note(&note);
        }
        if !self.output.is_json() && !self.output.is_quiet() && std::io::stderr().is_terminal() {
            let template = "{bar:20} {pos}/{len} steps  {msg}  {speed}/s  {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is well-formed");
            let speed = |state: &ProgressState, to: &mut dyn Write| {
                // A progress bar that cannot be drawn is no reason to stop.
                let _ = write!(to, "{:.1}", state.per_sec());
            };
            self.bar.set_style(style.with_key("speed", speed));
            self.bar.set_length(steps);
            self.bar.set_position(done);
            self.bar.reset_eta();
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        self.begun.set(true);
        Ok(())
    }

    /// Removes the progress bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The error of a training that was interrupted, by the user or because of something that could not be printed. Says how
    /// to go on with it.
    pub fn interrupted(&self, summary: &Summary, path: &Path, unprinted: Option<Error>) -> Error {
        let (steps, name) = (summary.steps, quoted(path));
        let how = format!(
            "interrupted after step {steps}; the model so far is in {name}; go on with: bptt train --resume {name}"
        );
        if let Some(error) = unprinted {
            return and(error, &how);
        }
        self.output.note(&how);
        let out = path.display().to_string();
        let told = self.output.event(&json!({"event": "interrupted", "step": steps, "out": out}));
        told.err().map_or(Error::Interrupted, |error| and(error, &how))
    }

    /// The error of a training that has ended, but of which something could not be printed.
    pub fn unprinted(&self, error: Error, path: &Path) -> Error {
        and(error, &format!("the training has ended, and the model is in {}", quoted(path)))
    }

    /// Whether a training has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Says that the curves could not be drawn, which harms nothing else.
    pub fn no_plots(&self, error: &Error) {
        if !self.output.is_json() {
            self.output.note(&format!("the curves were not drawn: {error}"));
        }
    }

    /// The result of the training, as `--json` prints it.
    pub fn result(&self, summary: &Summary, path: &Path) -> Value {
        let Summary { steps, loss, seconds, outcome, validation_loss, best, stopped_early, .. } = summary;
        let loss = training_loss(*loss, outcome.as_ref());
        let mut done = json!({
            "event": "done", "experiment": self.experiment.name(), "device": self.device.info().to_string(),
            "steps": steps, "loss": loss,
        });
        let mut set = |key: &str, value: Value| done[key] = value;
        match outcome {
            Some(Outcome::Text { accuracy, decoded }) => {
                set("accuracy", json!(accuracy));
                set("decoded", json!(decoded));
            }
            Some(Outcome::Forecast(metrics)) => {
                for (key, value) in [
                    ("test_mse", metrics.test_mse),
                    ("test_mae", metrics.test_mae),
                    ("naive_mse", metrics.naive_mse),
                    ("naive_mae", metrics.naive_mae),
                ] {
                    set(key, json!(value));
                }
            }
            None => {}
        }
        set("seconds", json!(seconds));
        set("out", json!(path.display().to_string()));
        if let Some(loss) = validation_loss {
            set("validation_loss", json!(loss));
            set("bits_per_character", json!(bits_per_character(*loss)));
        }
        if let Some(best) = best {
            set("best_step", json!(best.step));
            set("best_validation_loss", json!(best.loss));
        }
        if *stopped_early {
            set("stopped_early", json!(true));
        }
        if summary.skipped > 0 {
            set("skipped", json!(summary.skipped));
        }
        if summary.overflowed > 0 {
            set("overflowed", json!(summary.overflowed));
        }
        done
    }

    /// Says how the training went, and what can be done with the model.
    pub fn finish(
        &self,
        summary: &Summary,
        result: &Value,
        path: &Path,
        profile: Option<Profile>,
    ) -> Result<()> {
        let Summary { steps, loss, seconds, outcome, validation_loss, best, stopped_early, .. } = summary;
        let loss = training_loss(*loss, outcome.as_ref());
        let mut line = format!("{steps} steps in {seconds:.2} s: loss {}", decimals(loss.into(), 4));
        match (outcome, validation_loss) {
            (Some(Outcome::Text { accuracy, .. }), Some(loss)) => {
                let bits = bits_per_character(best.map_or(*loss, |best| best.loss));
                line +=
                    &format!(", accuracy {accuracy:.3}, validation {} bits per character", decimals(bits, 3));
            }
            (Some(Outcome::Text { accuracy, decoded }), None) => {
                line += &format!(", accuracy {accuracy:.3}, predicted {decoded:?}");
            }
            (Some(Outcome::Forecast(metrics)), _) => line += &format!("; {metrics}"),
            (None, _) => {}
        }
        self.output.line(line)?;
        if beats_naive(summary) == Some(false) {
            self.output.line("the model does not beat the naive forecast")?;
        }
        if summary.skipped > 0 {
            let left_out = match summary.skipped {
                1 => "1 step was left out: its".to_string(),
                skipped => format!("{skipped} steps were left out: their"),
            };
            self.output.line(format!("{left_out} loss or gradient was not finite"))?;
        }
        if summary.overflowed > 0 {
            let left_out = match summary.overflowed {
                1 => "1 step was left out: its gradient".to_string(),
                overflowed => format!("{overflowed} steps were left out: their gradients"),
            };
            self.output
                .line(format!("{left_out} did not fit f16 with the loss scale, which was made smaller"))?;
        }
        if *stopped_early {
            self.output.line("stopped early: the validation loss no longer fell")?;
        }
        if let Some(best) = best.filter(|best| best.step != *steps) {
            self.output
                .line(format!("the best validation was after step {}: the model is that one", best.step))?;
        }
        if let Some(profile) = profile {
            profile.finish(self.output, steps - self.done.get())?;
        }
        let path = quoted(path);
        let next = match self.experiment {
            Experiment::Text => format!("; continue a text with: bptt generate {path}"),
            Experiment::Timeseries => format!("; forecast with: bptt predict {path} --csv NEW.csv"),
            _ => String::new(),
        };
        self.output.line(format!("the model is in {path}{next}"))?;
        self.output.event(result)
    }
}

/// The loss of the last step; for a time series in batches, that of all training windows.
fn training_loss(last: f32, outcome: Option<&Outcome>) -> f32 {
    match outcome {
        Some(Outcome::Forecast(metrics)) => metrics.train_mse.map_or(last, |mse| mse as f32),
        _ => last,
    }
}

/// An error of what could not be printed, with what became of the training; others as they are.
fn and(error: Error, then: &str) -> Error {
    match error {
        Error::Data { path, message } if path.as_os_str() == STDOUT => {
            Error::data(path, format!("{message}; {then}"))
        }
        other => other,
    }
}

/// A path, quoted for a shell where it must be.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
