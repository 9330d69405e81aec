//! Reals of 16 bits on the CPU: what is stored, and what a 32-bit number becomes when it is. The same bits as by the crate
//! `half`, in loops that the compiler makes vectors of, and on several threads where there is much to convert.

use super::threads::{GRAIN, Shared, in_blocks};
use super::vector::widest;
use crate::kernel::Dtype;

/// What a conversion costs, in multiplications: about 0.1 ns.
const WORK: usize = 8;

/// Converts stored numbers of a half type to 32 bits.
///
/// # Panics
/// When there are not as many places as numbers.
pub fn unpack(dtype: Dtype, from: &[u16], to: &mut [f32]) {
    match dtype {
        Dtype::F16 => each(from, to, of_f16),
        Dtype::BF16 => each(from, to, of_bf16),
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
///
/// # Panics
/// When there are not as many places as numbers.
pub fn pack(dtype: Dtype, from: &[f32], to: &mut [u16]) {
    match dtype {
        Dtype::F16 => each(from, to, to_f16),
        Dtype::BF16 => each(from, to, to_bf16),
        Dtype::F32 | Dtype::I32 => unreachable!("only half types are packed"),
    }
}

/// 32-bit numbers that are hard to round to a half type: all that it has, and half way between each two neighbours, with the
/// next above and below; infinities and NaN.
pub fn hard_to_round(dtype: Dtype) -> Vec<f32> {
    let positive = unpacked(dtype, &(0..1 << 15).collect::<Vec<_>>());
    let finite = positive.iter().filter(|x| x.is_finite());
    let middles = finite.zip(&positive[1..]).map(|(x, above)| {
        // Above the largest number, half way to what would be the next.
        let above = if above.is_finite() { f64::from(*above) } else { 2f64.powi(x.log2() as i32 + 1) };
        ((f64::from(*x) + above) / 2.0) as f32
    });
    let beside = |x: f32| [x, x.next_down(), x.next_up()];
    let hard = middles.chain(positive.iter().copied()).flat_map(beside);
    hard.flat_map(|x| [x, -x]).collect()
}

/// Rounds numbers to what the type can hold.
pub fn round(dtype: Dtype, x: &mut [f32]) {
    match dtype {
        Dtype::F16 => widest(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x = of_f16(to_f16(*x))),
        ),
        Dtype::BF16 => widest(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x = of_bf16(to_bf16(*x))),
        ),
        Dtype::F32 | Dtype::I32 => {}
    }
}

/// Converts each number.
fn each<A: Copy + Sync, B: Send>(from: &[A], to: &mut [B], convert: impl Fn(A) -> B + Sync) {
    assert_eq!(from.len(), to.len(), "each number has a place");
    let to = Shared::new(to);
    in_blocks(from.len(), GRAIN, WORK * from.len(), |block| {
        // SAFETY: each block has elements of its own.
        let to = unsafe { to.part(block.start, block.len()) };
        let from = &from[block];
        widest(
            #[inline(always)]
            || to.iter_mut().zip(from).for_each(|(to, x)| *to = convert(*x)),
        );
    });
}

/// In 32 bits. A NaN becomes a quiet one, as it does where a processor converts.
#[inline(always)]
fn of_f16(x: u16) -> f32 {
    let (sign, magnitude) = (u32::from(x & 0x8000) << 16, u32::from(x & 0x7fff) << 13);
    // The exponents' biases differ by 112: a product is exact, also of the small numbers that are not normal.
    let finite = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let quiet = if magnitude > 31 << 23 { 0x40_0000 } else { 0 };
    let bits = if magnitude >= 31 << 23 { 0x7f80_0000 | magnitude | quiet } else { finite.to_bits() };
    f32::from_bits(sign | bits)
}

/// The nearest 16-bit float, of two equally near ones the even one; infinite from 65,520 on.
#[inline(always)]
fn to_f16(x: f32) -> u16 {
    let (sign, magnitude) = ((x.to_bits() >> 16) & 0x8000, x.to_bits() & 0x7fff_ffff);
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + ((magnitude >> 13) & 1)) >> 13;
    // Between 0.5 and 1 the last place of an f32 is 2⁻²⁴, that of the small numbers that are not normal.
    let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let finite = if magnitude >= 113 << 23 { normal } else { small };
    let large = if magnitude > 0x7f80_0000 { 0x7e00 | ((magnitude >> 13) & 0x3ff) } else { 0x7c00 };
    (sign | if magnitude >= 0x477f_f000 { large } else { finite }) as u16
}

/// In 32 bits.
#[inline(always)]
fn of_bf16(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// The upper half of the nearest number that is 0 in the lower half, of two equally near ones the even one.
#[inline(always)]
fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { (bits >> 16) | 0x40 } else { nearest }) as u16
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;

    /// All of 16 bits, and those of 32 bits that are hard to round.
    #[test]
    fn conversions_are_those_of_the_crate_half() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let [f16s, bf16s] = [Dtype::F16, Dtype::BF16].map(|dtype| unpacked(dtype, &all));
        for x in all {
            assert_eq!(f16s[usize::from(x)].to_bits(), quiet(f16::from_bits(x).to_f32()), "{x:#x} of F16");
            assert_eq!(bf16s[usize::from(x)].to_bits(), u32::from(x) << 16, "{x:#x} of BF16");
        }
        for dtype in [Dtype::F16, Dtype::BF16] {
            hard_to_round(dtype).into_iter().for_each(check);
        }
        [65_519.0, 65_520.0, f32::MAX, f32::INFINITY, f32::NAN].into_iter().for_each(check);
    }

    proptest! {
        #[test]
        fn any_number_is_rounded_as_by_the_crate_half(bits in any::<u32>()) {
            check(f32::from_bits(bits));
        }
    }

    fn quiet(x: f32) -> u32 {
        if x.is_nan() { x.to_bits() | 0x40_0000 } else { x.to_bits() }
    }

    #[track_caller]
    fn check(x: f32) {
        for (dtype, bits) in
            [(Dtype::F16, f16::from_f32(x).to_bits()), (Dtype::BF16, bf16::from_f32(x).to_bits())]
        {
            let (mut stored, mut rounded) = ([0], [x]);
            pack(dtype, &[x], &mut stored);
            assert_eq!(stored, [bits], "{x:e} as {dtype:?}");
            round(dtype, &mut rounded);
            assert_eq!(rounded[0].to_bits(), unpacked(dtype, &stored)[0].to_bits(), "{x:e} as {dtype:?}");
        }
    }
}
