// Random numbers from a counter, the same on every device (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
// SC 2011):
//     y[i] = low + (high - low)·u_i,   u_i uniform in [0, 1)
// u_i is word i % 4 of Philox4x32-10 (common.wgsl) at counter (i / 4, 0, stream, 0) and key (seed_low, seed_high).
//
// p: count, seed_low and seed_high (halves of the seed), stream, low, high.
// Threads: one for four neighbours, which share a call of Philox, in a loop over the grid.
// Twin: src/cpu/philox_uniform.rs.

@group(0) @binding(0) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var block = id.x; block * 4u < p.count; block += groups.x * GROUP) {
        let u = philox_uniforms(vec4(block, 0u, p.stream, 0u), vec2(p.seed_low, p.seed_high));
        for (var i = 0u; i < 4u && block * 4u + i < p.count; i++) {
            y[block * 4u + i] = p.low + (p.high - p.low) * u[i];
        }
    }
}
