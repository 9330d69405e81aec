// Limits every element, in place, as torch.nn.utils.clip_grad_value_:
//     x[i] = min(max(x[i], -limit), limit)
// NaN stays NaN.
//
// p: count, limit.
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/clip_values.rs.

@group(0) @binding(0) var<storage, read_write> x: array<Elements>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        x[i] = keep_nan_of_each(x[i], clamp(x[i], Elements(-p.limit), Elements(p.limit)));
    }
}
