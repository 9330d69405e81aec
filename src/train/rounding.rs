//! Floats rounded to a type, as a file holds them, and what that did to them.

use half::{bf16, f16};

use crate::parameters::Precision;

/// Rounds to nearest, ties to even.
pub(super) struct Rounding {
    to: Precision,
    /// How many were rounded.
    pub values: u64,
    /// How many became 0, and were not.
    pub zeros: u64,
    /// The largest change of a value, as a share of it, where it did not become 0.
    pub relative_error: f64,
}

impl Rounding {
    pub fn new(to: Precision) -> Rounding {
        Rounding { to, values: 0, zeros: 0, relative_error: 0.0 }
    }

    /// Appends the bytes of values, up to the first that the type does not hold: its position and the value.
    pub fn append(
        &mut self,
        values: impl Iterator<Item = f64>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), (usize, f64)> {
        for (at, value) in values.enumerate() {
            let rounded = match self.to {
                Precision::F32 => {
                    let rounded = value as f32;
                    bytes.extend(rounded.to_le_bytes());
                    f64::from(rounded)
                }
                Precision::F16 => {
                    let rounded = f16::from_f32(to_odd(value));
                    bytes.extend(rounded.to_le_bytes());
                    f64::from(rounded)
                }
                Precision::BF16 => {
                    let rounded = bf16::from_f32(to_odd(value));
                    bytes.extend(rounded.to_le_bytes());
                    f64::from(rounded)
                }
            };
            if !rounded.is_finite() {
                return Err((at, value));
            }
            self.values += 1;
            if rounded == 0.0 {
                self.zeros += u64::from(value != 0.0);
            } else {
                self.relative_error = self.relative_error.max(((rounded - value) / value).abs());
            }
        }
        Ok(())
    }

    /// Why [`Rounding::append`] ended at a value, and what to do.
    pub fn misfit(&self, at: usize, value: f64) -> String {
        let (largest, instead) = match self.to {
            _ if !value.is_finite() => return format!("holds {value} at position {at}"),
            Precision::F32 => ("3.40e38", "write it in smaller units"),
            Precision::F16 => ("65504", "take bf16"),
            Precision::BF16 => ("3.39e38", "take f32"),
        };
        // A number of 32 bits in the digits that it has.
        let shown = match value as f32 {
            short if f64::from(short) == value => format!("{short:e}"),
            _ => format!("{value:e}"),
        };
        let name = self.to.name();
        format!("holds {shown} at position {at}, beyond {largest}, the largest number of {name}: {instead}")
    }
}

/// A number of 32 bits from which rounding to 16 bits gives what it gives from the number itself: where it is not exact,
/// of the two beside it that whose last bit is set, so that no tie is made (Boldo and Melquiond, "Emulation of a FMA and
/// correctly rounded sums: proved algorithms using rounding to odd", 2008). `f16::from_f64` looks at the upper bits alone.
fn to_odd(x: f64) -> f32 {
    let near = x as f32;
    match f64::from(near) {
        same if same == x => near,
        beyond if beyond.abs() > x.abs() => f32::from_bits((near.to_bits() - 1) | 1),
        _ => f32::from_bits(near.to_bits() | 1),
    }
}
