// Begins an optimizer's step. It fails where NONFINITE is set, or where p.watched is 1 and watch[0], which is kept, is not
// finite. A step that fails sets the stop, which is sticky; where p.skip is 1 it is this step's alone, and SKIPPED counts it.
// Without the stop T grows by 1 and CORRECTIONi = 1 - betai^T.
// With a loss scale (p.interval above 0) and NONFINITE set the step does not fail while SCALE is above 1: SCALE *= backoff,
// to not less than 1, OVERFLOWED counts the step, and the stop is OVERFLOW, this step's alone. After p.interval steps
// without one SCALE *= growth.
// p: log_beta1, log_beta2 (-1e30 for a beta of 0), watched, skip, interval, growth, backoff. Twin: src/cpu/begin_step.rs.

@group(0) @binding(0) var<storage, read> watch: array<f32>; // [1]; absent unless p.watched is 1
@group(0) @binding(1) var<storage, read_write> control: array<f32>; // [64], or [65] with a loss scale

// ANCHOR: series
// 1 - e^x for x <= 0: without cancellation near 0, by the series -x(1 + x/2(1 + x/3(1 + ..))).
fn one_minus_exp(x: f32) -> f32 {
    if x < -0.5 {
        return 1.0 - exp(max(x, -88.0));
    }
    var sum = 1.0;
    for (var k = 10; k >= 2; k--) {
        sum = 1.0 + x / f32(k) * sum;
    }
    return -x * sum;
}
// ANCHOR_END: series

@compute @workgroup_size(1)
fn main() {
    let unbounded = control[NONFINITE] != 0.0;
    control[NONFINITE] = 0.0;
    var failed = false;
    if p.watched == 1u {
        control[WATCHED] = watch[0];
        failed = not_finite(watch[0]);
    }
    if p.skip == 1u || control[STOP] == f32(OVERFLOW) {
        control[STOP] = 0.0;
    }
    // ANCHOR: scale
    if unbounded {
        if p.interval > 0u && !failed && control[SCALE] > 1.0 {
            if control[STOP] == 0.0 {
                control[SCALE] = max(1.0, control[SCALE] * p.backoff);
                control[GOOD] = 0.0;
                control[OVERFLOWED] += 1.0;
                control[STOP] = f32(OVERFLOW);
            }
        } else {
            failed = true;
        }
    }
    // ANCHOR_END: scale
    if failed {
        control[STOP] = 1.0;
        if p.skip == 1u {
            control[SKIPPED] += 1.0;
        }
    }
    if control[STOP] == 0.0 {
        let t = control[T] + 1.0;
        control[T] = t;
        control[CORRECTION1] = one_minus_exp(t * p.log_beta1);
        control[CORRECTION2] = one_minus_exp(t * p.log_beta2);
        if p.interval > 0u {
            control[GOOD] += 1.0;
            if control[GOOD] >= f32(p.interval) {
                control[SCALE] = min(control[SCALE] * p.growth, f32(MOST_SCALE));
                control[GOOD] = 0.0;
            }
        }
    }
}
