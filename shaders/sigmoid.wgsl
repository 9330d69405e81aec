// The logistic function σ, as torch.sigmoid:
//     y[i] = σ(x[i]) = 1 / (1 + e^-x[i])
// sigmoid_backward.wgsl needs y only.
//
// p: count.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/sigmoid.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        store_y(i, sigmoid(load_x(i)));
    }
}
