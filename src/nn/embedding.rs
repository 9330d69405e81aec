//! torch.nn.Embedding.

use crate::error::{Error, Result};
use crate::ops::indices::Indices;
use crate::parameters::{Initializer, ParameterId};
use crate::tape::{Tape, Var};

/// What an [`Embedding`] is: sizes as in torch.nn.Embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingConfig {
    /// The number of tokens.
    pub num_embeddings: usize,
    /// The size of each token's vector.
    pub embedding_dim: usize,
}

/// A vector for each token, as torch.nn.Embedding: parameter `weight` [num_embeddings, embedding_dim] from N(0, 1).
#[derive(Clone, Debug)]
pub struct Embedding {
    weight: ParameterId,
}

impl Embedding {
    /// Makes the layer's parameter, its name beginning with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is 0.
    pub fn new(init: &mut Initializer, name: &str, config: &EmbeddingConfig) -> Result<Embedding> {
        let EmbeddingConfig { num_embeddings, embedding_dim } = *config;
        if num_embeddings == 0 || embedding_dim == 0 {
            let message =
                format!("{name}: sizes must be at least 1, got {num_embeddings} and {embedding_dim}");
            return Err(Error::argument("Embedding", message));
        }
        Ok(Embedding { weight: init.normal(format!("{name}.weight"), [num_embeddings, embedding_dim]) })
    }

    /// The vectors of the tokens [..]: [.., embedding_dim].
    ///
    /// # Errors
    /// [`Error::Argument`] when a token is not in 0..num_embeddings.
    pub fn forward(&self, tape: &mut Tape, tokens: &Indices) -> Result<Var> {
        let weight = tape.parameter(self.weight)?;
        tape.embedding(tokens, weight)
    }
}
