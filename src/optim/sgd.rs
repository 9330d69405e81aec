//! Stochastic gradient descent: torch.optim.SGD.

use super::Optimizer;
use super::base::{OptimizerBase, ParamGroup, Run, at_least_0, range};
use crate::cpu::sgd::{SGD, Sgd as Params};
use crate::error::{Error, Result};
use crate::kernel::Plan;
use crate::parameters::Parameters;

/// Options, with the names and defaults of torch.optim.SGD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// Learning rate.
    pub lr: f64,
    /// μ: the share of the last step's direction that is kept, 0 for none.
    pub momentum: f64,
    /// The gradient enters the direction with the factor 1 − dampening.
    pub dampening: f64,
    /// λ: λ·p is added to the gradient of a parameter p (an L2 penalty).
    pub weight_decay: f64,
    /// Whether to use Nesterov momentum, which looks one step ahead: see [`Sgd`].
    pub nesterov: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        SgdConfig { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

/// Stochastic gradient descent with momentum, as torch.optim.SGD.
///
/// Nesterov momentum is that of Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013. For
/// each number p of the parameters, with gradient g:
///
/// 1. g = g + λ·p
/// 2. buf = g in the first step, later μ·buf + (1 − dampening)·g
/// 3. p = p − lr·buf, or with `nesterov` p − lr·(g + μ·buf)
///
/// Without momentum p = p − lr·g. State: `momentum_buffer` (buf), where there is momentum.
#[derive(Debug)]
pub struct Sgd {
    base: OptimizerBase,
    config: SgdConfig,
}

impl Sgd {
    /// An optimizer of all of these parameters.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when an option is out of its range, or `nesterov` is given without
    /// momentum or with dampening;
    /// [`Error::Gpu`](crate::error::Error::Gpu) when there is no room for its state.
    pub fn new(parameters: &Parameters, config: SgdConfig) -> Result<Sgd> {
        Sgd::with_groups(parameters, config, &[])
    }

    /// Like [`Sgd::new`], some parameters with settings of their own.
    ///
    /// # Errors
    /// As [`Sgd::new`]; also when a parameter is in two groups or of another model.
    pub fn with_groups(parameters: &Parameters, config: SgdConfig, groups: &[ParamGroup]) -> Result<Sgd> {
        let SgdConfig { lr, momentum, dampening, weight_decay, nesterov } = config;
        at_least_0("Sgd", "momentum", momentum)?;
        range("Sgd", "dampening", dampening, dampening.is_finite(), "finite")?;
        if nesterov && (momentum == 0.0 || dampening != 0.0) {
            let message =
                format!("nesterov needs momentum > 0 and dampening 0, got {momentum} and {dampening}");
            return Err(Error::argument("Sgd", message));
        }
        let states = [("momentum_buffer", momentum != 0.0, 0.0)];
        let base = OptimizerBase::new("Sgd", parameters, [lr, weight_decay], groups, &states)?;
        Ok(Sgd { base, config })
    }
}

impl Optimizer for Sgd {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }
    fn base_mut(&mut self) -> &mut OptimizerBase {
        &mut self.base
    }
    fn update(&self, run: &Run) -> Result<()> {
        let SgdConfig { momentum, dampening, nesterov, .. } = self.config;
        let slices = self.base.slices(run)?;
        let count = slices.values.count();
        let params = Params {
            count: count as u32,
            lr: slices.lr as f32,
            momentum: momentum as f32,
            dampening: dampening as f32,
            weight_decay: run.weight_decay as f32,
            nesterov: nesterov.into(),
        };
        let control = self.base.control.words().read();
        let args = [slices.values.update(), slices.gradients.read(), slices.states[0].update(), control];
        self.base.parameters.device().launch(&Plan::fours(&SGD, count), &params, &args)
    }
}
