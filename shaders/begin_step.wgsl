// Begins an optimizer's step: if p.watched is 1, watch[0] is kept, and where it is not finite the sticky stop is set. Unless it is set,
// T grows by 1 and CORRECTIONi = 1 - betai^T.
// p: log_beta1, log_beta2 (-1e30 for a beta of 0), watched. Twin: src/cpu/begin_step.rs.

@group(0) @binding(0) var<storage, read> watch: array<f32>; // [1]; absent unless p.watched is 1
@group(0) @binding(1) var<storage, read_write> control: array<f32>; // [64]

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

@compute @workgroup_size(1)
fn main() {
    if p.watched == 1u {
        control[WATCHED] = watch[0];
        if not_finite(watch[0]) {
            control[STOP] = 1.0;
        }
    }
    if control[STOP] == 0.0 {
        let t = control[T] + 1.0;
        control[T] = t;
        control[CORRECTION1] = one_minus_exp(t * p.log_beta1);
        control[CORRECTION2] = one_minus_exp(t * p.log_beta2);
    }
}
