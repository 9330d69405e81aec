//! Exchange of the first two dimensions: batch-first to time-major and back.

use crate::cpu::swap_axes::{SWAP_AXES, SwapAxes};
use crate::error::{Error, Result};
use crate::kernel::{Dtype, Plan};
use crate::tape::{Tape, Var};
use crate::tensor::{Shape, Tensor};

fn swapped(x: &Tensor) -> Result<Tensor> {
    let mut dims = x.shape().to_vec();
    dims.swap(0, 1);
    let shape = Shape::from(&dims[..]);
    // The elements keep their order where one of the two dimensions is 1.
    if dims[0] == 1 || dims[1] == 1 {
        return x.reshape(shape);
    }
    let (count, device) = (x.count(), x.device());
    let y = Tensor::empty(&device, Dtype::F32, shape)?;
    let width = dims[2..].iter().product::<usize>() as u32;
    let params = SwapAxes { outer: dims[1] as u32, inner: dims[0] as u32, width };
    device.launch(&Plan::elements(&SWAP_AXES, count), &params, &[x.read(), y.write()])?;
    Ok(y)
}

impl Tape {
    /// x [N, M, ..] with its first two dimensions exchanged: [M, N, ..]. Gradient: the same exchange.
    ///
    /// # Errors
    /// [`Error::Argument`] when x has fewer than two dimensions.
    pub fn swap_axes(&mut self, x: Var) -> Result<Var> {
        let input = self.value(x)?;
        if input.shape().len() < 2 {
            return Err(Error::argument(
                "swap_axes",
                format!("takes at least two dimensions, got {:?}", input.shape()),
            ));
        }
        let y = swapped(input)?;
        self.push("swap_axes", &[x], y, || Box::new(|g| g.give(0, swapped(&g.of_output()?)?)))
    }
}
