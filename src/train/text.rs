//! A character model of any text, trained by truncated backpropagation through time over contiguous streams.

use super::config::Config;
use super::model::{CharModel, CharModelConfig, ModelFiles};
use super::run::DataFacts;
use super::task::{Place, Task};
use super::{Outcome, argmax, share_equal};
use crate::data::text::{Chunk, HELD_OUT, Streams, Text, split};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::ops::recurrent::Nonlinearity;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// The names of a layer's states in a checkpoint.
const STATES: [&str; 2] = ["h", "c"];

/// A text, a chunk of each stream at every step; its last tenth is held out.
#[derive(Debug)]
pub struct TextTask {
    model: CharModel,
    facts: DataFacts,
    streams: Streams,
    held_out: Streams,
    /// Chunks that a validation reads.
    validated: usize,
    /// The layers' states behind the last chunk; empty at the beginning of the streams.
    states: Vec<Tensor>,
    /// Of the last step.
    logits: Option<Var>,
    targets: Vec<i32>,
}

impl TextTask {
    /// The task of a text; what the settings leave open is set in them.
    ///
    /// # Errors
    /// [`Error::Argument`] when batch and sequence do not fit the text or the settings make no model; [`Error::Data`] when
    /// the text's file cannot be read; [`Error::Gpu`] on a fault.
    pub fn new(device: &Device, config: &mut Config, text: &Text) -> Result<TextTask> {
        let vocabulary = text.vocabulary();
        let hidden =
            config.model.hidden.ok_or_else(|| Error::argument("TextTask", "hidden must be given"))?;
        let model = CharModelConfig {
            format: 1,
            experiment: config.experiment.name().into(),
            tokens: vocabulary.unit(),
            vocabulary: vocabulary.chars().iter().collect(),
            embedding: Some(*config.model.embedding.get_or_insert(hidden)),
            cell: config.model.cell,
            hidden,
            layers: config.model.layers,
            dropout: config.model.dropout,
            nonlinearity: Nonlinearity::Tanh,
            linear: true,
        };
        let train = &mut config.train;
        model.check_step(train.batch, train.sequence)?;
        let (training, validation) = split(text.len(), HELD_OUT);
        let streams = text.streams(training, train.batch, train.sequence)?;
        let held_out = text.streams(validation, train.batch, train.sequence)?;
        if let Some(epochs) = train.epochs.take() {
            train.steps = epochs.saturating_mul(streams.chunks() as u64).min(i64::MAX as u64);
        }
        let model = CharModel::new(device, model, train.seed)?;
        let facts = DataFacts { bytes: text.bytes(), hash: text.hash() };
        let validated = match config.train.validate_chunks {
            0 => held_out.chunks(),
            most => held_out.chunks().min(most),
        };
        Ok(TextTask {
            validated,
            model,
            facts,
            streams,
            held_out,
            states: Vec::new(),
            logits: None,
            targets: Vec::new(),
        })
    }
}

impl Task for TextTask {
    fn model(&self) -> &dyn ModelFiles {
        &self.model
    }

    fn data(&self) -> DataFacts {
        self.facts
    }

    fn loss(&mut self, tape: &mut Tape) -> Result<Var> {
        let sequence = self.streams.sequence();
        let chunk = self.streams.next_chunk()?;
        if chunk.starts_over {
            self.states.clear();
        }
        self.targets.clear();
        self.targets.extend_from_slice(chunk.targets);
        let (loss, logits, states) = step(&self.model, tape, &chunk, sequence, &self.states)?;
        self.logits = Some(logits);
        self.states = states;
        Ok(loss)
    }

    fn outcome(&mut self, tape: &Tape) -> Result<Outcome> {
        let logits = tape.value(self.logits.expect("a step has been made"))?.to_vec()?;
        let predicted = argmax(&logits, self.model.vocabulary.len());
        let first: Vec<i32> = predicted.iter().step_by(self.streams.batch()).copied().collect();
        Ok(Outcome::Text {
            accuracy: share_equal(&predicted, &self.targets),
            decoded: self.model.vocabulary.decode(&first),
        })
    }

    fn validates(&self) -> bool {
        true
    }

    fn validate(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<f64>> {
        let mut evaluation = Evaluation::new(&self.model);
        Ok(match evaluation.read(&mut self.held_out, self.validated, stop)? {
            true => Some(evaluation.metrics().loss),
            false => None,
        })
    }

    fn place(&self) -> Place {
        let named = |(name, state): (&&str, &Tensor)| (name.to_string(), state.clone());
        let states = STATES.iter().zip(&self.states).map(named).collect();
        Place { position: self.streams.position() as u64, states }
    }

    fn seek(&mut self, place: &Place) -> Result<()> {
        let refuse = |message: String| Err(Error::argument("train", message));
        let (Place { position, states }, config) = (place, &self.model.config);
        let shape = Shape::from([config.layers, self.streams.batch(), config.hidden]);
        let count = if states.is_empty() { 0 } else { config.cell.states() };
        let find = |name: &&str| states.iter().find(|(found, state)| found == name && state.shape() == shape);
        let found: Vec<_> = STATES[..count].iter().filter_map(find).collect();
        if states.len() != count || found.len() != count {
            return refuse("the checkpoint's carried states are not the model's".into());
        }
        if *position >= self.streams.chunks() as u64 {
            let chunks = self.streams.chunks();
            return refuse(format!("the checkpoint stands at chunk {position} of a text of {chunks}"));
        }
        self.streams.seek(*position as usize)?;
        self.states = found.into_iter().map(|(_, state)| state.clone()).collect();
        Ok(())
    }
}

/// The loss and logits of a chunk that begins with `states`, and the states behind it.
fn step(
    model: &CharModel,
    tape: &mut Tape,
    chunk: &Chunk<'_>,
    sequence: usize,
    states: &[Tensor],
) -> Result<(Var, Var, Vec<Tensor>)> {
    let device = model.parameters.device();
    let shape = [sequence, chunk.inputs.len() / sequence];
    let inputs = Indices::new(device, shape, chunk.inputs)?;
    let targets = Indices::new(device, shape, chunk.targets)?;
    let states: Vec<Var> = states.iter().map(|state| tape.constant(state)).collect();
    let (logits, output) = model.forward(tape, &inputs, &states)?;
    let loss = tape.cross_entropy(logits, &targets, &CrossEntropyLoss::default())?;
    let after = tape.no_grad(|tape| output.states(tape))?;
    let after = after.into_iter().map(|state| tape.value(state).cloned()).collect::<Result<_>>()?;
    Ok((loss, logits, after))
}

/// How well a model does on a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextMetrics {
    /// The mean loss of a token, in nats.
    pub loss: f64,
    /// The share of right predictions.
    pub accuracy: f64,
    /// Tokens that were predicted.
    pub tokens: u64,
}

/// Evaluates a model on a whole text, read as one stream in chunks of `sequence` tokens with the state carried along.
/// `None` when `stop` ended it.
///
/// # Errors
/// [`Error::Argument`] when the text has fewer than two tokens or `sequence` is 0; [`Error::Data`] when it cannot be read;
/// [`Error::Gpu`] on a fault.
pub fn evaluate_text(
    model: &CharModel,
    text: &Text,
    sequence: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Option<TextMetrics>> {
    if text.len() < 2 || sequence == 0 {
        let message = "a text needs two tokens at least, one to read and one to predict, and a sequence one";
        return Err(Error::argument("evaluate_text", message));
    }
    let mut evaluation = Evaluation::new(model);
    // Whole chunks, then what is left of the text.
    let whole = (text.len() - 1) / sequence * sequence;
    for (tokens, sequence) in [(0..whole + 1, sequence), (whole..text.len(), text.len() - 1 - whole)] {
        if tokens.len() < 2 {
            continue;
        }
        let mut streams = text.streams(tokens, 1, sequence)?;
        let chunks = streams.chunks();
        if !evaluation.read(&mut streams, chunks, stop)? {
            return Ok(None);
        }
    }
    Ok(Some(evaluation.metrics()))
}

/// The sums of an evaluation, and the states behind what was read.
struct Evaluation<'m> {
    model: &'m CharModel,
    tape: Tape,
    states: Vec<Tensor>,
    loss: f64,
    right: f64,
    tokens: u64,
}

impl<'m> Evaluation<'m> {
    fn new(model: &'m CharModel) -> Self {
        let tape = Tape::new(&model.parameters);
        Evaluation { model, tape, states: Vec::new(), loss: 0.0, right: 0.0, tokens: 0 }
    }

    /// Reads the first chunks of streams. False when `stop` ended it.
    fn read(&mut self, streams: &mut Streams, chunks: usize, stop: &dyn Fn() -> bool) -> Result<bool> {
        let sequence = streams.sequence();
        streams.seek(0)?;
        for _ in 0..chunks {
            if stop() {
                return Ok(false);
            }
            let chunk = streams.next_chunk()?;
            let Evaluation { model, tape, states, .. } = self;
            tape.clear();
            let (loss, logits, after) = tape.no_grad(|tape| step(model, tape, &chunk, sequence, states))?;
            *states = after;
            let count = chunk.targets.len() as f64;
            self.loss += tape.value(loss)?.to_f64()?[0] * count;
            let predicted = argmax(&tape.value(logits)?.to_vec()?, model.vocabulary.len());
            self.right += share_equal(&predicted, chunk.targets) * count;
            self.tokens += chunk.targets.len() as u64;
        }
        Ok(true)
    }

    fn metrics(&self) -> TextMetrics {
        let count = self.tokens as f64;
        TextMetrics { loss: self.loss / count, accuracy: self.right / count, tokens: self.tokens }
    }
}
