//! The numbers that twins compute with: f32 as on a GPU, f64 as the reference, and [`Bounded`], an f64
//! that carries the error which a correct f32 program may have. A comparison never needs a tuned tolerance:
//! running the twin on `Bounded` derives the limit of every output element.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::common::{sigmoid, tanh_rational};
use crate::kernel::{Dtype, Kernel, Slot};

/// What formulas are written with: a real number, or a vector of them.
pub trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// The nearest number of this type. (`self` only tells the type: of vectors, how wide they are.)
    fn like(self, x: f64) -> Self;
    /// The larger of the two; NaN where `self` is.
    fn max(self, other: Self) -> Self;
    /// The smaller of the two; NaN where `self` is.
    fn min(self, other: Self) -> Self;
}

/// A real number that a kernel's twin can be run on.
pub trait Real: Number + bytemuck::Pod + Send + Sync + Debug + Default + PartialOrd {
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
    /// The value as f64.
    fn value(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The hyperbolic tangent: exact where numbers are exact, the shaders' rational function in f32.
    fn tanh(self) -> Self;
    /// 1 / (1 + e^-x), by the shaders' formula.
    fn sigmoid(self) -> Self;
    /// The number where `y` is above 0, else 0.
    fn where_positive(self, y: Self) -> Self;
    /// Σ of the terms. Twins write every sum over a dimension with it, because a GPU may add in any order:
    /// `Bounded` allows for that here.
    fn sum(terms: impl Iterator<Item = Self>) -> Self;
    /// Σ f(elements) over slices that are as long as the first: the same as [`sum`](Real::sum), and vectors are made of it.
    #[inline(always)]
    fn sum_of<const N: usize>(slices: [&[Self]; N], f: impl Fn([Self; N]) -> Self) -> Self {
        Self::sum((0..slices[0].len()).map(|i| f(slices.map(|x| x[i]))))
    }
    /// The number that is read back after this one has been stored as `dtype`.
    fn stored(self, dtype: Dtype) -> Self;
    /// The twin of `kernel` for this number type.
    fn twin(kernel: &Kernel) -> Twin<Self>;

    /// Zero.
    fn zero() -> Self {
        Self::default()
    }
    /// Whether it is neither NaN nor infinite.
    fn is_finite(self) -> bool {
        self.value().is_finite()
    }
}

/// A kernel's twin with its arguments still packed: parameters as bytes, one slot a buffer.
pub type Twin<R> = fn(&[u8], &mut [Slot<'_, R>]);

#[inline(always)]
fn sum_of_lanes<T: Add<Output = T>>([a, b, c, d, e, f, g, h]: [T; 8]) -> T {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

macro_rules! float {
    ($t:ident, $tanh:path, $stored:expr) => {
        impl Number for $t {
            #[inline(always)]
            fn like(self, x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                if other > self { other } else { self }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if other < self { other } else { self }
            }
        }

        impl Real for $t {
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn value(self) -> f64 {
                self as f64
            }
            #[inline]
            fn exp(self) -> Self {
                $t::exp(self)
            }
            #[inline]
            fn ln(self) -> Self {
                $t::ln(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline]
            fn tanh(self) -> Self {
                $tanh(self)
            }
            #[inline]
            fn sigmoid(self) -> Self {
                sigmoid(self)
            }
            #[inline(always)]
            fn where_positive(self, y: Self) -> Self {
                if y > 0.0 { self } else { 0.0 }
            }
            #[inline(always)]
            fn sum(terms: impl Iterator<Item = Self>) -> Self {
                // In eight lanes, as vectors do it: more accurate than one long chain of additions.
                let mut lanes = [0.0; 8];
                terms.enumerate().for_each(|(i, x)| lanes[i % 8] += x);
                sum_of_lanes(lanes)
            }
            #[inline(always)]
            fn sum_of<const N: usize>(slices: [&[Self]; N], f: impl Fn([Self; N]) -> Self) -> Self {
                let len = slices[0].len();
                let eights = slices.map(|x| x[..len].as_chunks::<8>());
                let mut lanes = [0.0; 8];
                for i in 0..len / 8 {
                    let eight: [_; N] = std::array::from_fn(|s| &eights[s].0[i]);
                    for (lane, sum) in lanes.iter_mut().enumerate() {
                        *sum += f(eight.map(|x| x[lane]));
                    }
                }
                for (i, sum) in lanes.iter_mut().enumerate().take(len % 8) {
                    *sum += f(eights.map(|(_, rest)| rest[i]));
                }
                sum_of_lanes(lanes)
            }
            #[inline(always)]
            fn stored(self, dtype: Dtype) -> Self {
                $stored(self, dtype)
            }
            #[inline]
            fn twin(kernel: &Kernel) -> Twin<Self> {
                kernel.$t
            }
        }
    };
}
float!(f32, tanh_rational, |x: f32, dtype: Dtype| dtype.round(x));
// The reference does not round what it stores.
float!(f64, f64::tanh, |x, _| x);

/// One unit in the last place of an f32, relative: WGSL's `+ - *` may round either way, so that is their error.
const ULP: f64 = 1.0 / (1 << 23) as f64;
/// Below this WGSL lets an implementation flush to zero.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// The relative error of [`tanh_rational`] in exact arithmetic.
const TANH_FIT: f64 = 2.7e-7;

// ANCHOR: bounded
/// A value and the largest error that a correct f32 implementation of the same formula may have, by the
/// accuracy table of the WGSL specification ("Floating Point Accuracy"). Errors propagate to first order,
/// and as worst cases, except in [`Real::sum`], which uses the probabilistic bound 4·√K·2⁻²⁴·Σ|x|
/// (Ipsen and Zhou, arXiv 1906.10465): the worst-case bound is √K times looser and would hide faults.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Bounded {
    /// The exact result, to f64's precision.
    pub value: f64,
    /// The allowed |computed − value|.
    pub error: f64,
}
// ANCHOR_END: bounded

// Tests count operations; all that `as_one` runs counts as one.
#[cfg(test)]
use super::counted::as_one;
#[cfg(not(test))]
#[inline(always)]
fn as_one<T>(f: impl FnOnce() -> T) -> T {
    f()
}

impl Bounded {
    /// `value` computed with relative error `ulps` on top of the inherited `error`.
    fn rounded(value: f64, error: f64, ulps: f64) -> Self {
        Bounded { value, error: error + ulps * ULP * value.abs() + TINY }
    }
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
impl PartialOrd for Bounded {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}
impl Add for Bounded {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        as_one(|| Self::rounded(self.value + o.value, self.error + o.error, 1.0))
    }
}
impl Sub for Bounded {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        as_one(|| Self::rounded(self.value - o.value, self.error + o.error, 1.0))
    }
}
// ANCHOR: product
impl Mul for Bounded {
    type Output = Self;
    fn mul(self, o: Self) -> Self {
        as_one(|| {
            let inherited = self.value.abs() * o.error + o.value.abs() * self.error + self.error * o.error;
            Self::rounded(self.value * o.value, inherited, 1.0)
        })
    }
}
// ANCHOR_END: product
impl Div for Bounded {
    type Output = Self;
    fn div(self, o: Self) -> Self {
        as_one(|| {
            let quotient = self.value / o.value;
            let least = o.value.abs() - o.error;
            let inherited =
                if least > 0.0 { (self.error + quotient.abs() * o.error) / least } else { f64::INFINITY };
            Self::rounded(quotient, inherited, 2.5)
        })
    }
}
impl Neg for Bounded {
    type Output = Self;
    fn neg(self) -> Self {
        Bounded { value: -self.value, error: self.error }
    }
}

impl Number for Bounded {
    fn like(self, x: f64) -> Self {
        Self::of(x)
    }
    fn max(self, o: Self) -> Self {
        as_one(|| {
            // f64::max would drop a NaN, and with it a read of what was never written.
            if self.value.is_nan() || o.value.is_nan() {
                return Self::of(f64::NAN);
            }
            let (low, high) = ((self.value - self.error).max(o.value - o.error), self.value + self.error);
            let (value, high) = (self.value.max(o.value), high.max(o.value + o.error));
            Bounded { value, error: (high - value).max(value - low) }
        })
    }
    fn min(self, o: Self) -> Self {
        as_one(|| -(-self).max(-o))
    }
}

impl Real for Bounded {
    fn of(x: f64) -> Self {
        Bounded { value: x, error: 0.0 }
    }
    fn value(self) -> f64 {
        self.value
    }
    fn exp(self) -> Self {
        as_one(|| {
            let y = self.value.exp();
            // Two forms of e^(x+error) - e^x: the first is exact for small errors, the second never 0·∞.
            let inherited =
                if self.error < 1.0 { y * self.error.exp_m1() } else { (self.value + self.error).exp() - y };
            Self::rounded(y, inherited, 3.0 + 2.0 * self.value.abs())
        })
    }
    fn ln(self) -> Self {
        as_one(|| {
            let y = self.value.ln();
            let least = self.value - self.error;
            let inherited = if least > 0.0 { self.error / least } else { f64::INFINITY };
            Self::rounded(y, inherited + 4.0 * ULP, 3.0)
        })
    }
    fn sqrt(self) -> Self {
        as_one(|| {
            let y = self.value.sqrt();
            // |√(x+e) − √x| ≤ min(√e, e/√x)
            let inherited = self.error.sqrt().min(self.error / y);
            Self::rounded(y, if y == 0.0 { self.error.sqrt() } else { inherited }, 5.0)
        })
    }
    fn tanh(self) -> Self {
        as_one(|| {
            let value = self.value.tanh();
            let nearest_zero = (self.value.abs() - self.error).max(0.0);
            let steepest = 1.0 - nearest_zero.tanh().powi(2);
            let inherited = (steepest * self.error).min(1.0 + value.abs());
            let rounding = tanh_rational(Self::of(self.value)).error;
            Bounded { value, error: inherited + rounding + TANH_FIT * value.abs() }
        })
    }
    fn sigmoid(self) -> Self {
        as_one(|| {
            // By its ends, since it rises everywhere: through exp and the division a large error has no bound.
            let exact = sigmoid(Self::of(self.value));
            let inherited = [self.value - self.error, self.value + self.error]
                .map(|end| (sigmoid(end) - exact.value).abs());
            Bounded { value: exact.value, error: exact.error + inherited[0].max(inherited[1]) }
        })
    }
    fn where_positive(self, y: Self) -> Self {
        as_one(|| {
            let chosen = if y.value > 0.0 { self } else { Self::zero() };
            // Where the error leaves the sign of y open, either may be right.
            let open = y.value - y.error <= 0.0 && y.value + y.error > 0.0;
            Bounded { error: if open { self.value.abs() + self.error } else { chosen.error }, ..chosen }
        })
    }
    fn sum(terms: impl Iterator<Item = Self>) -> Self {
        let (mut value, mut error, mut magnitude, mut count) = (0.0, 0.0, 0.0, 0usize);
        for x in terms {
            value += x.value;
            error += x.error;
            magnitude += x.value.abs();
            count += 1;
        }
        #[cfg(test)]
        super::counted::add(count as u64);
        Bounded { value, error: error + 2.0 * (count as f64).sqrt() * ULP * magnitude + TINY }
    }
    fn stored(self, dtype: Dtype) -> Self {
        let (unit, least, most) = match dtype {
            Dtype::F32 | Dtype::I32 => return self,
            // Half a unit in the last place, of the smallest numbers too, and what is rounded to infinity.
            Dtype::F16 => (2f64.powi(-11), 2f64.powi(-25), 65_520.0),
            Dtype::BF16 => (2f64.powi(-8), TINY, f64::INFINITY),
        };
        let (size, exact) = (self.value.abs(), f64::from(dtype.round(self.value as f32)) == self.value);
        if self.error == 0.0 && exact {
            self
        } else if size - self.error >= most {
            Bounded::of(f64::INFINITY.copysign(self.value))
        } else if size + self.error >= most {
            Bounded { error: f64::INFINITY, ..self }
        } else {
            Bounded { error: self.error + unit * (size + self.error) + least, ..self }
        }
    }
    fn twin(kernel: &Kernel) -> Twin<Self> {
        kernel.bounded
    }
}
