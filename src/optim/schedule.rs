//! Learning-rate schedules, with the names and semantics of torch.optim.lr_scheduler. [`LrSchedule`] gives the learning rate for a
//! number of steps done; [`ReduceLrOnPlateau`] lowers it when a metric no longer improves.
//!
//! ```
//! use bptt::prelude::*;
//!
//! # fn main() -> Result<()> {
//! let schedule = LrSchedule::new(0.1, Schedule::StepLr { step_size: 30, gamma: 0.5 })?;
//! assert_eq!(schedule.lr(0), 0.1);
//! assert_eq!(schedule.lr(60), 0.025);
//! # Ok(())
//! # }
//! ```
//! A training loop calls `optimizer.set_lr(schedule.lr(step))?` before each step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the learning rate follows from the base learning rate and the step t, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Schedule {
    /// base.
    Constant,
    /// base·gamma^⌊t / step_size⌋.
    StepLr {
        /// Steps between two changes, at least 1.
        step_size: u64,
        /// What the learning rate is multiplied with, above 0.
        gamma: f64,
    },
    /// base·gamma^t.
    ExponentialLr {
        /// What the learning rate is multiplied with at each step, above 0.
        gamma: f64,
    },
    /// eta_min + (base − eta_min)·(1 + cos(π·t / t_max)) / 2: down to eta_min at t_max, then up again, as PyTorch's.
    CosineAnnealingLr {
        /// Steps from the largest learning rate to the least, at least 1.
        t_max: u64,
        /// The least learning rate, not negative.
        eta_min: f64,
    },
    /// A linear warm-up, then constant: base·(start_factor + (end_factor − start_factor)·min(t, total_iters) / total_iters).
    LinearLr {
        /// The factor at step 0, above 0 and at most 1.
        start_factor: f64,
        /// The factor from step total_iters on, in 0..=1.
        end_factor: f64,
        /// Steps between the two, at least 1.
        total_iters: u64,
    },
    /// One cycle (Smith and Topin, arXiv 1708.07120); base is PyTorch's max_lr. Along half a cosine from base / div_factor up to
    /// base, then along another down to base / (div_factor·final_div_factor), where it stays.
    OneCycleLr {
        /// Steps of the cycle, at least 1.
        total_steps: u64,
        /// The share of them in which the learning rate rises, in 0..=1.
        pct_start: f64,
        /// The largest learning rate over the first, above 0.
        div_factor: f64,
        /// The first learning rate over the last, above 0.
        final_div_factor: f64,
    },
}

impl Schedule {
    /// The linear warm-up with PyTorch's defaults: from a third to all of the learning rate in 5 steps.
    pub fn linear() -> Self {
        Schedule::LinearLr { start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters: 5 }
    }

    /// One cycle with PyTorch's defaults: up in 30 % of the steps from 1/25, down to 1/250,000.
    pub fn one_cycle(total_steps: u64) -> Self {
        Schedule::OneCycleLr { total_steps, pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
    }

    fn check(&self) -> Result<()> {
        let unit = 0.0..=1.0;
        match *self {
            Schedule::Constant => Ok(()),
            Schedule::StepLr { step_size, gamma } => {
                at_least_one("StepLr", "step_size", step_size)?;
                positive("StepLr", "gamma", gamma)
            }
            Schedule::ExponentialLr { gamma } => positive("ExponentialLr", "gamma", gamma),
            Schedule::CosineAnnealingLr { t_max, eta_min } => {
                at_least_one("CosineAnnealingLr", "t_max", t_max)?;
                not_negative("CosineAnnealingLr", "eta_min", eta_min)
            }
            Schedule::LinearLr { start_factor, end_factor, total_iters } => {
                let start = start_factor > 0.0 && start_factor <= 1.0;
                expect("LinearLr", start, "start_factor", "above 0 and at most 1", start_factor)?;
                expect("LinearLr", unit.contains(&end_factor), "end_factor", "in 0..=1", end_factor)?;
                at_least_one("LinearLr", "total_iters", total_iters)
            }
            Schedule::OneCycleLr { total_steps, pct_start, div_factor, final_div_factor } => {
                at_least_one("OneCycleLr", "total_steps", total_steps)?;
                expect("OneCycleLr", unit.contains(&pct_start), "pct_start", "in 0..=1", pct_start)?;
                positive("OneCycleLr", "div_factor", div_factor)?;
                positive("OneCycleLr", "final_div_factor", final_div_factor)
            }
        }
    }
}

fn expect(
    op: &'static str,
    fits: bool,
    option: &str,
    expected: &str,
    found: impl std::fmt::Display,
) -> Result<()> {
    if fits {
        return Ok(());
    }
    Err(Error::argument(op, format!("{option} must be {expected}, got {found}")))
}

fn positive(op: &'static str, option: &str, found: f64) -> Result<()> {
    expect(op, found > 0.0 && found.is_finite(), option, "above 0 and finite", found)
}

fn not_negative(op: &'static str, option: &str, found: f64) -> Result<()> {
    expect(op, found >= 0.0 && found.is_finite(), option, "at least 0 and finite", found)
}

fn at_least_one(op: &'static str, option: &str, found: u64) -> Result<()> {
    expect(op, found > 0, option, "at least 1", found)
}

/// A learning rate that changes with the number of steps, from a base learning rate and a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrSchedule {
    base: f64,
    schedule: Schedule,
}

impl LrSchedule {
    /// A schedule for a base learning rate.
    ///
    /// # Errors
    /// [`Error::Argument`], naming the option, when one is out of its range or the learning rate is negative.
    pub fn new(base: f64, schedule: Schedule) -> Result<Self> {
        not_negative("LrSchedule", "lr", base)?;
        schedule.check()?;
        Ok(LrSchedule { base, schedule })
    }

    /// The learning rate of step `step`, counted from 0: what PyTorch's scheduler gives after so many calls of `step()`.
    pub fn lr(&self, step: u64) -> f64 {
        let (base, t) = (self.base, step as f64);
        match self.schedule {
            Schedule::Constant => base,
            Schedule::StepLr { step_size, gamma } => base * gamma.powf((step / step_size) as f64),
            Schedule::ExponentialLr { gamma } => base * gamma.powf(t),
            Schedule::CosineAnnealingLr { t_max, eta_min } => cosine(base, eta_min, t / t_max as f64),
            Schedule::LinearLr { start_factor, end_factor, total_iters } => {
                let share = step.min(total_iters) as f64 / total_iters as f64;
                base * (start_factor + (end_factor - start_factor) * share)
            }
            Schedule::OneCycleLr { total_steps, pct_start, div_factor, final_div_factor } => {
                let first = base / div_factor;
                let last = total_steps as f64 - 1.0;
                let top = pct_start * total_steps as f64 - 1.0;
                let t = t.min(last);
                if t <= top && top > 0.0 {
                    cosine(first, base, t / top)
                } else if last > top {
                    cosine(base, first / final_div_factor, (t - top) / (last - top))
                } else {
                    base
                }
            }
        }
    }
}

/// From `start` to `end` along half a cosine, at a share of the way.
fn cosine(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) * (1.0 + (PI * share).cos()) / 2.0
}

/// Options of [`ReduceLrOnPlateau`], with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlateauConfig {
    /// What the learning rate is multiplied with, above 0 and below 1.
    pub factor: f64,
    /// Metrics in a row that may be no better than the best before the learning rate falls.
    pub patience: u64,
    /// A metric is better when it is below best·(1 − threshold), in 0..1.
    pub threshold: f64,
    /// Metrics after a fall that do not count as bad.
    pub cooldown: u64,
    /// The least learning rate.
    pub min_lr: f64,
    /// Smaller changes of the learning rate are not made.
    pub eps: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        PlateauConfig { factor: 0.1, patience: 10, threshold: 1e-4, cooldown: 0, min_lr: 0.0, eps: 1e-8 }
    }
}

impl PlateauConfig {
    fn check(&self) -> Result<()> {
        const OP: &str = "ReduceLrOnPlateau";
        let factor = self.factor > 0.0 && self.factor < 1.0;
        expect(OP, factor, "factor", "above 0 and below 1", self.factor)?;
        expect(OP, (0.0..1.0).contains(&self.threshold), "threshold", "in 0..1", self.threshold)?;
        not_negative(OP, "min_lr", self.min_lr)?;
        not_negative(OP, "eps", self.eps)
    }
}

/// Lowers the learning rate when a metric, a validation loss say, no longer falls: torch.optim.lr_scheduler's
/// ReduceLROnPlateau with mode `min` and a relative threshold. All of its state can be stored and read back with serde.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReduceLrOnPlateau {
    config: PlateauConfig,
    lr: f64,
    /// `None` before the first number.
    best: Option<f64>,
    bad: u64,
    cooling: u64,
}

impl ReduceLrOnPlateau {
    /// Starts with learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::Argument`], naming the option, when one is out of its range.
    pub fn new(lr: f64, config: PlateauConfig) -> Result<Self> {
        not_negative("ReduceLrOnPlateau", "lr", lr)?;
        config.check()?;
        Ok(ReduceLrOnPlateau { config, lr, best: None, bad: 0, cooling: 0 })
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Looks at the next metric and returns the learning rate to go on with. A NaN is no better than anything.
    pub fn step(&mut self, metric: f64) -> f64 {
        let PlateauConfig { factor, patience, threshold, cooldown, min_lr, eps } = self.config;
        if metric < self.best.map_or(f64::INFINITY, |best| best * (1.0 - threshold)) {
            self.best = Some(metric);
            self.bad = 0;
        } else {
            self.bad = self.bad.saturating_add(1);
        }
        if self.cooling > 0 {
            self.cooling -= 1;
            self.bad = 0;
        }
        if self.bad > patience {
            let lower = (self.lr * factor).max(min_lr);
            if self.lr - lower > eps {
                self.lr = lower;
            }
            self.cooling = cooldown;
            self.bad = 0;
        }
        self.lr
    }
}
