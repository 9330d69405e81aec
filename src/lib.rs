//! Recurrent networks (RNN, LSTM, GRU) trained on any GPU, with PyTorch's names, semantics and weights.
//!
//! Hand-written WGSL kernels compute recurrent layers forward and backward, matrix products, softmax cross-entropy and
//! optimizer steps. A tape records what was computed and walks it backwards for the gradients. Through wgpu the same program
//! runs on Vulkan, Metal and DX12, and where there is no GPU on the CPU.
//!
//! # Where to begin
//!
//! | you want to | go to |
//! |---|---|
//! | train a model in your own program | the [example](#an-example) below, then [`nn`], [`optim`] and `examples/` |
//! | find the counterpart of a PyTorch function | the tables of [`ops`] (functions), [`nn`] (layers) and [`optim`] (optimizers) |
//! | train on a text or a table without programming | the command `bptt`: see the README |
//! | load a PyTorch model | [`train::load_weights`], `examples/from_pytorch.rs` |
//! | learn how a recurrent network works | the book in `docs/book`; `bptt explain hihello --values` shows every number of a step |
//! | learn how a GPU computes it | [how to read a shader](#how-to-read-a-shader), then `shaders/` and `examples/ladder` |
//! | follow one computation through the code | [one operation from top to bottom](#one-operation-from-top-to-bottom) |
//! | add an operation of your own | [`kernel`](mod@kernel), `examples/custom_op.rs` |
//! | know what a training step costs, and why | [`explain`], [`bench`](mod@bench), `bptt trace` |
//! | be sure that a GPU computes correctly | [`verify`], `bptt check` |
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
//! More programs to copy from, each of about a hundred lines. They run as they are: `cargo run --release --example hihello`.
//!
//! | in `examples/` | what it shows |
//! |---|---|
//! | `hihello.rs` | the example above, explained for those who come from PyTorch |
//! | `char_model.rs` | a language model: an LSTM over the characters of a file, truncated backpropagation with the state carried on, and sampling |
//! | `time_series.rs` | a CSV file, scaled and cut into windows, forecast by an LSTM and compared with the naive forecast |
//! | `from_pytorch.rs` | a PyTorch state dict, loaded and run, its outputs compared with PyTorch's |
//! | `custom_op.rs` | an operation with kernels of your own (see [`kernel`](mod@kernel)), its gradient checked, in a network |
//! | `ladder/` | how a GPU computes quickly: matrix products and the LSTM layer in a ladder of short shaders, from the most naive to the one in use, each timed and checked |
//!
//! # Notation
//!
//! The same letters everywhere, in documentation, shaders and error messages:
//!
//! | written | meant |
//! |---|---|
//! | T, B | time steps, sequences in a batch; step t counts from 0 |
//! | I, H, S | features of the input; of the hidden state (units); of what h is projected to, else H |
//! | L, D, G | layers; directions (2 when bidirectional); gates of a cell: 1 in an RNN, 4 in an LSTM (i, f, g, o), 3 in a GRU (r, z, n) |
//! | C, V | classes; tokens of a vocabulary |
//! | `[T, B, H]` | a shape, the outermost dimension first: in memory, the H numbers of a row are neighbours |
//! | x·Wᵀ, a ⊙ b, σ | matrix product with the transposed W; product element by element; the logistic function 1 / (1 + e⁻ˣ) |
//! | dx | the gradient of the loss with respect to x, of x's shape |
//!
//! # One operation from top to bottom
//!
//! The one idea of this package is a narrow waist. A [`kernel`](mod@kernel) is a name, one or more shaders for GPUs, and a
//! *twin*: the same computation as a plain Rust function for the CPU, with the same parameters and the same buffers in the
//! same order. [`Device::launch`](device::Device::launch) records a dispatch of the shader on a GPU, and calls the twin on the
//! CPU. Everything above it knows no device. Take a linear layer, y = x·Wᵀ + b:
//!
//! | file | its part |
//! |---|---|
//! | `src/nn/linear.rs` | [`nn::Linear`] holds the names of its parameters and calls [`Tape::linear`](tape::Tape::linear) |
//! | `src/ops/linear.rs` | `Tape::linear` checks shapes, launches the kernel, and puts a node on the tape with the rule for the gradients of x, W and b |
//! | `src/cpu/matmul_ways.rs` | chooses how the kernel runs on this device: a *plan* |
//! | `shaders/matmul.wgsl` | what a GPU runs; its header has the equation with shapes |
//! | `src/cpu/matmul.rs` | the kernel's declaration and its twin; beside it a fast function for the CPU |
//! | `src/verify/rows/` | on which shapes and values shader and twin are held to a 64-bit reference |
//! | `src/tape/backward.rs` | [`Tape::backward`](tape::Tape::backward) walks the nodes from the last to the first and calls their rules |
//!
//! A recurrent layer is one such operation over all its time steps: `src/nn/lstm.rs`, `src/ops/recurrent/`,
//! `shaders/lstm_forward.wgsl` and `shaders/lstm_backward.wgsl`.
//!
//! # How to read a shader
//!
//! A shader is a program in WGSL that very many threads of a GPU run at once. The simplest, in full:
//!
#![doc = concat!("```text\n", include_str!("../shaders/bias_add.wgsl"), "```")]
//!
//! - The header has the equations, the parameters, what a thread has to do, and where the twin is.
//! - Each *binding* is a buffer in the GPU's memory, in the order of the launch; its comment is the shape. A shader reads
//!   `load_x(i)` and writes `store_y(i, value)`, which are made for the type that the buffer stores (32 or 16 bits).
//! - `p` are the parameters of the launch. Constants in capitals (`GROUP`, `TILE`) are set where the kernel is declared, in the
//!   twin's file; `shaders/common.wgsl` is appended to each shader.
//! - `main` runs once in each thread. Threads come in *workgroups* (here of `GROUP` = 64), and a launch has a grid of those. A
//!   thread learns its number from `id`, and takes element after element in strides of the whole grid.
//! - Threads of one workgroup share `var<workgroup>` memory, and wait for each other at `workgroupBarrier()`. So they add up
//!   numbers by a *tree*: half of the threads add the numbers of the other half to theirs, then a quarter, until one is left
//!   (`shaders/threads_of_workgroup.wgsl`). Workgroups do not see what others write until the launch has ended.
//! - A *subgroup* is a part of a workgroup whose threads run in step and can read each other's numbers directly. Shaders that
//!   need one are variants: a kernel always has one that runs everywhere.
//!
//! # The map
//!
//! From the lowest layer to the highest: code uses what is in its own row and in the rows above it. (The rows from [`error`]
//! to [`plans`] belong together, and also use each other.)
//!
//! | folder or file | what is in it |
//! |---|---|
//! | `shaders/` | one kernel a file, its equations in the header. Recurrent kernels and matmul are put together of several files (`recurrent_*.wgsl`, `matmul_*.wgsl`) |
//! | `files/`, [`error`] | files read within limits and replaced whole; the one error type, and the faults of devices |
//! | [`kernel`](mod@kernel), [`cpu`] | what a kernel is; the declarations and twins, one a file with the shader's name, generic over f32, f64 and numbers that carry an error bound |
//! | [`device`] | the only place that knows wgpu: adapters, memory, pipelines, recording, read-back, faults |
//! | [`plans`] | which of several ways a kernel runs, where a measurement found a better one than the cost models |
//! | [`tensor`], [`tape`], [`parameters`] | a shape over a buffer; the list of what was computed, for the gradients; a model's parameters |
//! | [`ops`] | one file an operation: mathematics, launches, backward rule; they are methods of [`tape::Tape`] |
//! | [`nn`], [`optim`] | layers and optimizers |
//! | [`data`] | text from files of any size, tables of numbers, time series |
//! | [`train`] | what is learnt, the training loop, runs and checkpoints, generation and forecasts: all that the command `bptt` does |
//! | `report` | charts, heat maps, graphs and the HTML page of a training run, from plain data; behind the feature `report` |
//! | [`verify`] | every kernel and every gradient held to a 64-bit reference with derived limits; whole models to PyTorch's results; all of it on a user's own card ([`verify::suite`]) |
//! | [`bench`](mod@bench) | training steps, kernels and launches, measured |
//! | [`explain`] | a training step taken apart: launches with their cost and why they run so, schedules side by side, every number of a small network |
//! | `src/main.rs`, `src/cli/` | the command `bptt`, behind the default feature `cli` |
//!
//! # Good to know
//!
//! **Plans.** How a kernel runs (variant, tile, grid) follows from its parameters and the device's limits alone, so that the same
//! run gives the same bits. The function that says so stands beside the twin: `plan`, or [`kernel::Plan::elements`] where every
//! element is independent. Matrix products and recurrent kernels ask [`plans`] first, which `bptt tune` may have filled.
//!
//! **Half precision.** Tensors are stored as 32-bit floats, or as [`kernel::Dtype::F16`] or [`BF16`](kernel::Dtype::BF16).
//! Kernels always compute in 32 bits and round what they store. A result is stored as its inputs are; that of a layer as its
//! weights are, which the model's [`Precision`](parameters::Precision) says. Losses, sums and the gradients of parameters are
//! always 32-bit floats.
//!
//! **Looking inside.** [`tape::Tape::nodes`] tells what was computed from what. A profile with [`device::Detail::Launches`] has
//! each launch with its time, the bytes of its arguments and the node that it belongs to.
//!
//! **On the CPU** a launch costs one lock that nobody contends for, about 50 ns, and the conversion of what is stored in half
//! precision.
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
mod nearby;
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
