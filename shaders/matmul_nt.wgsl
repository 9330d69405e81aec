// Loads and stores of matmul_subgroup.wgsl for rows of a and columns of b that are dense: x·wᵀ.
// Sizes, offsets and strides are multiples of 4.

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>; // [m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>; // [k, n] by strides
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>; // [m, n]

const TURNED = 0u;

// a(row + lane, k ..)
fn eighth_of_a(row: u32, k: u32, lane: u32) -> vec4<f32> {
    return a[(p.a_offset + min(row + lane, p.m - 1u) * p.a_row + k * p.a_col) / 4u];
}

fn four_of_b(k: u32, col: u32) -> mat4x4<f32> {
    let at = (p.b_offset + k * p.b_row + min(col, p.n - 4u) * p.b_col) / 4u;
    let step = p.b_col / 4u;
    return transpose(mat4x4(b[at], b[at + step], b[at + 2u * step], b[at + 3u * step]));
}

fn store(row: u32, col: u32, sum: vec4<f32>) {
    if col < p.n {
        let at = (row * p.n + col) / 4u;
        var total = sum;
        if p.accumulate == 1u {
            total += c[at];
        }
        c[at] = total;
    }
}
