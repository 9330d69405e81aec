// Loads of matmul_subgroup.wgsl from the buffers of matmul_fours.wgsl, where rows of a and columns of b are dense: x·Wᵀ,
// a layer. Sizes, offsets and strides are multiples of 4.

// 0: a thread loads four neighbouring k of one row of a. 1: four neighbouring rows of one k.
const TURNED = 0u;

// The thread's eighth of 8 rows and 4 k: a(row + lane, k .. k + 4).
fn eighth_of_a(row: u32, k: u32, lane: u32) -> vec4<f32> {
    return load_a((p.a_offset + min(row + lane, p.m - 1u) * p.a_row + k * p.a_col) / 4u);
}

// The block b(k .. k + 4, col .. col + 4), by rows: [k][col].
fn rows_of_b(k: u32, col: u32) -> mat4x4<f32> {
    let at = (p.b_offset + k * p.b_row + min(col, p.n - 4u) * p.b_col) / 4u;
    let step = p.b_col / 4u;
    return transpose(mat4x4(load_b(at), load_b(at + step), load_b(at + 2u * step), load_b(at + 3u * step)));
}
