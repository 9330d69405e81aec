//! The CPU twins of the kernels: one file a kernel, with the same base name as its shader, written to be
//! compared with it by eye. A twin is generic over the number type ([`real::Real`]). Where the CPU device needs
//! speed, a fast f32 function stands beside the plain twin.

pub mod real;

pub mod bias_add;
pub mod common;
pub mod cost;
#[cfg(test)]
mod counted;
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
pub mod tanh;
pub mod tanh_backward;
pub mod unary;
pub mod walk;
