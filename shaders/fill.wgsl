// Sets every element to one value, as torch.Tensor.fill_:
//     y[i] = value for i in 0..count
//
// p: count, value.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/fill.rs.

@group(0) @binding(0) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        store_y(i, p.value);
    }
}
