//! Vectors of f32, as wide as those of the processor that runs the program. Formulas are written with them as with numbers.

use std::ops::{Add, Div, Mul, Neg, Sub};

use pulp::{Arch, Simd, WithSimd};

use super::common::tanh_rational;
use super::real::Number;
use super::threads::{GRAIN, Shared, in_blocks};

/// Runs `f` compiled for the widest vectors there are: AVX-512, AVX2, Neon, or what the target has. `f` is to be an
/// `#[inline(always)]` closure whose loops the compiler can make vectors of.
#[inline(always)]
pub fn widest<T>(f: impl FnOnce() -> T) -> T {
    Arch::new().dispatch(f)
}

/// Neighbouring elements, one a lane.
#[derive(Clone, Copy)]
pub struct Lanes<S: Simd> {
    simd: S,
    x: S::f32s,
}

impl<S: Simd> Lanes<S> {
    /// The elements of `x` from `at` on; 0 beyond its end.
    #[inline(always)]
    pub fn load(simd: S, x: &[f32], at: usize) -> Self {
        Lanes { simd, x: simd.partial_load_f32s(&x[at..]) }
    }

    /// To the elements of `x` from `at` on; what is beyond its end is dropped.
    #[inline(always)]
    pub fn store(self, x: &mut [f32], at: usize) {
        self.simd.partial_store_f32s(&mut x[at..], self.x);
    }

    /// e^r and n of x = n·ln 2 + r, so that e^x = 2ⁿ·e^r: for |r| ≤ ln 2 / 2 the polynomial of degree 7 of the Cephes library.
    #[inline(always)]
    fn exp_parts(self) -> (Self, S::u32s) {
        let Lanes { simd, x } = self;
        let constant = |c: f32| simd.splat_f32s(c);
        // Adding 1.5·2²³ rounds to a whole number, which then stands in the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        let shifted = simd.mul_add_e_f32s(x, constant(std::f32::consts::LOG2_E), constant(ROUND));
        let n = simd.sub_f32s(shifted, constant(ROUND));
        let r = simd.mul_add_e_f32s(n, constant(-0.693_359_4), x);
        let r = simd.mul_add_e_f32s(n, constant(2.121_944_4e-4), r);
        let mut y = constant(1.987_569_1e-4);
        for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            y = simd.mul_add_e_f32s(y, r, constant(coefficient));
        }
        let y = simd.mul_add_e_f32s(y, simd.mul_f32s(r, r), simd.add_f32s(r, constant(1.0)));
        let n = simd.sub_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(ROUND.to_bits()));
        (Lanes { simd, x: y }, n)
    }

    /// 2ⁿ for n in -126..=127.
    #[inline(always)]
    fn power_of_two(simd: S, n: S::u32s) -> Self {
        let exponent = simd.add_u32s(n, simd.splat_u32s(127));
        let bits = simd.wrapping_dyn_shl_u32s(exponent, simd.splat_u32s(23));
        Lanes { simd, x: simd.transmute_f32s_u32s(bits) }
    }

    /// e^x for x in [-88, 88], to 2 units in the last place.
    #[inline(always)]
    fn exp(self) -> Self {
        let (y, n) = self.exp_parts();
        y * Self::power_of_two(self.simd, n)
    }

    /// e^x for every x, to 2 units in the last place: infinite and 0 where it is beyond f32; NaN stays NaN.
    #[inline(always)]
    fn exp_of_any(self) -> Self {
        let simd = self.simd;
        let (y, n) = self.max(self.like(-104.0)).min(self.like(89.0)).exp_parts();
        // 2ⁿ itself may be no normal number: in two factors. (256 keeps what is shifted positive.)
        let positive = simd.add_u32s(n, simd.splat_u32s(256));
        let half = simd.wrapping_dyn_shr_u32s(positive, simd.splat_u32s(1));
        let half = simd.sub_u32s(half, simd.splat_u32s(128));
        y * Self::power_of_two(simd, half) * Self::power_of_two(simd, simd.sub_u32s(n, half))
    }

    /// e^x for x up to 88. Below −87.3, where it is no normal number, 0; NaN stays NaN.
    #[inline(always)]
    pub fn exp_or_zero(self) -> Self {
        let least = self.like(-87.3);
        let y = self.max(least).exp();
        let low = self.simd.less_than_f32s(self.x, least.x);
        Lanes { x: self.simd.select_f32s(low, self.simd.splat_f32s(0.0), y.x), ..self }
    }

    /// The sum of the lanes.
    #[inline(always)]
    pub fn sum(self) -> f32 {
        self.simd.reduce_sum_f32s(self.x)
    }

    /// 1 / (1 + e^-x); NaN stays NaN.
    #[inline(always)]
    pub fn sigmoid(self) -> Self {
        let one = self.like(1.0);
        one / (one + (-self.max(self.like(-87.0)).min(self.like(87.0))).exp())
    }
}

impl<S: Simd> Number for Lanes<S> {
    #[inline(always)]
    fn like(self, x: f64) -> Self {
        Lanes { simd: self.simd, x: self.simd.splat_f32s(x as f32) }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        let Lanes { simd, x } = self;
        Lanes { simd, x: simd.select_f32s(simd.greater_than_f32s(other.x, x), other.x, x) }
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        let Lanes { simd, x } = self;
        Lanes { simd, x: simd.select_f32s(simd.less_than_f32s(other.x, x), other.x, x) }
    }
}

/// Vectors for a slice: its elements from 0, LANES, 2·LANES, .. on.
#[inline(always)]
pub fn starts<S: Simd>(x: &[f32]) -> impl Iterator<Item = usize> + use<S> {
    (0..x.len()).step_by(S::F32_LANES)
}

/// The largest of x, which is not empty. A NaN may be passed over.
#[inline(always)]
fn largest<S: Simd>(simd: S, x: &[f32]) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(x);
    let mut most = simd.splat_f32s(x[0]);
    for x in vectors {
        most = simd.max_f32s(most, *x);
    }
    rest.iter().fold(simd.reduce_max_f32s(most), |most, x| most.max(*x))
}

/// y = e^(x − shift) for x at most 88 above the shift, and the sum of them.
#[inline(always)]
fn shifted_powers<S: Simd>(simd: S, x: &[f32], shift: f32, y: &mut [f32]) -> f32 {
    let shift = Lanes { simd, x: simd.splat_f32s(shift) };
    let mut sum = shift.like(0.0);
    for at in starts::<S>(x) {
        (Lanes::load(simd, x, at) - shift).exp_or_zero().store(y, at);
        // As stored: what is beyond the end is 0.
        sum = sum + Lanes::load(simd, y, at);
    }
    sum.sum()
}

/// y = e^x for x at most 88, with the widest vectors.
#[inline(always)]
pub fn powers(x: &[f32], y: &mut [f32]) {
    Arch::new().dispatch(Powers { x, shift: Some(0.0), y });
}

/// y = e^(x - the largest of x), with the widest vectors; that largest and the sum of y.
#[inline(always)]
pub fn powers_of_row(x: &[f32], y: &mut [f32]) -> [f32; 2] {
    Arch::new().dispatch(Powers { x, shift: None, y })
}

struct Powers<'a> {
    x: &'a [f32],
    shift: Option<f32>,
    y: &'a mut [f32],
}

impl WithSimd for Powers<'_> {
    type Output = [f32; 2];
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [f32; 2] {
        let shift = self.shift.unwrap_or_else(|| largest(simd, self.x));
        [shift, shifted_powers(simd, self.x, shift, self.y)]
    }
}

/// A function of one number.
pub trait Function: Copy + Sync {
    /// Its value.
    fn of<S: Simd>(self, x: Lanes<S>) -> Lanes<S>;
}

/// The exponential function.
#[derive(Clone, Copy)]
pub struct Exp;
impl Function for Exp {
    #[inline(always)]
    fn of<S: Simd>(self, x: Lanes<S>) -> Lanes<S> {
        x.exp_of_any()
    }
}

/// The logistic function.
#[derive(Clone, Copy)]
pub struct Sigmoid;
impl Function for Sigmoid {
    #[inline(always)]
    fn of<S: Simd>(self, x: Lanes<S>) -> Lanes<S> {
        x.sigmoid()
    }
}

/// The hyperbolic tangent.
#[derive(Clone, Copy)]
pub struct Tanh;
impl Function for Tanh {
    #[inline(always)]
    fn of<S: Simd>(self, x: Lanes<S>) -> Lanes<S> {
        tanh_rational(x)
    }
}

/// y = f(x) for each element, some elements a thread.
pub fn map(f: impl Function, x: &[f32], y: &mut [f32]) {
    /// What an element costs, in multiplications.
    const COST: usize = 32;
    let y = Shared::new(y);
    in_blocks(x.len(), GRAIN, COST * x.len(), |block| {
        // SAFETY: each thread makes elements of its own.
        let y = unsafe { y.part(block.start, block.len()) };
        Arch::new().dispatch(Map { f, x: &x[block], y });
    });
}

struct Map<'a, F> {
    f: F,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Function> WithSimd for Map<'_, F> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for at in starts::<S>(self.x) {
            self.f.of(Lanes::load(simd, self.x, at)).store(self.y, at);
        }
    }
}

macro_rules! operator {
    ($Trait:ident, $name:ident, $of:ident) => {
        impl<S: Simd> $Trait for Lanes<S> {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                Lanes { simd: self.simd, x: self.simd.$of(self.x, other.x) }
            }
        }
    };
}
operator!(Add, add, add_f32s);
operator!(Sub, sub, sub_f32s);
operator!(Mul, mul, mul_f32s);
operator!(Div, div, div_f32s);

impl<S: Simd> Neg for Lanes<S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Lanes { simd: self.simd, x: self.simd.neg_f32s(self.x) }
    }
}

#[cfg(test)]
mod tests {
    use pulp::Scalar;

    use super::*;

    #[derive(Clone, Copy)]
    struct Bounded;
    impl Function for Bounded {
        fn of<S: Simd>(self, x: Lanes<S>) -> Lanes<S> {
            x.exp()
        }
    }

    /// By the widest vectors and without any.
    fn both(f: impl Function, x: &[f32]) -> [Vec<f32>; 2] {
        let mut y = [(); 2].map(|()| vec![0.0; x.len()]);
        let [wide, plain] = &mut y;
        Arch::new().dispatch(Map { f, x, y: wide });
        Map { f, x, y: plain }.with_simd(Scalar::new());
        y
    }

    /// Dense in [-87, 87], and not a multiple of any number of lanes.
    fn sweep() -> Vec<f32> {
        (-870_001..=870_001).map(|i| i as f32 * 1e-4).collect()
    }

    fn holds(f: impl Function, exact: impl Fn(f64) -> f64, relative: f64) {
        let x = sweep();
        for got in both(f, &x) {
            for (x, got) in x.iter().zip(got) {
                let expected = exact((*x).into());
                let error = (f64::from(got) - expected).abs();
                assert!(error <= relative * expected.abs() + 2e-38, "of {x}: {got:e}, not {expected:e}");
            }
        }
    }

    #[test]
    fn exp_is_true_to_two_units_in_the_last_place() {
        holds(Bounded, f64::exp, 2.0 * f64::from(f32::EPSILON));
        holds(Exp, f64::exp, 2.0 * f64::from(f32::EPSILON));
    }

    #[test]
    fn sigmoid_is_true_to_four_parts_in_ten_million() {
        holds(Sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 4e-7);
    }

    #[test]
    fn tanh_is_true_to_four_parts_in_ten_million() {
        holds(Tanh, f64::tanh, 4e-7);
    }

    #[test]
    fn nan_stays_nan_and_infinities_have_limits() {
        for [nan, high, low] in both(Sigmoid, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY])
            .map(|y| <[f32; 3]>::try_from(y).expect("three values"))
        {
            assert!(nan.is_nan() && high == 1.0 && low < 2e-38);
        }
        let edges = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 88.72, 88.73, -103.0, -104.0, 1e30, -1e30];
        for y in both(Exp, &edges) {
            for (x, y) in edges.into_iter().zip(y) {
                let exact = x.exp();
                // The smallest numbers are right to their last place.
                let near = y.is_finite() && (y - exact).abs() <= 1e-6 * exact + 2e-45;
                assert!(near || y == exact || y.is_nan() && x.is_nan(), "of {x}: {y}");
            }
        }
        for y in both(Tanh, &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]) {
            assert!(y[0].is_nan() && (y[1] - 1.0).abs() < 1e-6 && (y[2] + 1.0).abs() < 1e-6);
        }
    }
}
