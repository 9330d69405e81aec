//! Whether a device converts between 32-bit and 16-bit numbers as the crate `half` does: to the nearest number, ties to even,
//! with infinities and NaN. (Numbers that are subnormal in f32 are left out, and so bf16's: WGSL lets devices flush those to 0.)

use crate::cpu::cast::{CAST, Cast};
use crate::cpu::halves;
use crate::device::{Arg, Device, Host};
use crate::error::Result;
use crate::kernel::{Access, Dtype, Plan};

/// All 16-bit numbers of a type, in 32 bits.
fn all(dtype: Dtype) -> Vec<f32> {
    halves::unpacked(dtype, &(0..=u16::MAX).collect::<Vec<_>>())
}

/// Compares conversions with those of `half`. Gives how many there were, and what is wrong, if anything. `convert` gets the type
/// of the numbers, the type that they are to become, and the numbers.
///
/// # Errors
/// Those of `convert`.
pub fn wrong(
    dtype: Dtype,
    convert: impl Fn(Dtype, Dtype, &[f32]) -> Result<Vec<f32>>,
) -> Result<(usize, Option<String>)> {
    let all = all(dtype);
    let mut hard = halves::hard_to_round(dtype);
    hard.retain(|x| !x.is_subnormal());
    let all: Vec<f32> = all.into_iter().filter(|x| !x.is_subnormal()).collect();
    let rounded: Vec<f32> = hard.iter().map(|x| dtype.round(*x)).collect();
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    for (from, to, x, expected) in [(Dtype::F32, dtype, &hard, &rounded), (dtype, Dtype::F32, &all, &all)] {
        let got = convert(from, to, x)?;
        let differ = got.iter().zip(expected).position(|(got, expected)| !same(*got, *expected));
        if let Some(at) = differ {
            let count = got.iter().zip(expected).filter(|(got, expected)| !same(**got, **expected)).count();
            let message = format!(
                "{count} of {} numbers go wrong from {from:?} to {to:?}; the first, {:e}, becomes {:e}, not {:e}",
                x.len(),
                x[at],
                got[at],
                expected[at]
            );
            return Ok((hard.len() + all.len(), Some(message)));
        }
    }
    Ok((hard.len() + all.len(), None))
}

/// Casts numbers on a device by a plan of the kernel `cast`. The host converts them to the type `from` before, and from the type
/// `to` after it.
///
/// # Errors
/// [`Error::Gpu`](crate::error::Error::Gpu) on a fault.
pub fn cast_by(plan: PlanOf, device: &Device, from: Dtype, to: Dtype, x: &[f32]) -> Result<Vec<f32>> {
    let (before, after) = (device.allocate(from, x.len())?, device.allocate(to, x.len())?);
    let [read, written] = [&before, &after].map(|buffer| buffer.view(0, x.len()));
    device.upload(read, Host::F32(x))?;
    let params = Cast { count: x.len() as u32 };
    device.launch(
        &plan(x.len()),
        &params,
        &[Arg::new(read, Access::Read), Arg::new(written, Access::Write)],
    )?;
    Ok(device.read_back(written)?.wait()?.f64().into_iter().map(|x| x as f32).collect())
}

/// A plan of the kernel `cast` for so many numbers.
pub type PlanOf = fn(usize) -> Plan;

/// The ways of the kernel `cast`, by how many numbers a thread casts.
pub const WAYS: [(&str, PlanOf); 2] =
    [("one", |count| Plan::elements(&CAST, count)), ("four", |count| Plan::fours(&CAST, count))];

#[cfg(test)]
mod tests {
    use super::wrong;
    use crate::kernel::Dtype;

    /// What the crate `half` does is right; to cut off digits, to round ties away from zero, to lose the small numbers or
    /// not to know NaN is found.
    #[test]
    fn wrong_conversions_are_found() {
        type Round = fn(Dtype, f32) -> f32;
        let found = |round: Round| {
            let (count, wrong) =
                wrong(Dtype::F16, |_, to, x| Ok(x.iter().map(|x| round(to, *x)).collect())).unwrap();
            assert!(count > 250_000, "{count}");
            wrong
        };
        assert_eq!(found(|to, x| to.round(x)), None);
        let cut: Round = |to, x| match to {
            Dtype::F16 if x.is_finite() => f32::from_bits(x.to_bits() & 0xffff_e000),
            _ => x,
        };
        let away: Round = |to, x| to.round(if x.is_finite() { f32::from_bits(x.to_bits() | 1) } else { x });
        let flushed: Round = |to, x| if x.abs() < 6.1e-5 { 0.0_f32.copysign(x) } else { to.round(x) };
        let no_nan: Round = |to, x| if x.is_nan() { f32::INFINITY } else { to.round(x) };
        for round in [cut, away, flushed, no_nan] {
            assert!(found(round).is_some());
        }
    }
}
