// One step of stochastic gradient descent as torch.optim.SGD (Nesterov momentum: Sutskever et al. 2013), for every
// element:
//     g = grad + weight_decay·param
//     buf = momentum·buf + (1 - dampening)·g, but buf = g at the first step (T = 1)
//     param = param - lr·d,   d = buf, or g + momentum·buf where p.nesterov is 1
// Without momentum d is g, and buf is not used. T and the stop are numbers of the control buffer (src/cpu/control.rs),
// which begin_step.wgsl brings up to date before. Where the stop is set, nothing changes.
//
// p: count, lr, momentum, dampening, weight_decay, nesterov.
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/sgd.rs.

@group(0) @binding(0) var<storage, read_write> param: array<Elements>; // [count]
@group(0) @binding(1) var<storage, read> grad: array<Elements>; // [count]
@group(0) @binding(2) var<storage, read_write> buf: array<Elements>; // [count]; not used without momentum
@group(0) @binding(3) var<storage, read> control: array<f32>; // [64]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if control[STOP] != 0.0 {
        return;
    }
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        var g = grad[i] + p.weight_decay * param[i];
        if p.momentum != 0.0 {
            var b = g;
            if control[T] != 1.0 {
                b = p.momentum * buf[i] + (1.0 - p.dampening) * g;
            }
            buf[i] = b;
            g = select(b, g + p.momentum * b, p.nesterov == 1u);
        }
        param[i] -= p.lr * g;
    }
}
