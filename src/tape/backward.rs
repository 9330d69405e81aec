//! The walk from the last node of a tape to its first.

use super::{Gradient, Gradients, Kind, Tape, Var};
use crate::cpu::binary::{ADD, BINARY, Binary};
use crate::cpu::walk;
use crate::device::{Device, Work};
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Plan};
use crate::tensor::{Shape, Tensor};

impl Tape {
    /// Computes the gradients of `loss`, a single number, with respect to all inputs and parameters that it depends on, as
    /// torch.Tensor.backward. Then releases what the nodes have kept for it.
    ///
    /// # Errors
    /// [`Error::Argument`] when `loss` is not a single number, depends on nothing that has a gradient, or the tape has been
    /// walked already; [`Error::Gpu`] on a fault.
    pub fn backward(&mut self, loss: Var) -> Result<()> {
        self.walk(loss, None, false)
    }

    /// Like [`Tape::backward`], but keeps everything for another backward pass: `retain_graph=True`.
    ///
    /// # Errors
    /// As [`Tape::backward`].
    pub fn backward_retained(&mut self, loss: Var) -> Result<()> {
        self.walk(loss, None, true)
    }

    /// Computes the gradients of Σ cotangent ⊙ `var`, for a value of any shape, as torch.Tensor.backward(gradient). No loss scale
    /// is applied.
    ///
    /// # Errors
    /// [`Error::Argument`] when the shapes differ; else as [`Tape::backward`].
    pub fn backward_from(&mut self, var: Var, cotangent: &Tensor) -> Result<()> {
        self.walk(var, Some(cotangent), false)
    }

    fn walk(&mut self, root: Var, cotangent: Option<&Tensor>, retain: bool) -> Result<()> {
        let root = self.index(root)?;
        let fail = |message: String| Err(Error::argument("backward", message));
        let shape = self.values[root].tensor.shape();
        if !self.values[root].requires_grad {
            return fail("the value depends on no parameter and no input that has a gradient".into());
        }
        match cotangent {
            None if shape.count() != 1 => return fail(format!("needs a single number, got shape {shape:?}")),
            Some(cotangent) if cotangent.shape() != shape => {
                return fail(format!("the value has shape {shape:?}, the cotangent {:?}", cotangent.shape()));
            }
            _ => {}
        }
        // Gradients of values in between that an earlier pass over a retained tape has left do not belong to this one.
        for value in self.values.iter_mut().filter(|value| value.kind == Kind::Output) {
            value.gradient = None;
        }
        let gradient = match (cotangent, &self.loss_scale) {
            (Some(cotangent), _) => Gradient::Tensor(cotangent.clone()),
            (None, Some(scale)) => {
                // A copy: the optimizer changes the scale, and the gradient may stay.
                let copy = Tensor::empty(&self.device, Dtype::F32, shape)?;
                scale.reshape(shape)?.copy_into(&copy, 0)?;
                Gradient::Tensor(copy)
            }
            (None, None) => Gradient::One,
        };
        if self.values[root].kind != Kind::Output {
            return self.add_gradient(root, gradient.tensor(&self.device, shape)?);
        }
        self.values[root].gradient = Some(gradient);
        let device = self.device.clone();
        let _span = device.span("backward");
        let end = self.nodes.partition_point(|node| node.outputs.start <= root);
        // ANCHOR: walk
        for index in (0..end).rev() {
            if self.nodes[index].outputs.clone().all(|output| self.values[output].gradient.is_none()) {
                continue;
            }
            let Some(rule) = self.nodes[index].rule.take() else {
                return fail(
                    "the tape has been walked already; use backward_retained for more than one pass".into(),
                );
            };
            let _span = device.span_of(self.nodes[index].name, Work::Backward(index));
            let mut gradients = Gradients::new(self, index);
            rule(&mut gradients)?;
            gradients.finish();
            let outputs = self.nodes[index].outputs.clone();
            self.values[outputs].iter_mut().for_each(|value| value.gradient = None);
            if retain {
                self.nodes[index].rule = Some(rule);
            }
        }
        // ANCHOR_END: walk
        Ok(())
    }

    /// Adds to the gradient of a value, or of a parameter where it is one.
    pub(super) fn add_gradient(&mut self, index: usize, gradient: Tensor) -> Result<()> {
        let value = &mut self.values[index];
        let gradient = gradient.reshape(value.tensor.shape())?;
        if let Kind::Parameter(id) = value.kind {
            let (target, accumulate) = self.parameters()?.gradient_target(id)?;
            return if accumulate {
                sum(&target, &gradient)?.copy_into(&target, 0)
            } else {
                gradient.copy_into(&target, 0)
            };
        }
        let sum = match &value.gradient {
            None => gradient,
            Some(earlier) => sum(&earlier.tensor(&self.device, value.tensor.shape())?, &gradient)?,
        };
        value.gradient = Some(Gradient::Tensor(sum));
        Ok(())
    }
}

impl Gradient {
    pub(super) fn tensor(&self, device: &Device, shape: Shape) -> Result<Tensor> {
        match self {
            Gradient::Tensor(tensor) => Ok(tensor.clone()),
            Gradient::One => {
                let ones = Tensor::empty(device, Dtype::F32, shape)?;
                ones.fill(1.0)?;
                Ok(ones)
            }
        }
    }
}

/// a + b in a new tensor: `a` may be shared with another value.
fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (device, count) = (a.device(), a.count());
    let sum = Tensor::empty(&device, a.dtype().promote(b.dtype()), a.shape())?;
    let params = Binary::new(ADD, count as u32, &walk::flat(count as u32));
    device.launch(&Plan::elements(&BINARY, count), &params, &[a.read(), b.read(), sum.write()])?;
    Ok(sum)
}
