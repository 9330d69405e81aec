// One step of RMSprop (Tieleman and Hinton 2012; centered: Graves, arXiv 1308.0850) as torch.optim.RMSprop, for every
// element:
//     g = grad + weight_decay·param
//     square_avg = alpha·square_avg + (1 - alpha)·g²,   grad_avg = alpha·grad_avg + (1 - alpha)·g
//     step = g / (√v + eps),   v = square_avg, or square_avg - grad_avg² where p.centered is 1
//     param = param - lr·step; with momentum buf = momentum·buf + step and param = param - lr·buf
// grad_avg is used only where p.centered is 1, buf only with momentum. A v that rounding has made negative counts as 0.
// The stop is a number of the control buffer (src/cpu/control.rs), which begin_step.wgsl brings up to date before. Where
// it is set, nothing changes.
//
// p: count, lr, alpha, one_minus_alpha (rounded once, from 64 bits), eps, weight_decay, momentum, centered.
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/rmsprop.rs.

@group(0) @binding(0) var<storage, read_write> param: array<Elements>; // [count]
@group(0) @binding(1) var<storage, read> grad: array<Elements>; // [count]
@group(0) @binding(2) var<storage, read_write> square_avg: array<Elements>; // [count]
@group(0) @binding(3) var<storage, read_write> grad_avg: array<Elements>; // [count]; not used unless p.centered is 1
@group(0) @binding(4) var<storage, read_write> buf: array<Elements>; // [count]; not used without momentum
@group(0) @binding(5) var<storage, read> control: array<f32>; // [64]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if control[STOP] != 0.0 {
        return;
    }
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        let g = grad[i] + p.weight_decay * param[i];
        var variance = p.alpha * square_avg[i] + p.one_minus_alpha * g * g;
        square_avg[i] = variance;
        if p.centered == 1u {
            let mean = p.alpha * grad_avg[i] + p.one_minus_alpha * g;
            grad_avg[i] = mean;
            variance = keep_nan_of_each(variance - mean * mean, max(variance - mean * mean, Elements(0.0)));
        }
        var step = g / (sqrt(variance) + p.eps);
        if p.momentum != 0.0 {
            step = p.momentum * buf[i] + step;
            buf[i] = step;
        }
        param[i] -= p.lr * step;
    }
}
