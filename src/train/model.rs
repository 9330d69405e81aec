//! Character models: tokens, recurrent layers, logits.

use serde::{Deserialize, Serialize};

use crate::data::text::Vocabulary;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, Rnn, RnnConfig, RnnOutput};
use crate::ops::indices::Indices;
use crate::ops::recurrent::Nonlinearity;
use crate::parameters::{Initializer, Parameters};
use crate::tape::{Tape, Var};

/// What a [`CharModel`] is; as JSON, the file `config.json` of a model folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The version of this format: 1.
    pub format: u32,
    /// The command that trained it: `hihello`, `charseq`, `longseq` or `text`.
    pub experiment: String,
    /// The characters, sorted by code point. Token k is the k-th.
    pub vocabulary: String,
    /// Size of a character's vector; `None`: characters go in as one-hot vectors.
    pub embedding: Option<usize>,
    /// H.
    pub hidden: usize,
    /// L.
    pub layers: usize,
    /// The activation of the recurrent layers.
    pub nonlinearity: Nonlinearity,
    /// Whether a linear layer makes the logits; if not, the states of the last layer are the logits.
    pub linear: bool,
}

/// The most that a size of a model may be, its layers and its parameters, and the values of one step of training: beyond
/// lies a mistake, or a hostile file, that would use up the memory.
const MAX_SIZE: usize = 1 << 16;
const MAX_LAYERS: usize = 1 << 10;
const MAX_PARAMETERS: u64 = 1 << 28;
const MAX_STEP: u128 = 1 << 32;

impl ModelConfig {
    /// The vocabulary.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not sorted and distinct.
    pub fn vocabulary(&self) -> Result<Vocabulary> {
        Vocabulary::from_chars(self.vocabulary.chars()).map_err(|error| match error {
            Error::Argument { op, message } => Error::argument(op, format!("the vocabulary {message}")),
            other => other,
        })
    }

    /// The number of parameters, where the sizes make a model, and one that can be held in memory.
    pub(super) fn check(&self) -> Result<u64> {
        let fail = |message: String| Err(Error::argument("model", message));
        if self.format != 1 {
            return fail(format!("format must be 1, got {}", self.format));
        }
        for (name, size, most) in [
            ("hidden", self.hidden, MAX_SIZE),
            ("layers", self.layers, MAX_LAYERS),
            ("embedding", self.embedding.unwrap_or(1), MAX_SIZE),
        ] {
            if !(1..=most).contains(&size) {
                return fail(format!("{name} must be from 1 to {most}, got {size}"));
            }
        }
        self.vocabulary()?;
        let [hidden, layers, classes, width] = self.sizes();
        if !self.linear && hidden != classes {
            return fail(format!(
                "without a linear layer hidden must be the number of distinct characters, {classes}, got {hidden}; with \
                 one (--linear) it is free"
            ));
        }
        let embedding = if self.embedding.is_some() { classes * width } else { 0 };
        let rnn = hidden * (width + hidden) + (layers - 1) * 2 * hidden * hidden + layers * 2 * hidden;
        let linear = if self.linear { classes * (hidden + 1) } else { 0 };
        let parameters = embedding + rnn + linear;
        match parameters <= MAX_PARAMETERS {
            true => Ok(parameters),
            false => fail(format!(
                "hidden {hidden}, layers {layers}, inputs of size {width} and {classes} distinct characters make \
                 {parameters} parameters, the most is {MAX_PARAMETERS}: take smaller sizes"
            )),
        }
    }

    /// An error unless it makes a model and a step of training over `sequence` characters of `batch` streams can be held in
    /// memory.
    pub(super) fn check_step(&self, batch: usize, sequence: usize) -> Result<()> {
        self.check()?;
        let [hidden, layers, classes, width] = self.sizes();
        // Vectors; of each layer, products, states and the gradients of both; logits, their gradients and a copy.
        let character = width + 4 * layers * hidden + 3 * classes;
        let values = u128::from(character).saturating_mul(batch as u128 * sequence as u128);
        match values <= MAX_STEP {
            true => Ok(()),
            false => Err(Error::argument(
                "model",
                format!(
                    "a step of batch {batch} and sequence {sequence} takes {values} values, the most is {MAX_STEP}: take \
                     a smaller one of them, or a smaller model"
                ),
            )),
        }
    }

    /// Hidden size, layers, classes and the size of a character's vector.
    fn sizes(&self) -> [u64; 4] {
        let classes = self.vocabulary.chars().count();
        [self.hidden, self.layers, classes, self.embedding.unwrap_or(classes)].map(|n| n as u64)
    }
}

/// A recurrent model of text: `embedding` (or one-hot vectors), `rnn`, and `fc` where there is a linear layer.
#[derive(Debug)]
pub struct CharModel {
    /// What it is.
    pub config: ModelConfig,
    /// Its characters.
    pub vocabulary: Vocabulary,
    /// Its parameters, with PyTorch's names: `rnn.weight_ih_l0`, `fc.weight`, ...
    pub parameters: Parameters,
    embedding: Option<Embedding>,
    rnn: Rnn,
    fc: Option<Linear>,
}

impl CharModel {
    /// A model with initial values from `seed`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the configuration makes no model; [`Error::Gpu`] when the device has no room for it.
    pub fn new(device: &Device, config: ModelConfig, seed: u64) -> Result<CharModel> {
        let vocabulary = config.vocabulary()?;
        let classes = vocabulary.len();
        config.check()?;
        let mut init = Initializer::new(device, seed);
        let embedding = config
            .embedding
            .map(|embedding_dim| {
                Embedding::new(
                    &mut init,
                    "embedding",
                    &EmbeddingConfig { num_embeddings: classes, embedding_dim, ..EmbeddingConfig::default() },
                )
            })
            .transpose()?;
        let rnn = RnnConfig {
            input_size: config.embedding.unwrap_or(classes),
            hidden_size: config.hidden,
            num_layers: config.layers,
            nonlinearity: config.nonlinearity,
            ..RnnConfig::default()
        };
        let rnn = Rnn::new(&mut init, "rnn", &rnn)?;
        let linear = LinearConfig { in_features: config.hidden, out_features: classes, bias: true };
        let fc = config.linear.then(|| Linear::new(&mut init, "fc", &linear)).transpose()?;
        Ok(CharModel { parameters: init.build()?, config, vocabulary, embedding, rnn, fc })
    }

    /// The logits [T, B, C] for the character after each of the tokens [T, B], and the recurrent layers' states. Initial
    /// states h0 [L, B, H] are 0 where not given.
    ///
    /// # Errors
    /// [`Error::Argument`] when a token is not of the vocabulary or shapes do not fit; [`Error::Gpu`] on a fault.
    pub fn forward(&self, tape: &mut Tape, tokens: &Indices, h0: Option<Var>) -> Result<(Var, RnnOutput)> {
        let x = match &self.embedding {
            Some(embedding) => embedding.forward(tape, tokens)?,
            None => tape.constant(&tokens.one_hot(self.vocabulary.len())?),
        };
        self.forward_vectors(tape, x, h0)
    }

    /// Like [`CharModel::forward`], from the characters' vectors [T, B, I].
    ///
    /// # Errors
    /// As [`CharModel::forward`].
    pub fn forward_vectors(&self, tape: &mut Tape, x: Var, h0: Option<Var>) -> Result<(Var, RnnOutput)> {
        let states = self.rnn.forward(tape, x, h0)?;
        let logits = match &self.fc {
            Some(fc) => fc.forward(tape, states.output)?,
            None => states.output,
        };
        Ok((logits, states))
    }
}
