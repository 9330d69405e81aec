//! Layers: configuration, parameters with PyTorch's names and initial values, and the ops that they call.

mod any;
mod cells;
mod dropout;
mod embedding;
mod gru;
mod layer_norm;
mod linear;
mod lstm;
mod recurrent;
mod rnn;

pub use any::{CellKind, Recurrent, RecurrentConfig, RecurrentOutput};
pub use cells::{CellConfig, GruCell, LstmCell, RnnCell, RnnCellConfig};
pub use dropout::Dropout;
pub use embedding::{Embedding, EmbeddingConfig};
pub use gru::{Gru, GruConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use linear::{Linear, LinearConfig};
pub use lstm::{Lstm, LstmConfig, LstmOutput};
pub use rnn::{Rnn, RnnConfig, RnnOutput};
