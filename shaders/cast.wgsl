// Stores the same numbers as another type, as torch.Tensor.to(dtype):
//     y[i] = x[i], rounded to the nearest number that y's type has
// Loads and stores, which are made for the types of x and y, do the work.
//
// p: count.
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/cast.rs.

@group(0) @binding(0) var<storage, read> x: array<Elements>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<Elements>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        store_y(i, load_x(i));
    }
}
