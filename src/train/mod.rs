//! Training: what is learnt ([`Task`]), the loop that all tasks share ([`fn@train`]), the folder of a run ([`Run`]), and what
//! can be done with a trained model ([`Generate`], [`forecast`], [`inspect`]).
//!
//! | file | what is in it |
//! |---|---|
//! | `config/` | the settings of a training: `config.toml`, and the options of the command |
//! | `source.rs`, `task.rs` | the data that are read; what the loop asks of a task |
//! | `sentence.rs`, `text.rs`, `timeseries.rs` | the three kinds of tasks |
//! | `model/`, `weights.rs`, `convert.rs`, `rounding.rs` | models, and their files in every precision |
//! | `stepper.rs`, `late.rs`, `trainer.rs` | one step; its outcome, which is read some steps later; the loop |
//! | `recovery.rs`, `memory.rs` | what happens where the device fails; what a training takes, known before |
//! | `run/` | the folder of a run: metrics, checkpoints, model |
//! | `generate.rs`, `forecast.rs`, `inspect.rs`, `observe.rs` | trained models at work, looked into; steps recorded for a trace |

mod config;
mod convert;
pub mod forecast;
mod generate;
pub mod inspect;
mod late;
mod memory;
mod model;
mod observe;
mod recovery;
mod rounding;
mod run;
mod sentence;
mod source;
mod stepper;
mod task;
mod text;
mod timeseries;
mod trainer;
pub mod weights;

pub use config::{
    Config, ConfigFile, DataConfig, Experiment, LARGEST, LayersConfig, ScheduleKind, TrainConfig,
};
pub use convert::{Conversion, convert_weights};
pub use forecast::{Forecast, ForecastMetrics};
pub use generate::{Generate, Sampler};
pub use late::MOST_SKIPPED;
pub use memory::{MemoryPlan, fit_memory, plan_memory, readable};
pub use model::{CharModel, CharModelConfig, Model, ModelFiles, SeriesModel, SeriesModelConfig, WEIGHTS};
pub use observe::{Observed, observe};
pub use recovery::{Hooks, Remake, train};
pub use run::{DataFacts, FORECASTS, Record, Row, Run, Tensors, newest_text_model, trained_on};
pub use sentence::SentenceTask;
pub use source::Source;
pub use stepper::Stepper;
pub use task::{Part, Place, Task};
pub use text::{TextMetrics, TextTask, evaluate_text};
pub use timeseries::SeriesTask;
pub use weights::{load_weights, save_weights, save_weights_in};

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What happens while training, for whoever shows it.
#[derive(Clone, Debug)]
pub enum Event {
    /// The model is made and training begins, or goes on.
    Begin {
        /// The step that it ends with, unless it is stopped.
        steps: u64,
        /// The steps that are done already.
        done: u64,
        /// The seconds that they took.
        seconds: f64,
    },
    /// Something that the user should know.
    Note(String),
    /// A step has been done: its number, counted from 1, and the loss before its update.
    Step {
        /// The step.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// A step was left out, as its loss or gradient was not finite.
    Skipped {
        /// The step.
        step: u64,
        /// Steps that were left out so far.
        skipped: u64,
    },
    /// The first steps were made twice, and gave the same bits.
    Verified {
        /// How many steps.
        steps: u64,
    },
    /// What the model predicts at a step.
    Decoded {
        /// The step.
        step: u64,
        /// The loss.
        loss: f32,
        /// The predictions as text.
        text: String,
    },
    /// The loss on data that are held out.
    Validation {
        /// The step after which it was computed.
        step: u64,
        /// The mean loss; of a character, in nats.
        loss: f64,
        /// Whether it is the best so far.
        best: bool,
    },
}

/// Receives the events; an error from it ends the training.
pub type OnEvent<'a> = &'a mut dyn FnMut(Event) -> Result<()>;

/// How well a model does at a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Of text, in the step's forward pass, before its update.
    Text {
        /// The share of right predictions.
        accuracy: f64,
        /// The predictions as text.
        decoded: String,
    },
    /// Of a time series, after the step's update, on the test part.
    Forecast(ForecastMetrics),
}

/// The best validation of a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The step after which it was computed.
    pub step: u64,
    /// The loss.
    pub loss: f64,
}

/// The result of a training.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Steps done.
    pub steps: u64,
    /// The loss of the last step, before its update.
    pub loss: f32,
    /// The seconds that training took, those before it was resumed included.
    pub seconds: f64,
    /// How well the model of the last step does; none when training was interrupted before that was computed.
    pub outcome: Option<Outcome>,
    /// The last loss on held-out data, where there are any.
    pub validation_loss: Option<f64>,
    /// The best one: the model is that of its step.
    pub best: Option<Best>,
    /// Whether patience ran out before the last step.
    pub stopped_early: bool,
    /// Steps that were left out, as their loss or gradient was not finite.
    pub skipped: u64,
    /// Steps that were left out, as the loss scale of f16 was too large for their gradients.
    pub overflowed: u64,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

/// Writes a file that the user named, whole, or leaves what is there. A link is followed; into a device or a pipe is written.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) when it cannot be written.
pub fn write_file(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    crate::files::write_named(path, bytes)
}

/// Writes a file in the folder of a run whole, or leaves what is there. A link is replaced and not followed: by one, a run that
/// came from somebody else could have this machine's own files overwritten.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) when it cannot be written.
pub fn write_in_run(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    crate::files::write_whole(&[(path, bytes)])
}

/// Whether what is written to a path is added to what was written before, as of a device or a pipe. There a file that is
/// replaced as more is known has to be written once, at the end.
pub fn is_stream(path: &std::path::Path) -> bool {
    crate::files::is_stream(path)
}

/// Checks that a file can be written, before the work whose result it is to hold.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) says why not.
pub fn check_writable(path: &std::path::Path) -> Result<()> {
    crate::files::check_writable(path)
}

/// A number for people, with so many decimals; in scientific notation where it is so large that they say nothing.
pub fn decimals(x: f64, decimals: usize) -> String {
    if x.abs() < 1e9 || !x.is_finite() { format!("{x:.decimals$}") } else { format!("{x:.decimals$e}") }
}

/// Bits per character of a loss in nats.
pub fn bits_per_character(loss: f64) -> f64 {
    loss / std::f64::consts::LN_2
}

/// The class of the largest logit in each row of [N, classes]; the first of equals.
fn argmax(logits: &[f32], classes: usize) -> Vec<i32> {
    let largest =
        |row: &[f32]| (1..classes).fold(0, |best, c| if row[c] > row[best] { c } else { best }) as i32;
    logits.chunks_exact(classes).map(largest).collect()
}

/// The share of equal elements.
fn share_equal<T: PartialEq>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / b.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_short() {
        let shown = [0.0, -12.52189, 999_999_999.0, 1e9, 3.4e38, f64::INFINITY].map(|x| decimals(x, 2));
        assert_eq!(shown, ["0.00", "-12.52", "999999999.00", "1.00e9", "3.40e38", "inf"]);
        let metrics = ForecastMetrics {
            test_mse: 1e60,
            test_mae: 1e30,
            naive_mse: 3.5,
            naive_mae: 1.5,
            count: 2,
            train_mse: None,
        };
        assert_eq!(
            metrics.to_string(),
            "2 forecasts in the data's units: mean squared error 1.000000e60, mean absolute error 1.000000e30; naive, that \
             nothing changes: 3.500000, 1.500000"
        );
    }
}
