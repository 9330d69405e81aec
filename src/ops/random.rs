//! Random tensors.

use crate::cpu::philox_uniform::{PhiloxUniform, plan};
use crate::device::Device;
use crate::error::Result;
use crate::kernel::Dtype;
use crate::tensor::{Shape, Tensor};

impl Tensor {
    /// Numbers uniform in [low, high), made on the device: number i of a stream of [`philox`](crate::cpu::philox), which
    /// is the same on every device.
    ///
    /// # Errors
    /// [`Error::Gpu`](crate::error::Error::Gpu) when the device has no room for it.
    pub fn uniform(
        device: &Device,
        shape: impl Into<Shape>,
        [low, high]: [f32; 2],
        seed: u64,
        stream: u32,
    ) -> Result<Tensor> {
        let y = Tensor::empty(device, Dtype::F32, shape)?;
        let [seed_low, seed_high] = [seed as u32, (seed >> 32) as u32];
        let params = PhiloxUniform { count: y.count() as u32, seed_low, seed_high, stream, low, high };
        device.launch(&plan(&params), &params, &[y.write()])?;
        Ok(y)
    }
}
