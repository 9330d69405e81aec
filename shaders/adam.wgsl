// One step of Adam (Kingma and Ba, arXiv 1412.6980) as torch.optim.Adam, or of AdamW (Loshchilov and Hutter, arXiv
// 1711.05101) as torch.optim.AdamW, for every element:
//     param = keep·param,   g = grad + weight_decay·param
//     m = beta1·m + (1 - beta1)·g,   v = beta2·v + (1 - beta2)·g²
//     param = param - lr/CORRECTION1 · m / (√u/√CORRECTION2 + eps)
// u is v, or where p.amsgrad is 1 the largest v so far: v_max = max(v_max, v) (Reddi, Kale and Kumar 2018). For AdamW
// keep = 1 - lr·decay and weight_decay = 0, for Adam keep = 1. CORRECTION1 = 1 - beta1^T, CORRECTION2 = 1 - beta2^T (T is
// the number of the step) and the stop are numbers of the control buffer (src/cpu/control.rs), which begin_step.wgsl
// brings up to date before. Where the stop is set, nothing changes.
//
// p: count, lr, beta1, beta2, one_minus_beta1, one_minus_beta2 (rounded once, from 64 bits), eps, weight_decay, keep,
// amsgrad.
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/adam.rs.

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
