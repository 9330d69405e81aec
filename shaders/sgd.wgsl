// One step of torch.optim.SGD: g = grad + weight_decay·param; with momentum buf = momentum·buf + (1 - dampening)·g, but
// buf = g at the first step, and g = g + momentum·buf (nesterov) or g = buf; then param -= lr·g.
// Nothing happens where the stop is set. Without momentum buf is not used.
// p: count, lr, momentum, dampening, weight_decay, nesterov. Twin: src/cpu/sgd.rs.

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
