// Rung 1: one thread computes one element, c[row, col] = Σ_k a[row, k] · b[k, col].
// Neighbouring threads (those that differ in id.x) take neighbouring rows.

@group(0) @binding(0) var<storage, read> a: array<f32>; // [M, K]
@group(0) @binding(1) var<storage, read> b: array<f32>; // [K, N]
@group(0) @binding(2) var<storage, read_write> c: array<f32>; // [M, N]

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    let col = id.y;
    if row < p.m && col < p.n {
        var sum = 0.0;
        for (var k = 0u; k < p.k; k++) {
            sum += a[row * p.k + k] * b[k * p.n + col];
        }
        c[row * p.n + col] = sum;
    }
}
