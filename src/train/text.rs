//! A character model of any text, trained by truncated backpropagation through time over contiguous streams.

use super::model::{CharModel, ModelConfig};
use super::{Event, LateSteps, OnEvent, Summary, argmax, share_equal};
use crate::data::text::{Chunk, HELD_OUT, Streams, Text, split};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::ops::recurrent::Nonlinearity;
use crate::optim::{Adam, AdamConfig, Optimizer};
use crate::tape::Tape;
use crate::tensor::Tensor;

/// What can be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextOptions {
    /// Steps of training.
    pub steps: u64,
    /// Passes over the training part, in place of `steps`.
    pub epochs: Option<u64>,
    /// B: streams read side by side.
    pub batch: usize,
    /// T: characters of each stream in a step. Gradients reach no further back.
    pub sequence: usize,
    /// H.
    pub hidden: usize,
    /// L.
    pub layers: usize,
    /// Size of a character's vector; `None`: H.
    pub embedding: Option<usize>,
    /// Learning rate of Adam.
    pub lr: f64,
    /// The largest norm of the gradient; `None`: any.
    pub clip: Option<f64>,
    /// Of the initial values.
    pub seed: u64,
}

impl Default for TextOptions {
    fn default() -> Self {
        TextOptions {
            steps: 2000,
            epochs: None,
            batch: 32,
            sequence: 64,
            hidden: 128,
            layers: 1,
            embedding: None,
            lr: 0.002,
            clip: Some(1.0),
            seed: 0,
        }
    }
}

/// How often in a training the held-out part is evaluated.
const VALIDATIONS: u64 = 10;

/// Trains a model on the characters of `text`, the last tenth of which is held out. When `stop` says so it ends after the
/// current step, with no more validation.
///
/// # Errors
/// [`Error::Argument`] when batch and sequence do not fit the text or options make no model; [`Error::Data`] when the text's
/// file cannot be read or has changed; [`Error::NonFinite`] when the loss is; [`Error::Gpu`] on a fault; those of `on_event`.
pub fn train_text(
    device: &Device,
    text: &Text,
    options: &TextOptions,
    stop: &dyn Fn() -> bool,
    on_event: OnEvent<'_>,
) -> Result<(CharModel, Summary)> {
    let vocabulary = text.vocabulary();
    let config = ModelConfig {
        format: 1,
        experiment: "text".into(),
        vocabulary: vocabulary.chars().iter().collect(),
        embedding: Some(options.embedding.unwrap_or(options.hidden)),
        hidden: options.hidden,
        layers: options.layers,
        nonlinearity: Nonlinearity::Tanh,
        linear: true,
    };
    config.check_step(options.batch, options.sequence)?;
    let (training, validation) = split(text.len(), HELD_OUT);
    let mut streams = text.streams(training, options.batch, options.sequence)?;
    let mut held_out = text.streams(validation, options.batch, options.sequence)?;
    let steps = options.epochs.map_or(options.steps, |epochs| epochs.saturating_mul(streams.chunks() as u64));
    if steps == 0 {
        return Err(Error::argument("train", "takes at least one step"));
    }
    let model = CharModel::new(device, config, options.seed)?;
    let mut adam = Adam::new(&model.parameters, AdamConfig { lr: options.lr, ..AdamConfig::default() })?;
    let loss_options = CrossEntropyLoss::default();
    let mut tape = Tape::new(&model.parameters);
    let mut outcomes = LateSteps::new();
    let mut state: Option<Tensor> = None;
    on_event(Event::Begin { steps })?;
    for step in 1..=steps {
        let chunk = streams.next_chunk()?;
        if chunk.starts_over {
            state = None;
        }
        let (inputs, targets) = on_device(device, &chunk, options)?;
        tape.clear();
        let h0 = state.take().map(|state| tape.constant(&state));
        let (logits, states) = model.forward(&mut tape, &inputs, h0)?;
        let loss = tape.cross_entropy(logits, &targets, &loss_options)?;
        adam.zero_grad();
        tape.backward(loss)?;
        if let Some(max_norm) = options.clip {
            adam.clip_grad_norm(max_norm)?;
        }
        let loss = tape.value(loss)?.clone();
        adam.step(Some(&loss))?;
        let h_n = tape.no_grad(|tape| states.h_n(tape))?;
        state = Some(tape.value(h_n)?.clone());
        outcomes.push(step, adam.control())?;
        device.submit()?;
        outcomes.report_due(on_event)?;

        let mut validation_loss = None;
        if step == steps || step % steps.div_ceil(VALIDATIONS) == 0 {
            validation_loss = evaluate(device, &model, &mut held_out, options, stop)?;
            if let Some(loss) = validation_loss {
                on_event(Event::Validation { step, loss })?;
            }
        }
        if step == steps || stop() {
            let classes = vocabulary.len();
            let predicted = argmax(&tape.value(logits)?.to_vec()?, classes);
            let first: Vec<i32> = predicted.iter().step_by(options.batch).copied().collect();
            let summary = Summary {
                steps: step,
                loss: outcomes.finish(on_event)?,
                accuracy: share_equal(&predicted, chunk.targets),
                decoded: vocabulary.decode(&first),
                validation_loss,
            };
            return Ok((model, summary));
        }
    }
    unreachable!("there is at least one step, and the last returns")
}

/// Inputs and targets [T, B] of a chunk.
fn on_device(device: &Device, chunk: &Chunk<'_>, options: &TextOptions) -> Result<(Indices, Indices)> {
    let shape = [options.sequence, options.batch];
    Ok((Indices::new(device, shape, chunk.inputs)?, Indices::new(device, shape, chunk.targets)?))
}

/// The mean loss of a character over all chunks, the state carried along. `None` when `stop` ended it.
fn evaluate(
    device: &Device,
    model: &CharModel,
    streams: &mut Streams,
    options: &TextOptions,
    stop: &dyn Fn() -> bool,
) -> Result<Option<f64>> {
    let mut tape = Tape::new(&model.parameters);
    let mut state: Option<Tensor> = None;
    let mut sum = 0.0;
    let count = streams.chunks();
    streams.seek(0)?;
    for _ in 0..count {
        if stop() {
            return Ok(None);
        }
        let chunk = streams.next_chunk()?;
        tape.clear();
        let (inputs, targets) = on_device(device, &chunk, options)?;
        let (loss, h_n) = tape.no_grad(|tape| {
            let h0 = state.take().map(|state| tape.constant(&state));
            let (logits, states) = model.forward(tape, &inputs, h0)?;
            let loss = tape.cross_entropy(logits, &targets, &CrossEntropyLoss::default())?;
            Ok((loss, states.h_n(tape)?))
        })?;
        state = Some(tape.value(h_n)?.clone());
        sum += tape.value(loss)?.to_f64()?[0];
    }
    Ok(Some(sum / count as f64))
}
