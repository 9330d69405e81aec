// Divides the gradients of all parameters by the loss scale (torch.amp.GradScaler.unscale_) and limits their norm
// (torch.nn.utils.clip_grad_norm_):
//     norm = √(Σ_i partial[i]) / s,   s = SCALE where p.scaled is 1, else 1
//     grad[i] = coefficient·grad[i],   coefficient = min(1, max_norm / (norm + 1e-6)) / s
// partial are sums of squares of all of grad, by reduce_sum.wgsl. NORM, COEFFICIENT and NONFINITE of the control buffer
// (src/cpu/control.rs) are written. Where Σ partial is not finite, NONFINITE is 1, COEFFICIENT is 1 and grad stays as it
// is; else NONFINITE is 0.
//
// p: count (of grad), partials, max_norm, scaled.
// Threads: every workgroup adds up all partial sums for itself, in the same order (threads_of_workgroup.wgsl or
// threads_of_subgroup.wgsl, which follows): so all of them have the same coefficient, and none waits for another. Then each
// thread takes elements of grad, in a loop over the grid. Thread 0 writes control.
// Twin: src/cpu/clip_gradients.rs.

@group(0) @binding(0) var<storage, read> partial: array<f32>; // [partials]
@group(0) @binding(1) var<storage, read_write> grad: array<f32>; // [count]
@group(0) @binding(2) var<storage, read_write> control: array<f32>; // [64], or [65] with a loss scale

@compute @workgroup_size(THREADS)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    var sum = 0.0;
    for (var i = index; i < p.partials; i += THREADS) {
        sum += partial[i];
    }
    sum = sum_of_threads(index, sum);
    var scale = 1.0;
    if p.scaled == 1u {
        scale = control[SCALE];
    }
    let norm = sqrt(sum) / scale;
    let failed = not_finite(sum);
    let coefficient = select(min(1.0, p.max_norm / (norm + 1e-6)) / scale, 1.0, failed);
    if id.x == 0u {
        control[NORM] = norm;
        control[COEFFICIENT] = coefficient;
        control[NONFINITE] = select(0.0, 1.0, failed);
    }
    if coefficient < 1.0 {
        for (var i = id.x; i < p.count; i += groups.x * THREADS) {
            grad[i] *= coefficient;
        }
    }
}
