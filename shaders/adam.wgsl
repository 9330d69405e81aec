// One step of torch.optim.Adam (Kingma and Ba, arXiv 1412.6980) or AdamW (Loshchilov and Hutter, arXiv 1711.05101):
// param *= keep; g = grad + weight_decay·param; m = beta1·m + (1 - beta1)·g; v = beta2·v + (1 - beta2)·g²;
// param -= lr/CORRECTION1 · m / (√u/√CORRECTION2 + eps), where u is v, or with p.amsgrad 1 v_max, the largest v so far
// (Reddi, Kale and Kumar 2018). AdamW keeps 1 - lr·decay and has weight_decay 0, Adam keeps 1.
// Nothing happens where the stop is set.
// p: count, lr, beta1, beta2, one_minus_beta1, one_minus_beta2, eps, weight_decay, keep, amsgrad. Twin: src/cpu/adam.rs.

@group(0) @binding(0) var<storage, read_write> param: array<Elements>; // [count]
@group(0) @binding(1) var<storage, read> grad: array<Elements>; // [count]
@group(0) @binding(2) var<storage, read_write> m: array<Elements>; // [count]
@group(0) @binding(3) var<storage, read_write> v: array<Elements>; // [count]
@group(0) @binding(4) var<storage, read_write> v_max: array<Elements>; // [count]; not used unless p.amsgrad is 1
@group(0) @binding(5) var<storage, read> control: array<f32>; // [64]

// ANCHOR: update
@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    if control[STOP] != 0.0 {
        return;
    }
    let rate = p.lr / control[CORRECTION1];
    let root = sqrt(control[CORRECTION2]);
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        let kept = p.keep * param[i];
        let g = grad[i] + p.weight_decay * kept;
        let mean = p.beta1 * m[i] + p.one_minus_beta1 * g;
        var u = p.beta2 * v[i] + p.one_minus_beta2 * g * g;
        m[i] = mean;
        v[i] = u;
        if p.amsgrad == 1u {
            u = max(v_max[i], u);
            v_max[i] = u;
        }
        param[i] = kept - rate * mean / (sqrt(u) / root + p.eps);
    }
}
// ANCHOR_END: update
