//! Twin of `shaders/begin_step.wgsl`.

use super::control::{
    CORRECTION1, CORRECTION2, GOOD, MOST_SCALE, NONFINITE, OVERFLOW, OVERFLOWED, SCALE, SKIPPED, STOP, T,
    WATCHED,
};
use super::real::Real;
use crate::kernel;

kernel! {
    /// Begins a step of an optimizer: decides whether it is made, and counts it: T = T + 1, CORRECTIONi = 1 - betai^T. The header of
    /// `shaders/begin_step.wgsl` says when a step fails, and how the loss scale changes.
    pub static BEGIN_STEP = begin_step(BeginStep {
        log_beta1: f32, log_beta2: f32, watched: u32, skip: u32, interval: u32, growth: f32, backoff: f32,
    }; watch: read F32, control: update F32);
    variants [{ "one thread", "begin_step.wgsl",
        [("T", T), ("STOP", STOP), ("CORRECTION1", CORRECTION1), ("CORRECTION2", CORRECTION2),
         ("WATCHED", WATCHED), ("NONFINITE", NONFINITE), ("SKIPPED", SKIPPED), ("GOOD", GOOD),
         ("OVERFLOW", OVERFLOW), ("OVERFLOWED", OVERFLOWED), ("SCALE", SCALE), ("MOST_SCALE", MOST_SCALE)] }]
}

/// See [`BEGIN_STEP`].
pub fn begin_step<R: Real>(p: &BeginStep, watch: &[R], control: &mut [R]) {
    let (one, overflow) = (R::of(1.0), R::of(OVERFLOW.into()));
    let unbounded = control[NONFINITE as usize] != R::zero();
    control[NONFINITE as usize] = R::zero();
    let mut failed = false;
    if p.watched == 1 {
        control[WATCHED as usize] = watch[0];
        failed = !watch[0].is_finite();
    }
    if p.skip == 1 || control[STOP as usize] == overflow {
        control[STOP as usize] = R::zero();
    }
    if unbounded {
        if p.interval > 0 && !failed && control[SCALE as usize] > one {
            if control[STOP as usize] == R::zero() {
                control[SCALE as usize] = (control[SCALE as usize] * R::of(p.backoff.into())).max(one);
                control[GOOD as usize] = R::zero();
                control[OVERFLOWED as usize] = control[OVERFLOWED as usize] + one;
                control[STOP as usize] = overflow;
            }
        } else {
            failed = true;
        }
    }
    if failed {
        control[STOP as usize] = one;
        if p.skip == 1 {
            control[SKIPPED as usize] = control[SKIPPED as usize] + one;
        }
    }
    if control[STOP as usize] == R::zero() {
        let t = control[T as usize] + one;
        control[T as usize] = t;
        control[CORRECTION1 as usize] = one_minus_exp(t * R::of(p.log_beta1.into()));
        control[CORRECTION2 as usize] = one_minus_exp(t * R::of(p.log_beta2.into()));
        if p.interval > 0 {
            let good = control[GOOD as usize] + one;
            control[GOOD as usize] = good;
            if good >= R::of(p.interval.into()) {
                let scale = control[SCALE as usize] * R::of(p.growth.into());
                control[SCALE as usize] = scale.min(R::of(MOST_SCALE.into()));
                control[GOOD as usize] = R::zero();
            }
        }
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
