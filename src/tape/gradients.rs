//! What a backward rule works with: the gradients that arrive, and places for those that it makes.

use super::{Gradient, Kind, Tape, assert_finite};
use crate::error::Result;
use crate::tensor::Tensor;

/// What a backward rule works with: the gradients of its node's outputs, and places for those of its inputs. The rule gives
/// exactly one gradient to each input that [`Gradients::wanted`] names.
pub struct Gradients<'a> {
    tape: &'a mut Tape,
    node: usize,
    /// Of each input, whether it has been given its gradient.
    given: Vec<bool>,
}

impl<'a> Gradients<'a> {
    pub(super) fn new(tape: &'a mut Tape, node: usize) -> Self {
        let given = vec![false; tape.nodes[node].inputs.len()];
        Gradients { tape, node, given }
    }

    /// Whether input `k` needs a gradient.
    pub fn wanted(&self, k: usize) -> bool {
        self.tape.values[self.tape.nodes[self.node].inputs[k]].requires_grad
    }

    /// The gradient of output `k`, `None` where none has reached it.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn output(&self, k: usize) -> Result<Option<Tensor>> {
        let value = &self.tape.values[self.tape.nodes[self.node].outputs.start + k];
        value.gradient.as_ref().map(|g| g.tensor(&self.tape.device, value.tensor.shape())).transpose()
    }

    /// The gradient of the only output.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn of_output(&self) -> Result<Tensor> {
        Ok(self.output(0)?.expect("a node is visited only when a gradient has reached an output"))
    }

    /// Whether the gradient of the only output is the number 1, because that output is the loss itself.
    pub fn output_is_one(&self) -> bool {
        let output = self.tape.nodes[self.node].outputs.start;
        matches!(self.tape.values[output].gradient, Some(Gradient::One))
    }

    /// Gives input `k` its gradient. Does nothing where it is not wanted.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault; [`Error::NonFinite`](crate::error::Error::NonFinite) when the
    /// search for such values is on.
    pub fn give(&mut self, k: usize, gradient: Tensor) -> Result<()> {
        if !self.wanted(k) {
            return Ok(());
        }
        self.mark(k, &gradient)?;
        let input = self.tape.nodes[self.node].inputs[k];
        self.tape.add_gradient(input, gradient)
    }

    /// Lets `compute` write the gradient of input `k` to its place at once, for kernels that can add to what is there. `compute`
    /// gets the tensor, and whether to add to it. Does nothing where the gradient is not wanted.
    ///
    /// # Errors
    /// Those of `compute`; else as [`Gradients::give`].
    pub fn give_with(&mut self, k: usize, compute: impl FnOnce(&Tensor, bool) -> Result<()>) -> Result<()> {
        if !self.wanted(k) {
            return Ok(());
        }
        let input = self.tape.nodes[self.node].inputs[k];
        if let Kind::Parameter(id) = self.tape.values[input].kind {
            let (target, accumulate) = self.tape.parameters()?.gradient_target(id)?;
            compute(&target, accumulate)?;
            return self.mark(k, &target);
        }
        let value = &self.tape.values[input].tensor;
        let gradient = Tensor::empty(&self.tape.device, value.dtype(), value.shape())?;
        compute(&gradient, false)?;
        self.give(k, gradient)
    }

    fn mark(&mut self, k: usize, gradient: &Tensor) -> Result<()> {
        let name = self.tape.nodes[self.node].name;
        let before = std::mem::replace(&mut self.given[k], true);
        assert!(!before, "{name} gave input {k} two gradients");
        if self.tape.detect_nonfinite {
            assert_finite(gradient, || format!("the gradient of input {k} of {name}"), self.node)?;
        }
        Ok(())
    }

    /// Every input that wants a gradient must have been given one.
    pub(super) fn finish(self) {
        let node = &self.tape.nodes[self.node];
        for (k, given) in self.given.iter().enumerate() {
            assert!(*given || !self.wanted(k), "{} gave input {k} no gradient", node.name);
        }
    }
}
