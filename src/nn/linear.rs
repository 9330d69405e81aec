//! The linear layer: torch.nn.Linear.

use crate::error::{Error, Result};
use crate::parameters::{Initializer, ParameterId};
use crate::tape::{Tape, Var};

/// The options of a [`Linear`]: sizes as in torch.nn.Linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearConfig {
    /// Size of the last dimension of the input.
    pub in_features: usize,
    /// Size of the last dimension of the output.
    pub out_features: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Default for LinearConfig {
    fn default() -> Self {
        LinearConfig { in_features: 1, out_features: 1, bias: true }
    }
}

/// The linear layer y = x·Wᵀ + b for x [.., in], as torch.nn.Linear. Parameters: `weight` [out, in] (W) and, with `bias`, `bias`
/// `[out]` (b). Both begin with random numbers from U(−1/√in, 1/√in).
#[derive(Clone, Debug)]
pub struct Linear {
    weight: ParameterId,
    bias: Option<ParameterId>,
}

impl Linear {
    /// Makes the layer and its parameters, whose names begin with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is 0.
    pub fn new(init: &mut Initializer, name: &str, config: &LinearConfig) -> Result<Linear> {
        let LinearConfig { in_features, out_features, bias } = *config;
        if in_features == 0 || out_features == 0 {
            let message =
                format!("{name}: sizes must be at least 1, got {in_features} in and {out_features} out");
            return Err(Error::argument("Linear", message));
        }
        let bound = 1.0 / (in_features as f32).sqrt();
        Ok(Linear {
            weight: init.uniform(format!("{name}.weight"), [out_features, in_features], bound),
            bias: bias.then(|| init.uniform(format!("{name}.bias"), [out_features], bound)),
        })
    }

    /// Applies the layer to x [.., in]: [.., out].
    ///
    /// # Errors
    /// [`Error::Argument`] when the last dimension of x is not `in`.
    pub fn forward(&self, tape: &mut Tape, x: Var) -> Result<Var> {
        let weight = tape.parameter(self.weight)?;
        let bias = self.bias.map(|bias| tape.parameter(bias)).transpose()?;
        tape.linear(x, weight, bias)
    }
}
