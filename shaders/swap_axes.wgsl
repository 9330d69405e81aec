// Exchanges the first two dimensions: y[i, o, w] = x[o, i, w].
// p: outer, inner, width. Twin: src/cpu/swap_axes.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [outer, inner, width]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [inner, outer, width]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var at = id.x; at < p.outer * p.inner * p.width; at += groups.x * GROUP) {
        let w = at % p.width;
        let o = at / p.width % p.outer;
        let i = at / p.width / p.outer;
        y[at] = x[(o * p.inner + i) * p.width + w];
    }
}
