//! The CPU twins of the kernels: one file a kernel, with the name of its shader. A file has
//!
//! - the kernel's declaration by [`kernel!`](macro@crate::kernel): parameters, arguments, variants of the shader;
//! - the twin: the same computation in plain Rust, with the names of the shader, to be compared with it by eye. It is generic over
//!   the type of numbers ([`real::Real`]): f32 for the CPU device, f64 as the reference, and [`real::Bounded`], which carries
//!   along the error that a correct device may make;
//! - where the CPU device needs speed, a second, fast function for f32, `.._fast`. Tests hold it to the twin;
//! - where there is more than one way to run the kernel, `plan`, which chooses.
//!
//! The equations, with shapes, are in the header of the shader: `shaders/lstm_forward.wgsl` for [`lstm_forward`].
//!
//! | what for | kernels |
//! |---|---|
//! | recurrent layers | [`rnn_forward`], [`rnn_backward`], [`lstm_forward`], [`lstm_backward`], [`gru_forward`], [`gru_backward`], [`lstm_project_forward`], [`lstm_project_backward`], [`mask_steps`] |
//! | products and sums | [`matmul`] ([`matmul_ways`] chooses how), [`column_sum`], [`reduce_sum`], [`bias_add`] |
//! | element by element | [`binary`], [`unary`], [`scale`], [`scale_by`], [`sigmoid`], [`tanh`], [`relu`] and their `.._backward`, [`cast`], [`fill`], [`dropout`], [`philox_uniform`] |
//! | moving and choosing | [`copy`], [`gather`], [`gather_backward`], [`max_dim`], [`embedding`], [`embedding_backward`], [`one_hot`] |
//! | rows | [`softmax`], [`softmax_backward`], [`layer_norm`], [`layer_norm_backward`] |
//! | losses | [`cross_entropy`], [`cross_entropy_soft`], [`regression_loss`] |
//! | optimizers | [`sgd`], [`adam`], [`rmsprop`], [`adagrad`], [`begin_step`], [`clip_gradients`], [`clip_values`]; [`control`] lists what they share |
//! | the benchmark | [`multiply_add`] |
//!
//! The other files: [`real`] (numbers), [`common`] (functions of `shaders/common.wgsl`), [`philox`] (random numbers),
//! [`recurrence`] and [`steps`] (what recurrent kernels share), [`walk`] (strides), [`halves`] (half precision), [`groups`] (workgroups that add up together), [`threads`],
//! `vector.rs` and `packed.rs` (how the fast functions are fast), [`cost`] and [`work`] (what a launch costs).

pub mod real;

pub mod bias_add;
pub mod common;
pub mod cost;
#[cfg(test)]
mod counted;
pub mod groups;
pub mod halves;
pub mod matmul;
pub mod matmul_ways;
mod packed;
pub mod threads;
mod vector;
pub mod work;

pub mod gru_backward;
pub mod gru_forward;
pub mod lstm_backward;
pub mod lstm_forward;
pub mod lstm_project_backward;
pub mod lstm_project_forward;
pub mod mask_steps;
pub mod recurrence;
pub mod rnn_backward;
pub mod rnn_forward;

pub mod adagrad;
pub mod adam;
pub mod begin_step;
pub mod binary;
pub mod cast;
pub mod clip_gradients;
pub mod clip_values;
pub mod column_sum;
pub mod control;
pub mod copy;
pub mod cross_entropy;
pub mod cross_entropy_soft;
pub mod dropout;
pub mod embedding;
pub mod embedding_backward;
pub mod fill;
pub mod gather;
pub mod gather_backward;
pub mod layer_norm;
pub mod layer_norm_backward;
pub mod max_dim;
pub mod multiply_add;
pub mod one_hot;
pub mod philox;
pub mod philox_uniform;
pub mod reduce_sum;
pub mod regression_loss;
pub mod relu;
pub mod relu_backward;
pub mod rmsprop;
pub mod scale;
pub mod scale_by;
pub mod sgd;
pub mod sigmoid;
pub mod sigmoid_backward;
pub mod softmax;
pub mod softmax_backward;
pub mod steps;
pub mod tanh;
pub mod tanh_backward;
pub mod unary;
pub mod walk;
