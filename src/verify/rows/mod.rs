//! The table of kernels, and how to make a case for each.

mod dense;
mod elements;
mod lines;
mod optim;
mod recurrent;
mod tokens;

use super::{Case, Draw, Row};
use crate::cpu::*;
use crate::kernel::Kernel;

const fn row(kernel: &'static Kernel, make: fn(&mut Draw) -> Case) -> Row {
    Row { kernel, make }
}

/// Every kernel, once.
pub static TABLE: &[Row] = &[
    row(&binary::BINARY, elements::binary),
    row(&unary::UNARY, elements::unary),
    row(&scale::SCALE, elements::scale),
    row(&scale_by::SCALE_BY, elements::scale_by),
    row(&regression_loss::REGRESSION_LOSS, elements::regression_loss),
    row(&multiply_add::MULTIPLY_ADD, elements::multiply_add),
    row(&fill::FILL, elements::fill),
    row(&copy::COPY, elements::copy),
    row(&cast::CAST, elements::cast),
    row(&sigmoid::SIGMOID, elements::sigmoid),
    row(&sigmoid_backward::SIGMOID_BACKWARD, elements::sigmoid_backward),
    row(&tanh::TANH, elements::tanh),
    row(&tanh_backward::TANH_BACKWARD, elements::tanh_backward),
    row(&relu::RELU, elements::relu),
    row(&relu_backward::RELU_BACKWARD, elements::relu_backward),
    row(&philox_uniform::PHILOX_UNIFORM, elements::philox_uniform),
    row(&bias_add::BIAS_ADD, dense::bias_add),
    row(&column_sum::COLUMN_SUM, dense::column_sum),
    row(&reduce_sum::REDUCE_SUM, dense::reduce_sum),
    row(&matmul::MATMUL, dense::matmul),
    row(&max_dim::MAX_DIM, lines::max_dim),
    row(&gather::GATHER, lines::gather),
    row(&gather_backward::GATHER_BACKWARD, lines::gather_backward),
    row(&softmax::SOFTMAX, lines::softmax),
    row(&softmax_backward::SOFTMAX_BACKWARD, lines::softmax_backward),
    row(&layer_norm::LAYER_NORM, lines::layer_norm),
    row(&layer_norm_backward::LAYER_NORM_BACKWARD, lines::layer_norm_backward),
    row(&rnn_forward::RNN_FORWARD, recurrent::rnn_forward),
    row(&rnn_backward::RNN_BACKWARD, recurrent::rnn_backward),
    row(&lstm_forward::LSTM_FORWARD, recurrent::lstm_forward),
    row(&lstm_backward::LSTM_BACKWARD, recurrent::lstm_backward),
    row(&lstm_project_forward::LSTM_PROJECT_FORWARD, recurrent::lstm_project_forward),
    row(&lstm_project_backward::LSTM_PROJECT_BACKWARD, recurrent::lstm_project_backward),
    row(&gru_forward::GRU_FORWARD, recurrent::gru_forward),
    row(&gru_backward::GRU_BACKWARD, recurrent::gru_backward),
    row(&mask_steps::MASK_STEPS, recurrent::mask_steps),
    row(&dropout::DROPOUT, recurrent::dropout),
    row(&embedding::EMBEDDING, tokens::embedding),
    row(&embedding_backward::EMBEDDING_BACKWARD, tokens::embedding_backward),
    row(&one_hot::ONE_HOT, tokens::one_hot),
    row(&cross_entropy::CROSS_ENTROPY, tokens::cross_entropy),
    row(&cross_entropy_soft::CROSS_ENTROPY_SOFT, tokens::cross_entropy_soft),
    row(&begin_step::BEGIN_STEP, optim::begin_step),
    row(&clip_gradients::CLIP_GRADIENTS, optim::clip_gradients),
    row(&sgd::SGD, optim::sgd),
    row(&adam::ADAM, optim::adam),
    row(&rmsprop::RMSPROP, optim::rmsprop),
    row(&adagrad::ADAGRAD, optim::adagrad),
    row(&clip_values::CLIP_VALUES, optim::clip_values),
];
