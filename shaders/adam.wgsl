// One step of torch.optim.Adam (Kingma and Ba, arXiv 1412.6980): g = grad + weight_decay·param;
// m = beta1·m + (1 - beta1)·g; v = beta2·v + (1 - beta2)·g²; param -= lr/CORRECTION1 · m / (√v/√CORRECTION2 + eps).
// Nothing happens once the sticky stop is set.
// p: count, lr, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay. Twin: src/cpu/adam.rs.

@group(0) @binding(0) var<storage, read_write> param: array<f32>; // [count]
@group(0) @binding(1) var<storage, read> grad: array<f32>; // [count]
@group(0) @binding(2) var<storage, read_write> m: array<f32>; // [count]
@group(0) @binding(3) var<storage, read_write> v: array<f32>; // [count]
@group(0) @binding(4) var<storage, read> control: array<f32>; // [64]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if control[STOP] != 0.0 {
        return;
    }
    let rate = p.lr / control[CORRECTION1];
    let root = sqrt(control[CORRECTION2]);
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        let g = grad[i] + p.weight_decay * param[i];
        m[i] = p.beta1 * m[i] + p.one_minus_beta1 * g;
        v[i] = p.beta2 * v[i] + p.one_minus_beta2 * g * g;
        param[i] -= rate * m[i] / (sqrt(v[i]) / root + p.eps);
    }
}
