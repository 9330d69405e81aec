//! A vector for each token: torch.nn.Embedding.

use crate::error::{Error, Result};
use crate::ops::indices::Indices;
use crate::parameters::{Initializer, ParameterId};
use crate::tape::{Tape, Var};

/// The options of an [`Embedding`]: sizes as in torch.nn.Embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingConfig {
    /// The number of tokens.
    pub num_embeddings: usize,
    /// The size of each token's vector.
    pub embedding_dim: usize,
    /// A token that only fills up short sequences: its vector is 0 at first and gets no gradient.
    pub padding_idx: Option<usize>,
}

impl Default for EmbeddingConfig {
    fn default() -> Self {
        EmbeddingConfig { num_embeddings: 1, embedding_dim: 1, padding_idx: None }
    }
}

/// A vector for each token, as torch.nn.Embedding. Parameter: `weight` [num_embeddings, embedding_dim]. It begins with random
/// numbers from N(0, 1), and with zeros in the row of the token `padding_idx`.
#[derive(Clone, Debug)]
pub struct Embedding {
    weight: ParameterId,
    padding_idx: Option<usize>,
}

impl Embedding {
    /// Makes the layer and its parameter `name.weight`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is 0 or `padding_idx` is not in 0..num_embeddings.
    pub fn new(init: &mut Initializer, name: &str, config: &EmbeddingConfig) -> Result<Embedding> {
        let EmbeddingConfig { num_embeddings, embedding_dim, padding_idx } = *config;
        if num_embeddings == 0 || embedding_dim == 0 {
            let message =
                format!("{name}: sizes must be at least 1, got {num_embeddings} and {embedding_dim}");
            return Err(Error::argument("Embedding", message));
        }
        if let Some(index) = padding_idx.filter(|index| *index >= num_embeddings) {
            let message = format!("{name}: padding_idx {index} is not in 0..{num_embeddings}");
            return Err(Error::argument("Embedding", message));
        }
        let weight = init.normal(format!("{name}.weight"), [num_embeddings, embedding_dim]);
        if let Some(index) = padding_idx {
            // No more than there are, once these can be counted.
            let row = |index: usize| index.saturating_mul(embedding_dim);
            init.zero(weight, row(index)..row(index + 1));
        }
        Ok(Embedding { weight, padding_idx })
    }

    /// The vectors of the tokens [..]: [.., embedding_dim].
    ///
    /// # Errors
    /// [`Error::Argument`] when a token is not in 0..num_embeddings.
    pub fn forward(&self, tape: &mut Tape, tokens: &Indices) -> Result<Var> {
        let weight = tape.parameter(self.weight)?;
        tape.embedding(tokens, weight, self.padding_idx)
    }
}
