//! Character models: tokens, recurrent layers, logits.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ModelFiles, Sizes, check_dropout, check_format, check_parameters, check_step, refuse};
use crate::data::text::{Unit, Vocabulary};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::{
    CellKind, Embedding, EmbeddingConfig, Linear, LinearConfig, Recurrent, RecurrentConfig, RecurrentOutput,
};
use crate::ops::indices::Indices;
use crate::ops::recurrent::Nonlinearity;
use crate::parameters::{Initializer, Parameters, Precision};
use crate::tape::{Tape, Var};

/// What a [`CharModel`] is; as JSON, the file `config.json` of a model folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CharModelConfig {
    /// The version of this format: 1.
    pub format: u32,
    /// The experiment that trained it: `hihello`, `charseq`, `longseq` or `text`.
    pub experiment: String,
    /// What a token is.
    #[serde(default = "characters")]
    pub tokens: Unit,
    /// The characters, sorted by code point; token k is the k-th. Empty where tokens are bytes.
    pub vocabulary: String,
    /// Size of a character's vector; `None`: characters go in as one-hot vectors.
    pub embedding: Option<usize>,
    /// The kind of recurrent layers.
    #[serde(default)]
    pub cell: CellKind,
    /// H.
    pub hidden: usize,
    /// L.
    pub layers: usize,
    /// The probability of dropout between layers.
    #[serde(default)]
    pub dropout: f64,
    /// The activation of an RNN.
    pub nonlinearity: Nonlinearity,
    /// Whether a linear layer makes the logits; if not, the states of the last layer are the logits.
    pub linear: bool,
}

/// What tokens are where a file does not say: it may be of an early version.
fn characters() -> Unit {
    Unit::Characters
}

impl CharModelConfig {
    /// The vocabulary.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not sorted and distinct, or there is one where tokens are bytes.
    pub fn vocabulary(&self) -> Result<Vocabulary> {
        match self.tokens {
            Unit::Bytes if self.vocabulary.is_empty() => Ok(Vocabulary::bytes()),
            Unit::Bytes => refuse("the vocabulary must be empty where tokens are bytes".into()),
            Unit::Characters => {
                Vocabulary::from_chars(self.vocabulary.chars()).map_err(|error| match error {
                    Error::Argument { op, message } => {
                        Error::argument(op, format!("the vocabulary {message}"))
                    }
                    other => other,
                })
            }
        }
    }

    /// The number of parameters. An error unless the sizes make a model that can be held in memory.
    pub(in crate::train) fn check(&self) -> Result<u64> {
        check_format(self.format)?;
        check_dropout(self.dropout)?;
        let sizes = self.sizes();
        sizes.check()?;
        if let Some(embedding) = self.embedding
            && !(1..=super::MAX_SIZE).contains(&embedding)
        {
            return refuse(format!("embedding must be from 1 to {}, got {embedding}", super::MAX_SIZE));
        }
        let classes = self.vocabulary()?.len();
        if !self.linear && self.hidden != classes {
            return refuse(format!(
                "without a linear layer hidden must be the number of distinct characters, {classes}, got {}; with one \
                 (--linear) it is free",
                self.hidden
            ));
        }
        let embedding = if self.embedding.is_some() { (classes * sizes.width) as u64 } else { 0 };
        let of = format!(
            "hidden {}, layers {}, inputs of size {} and {classes} distinct characters",
            self.hidden, self.layers, sizes.width
        );
        check_parameters(embedding + sizes.parameters(), &of)
    }

    /// An error unless it makes a model and a step of training over `sequence` characters of `batch` streams can be held in
    /// memory.
    pub(in crate::train) fn check_step(&self, batch: usize, sequence: usize) -> Result<()> {
        self.check()?;
        // Logits, their gradients and a copy.
        let character = self.sizes().step_values() + 3 * self.classes() as u64;
        let values = u128::from(character).saturating_mul(batch as u128 * sequence as u128);
        check_step(values, &format!("batch {batch} and sequence {sequence}"))
    }

    fn classes(&self) -> usize {
        match self.tokens {
            Unit::Bytes => 256,
            Unit::Characters => self.vocabulary.chars().count(),
        }
    }

    fn sizes(&self) -> Sizes {
        let classes = self.classes();
        Sizes {
            cell: self.cell,
            width: self.embedding.unwrap_or(classes),
            hidden: self.hidden,
            layers: self.layers,
            outputs: if self.linear { classes } else { 0 },
        }
    }
}

/// A recurrent model of text: `embedding` (or one-hot vectors), `rnn`, and `fc` where there is a linear layer.
#[derive(Debug)]
pub struct CharModel {
    /// What it is.
    pub config: CharModelConfig,
    /// Its characters.
    pub vocabulary: Vocabulary,
    /// Its parameters, with PyTorch's names: `rnn.weight_ih_l0`, `fc.weight`, ...
    pub parameters: Parameters,
    embedding: Option<Embedding>,
    rnn: Recurrent,
    fc: Option<Linear>,
}

impl CharModel {
    /// A model with initial values from `seed`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the configuration makes no model; [`Error::Gpu`] when the device has no room for it.
    pub fn new(device: &Device, config: CharModelConfig, seed: u64) -> Result<CharModel> {
        CharModel::in_precision(device, config, seed, Precision::F32)
    }

    /// [`CharModel::new`], to compute in a precision.
    ///
    /// # Errors
    /// As [`CharModel::new`].
    pub fn in_precision(
        device: &Device,
        config: CharModelConfig,
        seed: u64,
        precision: Precision,
    ) -> Result<CharModel> {
        CharModel::make(Initializer::in_precision(device, seed, precision), config, Initializer::build)
    }

    /// A model whose parameters get their values by `build`.
    pub(super) fn make(
        mut init: Initializer,
        config: CharModelConfig,
        build: impl FnOnce(Initializer) -> Result<Parameters>,
    ) -> Result<CharModel> {
        let vocabulary = config.vocabulary()?;
        let classes = vocabulary.len();
        config.check()?;
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
        let rnn = RecurrentConfig {
            cell: config.cell,
            nonlinearity: config.nonlinearity,
            input_size: config.embedding.unwrap_or(classes),
            hidden_size: config.hidden,
            num_layers: config.layers,
            dropout: config.dropout,
        };
        let rnn = Recurrent::new(&mut init, "rnn", &rnn)?;
        let linear = LinearConfig { in_features: config.hidden, out_features: classes, bias: true };
        let fc = config.linear.then(|| Linear::new(&mut init, "fc", &linear)).transpose()?;
        Ok(CharModel { parameters: build(init)?, config, vocabulary, embedding, rnn, fc })
    }

    /// The logits [T, B, C] for the character after each of the tokens [T, B], and the recurrent layers' states. They begin
    /// with `states`, as [`RecurrentOutput::states`] gives them, or with 0 where there are none.
    ///
    /// # Errors
    /// [`Error::Argument`] when a token is not of the vocabulary or shapes do not fit; [`Error::Gpu`] on a fault.
    pub fn forward(
        &self,
        tape: &mut Tape,
        tokens: &Indices,
        states: &[Var],
    ) -> Result<(Var, RecurrentOutput)> {
        let x = match &self.embedding {
            Some(embedding) => embedding.forward(tape, tokens)?,
            None => tape.constant(&tokens.one_hot(self.vocabulary.len())?),
        };
        self.forward_vectors(tape, x, states)
    }

    /// Like [`CharModel::forward`], from the characters' vectors [T, B, I].
    ///
    /// # Errors
    /// As [`CharModel::forward`].
    pub fn forward_vectors(&self, tape: &mut Tape, x: Var, states: &[Var]) -> Result<(Var, RecurrentOutput)> {
        let states = self.rnn.forward(tape, x, states)?;
        let logits = match &self.fc {
            Some(fc) => fc.forward(tape, states.output)?,
            None => states.output,
        };
        Ok((logits, states))
    }
}

impl ModelFiles for CharModel {
    fn config_json(&self) -> Value {
        serde_json::to_value(&self.config).expect("a configuration has nothing but plain fields")
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}
