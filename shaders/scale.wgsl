// Multiplies a tensor with a number that the host knows:
//     y[i] = factor·x[i] for i in 0..count
//
// p: count, factor.
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/scale.rs.

@group(0) @binding(0) var<storage, read> x: array<Elements>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<Elements>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        store_y(i, p.factor * load_x(i));
    }
}
