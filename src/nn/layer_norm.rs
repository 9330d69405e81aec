//! Layer normalisation: torch.nn.LayerNorm.

use crate::error::{Error, Result};
use crate::parameters::{Initializer, ParameterId};
use crate::tape::{Tape, Var};
use crate::tensor::Shape;

/// The options of a [`LayerNorm`]: options as in torch.nn.LayerNorm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNormConfig {
    /// The sizes of the last dimensions of the input, over which it is normalised.
    pub normalized_shape: Shape,
    /// What is added to the variance.
    pub eps: f32,
    /// Whether there are a weight and, with `bias`, a bias.
    pub elementwise_affine: bool,
    /// Whether there is a bias beside the weight.
    pub bias: bool,
}

impl Default for LayerNormConfig {
    fn default() -> Self {
        LayerNormConfig {
            normalized_shape: Shape::from([1]),
            eps: 1e-5,
            elementwise_affine: true,
            bias: true,
        }
    }
}

/// Layer normalisation (Ba, Kiros and Hinton, arXiv 1607.06450), as torch.nn.LayerNorm:
///
/// y = (x − μ) / √(v + eps) ⊙ weight + bias, with the mean μ and the variance v over the last dimensions of x.
///
/// Parameters: `weight`, which begins with ones, and `bias`, which begins with zeros, both of the shape `normalized_shape`. See
/// [`Tape::layer_norm`].
#[derive(Clone, Debug)]
pub struct LayerNorm {
    normalized_shape: Shape,
    eps: f32,
    weight: Option<ParameterId>,
    bias: Option<ParameterId>,
}

impl LayerNorm {
    /// Makes the layer and its parameters, whose names begin with `name.`.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is nothing to normalise over.
    pub fn new(init: &mut Initializer, name: &str, config: &LayerNormConfig) -> Result<LayerNorm> {
        let LayerNormConfig { normalized_shape, eps, elementwise_affine, bias } = *config;
        if normalized_shape.is_empty() || normalized_shape.count() == 0 {
            let message = format!("{name}: sizes must be at least 1, got {normalized_shape:?}");
            return Err(Error::argument("LayerNorm", message));
        }
        let mut parameter =
            |own: &str, value| init.constant(format!("{name}.{own}"), normalized_shape, value);
        Ok(LayerNorm {
            normalized_shape,
            eps,
            weight: elementwise_affine.then(|| parameter("weight", 1.0)),
            bias: (elementwise_affine && bias).then(|| parameter("bias", 0.0)),
        })
    }

    /// Applies the layer to x, whose last dimensions are `normalized_shape`. The result has x's shape.
    ///
    /// # Errors
    /// [`Error::Argument`] when they are not.
    pub fn forward(&self, tape: &mut Tape, x: Var) -> Result<Var> {
        let weight = self.weight.map(|weight| tape.parameter(weight)).transpose()?;
        let bias = self.bias.map(|bias| tape.parameter(bias)).transpose()?;
        tape.layer_norm(x, self.normalized_shape, weight, bias, self.eps)
    }
}
