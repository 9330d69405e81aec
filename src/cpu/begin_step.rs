//! Twin of `shaders/begin_step.wgsl`.

use super::control::{CORRECTION1, CORRECTION2, NONFINITE, SKIPPED, STOP, T, WATCHED};
use super::real::Real;
use crate::kernel;

kernel! {
    /// Begins an optimizer's step. It fails where NONFINITE is set, or where `watched` is 1 and `watch[0]`, which is kept, is
    /// not finite. A step that fails sets the stop, which is sticky; where `skip` is 1 it is this step's alone, and SKIPPED
    /// counts it. Without the stop T grows by 1 and `CORRECTIONi = 1 - betai^T`. A beta of 0 comes as `log_beta = -1e30`.
    pub static BEGIN_STEP = begin_step(BeginStep { log_beta1: f32, log_beta2: f32, watched: u32, skip: u32 };
        watch: read F32, control: update F32);
    variants [{ "one thread", "begin_step.wgsl",
        [("T", T), ("STOP", STOP), ("CORRECTION1", CORRECTION1), ("CORRECTION2", CORRECTION2),
         ("WATCHED", WATCHED), ("NONFINITE", NONFINITE), ("SKIPPED", SKIPPED)] }]
}

/// See [`BEGIN_STEP`].
pub fn begin_step<R: Real>(p: &BeginStep, watch: &[R], control: &mut [R]) {
    let mut failed = control[NONFINITE as usize] != R::zero();
    control[NONFINITE as usize] = R::zero();
    if p.watched == 1 {
        control[WATCHED as usize] = watch[0];
        failed |= !watch[0].is_finite();
    }
    if p.skip == 1 {
        control[STOP as usize] = R::zero();
    }
    if failed {
        control[STOP as usize] = R::of(1.0);
        if p.skip == 1 {
            control[SKIPPED as usize] = control[SKIPPED as usize] + R::of(1.0);
        }
    }
    if control[STOP as usize] == R::zero() {
        let t = control[T as usize] + R::of(1.0);
        control[T as usize] = t;
        control[CORRECTION1 as usize] = one_minus_exp(t * R::of(p.log_beta1.into()));
        control[CORRECTION2 as usize] = one_minus_exp(t * R::of(p.log_beta2.into()));
    }
}

/// 1 - e^x for x <= 0: without cancellation near 0, by the series -x(1 + x/2(1 + x/3(1 + ..))).
fn one_minus_exp<R: Real>(x: R) -> R {
    if x < R::of(-0.5) {
        return R::of(1.0) - x.max(R::of(-88.0)).exp();
    }
    let series = (2..=10).rev().fold(R::of(1.0), |sum, k| R::of(1.0) + x / R::of(k.into()) * sum);
    -x * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_keep_their_digits() {
        for x in [-1e-12, -1e-7, -1e-3, -0.1, -0.4999, -0.5, -0.6, -3.0, -200.0, -1e30] {
            let (got, expected) = (one_minus_exp(x), -f64::exp_m1(x));
            assert!((got - expected).abs() <= 1e-10 * expected, "{x}: {got}, not {expected}");
            let single = f64::from(one_minus_exp(x as f32));
            let expected = -f64::exp_m1(f64::from(x as f32));
            assert!((single - expected).abs() <= 4e-7 * expected, "{x}: {single}, not {expected}");
        }
    }
}
