// Chooses elements along a dimension, as torch.gather. x is seen as [outer, n, inner], n being the size of the dimension:
//     y[o, j, i] = x[o, index[o, j, i], i]
// The host has checked that the indices lie in 0..n; here they are only kept from reading elsewhere.
//
// p: outer, n, m (elements chosen along the dimension), inner.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/gather.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [outer, n, inner]
@group(0) @binding(1) var<storage, read> index: array<i32>; // [outer, m, inner]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [outer, m, inner]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var at = id.x; at < p.outer * p.m * p.inner; at += groups.x * GROUP) {
        let o = at / p.inner / p.m;
        let k = min(u32(max(index[at], 0)), p.n - 1u);
        store_y(at, load_x((o * p.n + k) * p.inner + at % p.inner));
    }
}
