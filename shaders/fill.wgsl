// Sets every element to one value, as torch.Tensor.fill_:
//     y[i] = value for i in 0..count
//
// p: count, value.
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/fill.rs.

@group(0) @binding(0) var<storage, read_write> y: array<Elements>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        store_y(i, Elements(p.value));
    }
}
