// Loads of matmul_subgroup.wgsl from the buffers of matmul_fours.wgsl, where rows of a and columns of b are dense: x·Wᵀ,
// a layer. Sizes, offsets and strides are multiples of 4.

const TURNED = 0u;

// a(row + lane, k ..)
fn eighth_of_a(row: u32, k: u32, lane: u32) -> vec4<f32> {
    return load_a((p.a_offset + min(row + lane, p.m - 1u) * p.a_row + k * p.a_col) / 4u);
}

fn rows_of_b(k: u32, col: u32) -> mat4x4<f32> {
    let at = (p.b_offset + k * p.b_row + min(col, p.n - 4u) * p.b_col) / 4u;
    let step = p.b_col / 4u;
    return transpose(mat4x4(load_b(at), load_b(at + step), load_b(at + 2u * step), load_b(at + 3u * step)));
}
