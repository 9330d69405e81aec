//! The activations sigmoid, tanh and relu, element by element. Their gradients follow from the result y alone.

use crate::cpu::relu::{RELU, Relu};
use crate::cpu::relu_backward::{RELU_BACKWARD, ReluBackward};
use crate::cpu::sigmoid::{SIGMOID, Sigmoid};
use crate::cpu::sigmoid_backward::{SIGMOID_BACKWARD, SigmoidBackward};
use crate::cpu::tanh::{TANH, Tanh};
use crate::cpu::tanh_backward::{TANH_BACKWARD, TanhBackward};
use crate::error::Result;
use crate::kernel::{Kernel, Plan};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

impl Tape {
    /// y = σ(x) = 1 / (1 + e^-x), element by element, as torch.sigmoid. x has any shape, y the same.
    ///
    /// Gradient: dx = dy·y·(1 − y).
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn sigmoid(&mut self, x: Var) -> Result<Var> {
        self.activation(
            "sigmoid",
            x,
            (&SIGMOID, |count| Sigmoid { count }),
            (&SIGMOID_BACKWARD, |count| SigmoidBackward { count }),
        )
    }

    /// y = tanh(x), element by element, as torch.tanh, with a relative error below 4e-7. x has any shape, y the same.
    ///
    /// Gradient: dx = dy·(1 − y²).
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn tanh(&mut self, x: Var) -> Result<Var> {
        self.activation(
            "tanh",
            x,
            (&TANH, |count| Tanh { count }),
            (&TANH_BACKWARD, |count| TanhBackward { count }),
        )
    }

    /// y = max(x, 0), element by element, as torch.relu. x has any shape, y the same.
    ///
    /// Gradient: dx = dy where y > 0, else 0.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
    pub fn relu(&mut self, x: Var) -> Result<Var> {
        self.activation(
            "relu",
            x,
            (&RELU, |count| Relu { count }),
            (&RELU_BACKWARD, |count| ReluBackward { count }),
        )
    }

    /// `forward` and `backward` are kernels, each with the function that makes its parameters from the number of elements.
    fn activation<F: bytemuck::Pod, B: bytemuck::Pod>(
        &mut self,
        name: &'static str,
        x: Var,
        forward: (&'static Kernel, fn(u32) -> F),
        backward: (&'static Kernel, fn(u32) -> B),
    ) -> Result<Var> {
        let input = self.value(x)?;
        let count = input.count();
        let y = Tensor::empty(self.device(), input.dtype(), input.shape())?;
        let params = forward.1(count as u32);
        self.device().launch(&Plan::elements(forward.0, count), &params, &[input.read(), y.write()])?;
        self.push(name, &[x], y.clone(), || {
            Box::new(move |g| {
                let dy = g.of_output()?;
                let dx = Tensor::empty(&dy.device(), dy.dtype(), dy.shape())?;
                let args = [y.read(), dy.read(), dx.write()];
                dy.device().launch(&Plan::elements(backward.0, count), &backward.1(count as u32), &args)?;
                g.give(0, dx)
            })
        })
    }
}
