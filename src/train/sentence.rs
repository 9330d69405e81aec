//! The experiments on one sentence: hihello, charseq and longseq. Every step is a pass over all windows of the
//! sentence, followed by a step of Adam.

use super::model::{CharModel, ModelConfig};
use super::{Event, LateSteps, OnEvent, Summary, argmax, share_equal};
use crate::data::text::{CHARSEQ, HIHELLO, LONGSEQ, Vocabulary, Windows};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::ops::cross_entropy::CrossEntropyLoss;
use crate::ops::indices::Indices;
use crate::ops::recurrent::Nonlinearity;
use crate::optim::{Adam, AdamConfig, Optimizer};
use crate::tape::Tape;

/// One of the three experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// "hihell" → "ihello".
    Hihello,
    /// " if you want you", each character from those before it.
    Charseq,
    /// A sentence of 180 characters in windows of 10.
    Longseq,
}

/// What can be chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SentenceOptions {
    /// Steps of training.
    pub steps: u64,
    /// Learning rate.
    pub lr: f64,
    /// H; `None`: the number of characters.
    pub hidden: Option<usize>,
    /// L.
    pub layers: usize,
    /// Whether a linear layer makes the logits.
    pub linear: bool,
    /// Of the initial values.
    pub seed: u64,
    /// Every so many steps the predictions are decoded and shown; 0: only at the last.
    pub show_every: u64,
}

impl Sentence {
    /// The name of its command.
    pub fn name(self) -> &'static str {
        match self {
            Sentence::Hihello => "hihello",
            Sentence::Charseq => "charseq",
            Sentence::Longseq => "longseq",
        }
    }

    /// The text.
    pub fn text(self) -> &'static str {
        match self {
            Sentence::Hihello => HIHELLO,
            Sentence::Charseq => CHARSEQ,
            Sentence::Longseq => LONGSEQ,
        }
    }

    /// Characters of a window: hihello and charseq are one window each.
    pub fn window(self) -> usize {
        match self {
            Sentence::Longseq => 10,
            _ => self.text().chars().count() - 1,
        }
    }

    /// The settings for which PyTorch's results are known.
    pub fn defaults(self) -> SentenceOptions {
        let (steps, layers, linear) = match self {
            Sentence::Hihello => (100, 1, false),
            Sentence::Charseq => (50, 1, false),
            Sentence::Longseq => (100, 2, true),
        };
        SentenceOptions { steps, lr: 0.1, hidden: None, layers, linear, seed: 0, show_every: 0 }
    }

    /// Trains a model. `stop` is asked after every step.
    ///
    /// # Errors
    /// [`Error::Argument`] for options that make no model; [`Error::NonFinite`] when the loss is; [`Error::Interrupted`];
    /// [`Error::Gpu`] on a fault; those of `on_event`.
    pub fn train(
        self,
        device: &Device,
        options: &SentenceOptions,
        stop: &dyn Fn() -> bool,
        on_event: OnEvent<'_>,
    ) -> Result<(CharModel, Summary)> {
        let vocabulary = Vocabulary::from_text(self.text());
        let classes = vocabulary.len();
        let config = ModelConfig {
            format: 1,
            experiment: self.name().into(),
            vocabulary: vocabulary.chars().iter().collect(),
            embedding: None,
            hidden: options.hidden.unwrap_or(classes),
            layers: options.layers,
            nonlinearity: Nonlinearity::Tanh,
            linear: options.linear,
        };
        if options.steps == 0 {
            return Err(Error::argument("train", "takes at least one step"));
        }
        let tokens = vocabulary.encode(self.text()).expect("the vocabulary is the text's own");
        let windows = Windows::new(&tokens, self.window())?;
        config.check_step(windows.batch, windows.time)?;
        let model = CharModel::new(device, config, options.seed)?;
        // A layer wants the steps outermost.
        let shape = [windows.time, windows.batch];
        let inputs = Indices::new(device, shape, &time_major(&windows.inputs, &windows))?;
        let targets = Indices::new(device, shape, &time_major(&windows.targets, &windows))?;
        let x = inputs.one_hot(classes)?;

        let mut adam = Adam::new(&model.parameters, AdamConfig { lr: options.lr, ..AdamConfig::default() })?;
        let loss_options = CrossEntropyLoss::default();
        let mut tape = Tape::new(&model.parameters);
        let mut outcomes = LateSteps::new();
        let mut decoded = Vec::new();
        on_event(Event::Begin { steps: options.steps })?;
        for step in 1..=options.steps {
            tape.clear();
            let input = tape.constant(&x);
            let (logits, _) = model.forward_vectors(&mut tape, input, None)?;
            let loss = tape.cross_entropy(logits, &targets, &loss_options)?;
            adam.zero_grad();
            tape.backward(loss)?;
            let loss = tape.value(loss)?.clone();
            adam.step(Some(&loss))?;
            outcomes.push(step, adam.control())?;
            device.submit()?;
            outcomes.report_due(on_event)?;
            let show = options.show_every > 0 && step % options.show_every == 0;
            if show || step == options.steps {
                decoded = predictions(&argmax(&tape.value(logits)?.to_vec()?, classes), &windows);
            }
            if show {
                let loss = loss.to_vec()?[0];
                on_event(Event::Decoded { step, loss, text: vocabulary.decode(&decoded) })?;
            }
            if stop() {
                return Err(Error::Interrupted);
            }
        }
        let loss = outcomes.finish(on_event)?;
        let summary = Summary {
            steps: options.steps,
            loss,
            accuracy: share_equal(&decoded, &tokens[1..]),
            decoded: vocabulary.decode(&decoded),
            validation_loss: None,
        };
        Ok((model, summary))
    }
}

/// [B, T] as [T, B].
fn time_major(tokens: &[i32], windows: &Windows) -> Vec<i32> {
    let (batch, time) = (windows.batch, windows.time);
    (0..time * batch).map(|i| tokens[i % batch * time + i / batch]).collect()
}

/// One prediction for each character but the first: all of the first window, of each further window the last.
/// `classes` is [T, B].
fn predictions(classes: &[i32], windows: &Windows) -> Vec<i32> {
    let (batch, time) = (windows.batch, windows.time);
    let first = (0..time).map(|t| classes[t * batch]);
    first.chain((1..batch).map(|b| classes[(time - 1) * batch + b])).collect()
}
