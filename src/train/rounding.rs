//! Floats rounded to another type, as bytes of a file, and how much the rounding changed.

use half::{bf16, f16};

use crate::parameters::Precision;

/// Rounds to nearest, ties to even.
pub(super) struct Rounding {
    to: Precision,
    /// How many were rounded.
    pub values: u64,
    /// How many became 0 that were not 0.
    pub zeros: u64,
    /// The largest change of a value, as a share of it, where it did not become 0.
    pub relative_error: f64,
}

impl Rounding {
    pub fn new(to: Precision) -> Rounding {
        Rounding { to, values: 0, zeros: 0, relative_error: 0.0 }
    }

    /// Appends the bytes of the rounded values. The error is the position and value of the first that the type cannot hold.
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
        // A 32-bit number is shown in its own digits, not in those of its f64.
        let shown = match value as f32 {
            short if f64::from(short) == value => format!("{short:e}"),
            _ => format!("{value:e}"),
        };
        let name = self.to.name();
        format!("holds {shown} at position {at}, beyond {largest}, the largest number of {name}: {instead}")
    }
}

/// The number rounded to odd in 32 bits: where it is not exact, the one of its two neighbours whose last bit is set. To round
/// that to 16 bits gives the same as to round the number itself, because no tie is made on the way (Boldo and Melquiond,
/// "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008). `f16::from_f64` looks at
/// the upper bits alone.
fn to_odd(x: f64) -> f32 {
    let near = x as f32;
    match f64::from(near) {
        same if same == x => near,
        beyond if beyond.abs() > x.abs() => f32::from_bits((near.to_bits() - 1) | 1),
        _ => f32::from_bits(near.to_bits() | 1),
    }
}
