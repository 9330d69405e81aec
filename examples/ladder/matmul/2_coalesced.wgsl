// Rung 2: as rung 1, but neighbouring threads take neighbouring columns, so that they read neighbouring numbers of b and
// write neighbouring numbers of c: one access to memory serves all of them.

@group(0) @binding(0) var<storage, read> a: array<f32>; // [M, K]
@group(0) @binding(1) var<storage, read> b: array<f32>; // [K, N]
@group(0) @binding(2) var<storage, read_write> c: array<f32>; // [M, N]

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let col = id.x;
    if row < p.m && col < p.n {
        var sum = 0.0;
        for (var k = 0u; k < p.k; k++) {
            sum += a[row * p.k + k] * b[k * p.n + col];
        }
        c[row * p.n + col] = sum;
    }
}
