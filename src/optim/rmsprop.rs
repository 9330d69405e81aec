//! RMSprop: torch.optim.RMSprop.

use super::Optimizer;
use super::base::{OptimizerBase, ParamGroup, Run, at_least_0, range};
use crate::cpu::rmsprop::{RMSPROP, Rmsprop as Params};
use crate::error::Result;
use crate::kernel::Plan;
use crate::parameters::Parameters;

/// Options, with the names and defaults of torch.optim.RMSprop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmspropConfig {
    /// Learning rate.
    pub lr: f64,
    /// α: the share of the averages that is kept in each step.
    pub alpha: f64,
    /// Added to the root, so that nothing is divided by 0.
    pub eps: f64,
    /// λ: λ·p is added to the gradient of a parameter p (an L2 penalty).
    pub weight_decay: f64,
    /// μ: the share of the last step's direction that is kept, 0 for none.
    pub momentum: f64,
    /// Whether to divide by the root of the variance rather than of the mean square.
    pub centered: bool,
}

impl Default for RmspropConfig {
    fn default() -> Self {
        RmspropConfig { lr: 1e-2, alpha: 0.99, eps: 1e-8, weight_decay: 0.0, momentum: 0.0, centered: false }
    }
}

/// RMSprop (Tieleman and Hinton, Coursera lecture 6.5, 2012; centered: Graves, arXiv 1308.0850), as torch.optim.RMSprop.
///
/// For each number p of the parameters, with gradient g:
///
/// 1. g = g + λ·p
/// 2. s = α·s + (1 − α)·g²
/// 3. d = √s + eps; with `centered` a = α·a + (1 − α)·g and d = √(s − a²) + eps
/// 4. p = p − lr·g/d; with momentum buf = μ·buf + g/d and p = p − lr·buf
///
/// State: `square_avg` (s); `grad_avg` (a), where centered; `momentum_buffer` (buf), where there is momentum.
#[derive(Debug)]
pub struct Rmsprop {
    base: OptimizerBase,
    config: RmspropConfig,
}

impl Rmsprop {
    /// An optimizer of all of these parameters.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when an option is out of its range;
    /// [`Error::Gpu`](crate::error::Error::Gpu) when there is no room for its state.
    pub fn new(parameters: &Parameters, config: RmspropConfig) -> Result<Rmsprop> {
        Rmsprop::with_groups(parameters, config, &[])
    }

    /// Like [`Rmsprop::new`], some parameters with settings of their own.
    ///
    /// # Errors
    /// As [`Rmsprop::new`]; also when a parameter is in two groups or of another model.
    pub fn with_groups(
        parameters: &Parameters,
        config: RmspropConfig,
        groups: &[ParamGroup],
    ) -> Result<Rmsprop> {
        let RmspropConfig { lr, alpha, eps, weight_decay, momentum, centered } = config;
        range("Rmsprop", "alpha", alpha, (0.0..1.0).contains(&alpha), "from 0 to below 1")?;
        at_least_0("Rmsprop", "eps", eps)?;
        at_least_0("Rmsprop", "momentum", momentum)?;
        let states = [
            ("square_avg", true, 0.0),
            ("grad_avg", centered, 0.0),
            ("momentum_buffer", momentum != 0.0, 0.0),
        ];
        let base = OptimizerBase::new("Rmsprop", parameters, [lr, weight_decay], groups, &states)?;
        Ok(Rmsprop { base, config })
    }
}

impl Optimizer for Rmsprop {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }
    fn base_mut(&mut self) -> &mut OptimizerBase {
        &mut self.base
    }
    fn update(&self, run: &Run) -> Result<()> {
        let RmspropConfig { alpha, eps, momentum, centered, .. } = self.config;
        let slices = self.base.slices(run)?;
        let count = slices.values.count();
        let params = Params {
            count: count as u32,
            lr: slices.lr as f32,
            alpha: alpha as f32,
            one_minus_alpha: (1.0 - alpha) as f32,
            eps: eps as f32,
            weight_decay: run.weight_decay as f32,
            momentum: momentum as f32,
            centered: centered.into(),
        };
        let [square_avg, grad_avg, buf] = &slices.states[..] else {
            unreachable!("RMSprop has three kinds of state")
        };
        let control = self.base.control.words().read();
        let args = [
            slices.values.update(),
            slices.gradients.read(),
            square_avg.update(),
            grad_avg.update(),
            buf.update(),
            control,
        ];
        self.base.parameters.device().launch(&Plan::fours(&RMSPROP, count), &params, &args)
    }
}
