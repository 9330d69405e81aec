//! Adagrad: torch.optim.Adagrad.

use super::Optimizer;
use super::base::{OptimizerBase, ParamGroup, Run, at_least_0};
use crate::cpu::adagrad::{ADAGRAD, Adagrad as Params};
use crate::error::Result;
use crate::kernel::Plan;
use crate::parameters::Parameters;

/// Options, with the names and defaults of torch.optim.Adagrad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdagradConfig {
    /// Learning rate.
    pub lr: f64,
    /// How the learning rate falls: step t has lr / (1 + (t − 1)·lr_decay).
    pub lr_decay: f64,
    /// λ: λ·p is added to the gradient of a parameter p (an L2 penalty).
    pub weight_decay: f64,
    /// What the sums of squares begin with.
    pub initial_accumulator_value: f64,
    /// Added to the root, so that nothing is divided by 0.
    pub eps: f64,
}

impl Default for AdagradConfig {
    fn default() -> Self {
        AdagradConfig {
            lr: 1e-2,
            lr_decay: 0.0,
            weight_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
        }
    }
}

/// Adagrad (Duchi, Hazan and Singer, "Adaptive Subgradient Methods", 2011), as torch.optim.Adagrad.
///
/// For each number p of the parameters, with gradient g, in step t = 1, 2, ..:
///
/// 1. g = g + λ·p
/// 2. s = s + g²
/// 3. p = p − lr / (1 + (t − 1)·lr_decay)·g / (√s + eps)
///
/// State: `sum` (s).
#[derive(Debug)]
pub struct Adagrad {
    base: OptimizerBase,
    config: AdagradConfig,
}

impl Adagrad {
    /// An optimizer of all of these parameters.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when an option is out of its range;
    /// [`Error::Gpu`](crate::error::Error::Gpu) when there is no room for its state.
    pub fn new(parameters: &Parameters, config: AdagradConfig) -> Result<Adagrad> {
        Adagrad::with_groups(parameters, config, &[])
    }

    /// Like [`Adagrad::new`], some parameters with settings of their own.
    ///
    /// # Errors
    /// As [`Adagrad::new`]; also when a parameter is in two groups or of another model.
    pub fn with_groups(
        parameters: &Parameters,
        config: AdagradConfig,
        groups: &[ParamGroup],
    ) -> Result<Adagrad> {
        let AdagradConfig { lr, lr_decay, weight_decay, initial_accumulator_value, eps } = config;
        at_least_0("Adagrad", "lr_decay", lr_decay)?;
        at_least_0("Adagrad", "initial_accumulator_value", initial_accumulator_value)?;
        at_least_0("Adagrad", "eps", eps)?;
        let states = [("sum", true, initial_accumulator_value as f32)];
        let base = OptimizerBase::new("Adagrad", parameters, [lr, weight_decay], groups, &states)?;
        Ok(Adagrad { base, config })
    }
}

impl Optimizer for Adagrad {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }
    fn base_mut(&mut self) -> &mut OptimizerBase {
        &mut self.base
    }
    fn update(&self, run: &Run) -> Result<()> {
        let AdagradConfig { lr_decay, eps, .. } = self.config;
        let slices = self.base.slices(run)?;
        let count = slices.values.count();
        let params = Params {
            count: count as u32,
            lr: slices.lr as f32,
            lr_decay: lr_decay as f32,
            eps: eps as f32,
            weight_decay: run.weight_decay as f32,
        };
        let control = self.base.control.words().read();
        let args = [slices.values.update(), slices.gradients.read(), slices.states[0].update(), control];
        self.base.parameters.device().launch(&Plan::fours(&ADAGRAD, count), &params, &args)
    }
}
