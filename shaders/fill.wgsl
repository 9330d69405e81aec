// Sets every element: y[i] = value.
// p: count, value. Twin: src/cpu/fill.rs.

@group(0) @binding(0) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        store_y(i, p.value);
    }
}
