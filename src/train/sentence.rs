//! The experiments on one sentence: hihello, charseq and longseq. Every step is a pass over all windows of the
//! sentence.

use super::config::{Config, Experiment};
use super::model::{CharModel, CharModelConfig, ModelFiles};
use super::run::DataFacts;
use super::task::{Part, Place, Task};
use super::{Outcome, argmax, share_equal};
use crate::data::text::{CHARSEQ, HIHELLO, LONGSEQ, Text, Unit, Windows};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::ops::recurrent::Nonlinearity;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

impl Experiment {
    /// The sentence of hihello, charseq or longseq.
    pub fn sentence(self) -> Option<&'static str> {
        match self {
            Experiment::Hihello => Some(HIHELLO),
            Experiment::Charseq => Some(CHARSEQ),
            Experiment::Longseq => Some(LONGSEQ),
            Experiment::Text | Experiment::Timeseries => None,
        }
    }
}

/// The task to learn a sentence, with all of its windows at every step.
#[derive(Debug)]
pub struct SentenceTask {
    model: CharModel,
    facts: DataFacts,
    tokens: Vec<i32>,
    windows: Windows,
    /// One-hot vectors [T, B, C].
    x: Tensor,
    targets: Indices,
    logits: Option<Var>,
}

impl SentenceTask {
    /// The task of an experiment on a sentence. What the settings leave open is filled in.
    ///
    /// # Errors
    /// [`Error::Argument`] when the experiment has no sentence, or the settings make no model; [`Error::Gpu`] on a fault.
    pub fn new(device: &Device, config: &mut Config) -> Result<SentenceTask> {
        let Some(sentence) = config.experiment.sentence() else {
            return Err(Error::argument(
                "SentenceTask",
                format!("{} has no sentence", config.experiment.name()),
            ));
        };
        let text = Text::from_text(sentence, Unit::Characters);
        let vocabulary = text.vocabulary().clone();
        let model = CharModelConfig {
            format: 1,
            experiment: config.experiment.name().into(),
            tokens: Unit::Characters,
            vocabulary: vocabulary.chars().iter().collect(),
            embedding: None,
            cell: config.model.cell,
            hidden: *config.model.hidden.get_or_insert(vocabulary.len()),
            layers: config.model.layers,
            dropout: config.model.dropout,
            nonlinearity: Nonlinearity::Tanh,
            linear: config.model.linear,
        };
        let tokens = vocabulary.encode(sentence).expect("the vocabulary is the sentence's own");
        // hihello and charseq are one window each.
        let window = if config.experiment == Experiment::Longseq { 10 } else { tokens.len() - 1 };
        let windows = Windows::new(&tokens, window)?;
        model.check_step(windows.batch, windows.time)?;
        let model = CharModel::in_precision(device, model, config.train.seed, config.train.precision)?;
        // A layer wants the steps outermost.
        let shape = [windows.time, windows.batch];
        let inputs = Indices::new(device, shape, &time_major(&windows.inputs, &windows))?;
        let targets = Indices::new(device, shape, &time_major(&windows.targets, &windows))?;
        let x = inputs.one_hot(vocabulary.len())?;
        let facts = DataFacts { bytes: text.bytes(), hash: text.hash() };
        Ok(SentenceTask { model, facts, tokens, windows, x, targets, logits: None })
    }
}

impl Task for SentenceTask {
    fn model(&self) -> &dyn ModelFiles {
        &self.model
    }

    fn data(&self) -> DataFacts {
        self.facts
    }

    fn loss(&mut self, tape: &mut Tape, _: Part) -> Result<(Var, f64)> {
        let x = tape.constant(&self.x);
        let (logits, _) = self.model.forward_vectors(tape, x, &[])?;
        self.logits = Some(logits);
        Ok((tape.cross_entropy(logits, &self.targets, &CrossEntropyLoss::default())?, 1.0))
    }

    fn outcome(&mut self, tape: &Tape) -> Result<Outcome> {
        let logits = tape.value(self.logits.expect("a step has been made"))?.to_vec()?;
        let decoded = predictions(&argmax(&logits, self.model.vocabulary.len()), &self.windows);
        Ok(Outcome::Text {
            accuracy: share_equal(&decoded, &self.tokens[1..]),
            decoded: self.model.vocabulary.decode(&decoded),
        })
    }

    fn place(&self) -> Place {
        Place::default()
    }

    fn seek(&mut self, place: &Place) -> Result<()> {
        match place.position == 0 && place.states.is_empty() {
            true => Ok(()),
            false => Err(Error::argument("train", "the checkpoint is not of a sentence")),
        }
    }
}

/// [B, T] as [T, B].
fn time_major(tokens: &[i32], windows: &Windows) -> Vec<i32> {
    let (batch, time) = (windows.batch, windows.time);
    (0..time * batch).map(|i| tokens[i % batch * time + i / batch]).collect()
}

/// One prediction for each character but the first: all predictions of the first window, and the last one of each further
/// window. `classes` is [T, B].
fn predictions(classes: &[i32], windows: &Windows) -> Vec<i32> {
    let (batch, time) = (windows.batch, windows.time);
    let first = (0..time).map(|t| classes[t * batch]);
    first.chain((1..batch).map(|b| classes[(time - 1) * batch + b])).collect()
}
