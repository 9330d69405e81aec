//! Adam and AdamW: torch.optim.Adam and AdamW.

use super::Optimizer;
use super::base::{OptimizerBase, ParamGroup, Run, at_least_0, range};
use crate::cpu::adam::{ADAM, Adam as Params};
use crate::error::Result;
use crate::kernel::Plan;
use crate::parameters::Parameters;

/// Options, with the names and defaults of torch.optim.Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// β₁ and β₂: the shares of the first and of the second moment that are kept in each step.
    pub betas: [f64; 2],
    /// Added to the root, so that nothing is divided by 0.
    pub eps: f64,
    /// λ: λ·p is added to the gradient of a parameter p (an L2 penalty).
    pub weight_decay: f64,
    /// Whether to divide by the root of the largest second moment so far (AMSGrad).
    pub amsgrad: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        AdamConfig { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0, amsgrad: false }
    }
}

/// Options, with the names and defaults of torch.optim.AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Learning rate.
    pub lr: f64,
    /// β₁ and β₂: the shares of the first and of the second moment that are kept in each step.
    pub betas: [f64; 2],
    /// Added to the root, so that nothing is divided by 0.
    pub eps: f64,
    /// λ: each step takes lr·λ·p from a parameter p.
    pub weight_decay: f64,
    /// Whether to divide by the root of the largest second moment so far (AMSGrad).
    pub amsgrad: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        AdamWConfig { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 1e-2, amsgrad: false }
    }
}

/// Adam (Kingma and Ba, arXiv 1412.6980, 2015), as torch.optim.Adam.
///
/// For each number p of the parameters, with gradient g, in step t = 1, 2, ..:
///
/// 1. g = g + λ·p
/// 2. m = β₁·m + (1 − β₁)·g
/// 3. v = β₂·v + (1 − β₂)·g²
/// 4. p = p − lr / (1 − β₁ᵗ)·m / (√v / √(1 − β₂ᵗ) + eps)
///
/// With AMSGrad (Reddi, Kale and Kumar 2018) the largest v so far takes the place of v in 4. State: `exp_avg` (m), `exp_avg_sq`
/// (v), and with AMSGrad `max_exp_avg_sq`.
#[derive(Debug)]
pub struct Adam {
    base: OptimizerBase,
    moments: Moments,
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, 2019), as torch.optim.AdamW.
///
/// First p = p − lr·λ·p, then a step of [`Adam`] without weight decay. State: as of [`Adam`].
#[derive(Debug)]
pub struct AdamW {
    base: OptimizerBase,
    moments: Moments,
}

/// The options that both have.
#[derive(Clone, Copy, Debug)]
struct Moments {
    betas: [f64; 2],
    eps: f64,
    amsgrad: bool,
    /// Whether weight decay acts on the parameters rather than on the gradients.
    decoupled: bool,
}

impl Moments {
    fn base(
        &self,
        op: &'static str,
        parameters: &Parameters,
        rates: [f64; 2],
        groups: &[ParamGroup],
    ) -> Result<OptimizerBase> {
        for (name, beta) in ["betas[0]", "betas[1]"].into_iter().zip(self.betas) {
            range(op, name, beta, (0.0..1.0).contains(&beta), "from 0 to below 1")?;
        }
        at_least_0(op, "eps", self.eps)?;
        let states =
            [("exp_avg", true, 0.0), ("exp_avg_sq", true, 0.0), ("max_exp_avg_sq", self.amsgrad, 0.0)];
        OptimizerBase::new(op, parameters, rates, groups, &states)
    }

    fn update(&self, base: &OptimizerBase, run: &Run) -> Result<()> {
        let slices = base.slices(run)?;
        let (count, lr, decay) = (slices.values.count(), slices.lr, run.weight_decay);
        let params = Params {
            count: count as u32,
            lr: lr as f32,
            beta1: self.betas[0] as f32,
            beta2: self.betas[1] as f32,
            one_minus_beta1: (1.0 - self.betas[0]) as f32,
            one_minus_beta2: (1.0 - self.betas[1]) as f32,
            eps: self.eps as f32,
            weight_decay: if self.decoupled { 0.0 } else { decay as f32 },
            keep: if self.decoupled { (1.0 - lr * decay) as f32 } else { 1.0 },
            amsgrad: self.amsgrad.into(),
        };
        let [m, v, v_max] = &slices.states[..] else { unreachable!("Adam has three kinds of state") };
        let control = base.control.words().read();
        let args = [
            slices.values.update(),
            slices.gradients.read(),
            m.update(),
            v.update(),
            v_max.update(),
            control,
        ];
        base.parameters.device().launch(&Plan::fours(&ADAM, count), &params, &args)
    }
}

impl Adam {
    /// An optimizer of all of these parameters.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when an option is out of its range;
    /// [`Error::Gpu`](crate::error::Error::Gpu) when there is no room for the moments.
    pub fn new(parameters: &Parameters, config: AdamConfig) -> Result<Adam> {
        Adam::with_groups(parameters, config, &[])
    }

    /// Like [`Adam::new`], some parameters with settings of their own.
    ///
    /// # Errors
    /// As [`Adam::new`]; also when a parameter is in two groups or of another model.
    pub fn with_groups(parameters: &Parameters, config: AdamConfig, groups: &[ParamGroup]) -> Result<Adam> {
        let AdamConfig { lr, betas, eps, weight_decay, amsgrad } = config;
        let moments = Moments { betas, eps, amsgrad, decoupled: false };
        Ok(Adam { base: moments.base("Adam", parameters, [lr, weight_decay], groups)?, moments })
    }
}

impl AdamW {
    /// An optimizer of all of these parameters.
    ///
    /// # Errors
    /// As [`Adam::new`].
    pub fn new(parameters: &Parameters, config: AdamWConfig) -> Result<AdamW> {
        AdamW::with_groups(parameters, config, &[])
    }

    /// Like [`AdamW::new`], some parameters with settings of their own: biases without weight decay, say.
    ///
    /// # Errors
    /// As [`Adam::with_groups`].
    pub fn with_groups(parameters: &Parameters, config: AdamWConfig, groups: &[ParamGroup]) -> Result<AdamW> {
        let AdamWConfig { lr, betas, eps, weight_decay, amsgrad } = config;
        let moments = Moments { betas, eps, amsgrad, decoupled: true };
        Ok(AdamW { base: moments.base("AdamW", parameters, [lr, weight_decay], groups)?, moments })
    }
}

impl Optimizer for Adam {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }
    fn base_mut(&mut self) -> &mut OptimizerBase {
        &mut self.base
    }
    fn betas(&self) -> [f64; 2] {
        self.moments.betas
    }
    fn update(&self, run: &Run) -> Result<()> {
        self.moments.update(&self.base, run)
    }
}

impl Optimizer for AdamW {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }
    fn base_mut(&mut self) -> &mut OptimizerBase {
        &mut self.base
    }
    fn betas(&self) -> [f64; 2] {
        self.moments.betas
    }
    fn update(&self, run: &Run) -> Result<()> {
        self.moments.update(&self.base, run)
    }
}
