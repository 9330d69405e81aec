// Multiplies each row of a tensor with a number that is on the device:
//     y[i] = x[i]·factor[i / width], rounding i / width down
//
// p: count (of x), width (of a row).
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/scale_by.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(1) var<storage, read> factor: array<f32>; // [count / width]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        store_y(i, load_x(i) * load_factor(i / p.width));
    }
}
