// Loads and stores of matmul_subgroup.wgsl for any sizes, offsets and strides: number by number. What lies beyond the
// matrices is read as 0.

@group(0) @binding(0) var<storage, read> a: array<f32>; // [m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<f32>; // [k, n] by strides
@group(0) @binding(2) var<storage, read_write> c: array<f32>; // [m, n]

const TURNED = 0u;

// a(row + lane, k ..)
fn eighth_of_a(row: u32, k: u32, lane: u32) -> vec4<f32> {
    let ks = k + vec4(0u, 1u, 2u, 3u);
    let at = p.a_offset + min(row + lane, p.m - 1u) * p.a_row + min(ks, vec4(p.k - 1u)) * p.a_col;
    return select(vec4(0.0), vec4(a[at.x], a[at.y], a[at.z], a[at.w]), ks < vec4(p.k));
}

fn four_of_b(k: u32, col: u32) -> mat4x4<f32> {
    let at = p.b_offset + min(col + vec4(0u, 1u, 2u, 3u), vec4(p.n - 1u)) * p.b_col;
    return mat4x4(row_of_b(k, at), row_of_b(k + 1u, at), row_of_b(k + 2u, at), row_of_b(k + 3u, at));
}

fn row_of_b(k: u32, col: vec4<u32>) -> vec4<f32> {
    let at = col + min(k, p.k - 1u) * p.b_row;
    return select(vec4(0.0), vec4(b[at.x], b[at.y], b[at.z], b[at.w]), k < p.k);
}

fn store(row: u32, col: u32, sum: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) { // unroll
        if col + j < p.n {
            let at = row * p.n + col + j;
            var total = sum[j];
            if p.accumulate == 1u {
                total += c[at];
            }
            c[at] = total;
        }
    }
}
