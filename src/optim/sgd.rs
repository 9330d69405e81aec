//! torch.optim.SGD.

use super::{Control, Optimizer};
use crate::cpu::sgd::{SGD, Sgd as Params};
use crate::error::{Error, Result};
use crate::kernel::Plan;
use crate::parameters::{ParameterId, Parameters};
use crate::tensor::Tensor;

/// Options, with the names and defaults of torch.optim.SGD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// Learning rate.
    pub lr: f64,
    /// μ.
    pub momentum: f64,
    /// Share of the gradient that the momentum does not take.
    pub dampening: f64,
    /// Added to the gradient, times the parameter (an L2 penalty).
    pub weight_decay: f64,
    /// Whether to look ahead along the momentum (Nesterov).
    pub nesterov: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        SgdConfig { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

/// Gradient descent with momentum as torch.optim.SGD:
/// g += λ·p; buf = g in the first step, later μ·buf + (1−dampening)·g; p −= lr·buf (Nesterov: lr·(g + μ·buf)).
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    parameters: Parameters,
    buffer: Tensor,
    control: Control,
}

impl Sgd {
    /// An optimizer of all of these parameters.
    ///
    /// # Errors
    /// [`Error::Argument`] when an option is out of its range or Nesterov goes with no momentum or with dampening;
    /// [`Error::Gpu`] when there is no room for the momentum.
    pub fn new(parameters: &Parameters, config: SgdConfig) -> Result<Sgd> {
        let SgdConfig { lr, momentum, dampening, weight_decay, nesterov } = config;
        for (name, value) in [
            ("lr", lr),
            ("momentum", momentum),
            ("weight_decay", weight_decay),
            ("dampening", dampening.abs()),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::argument("Sgd", format!("{name} is out of range: {value}")));
            }
        }
        if nesterov && (momentum == 0.0 || dampening != 0.0) {
            let message =
                format!("nesterov needs momentum > 0 and dampening 0, got {momentum} and {dampening}");
            return Err(Error::argument("Sgd", message));
        }
        let count = parameters.arenas()?.0.count();
        let buffer = Tensor::from_f32(parameters.device(), [count], &vec![0.0; count])?;
        let control = Control::new(parameters.device())?;
        Ok(Sgd { config, buffer, control, parameters: parameters.clone() })
    }

    /// The momentum of a parameter: to be saved and restored.
    ///
    /// # Errors
    /// [`Error::Argument`] when the parameter is of another model.
    pub fn momentum_buffer(&self, id: ParameterId) -> Result<Tensor> {
        self.parameters.part(&self.buffer, id)
    }
}

impl Optimizer for Sgd {
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
        let SgdConfig { lr, momentum, dampening, weight_decay, nesterov } = self.config;
        self.control.begin_step([0.0, 0.0], watch)?;
        let (values, gradients) = self.parameters.arenas()?;
        let params = Params {
            count: values.count() as u32,
            lr: lr as f32,
            momentum: momentum as f32,
            dampening: dampening as f32,
            weight_decay: weight_decay as f32,
            nesterov: nesterov.into(),
        };
        let args = [values.update(), gradients.read(), self.buffer.update(), self.control.words().read()];
        self.parameters.device().launch(&Plan::elements(&SGD, values.count()), &params, &args)
    }
}
