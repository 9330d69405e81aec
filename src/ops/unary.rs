//! Exponential, logarithm and square root.

use super::binary::combine;
use super::scale::scaled;
use crate::cpu::binary::{DIV, MUL};
use crate::cpu::unary::{EXP, LOG, SQRT, UNARY, Unary};
use crate::error::Result;
use crate::kernel::Plan;
use crate::tape::{Rule, Tape, Var};
use crate::tensor::Tensor;

impl Tape {
    /// y = e^x, element by element, as torch.exp.
    ///
    /// Gradient: dx = dy·y.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn exp(&mut self, x: Var) -> Result<Var> {
        self.unary("exp", x, EXP, |_, y| {
            Box::new(move |g| g.give(0, combine("exp", MUL, &g.of_output()?, &y)?))
        })
    }

    /// y = ln x, the natural logarithm, element by element, as torch.log; for x > 0.
    ///
    /// Gradient: dx = dy / x.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn log(&mut self, x: Var) -> Result<Var> {
        self.unary("log", x, LOG, |x, _| {
            Box::new(move |g| g.give(0, combine("log", DIV, &g.of_output()?, &x)?))
        })
    }

    /// y = √x, element by element, as torch.sqrt; for x ≥ 0.
    ///
    /// Gradient: dx = dy / (2·y), which is infinite at 0, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn sqrt(&mut self, x: Var) -> Result<Var> {
        self.unary("sqrt", x, SQRT, |_, y| {
            Box::new(move |g| g.give(0, scaled(&combine("sqrt", DIV, &g.of_output()?, &y)?, 0.5)?))
        })
    }

    /// `rule` makes the backward rule from x and y.
    fn unary(
        &mut self,
        name: &'static str,
        x: Var,
        op: u32,
        rule: fn(Tensor, Tensor) -> Rule,
    ) -> Result<Var> {
        let input = self.value(x)?.clone();
        let y = Tensor::empty(self.device(), input.dtype(), input.shape())?;
        let params = Unary { op, count: y.count() as u32 };
        self.device().launch(&Plan::elements(&UNARY, y.count()), &params, &[input.read(), y.write()])?;
        self.push(name, &[x], y.clone(), || rule(input, y))
    }
}
