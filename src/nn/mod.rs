//! Layers, with PyTorch's options, parameter names, shapes and initial values.
//!
//! | torch.nn | here |
//! |---|---|
//! | `RNN`, `LSTM`, `GRU` | [`Rnn`], [`Lstm`], [`Gru`] |
//! | any of the three, chosen when the program runs | [`Recurrent`] |
//! | `RNNCell`, `LSTMCell`, `GRUCell` | [`RnnCell`], [`LstmCell`], [`GruCell`] |
//! | `Linear`, `Embedding`, `LayerNorm`, `Dropout` | [`Linear`], [`Embedding`], [`LayerNorm`], [`Dropout`] |
//!
//! A layer is made from its options with an [`Initializer`](crate::parameters::Initializer), which collects the parameters of the
//! model; the layer itself holds only their names. `init.build()` then puts all of them on the device. `forward` takes the tape
//! first:
//!
//! ```
//! use bptt::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let device = Device::cpu();
//! let mut init = Initializer::new(&device, 0); // the seed of the initial values
//! let config = LstmConfig { input_size: 3, hidden_size: 8, num_layers: 2, ..LstmConfig::default() };
//! let lstm = Lstm::new(&mut init, "lstm", &config)?; // parameters lstm.weight_ih_l0, lstm.weight_hh_l0, ...
//! let parameters = init.build()?;
//!
//! let mut tape = Tape::new(&parameters);
//! let x = tape.constant(&Tensor::from_f32(&device, [5, 4, 3], &[0.1; 60])?); // [T, B, I]
//! let states = lstm.forward(&mut tape, x, None)?;
//! assert_eq!(*tape.value(states.output)?.shape(), [5, 4, 8]); // [T, B, H]
//! let h_n = states.h_n(&mut tape)?;
//! assert_eq!(*tape.value(h_n)?.shape(), [2, 4, 8]); // [L, B, H]
//! # Ok(())
//! # }
//! ```

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
