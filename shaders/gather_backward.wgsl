// Gradient of a choice of elements (gather.wgsl, max_dim.wgsl): with dy = ∂loss/∂y,
//     dx[o, k, i] = Σ_j dy[o, j, i] over the j with index[o, j, i] = k; plus the old dx where p.accumulate is 1
// j goes from start to start + m.
//
// p: outer, n (size of the dimension in x), inner, pitch (its size in index and dy), start, m, accumulate.
// Threads: one an element of dx, in a loop over the grid. It looks through everything that was chosen along its line: so
// no two threads write the same element, and a sum has one order.
// Twin: src/cpu/gather_backward.rs.

@group(0) @binding(0) var<storage, read> index: array<i32>; // [outer, pitch, inner]
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [outer, pitch, inner]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [outer, n, inner]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var at = id.x; at < p.outer * p.n * p.inner; at += groups.x * GROUP) {
        let o = at / p.inner / p.n;
        let k = i32(at / p.inner % p.n);
        var sum = 0.0;
        for (var j = p.start; j < p.start + p.m; j++) {
            let chosen = (o * p.pitch + j) * p.inner + at % p.inner;
            if index[chosen] == k {
                sum += load_dy(chosen);
            }
        }
        if p.accumulate == 1u {
            sum += load_dx(at);
        }
        store_dx(at, sum);
    }
}
