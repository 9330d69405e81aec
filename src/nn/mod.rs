//! Layers: configuration, parameters with PyTorch's names and initial values, and the ops that they call.

mod embedding;
mod linear;
mod rnn;

pub use embedding::{Embedding, EmbeddingConfig};
pub use linear::{Linear, LinearConfig};
pub use rnn::{Rnn, RnnConfig, RnnOutput};
