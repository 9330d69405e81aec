//! A character model of any text, trained by truncated backpropagation through time over contiguous streams.

use std::ops::Range;

use super::config::Config;
use super::model::{CharModel, CharModelConfig, ModelFiles};
use super::run::DataFacts;
use super::task::{Part, Place, Task};
use super::{Outcome, argmax, share_equal};
use crate::data::text::{HELD_OUT, Streams, Text, split};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::ops::recurrent::Nonlinearity;
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

/// The names of a layer's states in a checkpoint.
const STATES: [&str; 2] = ["h", "c"];

/// The task to learn a text: a step reads a chunk of each stream. The last tenth of the text is held out.
#[derive(Debug)]
pub struct TextTask {
    model: CharModel,
    facts: DataFacts,
    streams: Streams,
    held_out: Streams,
    /// Chunks that a validation reads.
    validated: usize,
    /// Parts in which it reads each.
    parts: usize,
    /// The layers' states after the last chunk, for each part of the batch; empty at the beginning of the streams.
    states: Vec<Vec<Tensor>>,
    /// The step's tokens [T, B].
    inputs: Vec<i32>,
    targets: Vec<i32>,
    /// The logits of the step's last part, and which rows of the batch that part has.
    logits: Option<Var>,
    part: Range<usize>,
}

impl TextTask {
    /// The task of a text. What the settings leave open is filled in.
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
        let model = CharModel::in_precision(device, model, train.seed, train.precision)?;
        let facts = DataFacts { bytes: text.bytes(), hash: text.hash() };
        let validated = match config.train.validate_chunks {
            0 => held_out.chunks(),
            most => held_out.chunks().min(most),
        };
        Ok(TextTask {
            validated,
            parts: config.train.accumulate,
            model,
            facts,
            streams,
            held_out,
            states: Vec::new(),
            inputs: Vec::new(),
            targets: Vec::new(),
            logits: None,
            part: 0..0,
        })
    }

    /// Shares the carried states out among so many parts of the batch.
    fn share_states(&mut self, parts: usize) -> Result<()> {
        if self.states.is_empty() || self.states.len() == parts {
            return Ok(());
        }
        let (device, config) = (self.model.parameters.device(), &self.model.config);
        let (layers, batch, hidden) = (config.layers, self.streams.batch(), config.hidden);
        let mut shared = vec![Vec::new(); parts];
        for state in 0..config.cell.states() {
            // The states [L, rows, H] of the parts so far, taken apart into one [L, H] for each row.
            let mut rows = vec![Vec::with_capacity(layers * hidden); batch];
            for (index, old) in self.states.iter().enumerate() {
                let of = Part { index, of: self.states.len() }.rows(batch);
                for (k, vector) in old[state].to_vec()?.chunks_exact(hidden).enumerate() {
                    rows[of.start + k % of.len()].extend_from_slice(vector);
                }
            }
            for (index, new) in shared.iter_mut().enumerate() {
                let of = Part { index, of: parts }.rows(batch);
                let vector = |layer: usize, row: usize| &rows[row][layer * hidden..][..hidden];
                let values: Vec<f32> = (0..layers)
                    .flat_map(|layer| of.clone().flat_map(move |row| vector(layer, row).iter().copied()))
                    .collect();
                new.push(Tensor::from_f32(device, [layers, of.len(), hidden], &values)?);
            }
        }
        self.states = shared;
        Ok(())
    }
}

/// The columns `of` of a matrix with `width` columns.
fn columns(tokens: &[i32], width: usize, of: Range<usize>) -> Vec<i32> {
    tokens.chunks_exact(width).flat_map(|row| &row[of.clone()]).copied().collect()
}

impl Task for TextTask {
    fn model(&self) -> &dyn ModelFiles {
        &self.model
    }

    fn data(&self) -> DataFacts {
        self.facts
    }

    fn rows(&self) -> usize {
        self.streams.batch()
    }

    fn loss(&mut self, tape: &mut Tape, part: Part) -> Result<(Var, f64)> {
        if part.index == 0 {
            let chunk = self.streams.next_chunk()?;
            if chunk.starts_over {
                self.states.clear();
            }
            for (kept, tokens) in [(&mut self.inputs, chunk.inputs), (&mut self.targets, chunk.targets)] {
                kept.clear();
                kept.extend_from_slice(tokens);
            }
            self.share_states(part.of)?;
            self.states.resize(part.of, Vec::new());
        }
        let (sequence, batch) = (self.streams.sequence(), self.streams.batch());
        self.part = part.rows(batch);
        let [inputs, targets] =
            [&self.inputs, &self.targets].map(|tokens| columns(tokens, batch, self.part.clone()));
        let tokens = [&inputs[..], &targets];
        let (loss, logits, states) = step(&self.model, tape, tokens, sequence, &self.states[part.index])?;
        self.logits = Some(logits);
        self.states[part.index] = states;
        Ok((loss, self.part.len() as f64 / batch as f64))
    }

    fn outcome(&mut self, tape: &Tape) -> Result<Outcome> {
        let logits = tape.value(self.logits.expect("a step has been made"))?.to_vec()?;
        let predicted = argmax(&logits, self.model.vocabulary.len());
        let targets = columns(&self.targets, self.streams.batch(), self.part.clone());
        let first: Vec<i32> = predicted.iter().step_by(self.part.len()).copied().collect();
        Ok(Outcome::Text {
            accuracy: share_equal(&predicted, &targets),
            decoded: self.model.vocabulary.decode(&first),
        })
    }

    fn validates(&self) -> bool {
        true
    }

    fn validate(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<f64>> {
        let mut evaluation = Evaluation::new(&self.model, self.parts);
        Ok(match evaluation.read(&mut self.held_out, self.validated, stop)? {
            true => Some(evaluation.metrics().loss),
            false => None,
        })
    }

    fn place(&self) -> Place {
        let mut states = Vec::new();
        for (part, of) in self.states.iter().enumerate() {
            let name = |state: &str| match self.states.len() {
                1 => state.to_string(),
                _ => format!("{state}.{part}"),
            };
            states.extend(STATES.iter().zip(of).map(|(state, tensor)| (name(state), tensor.clone())));
        }
        Place { position: self.streams.position() as u64, states }
    }

    fn seek(&mut self, place: &Place) -> Result<()> {
        let refuse = |message: String| Err(Error::argument("train", message));
        let (Place { position, states }, config) = (place, &self.model.config);
        let (kinds, batch) = (config.cell.states(), self.streams.batch());
        let parts = states.len() / kinds;
        let state = |part: usize, kind: usize| {
            let rows = Part { index: part, of: parts }.rows(batch).len();
            let (kind, shape) = (STATES[kind], Shape::from([config.layers, rows, config.hidden]));
            let is_it =
                |name: &str| name == kind && parts == 1 || name == format!("{kind}.{part}") && parts > 1;
            states.iter().find(|(name, state)| is_it(name) && state.shape() == shape)
        };
        let of_part = |part: usize| {
            let of_kind = |kind| state(part, kind).map(|(_, state)| state.clone());
            (0..kinds).map(of_kind).collect::<Option<Vec<_>>>()
        };
        let found: Option<Vec<_>> = (0..parts).map(of_part).collect();
        let Some(found) = found.filter(|_| states.len() == parts * kinds) else {
            return refuse("the checkpoint's carried states are not the model's".into());
        };
        if *position >= self.streams.chunks() as u64 {
            let chunks = self.streams.chunks();
            return refuse(format!("the checkpoint stands at chunk {position} of a text of {chunks}"));
        }
        self.streams.seek(*position as usize)?;
        self.states = found;
        Ok(())
    }
}

// ANCHOR: carried
/// The loss and the logits for inputs and targets [T, B] that begin with `states`, and the states after them.
fn step(
    model: &CharModel,
    tape: &mut Tape,
    [inputs, targets]: [&[i32]; 2],
    sequence: usize,
    states: &[Tensor],
) -> Result<(Var, Var, Vec<Tensor>)> {
    let device = model.parameters.device();
    let shape = [sequence, inputs.len() / sequence];
    let inputs = Indices::new(device, shape, inputs)?;
    let targets = Indices::new(device, shape, targets)?;
    let states: Vec<Var> = states.iter().map(|state| tape.constant(state)).collect();
    let (logits, output) = model.forward(tape, &inputs, &states)?;
    let loss = tape.cross_entropy(logits, &targets, &CrossEntropyLoss::default())?;
    let after = tape.no_grad(|tape| output.states(tape))?;
    let after = after.into_iter().map(|state| tape.value(state).cloned()).collect::<Result<_>>()?;
    Ok((loss, logits, after))
}
// ANCHOR_END: carried

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
    let mut evaluation = Evaluation::new(model, 1);
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

/// The sums of an evaluation, and the states after what was read.
struct Evaluation<'m> {
    model: &'m CharModel,
    tape: Tape,
    /// The states of each part of a batch.
    states: Vec<Vec<Tensor>>,
    loss: f64,
    right: f64,
    tokens: u64,
}

impl<'m> Evaluation<'m> {
    fn new(model: &'m CharModel, parts: usize) -> Self {
        let tape = Tape::new(&model.parameters);
        Evaluation { model, tape, states: vec![Vec::new(); parts], loss: 0.0, right: 0.0, tokens: 0 }
    }

    /// Reads the first chunks of streams. False when `stop` ended it.
    fn read(&mut self, streams: &mut Streams, chunks: usize, stop: &dyn Fn() -> bool) -> Result<bool> {
        let (sequence, batch) = (streams.sequence(), streams.batch());
        streams.seek(0)?;
        for _ in 0..chunks {
            if stop() {
                return Ok(false);
            }
            let chunk = streams.next_chunk()?;
            for index in 0..self.states.len() {
                let part = Part { index, of: self.states.len() }.rows(batch);
                let [inputs, targets] =
                    [chunk.inputs, chunk.targets].map(|tokens| columns(tokens, batch, part.clone()));
                self.read_part(index, [&inputs, &targets], sequence)?;
            }
        }
        Ok(true)
    }

    /// Reads inputs and targets [T, B] of a part.
    fn read_part(&mut self, part: usize, tokens: [&[i32]; 2], sequence: usize) -> Result<()> {
        let Evaluation { model, tape, states, .. } = self;
        tape.clear();
        let (loss, logits, after) =
            tape.no_grad(|tape| step(model, tape, tokens, sequence, &states[part]))?;
        states[part] = after;
        let (targets, count) = (tokens[1], tokens[1].len() as f64);
        self.loss += tape.value(loss)?.to_f64()?[0] * count;
        let predicted = argmax(&tape.value(logits)?.to_vec()?, model.vocabulary.len());
        self.right += share_equal(&predicted, targets) * count;
        self.tokens += targets.len() as u64;
        Ok(())
    }

    fn metrics(&self) -> TextMetrics {
        let count = self.tokens as f64;
        TextMetrics { loss: self.loss / count, accuracy: self.right / count, tokens: self.tokens }
    }
}
