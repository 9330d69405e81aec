// Unit vectors, as torch.nn.functional.one_hot, but as reals:
//     y[i, c] = 1 where c = tokens[i], else 0
//
// p: count (of tokens), classes.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/one_hot.rs.

@group(0) @binding(0) var<storage, read> tokens: array<i32>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [count, classes]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count * p.classes; i += groups.x * GROUP) {
        store_y(i, select(0.0, 1.0, i32(i % p.classes) == tokens[i / p.classes]));
    }
}
