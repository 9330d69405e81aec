// Begins an optimizer's step. It fails where NONFINITE is set, or where p.watched is 1 and watch[0], which is kept, is not
// finite. A step that fails sets the stop, which is sticky; where p.skip is 1 it is this step's alone, and SKIPPED counts it.
// Without the stop T grows by 1 and CORRECTIONi = 1 - betai^T.
// p: log_beta1, log_beta2 (-1e30 for a beta of 0), watched, skip. Twin: src/cpu/begin_step.rs.

@group(0) @binding(0) var<storage, read> watch: array<f32>; // [1]; absent unless p.watched is 1
@group(0) @binding(1) var<storage, read_write> control: array<f32>; // [64]

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
    var failed = control[NONFINITE] != 0.0;
    control[NONFINITE] = 0.0;
    if p.watched == 1u {
        control[WATCHED] = watch[0];
        failed = failed || not_finite(watch[0]);
    }
    if p.skip == 1u {
        control[STOP] = 0.0;
    }
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
    }
}
