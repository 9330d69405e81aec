// Begins a step of an optimizer, before the kernel that changes the parameters: decides whether the step is made, and
// counts it. All of it happens in the control buffer (src/cpu/control.rs), so that the host never waits for a loss. Of a
// step that is made, which is one whose stop is 0:
//     T = T + 1,   CORRECTION1 = 1 - beta1^T,   CORRECTION2 = 1 - beta2^T
// (bias corrections: Kingma and Ba, arXiv 1412.6980, section 3).
//
// A step fails when the norm of its gradient was not finite (NONFINITE, by clip_gradients.wgsl), or when p.watched is 1
// and watch[0], a loss, is not finite; WATCHED keeps that. The stop then becomes 1 and remains for all later steps. Where
// p.skip is 1 it holds for this step only, and SKIPPED counts the step.
//
// With a loss scale, p.interval above 0, as torch.amp.GradScaler: while SCALE is above 1, a norm that is not finite says
// only that SCALE is too large. The stop becomes OVERFLOW, for this step only, OVERFLOWED counts the step, and SCALE
// becomes max(1, SCALE·backoff). After p.interval steps made with the same SCALE it becomes min(SCALE·growth, 2^24).
//
// p: log_beta1, log_beta2 (natural logarithms; -1e30 for a beta of 0), watched, skip, interval, growth, backoff.
// Threads: one in all.
// Twin: src/cpu/begin_step.rs.

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
