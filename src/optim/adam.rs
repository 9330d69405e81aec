//! torch.optim.Adam.

use super::{Control, Optimizer};
use crate::cpu::adam::{ADAM, Adam as Params};
use crate::error::{Error, Result};
use crate::kernel::Plan;
use crate::parameters::{ParameterId, Parameters};
use crate::tensor::Tensor;

/// Options, with the names and defaults of torch.optim.Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first and of the second moment.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Added to the gradient, times the parameter (an L2 penalty).
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        AdamConfig { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam (Kingma and Ba, arXiv 1412.6980) as torch.optim.Adam:
/// g += λ·p; m = β₁·m + (1−β₁)·g; v = β₂·v + (1−β₂)·g²; p −= lr/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + eps).
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    parameters: Parameters,
    moments: [Tensor; 2],
    control: Control,
}

impl Adam {
    /// An optimizer of all of these parameters.
    ///
    /// # Errors
    /// [`Error::Argument`] when an option is out of its range; [`Error::Gpu`] when there is no room for the moments.
    pub fn new(parameters: &Parameters, config: AdamConfig) -> Result<Adam> {
        let AdamConfig { lr, betas, eps, weight_decay } = config;
        let range = |name: &str, value: f64, good: bool| match good {
            true => Ok(()),
            false => Err(Error::argument("Adam", format!("{name} is out of range: {value}"))),
        };
        range("lr", lr, lr >= 0.0 && lr.is_finite())?;
        range("betas[0]", betas[0], (0.0..1.0).contains(&betas[0]))?;
        range("betas[1]", betas[1], (0.0..1.0).contains(&betas[1]))?;
        range("eps", eps, eps >= 0.0)?;
        range("weight_decay", weight_decay, weight_decay >= 0.0)?;
        let count = parameters.arenas()?.0.count();
        let zeros = || Tensor::from_f32(parameters.device(), [count], &vec![0.0; count]);
        let control = Control::new(parameters.device())?;
        Ok(Adam { config, moments: [zeros()?, zeros()?], control, parameters: parameters.clone() })
    }

    /// The first moment of a parameter: to be saved and restored.
    ///
    /// # Errors
    /// [`Error::Argument`] when the parameter is of another model.
    pub fn exp_avg(&self, id: ParameterId) -> Result<Tensor> {
        self.parameters.part(&self.moments[0], id)
    }

    /// The second moment of a parameter: to be saved and restored.
    ///
    /// # Errors
    /// [`Error::Argument`] when the parameter is of another model.
    pub fn exp_avg_sq(&self, id: ParameterId) -> Result<Tensor> {
        self.parameters.part(&self.moments[1], id)
    }
}

impl Optimizer for Adam {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn control(&self) -> &Control {
        &self.control
    }

    fn set_lr(&mut self, lr: f64) {
        self.config.lr = lr;
    }

    fn step(&mut self, watch: Option<&Tensor>) -> Result<()> {
        let AdamConfig { lr, betas, eps, weight_decay } = self.config;
        self.control.begin_step(betas, watch)?;
        let (values, gradients) = self.parameters.arenas()?;
        let params = Params {
            count: values.count() as u32,
            lr: lr as f32,
            beta1: betas[0] as f32,
            beta2: betas[1] as f32,
            one_minus_beta1: (1.0 - betas[0]) as f32,
            one_minus_beta2: (1.0 - betas[1]) as f32,
            eps: eps as f32,
            weight_decay: weight_decay as f32,
        };
        let [m, v] = &self.moments;
        let args = [values.update(), gradients.read(), m.update(), v.update(), self.control.words().read()];
        self.parameters.device().launch(&Plan::elements(&ADAM, values.count()), &params, &args)
    }
}
