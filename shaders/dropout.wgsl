// Dropout (Hinton et al., arXiv 1207.0580) as torch.nn.Dropout does it in training:
//     y[i] = scale·x[i] where u_{first + i} >= rate, else 0,   u_j uniform in [0, 1)
// u_j is word j % 4 of Philox4x32-10 (common.wgsl) at counter (j / 4, 1, call_low, call_high) and key (seed_low,
// seed_high). The backward pass is the same kernel with dy for x: the mask is made again, not kept.
//
// p: count, first (where x is a part of a tensor, the place of its first element there: a multiple of 4), seed_low
// and seed_high (halves of the seed), call_low and call_high (of the number of the call), rate (the probability of
// 0), scale = 1 / (1 - rate).
// Threads: one for four neighbours, which share a call of Philox, in a loop over the grid.
// Twin: src/cpu/dropout.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var block = id.x; block * 4u < p.count; block += groups.x * GROUP) {
        let u = philox_uniforms(vec4(p.first / 4u + block, 1u, p.call_low, p.call_high), vec2(p.seed_low, p.seed_high));
        for (var k = 0u; k < 4u && block * 4u + k < p.count; k++) {
            let i = block * 4u + k;
            store_y(i, select(0.0, load_x(i) * p.scale, u[k] >= p.rate));
        }
    }
}
