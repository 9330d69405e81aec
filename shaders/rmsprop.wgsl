// One step of torch.optim.RMSprop (Tieleman and Hinton 2012; centered: Graves, arXiv 1308.0850): g = grad +
// weight_decay·param; square_avg = alpha·square_avg + (1 - alpha)·g²; d = √square_avg + eps, or where p.centered is 1
// d = √(square_avg - grad_avg²) + eps with grad_avg = alpha·grad_avg + (1 - alpha)·g; param -= lr·g/d, or with momentum
// buf = momentum·buf + g/d and param -= lr·buf. What rounding makes of a variance below 0 counts as 0.
// Nothing happens where the stop is set.
// p: count, lr, alpha, one_minus_alpha, eps, weight_decay, momentum, centered. Twin: src/cpu/rmsprop.rs.

@group(0) @binding(0) var<storage, read_write> param: array<f32>; // [count]
@group(0) @binding(1) var<storage, read> grad: array<f32>; // [count]
@group(0) @binding(2) var<storage, read_write> square_avg: array<f32>; // [count]
@group(0) @binding(3) var<storage, read_write> grad_avg: array<f32>; // [count]; not used unless p.centered is 1
@group(0) @binding(4) var<storage, read_write> buf: array<f32>; // [count]; not used without momentum
@group(0) @binding(5) var<storage, read> control: array<f32>; // [64]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if control[STOP] != 0.0 {
        return;
    }
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        let g = grad[i] + p.weight_decay * param[i];
        var variance = p.alpha * square_avg[i] + p.one_minus_alpha * g * g;
        square_avg[i] = variance;
        if p.centered == 1u {
            let mean = p.alpha * grad_avg[i] + p.one_minus_alpha * g;
            grad_avg[i] = mean;
            variance = keep_nan(variance - mean * mean, max(variance - mean * mean, 0.0));
        }
        var step = g / (sqrt(variance) + p.eps);
        if p.momentum != 0.0 {
            step = p.momentum * buf[i] + step;
            buf[i] = step;
        }
        param[i] -= p.lr * step;
    }
}
