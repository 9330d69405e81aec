// Random numbers: y[i] = low + (high - low) · u, where u in [0, 1) is word i % 4 of Philox4x32-10 (Salmon et al., "Parallel
// Random Numbers: As Easy as 1, 2, 3", SC 2011) at counter (i / 4, 0, stream, 0) and key (seed_low, seed_high).
// p: count, seed_low, seed_high, stream, low, high. Twin: src/cpu/philox_uniform.rs.

@group(0) @binding(0) var<storage, read_write> y: array<f32>; // [count]

// The upper 32 bits of a · b, by halves of 16 bits.
fn mul_high(a: u32, b: u32) -> u32 {
    let mid = (a >> 16u) * (b & 0xffffu) + ((a & 0xffffu) * (b & 0xffffu) >> 16u);
    let rest = (a & 0xffffu) * (b >> 16u) + (mid & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (mid >> 16u) + (rest >> 16u);
}

fn philox4x32(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        let left = vec2(mul_high(c.x, 0xd2511f53u), c.x * 0xd2511f53u);
        let right = vec2(mul_high(c.z, 0xcd9e8d57u), c.z * 0xcd9e8d57u);
        c = vec4(right.x ^ c.y ^ key.x, right.y, left.x ^ c.w ^ key.y, left.y);
        key += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var block = id.x; block * 4u < p.count; block += groups.x * GROUP) {
        let words = philox4x32(vec4(block, 0u, p.stream, 0u), vec2(p.seed_low, p.seed_high));
        // The upper 24 bits, times 2^-24.
        let u = vec4<f32>(words >> vec4(8u)) * 5.9604644775390625e-8;
        for (var i = 0u; i < 4u && block * 4u + i < p.count; i++) {
            y[block * 4u + i] = p.low + (p.high - p.low) * u[i];
        }
    }
}
