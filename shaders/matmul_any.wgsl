// Loads of matmul_subgroup.wgsl from the buffers of matmul_ones.wgsl, for any sizes, offsets and strides.

// 0: a thread loads four neighbouring k of one row of a. 1: four neighbouring rows of one k.
const TURNED = 0u;

// The thread's eighth of 8 rows and 4 k: a(row + lane, k .. k + 4).
fn eighth_of_a(row: u32, k: u32, lane: u32) -> vec4<f32> {
    let ks = k + vec4(0u, 1u, 2u, 3u);
    let at = p.a_offset + min(row + lane, p.m - 1u) * p.a_row + min(ks, vec4(p.k - 1u)) * p.a_col;
    return select(vec4(0.0), vec4(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w)), ks < vec4(p.k));
}

// The block b(k .. k + 4, col .. col + 4), by rows: [k][col].
fn rows_of_b(k: u32, col: u32) -> mat4x4<f32> {
    return block_of_b(k, col, p.k);
}
