//! Layers: configuration, parameters with PyTorch's names and initial values, and the ops that they call.

mod embedding;
mod layer_norm;
mod linear;
mod rnn;

pub use embedding::{Embedding, EmbeddingConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use linear::{Linear, LinearConfig};
pub use rnn::{Rnn, RnnConfig, RnnOutput};
