//! Sum, difference, product and quotient of two tensors, element by element.

use super::reduce::sum_to;
use super::scale::scaled;
use crate::cpu::binary::{ADD, BINARY, Binary, DIV, MUL, SUB};
use crate::cpu::walk::{collapsed, flat, strides};
use crate::error::Result;
use crate::kernel::Plan;
use crate::tape::{Rule, Tape, Var};
use crate::tensor::{Shape, Tensor};

/// The shape that two shapes are broadcast to, by the rules of NumPy and PyTorch: see [`Tape::add`].
fn broadcast(op: &'static str, left: Shape, right: Shape) -> Result<Shape> {
    let rank = left.len().max(right.len());
    let mut dims = vec![0; rank];
    for (d, dim) in dims.iter_mut().enumerate() {
        let of = |shape: &Shape| (d + shape.len()).checked_sub(rank).map_or(1, |d| shape[d]);
        *dim = match (of(&left), of(&right)) {
            (a, b) if a == b => a,
            (1, b) => b,
            (a, 1) => a,
            _ => return super::mismatch(op, left, right),
        };
    }
    Ok(Shape::from(&dims[..]))
}

/// The strides with which a tensor of shape `from` is read as one of shape `to`: 0 along the dimensions that are repeated.
pub(super) fn repeating(from: Shape, to: Shape) -> Vec<usize> {
    let own = strides(&from).into_iter().zip(from.iter()).map(|(stride, n)| if *n == 1 { 0 } else { stride });
    std::iter::repeat_n(0, to.len() - from.len()).chain(own).collect()
}

/// a ∘ b, where `op` says what ∘ is.
pub(super) fn combine(name: &'static str, op: u32, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (left, right) = (a.shape(), b.shape());
    let shape = if left == right { left } else { broadcast(name, left, right)? };
    let y = Tensor::empty(&a.device(), a.dtype().promote(b.dtype()), shape)?;
    let count = y.count();
    let walk = if left == right {
        flat(count as u32)
    } else {
        collapsed(&shape, &repeating(left, shape), &repeating(right, shape))
    };
    let args = [a.read(), b.read(), y.write()];
    y.device().launch(&Plan::elements(&BINARY, count), &Binary::new(op, count as u32, &walk), &args)?;
    Ok(y)
}

impl Tape {
    /// y = a + b, element by element, as torch.add. Shapes that differ are broadcast as in NumPy and PyTorch: dimensions are
    /// matched from the last one on, and a dimension that is 1, or missing, is repeated to the size of the other's.
    ///
    /// Gradients: da = db = dy, each summed over the dimensions along which its operand was repeated.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the shapes do not fit.
    pub fn add(&mut self, a: Var, b: Var) -> Result<Var> {
        self.binary("add", a, b, ADD, |left, right, _| {
            let (left, right) = (left.shape(), right.shape());
            Box::new(move |g| {
                let dy = g.of_output()?;
                if g.wanted(0) {
                    g.give(0, sum_to(&dy, left)?)?;
                }
                if g.wanted(1) {
                    g.give(1, sum_to(&dy, right)?)?;
                }
                Ok(())
            })
        })
    }

    /// y = a − b, element by element, as torch.sub; broadcast as in [`Tape::add`].
    ///
    /// Gradients: da = dy, db = −dy, each summed over the dimensions along which its operand was repeated.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the shapes do not fit.
    pub fn sub(&mut self, a: Var, b: Var) -> Result<Var> {
        self.binary("sub", a, b, SUB, |left, right, _| {
            let (left, right) = (left.shape(), right.shape());
            Box::new(move |g| {
                let dy = g.of_output()?;
                if g.wanted(0) {
                    g.give(0, sum_to(&dy, left)?)?;
                }
                if g.wanted(1) {
                    g.give(1, scaled(&sum_to(&dy, right)?, -1.0)?)?;
                }
                Ok(())
            })
        })
    }

    /// y = a ⊙ b, element by element, as torch.mul; broadcast as in [`Tape::add`].
    ///
    /// Gradients: da = dy ⊙ b, db = dy ⊙ a, each summed over the dimensions along which its operand was repeated.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the shapes do not fit.
    pub fn mul(&mut self, a: Var, b: Var) -> Result<Var> {
        self.binary("mul", a, b, MUL, |left, right, _| {
            Box::new(move |g| {
                let dy = g.of_output()?;
                if g.wanted(0) {
                    g.give(0, sum_to(&combine("mul", MUL, &dy, &right)?, left.shape())?)?;
                }
                if g.wanted(1) {
                    g.give(1, sum_to(&combine("mul", MUL, &dy, &left)?, right.shape())?)?;
                }
                Ok(())
            })
        })
    }

    /// y = a / b, element by element, as torch.div; broadcast as in [`Tape::add`].
    ///
    /// Gradients: da = dy / b, db = −(dy / b) ⊙ y, each summed over the dimensions along which its operand was repeated.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::error::Error::Argument) when the shapes do not fit.
    pub fn div(&mut self, a: Var, b: Var) -> Result<Var> {
        self.binary("div", a, b, DIV, |left, right, y| {
            let left = left.shape();
            Box::new(move |g| {
                let quotient = combine("div", DIV, &g.of_output()?, &right)?;
                if g.wanted(0) {
                    g.give(0, sum_to(&quotient, left)?)?;
                }
                if g.wanted(1) {
                    let product = combine("div", MUL, &quotient, &y)?;
                    g.give(1, scaled(&sum_to(&product, right.shape())?, -1.0)?)?;
                }
                Ok(())
            })
        })
    }

    /// `rule` makes the backward rule from a, b and y.
    fn binary(
        &mut self,
        name: &'static str,
        a: Var,
        b: Var,
        op: u32,
        rule: fn(Tensor, Tensor, Tensor) -> Rule,
    ) -> Result<Var> {
        let (left, right) = (self.value(a)?.clone(), self.value(b)?.clone());
        let y = combine(name, op, &left, &right)?;
        self.push(name, &[a, b], y.clone(), || rule(left, right, y))
    }
}
