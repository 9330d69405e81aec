//! Reals of 16 bits on the CPU, by the crate `half`: what is stored, and what a 32-bit number becomes when it is.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use crate::kernel::Dtype;

/// Numbers that are converted at a time.
const BLOCK: usize = 256;

/// Converts stored numbers of a half type to 32 bits.
pub fn unpack(dtype: Dtype, from: &[u16], to: &mut [f32]) {
    match dtype {
        Dtype::F16 => from.reinterpret_cast::<f16>().convert_to_f32_slice(to),
        Dtype::BF16 => from.reinterpret_cast::<bf16>().convert_to_f32_slice(to),
        Dtype::F32 | Dtype::I32 => unreachable!("only half types are packed"),
    }
}

/// [`unpack`] into new memory.
pub fn unpacked(dtype: Dtype, from: &[u16]) -> Vec<f32> {
    let mut to = vec![0.0; from.len()];
    unpack(dtype, from, &mut to);
    to
}

/// Stores numbers as a half type.
pub fn pack(dtype: Dtype, from: &[f32], to: &mut [u16]) {
    match dtype {
        Dtype::F16 => to.reinterpret_cast_mut::<f16>().convert_from_f32_slice(from),
        Dtype::BF16 => to.reinterpret_cast_mut::<bf16>().convert_from_f32_slice(from),
        Dtype::F32 | Dtype::I32 => unreachable!("only half types are packed"),
    }
}

/// Rounds numbers to what the type can hold.
pub fn round(dtype: Dtype, x: &mut [f32]) {
    if !dtype.is_half() {
        return;
    }
    let mut stored = [0; BLOCK];
    for block in x.chunks_mut(BLOCK) {
        let stored = &mut stored[..block.len()];
        pack(dtype, block, stored);
        unpack(dtype, stored, block);
    }
}
