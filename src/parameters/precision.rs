//! In which precision a model computes.

use serde::{Deserialize, Serialize};

use crate::kernel::Dtype;

/// How the numbers of a model are stored between kernels: its weights, as layers get them, activations, saved gates and
/// states, and the gradients of activations. Arithmetic, the parameters that the optimizer changes, their gradients and
/// moments, and losses are 32-bit floats in all of them: what PyTorch calls mixed precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with a 10-bit fraction and numbers up to 65,504. Small gradients need a
    /// [loss scale](crate::optim::LossScale).
    F16,
    /// 16 bits with a 7-bit fraction and the range of 32 bits.
    BF16,
}

impl Precision {
    /// All of them.
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::F16, Precision::BF16];

    /// The type of what is stored.
    pub const fn dtype(self) -> Dtype {
        match self {
            Precision::F32 => Dtype::F32,
            Precision::F16 => Dtype::F16,
            Precision::BF16 => Dtype::BF16,
        }
    }

    /// Its name, as in `config.toml`.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::BF16 => "bf16",
        }
    }
}
