//! The operations: what torch.nn.functional and the methods of torch.Tensor are in PyTorch.
//!
//! They are methods of [`Tape`]. Each takes values of the tape, launches its kernels, and puts its result on the tape, with a rule for the
//! gradients of what it took. One file each has the mathematics, the launches and the rule.
//!
//! | PyTorch | here |
//! |---|---|
//! | `sigmoid`, `tanh`, `relu` | [`sigmoid`](crate::tape::Tape::sigmoid), [`tanh`](crate::tape::Tape::tanh), [`relu`](crate::tape::Tape::relu) |
//! | `exp`, `log`, `sqrt` | [`exp`](crate::tape::Tape::exp), [`log`](crate::tape::Tape::log), [`sqrt`](crate::tape::Tape::sqrt) |
//! | `+`, `-`, `*`, `/` of tensors, broadcast | [`add`](crate::tape::Tape::add), [`sub`](crate::tape::Tape::sub), [`mul`](crate::tape::Tape::mul), [`div`](crate::tape::Tape::div) |
//! | `x * 2.0` | [`scale`](crate::tape::Tape::scale) |
//! | `matmul`, `F.linear`, `x + bias` | [`matmul`](crate::tape::Tape::matmul), [`linear`](crate::tape::Tape::linear), [`bias_add`](crate::tape::Tape::bias_add) |
//! | `sum`, `mean`, `max` of all, or over a dimension | [`sum`](crate::tape::Tape::sum), [`mean`](crate::tape::Tape::mean), [`max`](crate::tape::Tape::max), [`sum_dim`](crate::tape::Tape::sum_dim), [`mean_dim`](crate::tape::Tape::mean_dim), [`max_dim`](crate::tape::Tape::max_dim) |
//! | `softmax`, `log_softmax`, `F.layer_norm` | [`softmax`](crate::tape::Tape::softmax), [`log_softmax`](crate::tape::Tape::log_softmax), [`layer_norm`](crate::tape::Tape::layer_norm) |
//! | `reshape`, `transpose`, `permute` | [`reshape`](crate::tape::Tape::reshape), [`transpose`](crate::tape::Tape::transpose), [`permute`](crate::tape::Tape::permute) |
//! | `narrow`, `select`, `cat`, `stack` | [`narrow`](crate::tape::Tape::narrow), [`select`](crate::tape::Tape::select), [`concat`](crate::tape::Tape::concat), [`stack`](crate::tape::Tape::stack) |
//! | `gather`, `F.embedding`, `F.one_hot` | [`gather`](crate::tape::Tape::gather), [`embedding`](crate::tape::Tape::embedding), [`Indices::one_hot`](indices::Indices::one_hot) |
//! | `F.dropout` | [`dropout`](crate::tape::Tape::dropout) |
//! | `F.cross_entropy` | [`cross_entropy`](crate::tape::Tape::cross_entropy), [`cross_entropy_probabilities`](crate::tape::Tape::cross_entropy_probabilities) |
//! | `F.mse_loss`, `F.l1_loss`, `F.huber_loss` | [`mse_loss`](crate::tape::Tape::mse_loss), [`l1_loss`](crate::tape::Tape::l1_loss), [`huber_loss`](crate::tape::Tape::huber_loss) |
//! | one layer and direction of `nn.RNN`, `nn.LSTM`, `nn.GRU` | [`rnn`](crate::tape::Tape::rnn), [`lstm`](crate::tape::Tape::lstm), [`gru`](crate::tape::Tape::gru) |
//! | both directions of a layer | [`bidirectional_rnn`](crate::tape::Tape::bidirectional_rnn), [`bidirectional_lstm`](crate::tape::Tape::bidirectional_lstm), [`bidirectional_gru`](crate::tape::Tape::bidirectional_gru) |
//! | layers one above the other | [`rnn_layers`](crate::tape::Tape::rnn_layers), [`lstm_layers`](crate::tape::Tape::lstm_layers), [`gru_layers`](crate::tape::Tape::gru_layers) |
//! | `nn.utils.rnn.pack_padded_sequence` | [`Lengths`](recurrent::Lengths), [`mask_steps`](crate::tape::Tape::mask_steps) |
//! | `to(dtype)` | [`cast`](crate::tape::Tape::cast) |
//! | `detach`, `no_grad` | [`detach`](crate::tape::Tape::detach), [`no_grad`](crate::tape::Tape::no_grad) |
//! | `rand` | [`Tensor::uniform`](crate::tensor::Tensor::uniform) |
//!
//! In the documentation of each, y is the result and dx the gradient of the loss with respect to x, of x's shape.
//!
//! [`Tape`]: crate::tape::Tape

mod activation;
mod bias_add;
mod binary;
mod cast;
pub mod cross_entropy;
pub(crate) mod dropout;
pub(crate) mod embedding;
mod gather;
pub mod indices;
mod layer_norm;
mod line;
mod linear;
mod loss;
mod matmul;
mod random;
pub mod recurrent;
mod reduce;
pub mod regression_loss;
mod scale;
mod shape;
mod softmax;
mod strided;
mod sum;
mod unary;

use crate::error::{Error, Result};
use crate::kernel::Dtype;
use crate::tensor::{Shape, Tensor};

pub(crate) use sum::{partial_sums, parts};

/// Lets `compute` write a result, or add to it. Where it takes `many` launches, each adding to what the one before has
/// stored, they do so in 32 bits, and the sum is rounded once.
fn added_up(
    to: &Tensor,
    many: bool,
    accumulate: bool,
    compute: impl FnOnce(&Tensor, bool) -> Result<()>,
) -> Result<()> {
    if !many || !to.dtype().is_half() {
        return compute(to, accumulate);
    }
    let wide = Tensor::empty(&to.device(), Dtype::F32, to.shape())?;
    if accumulate {
        to.copy_into(&wide, 0)?;
    }
    compute(&wide, accumulate)?;
    wide.copy_into(to, 0)
}

/// The error of an op that was given two shapes that do not fit together.
fn mismatch<T>(op: &'static str, left: Shape, right: Shape) -> Result<T> {
    Err(Error::argument(op, format!("shapes {left:?} and {right:?} do not fit")))
}
