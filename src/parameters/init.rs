//! Initial values, as torch.nn.init makes them, from Philox on the host in 64 bits: the same on every device.

use std::f64::consts::{SQRT_2, TAU};

use crate::cpu::philox;
use crate::error::{Error, Result};
use crate::tensor::Shape;

/// How to choose the initial values of a parameter. Names and formulas are those of torch.nn.init.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One value everywhere.
    Constant(f32),
    /// U(low, high).
    Uniform {
        /// The least value.
        low: f32,
        /// All values are below it, up to rounding.
        high: f32,
    },
    /// N(mean, std²).
    Normal {
        /// The mean.
        mean: f32,
        /// The standard deviation.
        std: f32,
    },
    /// U(−a, a) with a = gain·√(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
    XavierUniform {
        /// A factor for what follows the layer: see [`Activation::gain`].
        gain: f32,
    },
    /// N(0, s²) with s = gain·√(2 / (fan_in + fan_out)) (Glorot and Bengio 2010).
    XavierNormal {
        /// A factor for what follows the layer: see [`Activation::gain`].
        gain: f32,
    },
    /// U(−a, a) with a = gain·√(3 / fan) (He et al., arXiv 1502.01852).
    KaimingUniform {
        /// Which fan.
        fan: Fan,
        /// What follows the layer: it determines the gain.
        nonlinearity: Activation,
    },
    /// N(0, s²) with s = gain / √fan (He et al., arXiv 1502.01852).
    KaimingNormal {
        /// Which fan.
        fan: Fan,
        /// What follows the layer: it determines the gain.
        nonlinearity: Activation,
    },
    /// gain·Q for a random Q [d0, d1·d2·..] whose rows are orthonormal, or whose columns are where it has more rows than
    /// columns (Saxe et al., arXiv 1312.6120).
    Orthogonal {
        /// The factor.
        gain: f32,
    },
}

/// Which number of connections the variance is divided by, of a weight [out, in, ..]. It decides what keeps its size from layer to
/// layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// fan_in = in·..: the activations of the forward pass keep theirs.
    In,
    /// fan_out = out·..: the gradients of the backward pass keep theirs.
    Out,
}

/// The activation that follows a layer, as torch.nn.init's `nonlinearity`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// Nothing.
    Linear,
    /// σ.
    Sigmoid,
    /// tanh.
    Tanh,
    /// max(x, 0).
    Relu,
    /// x, and `slope`·x below 0.
    LeakyRelu {
        /// The slope below 0.
        slope: f32,
    },
    /// The scaled exponential linear unit (Klambauer et al., arXiv 1706.02515).
    Selu,
}

impl Activation {
    /// The factor on the weights that makes up for what the activation takes away: torch.nn.init.calculate_gain.
    pub fn gain(self) -> f64 {
        match self {
            Activation::Linear | Activation::Sigmoid => 1.0,
            Activation::Tanh => 5.0 / 3.0,
            Activation::Relu => SQRT_2,
            Activation::LeakyRelu { slope } => (2.0 / (1.0 + f64::from(slope).powi(2))).sqrt(),
            Activation::Selu => 0.75,
        }
    }
}

impl Init {
    /// The values of a parameter, from a stream of random numbers.
    pub(super) fn values(&self, shape: Shape, seed: u64, stream: u32) -> Result<Vec<f32>> {
        let indices = 0..shape.count() as u64;
        let uniform = |low: f64, high: f64| {
            let value = |i| (low + (high - low) * f64::from(philox::uniform(seed, stream, i))) as f32;
            indices.clone().map(value).collect()
        };
        let normal = |mean: f64, std: f64| {
            indices.clone().map(|i| (mean + std * standard_normal(seed, stream, i)) as f32).collect()
        };
        Ok(match *self {
            Init::Constant(value) => vec![value; shape.count()],
            Init::Uniform { low, high } => uniform(low.into(), high.into()),
            Init::Normal { mean, std } => normal(mean.into(), std.into()),
            Init::XavierUniform { gain } => {
                let [fan_in, fan_out] = fans("xavier_uniform", shape)?;
                let bound = f64::from(gain) * (6.0 / (fan_in + fan_out)).sqrt();
                uniform(-bound, bound)
            }
            Init::XavierNormal { gain } => {
                let [fan_in, fan_out] = fans("xavier_normal", shape)?;
                normal(0.0, f64::from(gain) * (2.0 / (fan_in + fan_out)).sqrt())
            }
            Init::KaimingUniform { fan, nonlinearity } => {
                let bound = nonlinearity.gain() * (3.0 / fan.of(fans("kaiming_uniform", shape)?)).sqrt();
                uniform(-bound, bound)
            }
            Init::KaimingNormal { fan, nonlinearity } => {
                normal(0.0, nonlinearity.gain() / fan.of(fans("kaiming_normal", shape)?).sqrt())
            }
            Init::Orthogonal { gain } => {
                matrix("orthogonal", shape)?;
                let random = indices.map(|i| standard_normal(seed, stream, i)).collect();
                let q = orthonormal(random, shape[0]);
                q.into_iter().map(|x| (f64::from(gain) * x) as f32).collect()
            }
        })
    }
}

impl Fan {
    fn of(self, [fan_in, fan_out]: [f64; 2]) -> f64 {
        match self {
            Fan::In => fan_in,
            Fan::Out => fan_out,
        }
    }
}

/// Number `index` of a stream of N(0, 1) (Box and Muller).
fn standard_normal(seed: u64, stream: u32, index: u64) -> f64 {
    let u = |k| f64::from(philox::uniform(seed, stream, 2 * index + k));
    // 1 − u lies in (0, 1], where the logarithm is finite.
    let radius = (-2.0 * (1.0 - u(0)).ln()).sqrt();
    radius * (TAU * u(1)).cos()
}

fn matrix(op: &'static str, shape: Shape) -> Result<()> {
    if shape.len() < 2 || shape.count() == 0 {
        let message = format!("takes a shape of at least two dimensions, none of them 0, got {shape:?}");
        return Err(Error::argument(op, message));
    }
    Ok(())
}

/// fan_in and fan_out of a weight [out, in, ..].
fn fans(op: &'static str, shape: Shape) -> Result<[f64; 2]> {
    matrix(op, shape)?;
    let field: usize = shape[2..].iter().product();
    Ok([shape[1] * field, shape[0] * field].map(|fan| fan as f64))
}

/// The matrix of `rows` rows with its rows made orthonormal, or its columns where they are fewer. This is the Q of a QR
/// decomposition whose R has a positive diagonal, as which PyTorch fixes the signs: then Q is uniformly distributed.
fn orthonormal(mut a: Vec<f64>, rows: usize) -> Vec<f64> {
    let cols = a.len() / rows;
    if rows > cols {
        let transposed = |a: &[f64], cols: usize| -> Vec<f64> {
            let rows = a.len() / cols;
            (0..a.len()).map(|at| a[at % rows * cols + at / rows]).collect()
        };
        return transposed(&orthonormal(transposed(&a, cols), cols), rows);
    }
    for row in 0..rows {
        let (done, rest) = a.split_at_mut(row * cols);
        let own = &mut rest[..cols];
        // Twice is enough for orthogonality to the last digits (Giraud, Langou and Rozloznik 2005).
        for _ in 0..2 {
            for other in done.chunks_exact(cols) {
                let along: f64 = own.iter().zip(other).map(|(x, y)| x * y).sum();
                own.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let norm = own.iter().map(|x| x * x).sum::<f64>().sqrt();
        own.iter_mut().for_each(|x| *x /= norm);
    }
    a
}
