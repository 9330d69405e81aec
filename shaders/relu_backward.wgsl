// Gradient of relu from its output y and dy = ∂loss/∂y:
//     dx[i] = dy[i] where y[i] > 0, else 0
//
// p: count.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/relu_backward.rs.

@group(0) @binding(0) var<storage, read> y: array<f32>; // [count]
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [count]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        store_dx(i, select(0.0, load_dy(i), load_y(i) > 0.0));
    }
}
