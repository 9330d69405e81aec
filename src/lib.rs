//! Recurrent networks trained on any GPU: hand-written WGSL kernels compute recurrent layers forward and backward, matrix
//! products, softmax cross-entropy and optimizer steps; a tape records what was done and walks it backwards. Through wgpu
//! the same program runs on Vulkan, Metal and DX12, and on the CPU where there is no GPU. Names, semantics and weights are
//! PyTorch's.
//!
//! # An example
//!
//! A character RNN that learns to continue "hihell" with "ihello":
//!
//! ```
//! use bptt::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let device = Device::auto()?; // the best GPU, else the CPU
//! let inputs = Indices::new(&device, [6, 1], &[1, 2, 1, 0, 3, 3])?; // "hihell" as [T, B] of e=0 h=1 i=2 l=3 o=4
//! let labels = Indices::new(&device, [6, 1], &[2, 1, 0, 3, 3, 4])?; // "ihello"
//! let x = inputs.one_hot(5)?;
//!
//! let mut init = Initializer::new(&device, 0); // seed
//! let config = RnnConfig { input_size: 5, hidden_size: 16, ..RnnConfig::default() };
//! let rnn = Rnn::new(&mut init, "rnn", &config)?;
//! let fc = Linear::new(&mut init, "fc", &LinearConfig { in_features: 16, out_features: 5, bias: true })?;
//! let parameters = init.build()?;
//!
//! let mut adam = Adam::new(&parameters, AdamConfig { lr: 0.05, ..AdamConfig::default() })?;
//! let mut tape = Tape::new(&parameters);
//! let mut last = f32::NAN;
//! for _ in 0..100 {
//!     tape.clear();
//!     let input = tape.constant(&x);
//!     let states = rnn.forward(&mut tape, input, None)?;
//!     let logits = fc.forward(&mut tape, states.output)?;
//!     let loss = tape.cross_entropy(logits, &labels, &CrossEntropyLoss::default())?;
//!     adam.zero_grad();
//!     tape.backward(loss)?;
//!     adam.clip_grad_norm(1.0)?;
//!     adam.step(None)?;
//!     device.submit()?;
//!     last = tape.value(loss)?.to_vec()?[0];
//! }
//! assert!(last < 0.05);
//! # Ok(())
//! # }
//! ```
//!
//! More to copy from, each a program of about a hundred lines that runs as it is, `cargo run --release --example hihello` say:
//!
//! | in `examples/` | what it shows |
//! |---|---|
//! | `hihello.rs` | the example above, explained for those who come from PyTorch |
//! | `char_model.rs` | a language model: an LSTM over the characters of a file, truncated backpropagation with the state carried on, and sampling |
//! | `time_series.rs` | a CSV file, scaled and cut into windows, forecast by an LSTM and compared with the naive forecast |
//! | `from_pytorch.rs` | a PyTorch state dict, loaded and run, its outputs compared with PyTorch's |
//! | `custom_op.rs` | an operation with kernels of one's own (see [`kernel`](mod@kernel)), its gradient checked, in a network |
//! | `ladder/` | how a GPU computes quickly: matrix products and the LSTM layer from the most naive kernel to the one in use, a short shader a rung, timed and checked |
//!
//! # The map
//!
//! The one idea is a narrow waist: a [`kernel`](mod@kernel) is a name, a plain CPU twin and one or more shaders, with the
//! same parameters and the same buffers in the same order. [`device::Device::launch`] records a dispatch on a GPU and calls
//! the twin on the CPU. Everything above knows no device and has no branch on one.
//!
//! | folder or file | what is in it |
//! |---|---|
//! | `shaders/` | one kernel a file, with its equations; recurrent kernels and matmul share the files that say how (`recurrent_*.wgsl`, `lanes_*.wgsl`, `matmul_*.wgsl`); `common.wgsl` is appended to each, `f16.wgsl` and `bf16.wgsl` to those that store two halves in a word |
//! | [`cpu`] | the twins, one a file with the shader's name, generic over f32, f64 and numbers that carry an error bound |
//! | [`device`] | the only place that knows wgpu: adapters, memory, pipelines, recording, read-back, faults |
//! | [`plans`] | which of several ways a kernel runs, where a measurement found a better one than the cost models |
//! | [`tensor`], [`tape`], [`parameters`] | a shape over a buffer; the flat list that is walked for gradients; the arenas |
//! | [`ops`] | one file an operation: mathematics, launches, backward rule; they are methods of [`tape::Tape`] |
//! | [`nn`], [`optim`] | layers and optimizers, with PyTorch's names |
//! | [`data`] | text from files of any size, tables of numbers, time series |
//! | [`train`] | what is learnt, the training loop, runs and checkpoints, generation and forecasts: all that the command `bptt` does |
//! | `report` | charts, heat maps, graphs and the HTML page of a training run, from plain data; behind the feature `report` |
//! | `files/`, [`error`] | files read within limits and replaced whole; the one error type, and the faults of devices |
//! | [`bench`](mod@bench) | training steps, kernels and launches measured, as peers are |
//! | [`explain`](mod@explain) | a training step taken apart: launches with their cost and why they run so, schedules side by side, every number of a small network |
//! | [`verify`] | every kernel and every gradient held to a 64-bit reference with derived limits; whole models to PyTorch's results; all of it on a user's own card ([`verify::suite`]) |
//!
//! How a kernel runs (variant, tile, grid) is chosen by a pure function of its parameters and the device's limits, beside its twin: `plan`, or
//! [`kernel::Plan::elements`] where every element is independent. Matrix products and recurrent kernels ask [`plans`] first, which a measurement may
//! have filled. A launch on the CPU costs one uncontended lock and about
//! 50 ns, and the conversion of what is stored in half precision.
//!
//! Tensors are stored as 32-bit floats, or in half precision as [`kernel::Dtype::F16`] or [`BF16`](kernel::Dtype::BF16). A
//! shader is written once: each argument that may be either is read by `load_NAME(i)` and written by `store_NAME(i, x)`, which
//! are made for how it is stored ([`kernel::Form`]); a twin gets 32-bit numbers, and the CPU device converts. Results are stored
//! as the inputs are, those of layers as their weights are, which follows from the model's
//! [`Precision`](parameters::Precision); losses, sums and the gradients of parameters are 32-bit floats.
//!
//! What runs can be looked at: [`tape::Tape::nodes`] is what was computed from what, and a profile with
//! [`device::Detail::Launches`] has each launch, with its arguments' bytes, its time and the node that it is of.
//!
//! Imports point upward in this table only. The command `bptt` itself is `src/main.rs` and `src/cli/`, behind the default
//! feature `cli`.
#![deny(missing_docs)]

// `kernel!` names this package by its name, in it as in others.
extern crate self as bptt;

pub mod bench;
#[allow(unsafe_code, reason = "threads share what kernels write, in parts that do not overlap")]
pub mod cpu;
pub mod data;
#[allow(unsafe_code, reason = "drivers, and memory that is shared with them")]
pub mod device;
pub mod error;
pub mod explain;
mod fault;
mod files;
pub mod kernel;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod parameters;
pub mod plans;
#[cfg(feature = "report")]
pub mod report;
pub mod tape;
pub mod tensor;
pub mod train;
pub mod verify;

/// What a program that trains a model uses.
pub mod prelude {
    pub use crate::device::Device;
    pub use crate::error::{Error, Result};
    pub use crate::nn::{
        CellConfig, Dropout, Embedding, EmbeddingConfig, Gru, GruCell, GruConfig, LayerNorm, LayerNormConfig,
        Linear, LinearConfig, Lstm, LstmCell, LstmConfig, Rnn, RnnCell, RnnCellConfig, RnnConfig,
    };
    pub use crate::ops::cross_entropy::{CrossEntropyLoss, Reduction};
    pub use crate::ops::indices::Indices;
    pub use crate::ops::recurrent::{Lengths, Nonlinearity};
    pub use crate::ops::regression_loss::RegressionLoss;
    pub use crate::optim::schedule::{LrSchedule, PlateauConfig, ReduceLrOnPlateau, Schedule};
    pub use crate::optim::{
        Adagrad, AdagradConfig, Adam, AdamConfig, AdamW, AdamWConfig, LossScale, Optimizer, ParamGroup,
        Rmsprop, RmspropConfig, Sgd, SgdConfig,
    };
    pub use crate::parameters::{Activation, Fan, Init, Initializer, Parameters, Precision};
    pub use crate::tape::{DropoutStream, Tape, Var};
    pub use crate::tensor::{Shape, Tensor};
    pub use crate::train::{load_weights, save_weights};
}

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
