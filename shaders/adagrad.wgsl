// One step of Adagrad (Duchi, Hazan and Singer 2011) as torch.optim.Adagrad, for every element:
//     g = grad + weight_decay·param
//     sum = sum + g²
//     param = param - lr / (1 + (T - 1)·lr_decay) · g / (√sum + eps)
// T is the number of the step, from 1 on. T and the stop are numbers of the control buffer (src/cpu/control.rs), which
// begin_step.wgsl brings up to date before. Where the stop is set, nothing changes.
//
// p: count, lr, lr_decay, eps, weight_decay.
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/adagrad.rs.

@group(0) @binding(0) var<storage, read_write> param: array<Elements>; // [count]
@group(0) @binding(1) var<storage, read> grad: array<Elements>; // [count]
@group(0) @binding(2) var<storage, read_write> sum: array<Elements>; // [count]
@group(0) @binding(3) var<storage, read> control: array<f32>; // [64]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if control[STOP] != 0.0 {
        return;
    }
    let rate = p.lr / (1.0 + (control[T] - 1.0) * p.lr_decay);
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        let g = grad[i] + p.weight_decay * param[i];
        sum[i] += g * g;
        param[i] -= rate * g / (sqrt(sum[i]) + p.eps);
    }
}
