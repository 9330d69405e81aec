// Buffers and stores of matmul_subgroup.wgsl where sizes, offsets and strides are multiples of 4, so that a thread moves four
// neighbours at once.

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>; // [m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>; // [k, n] by strides
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>; // [m, n]

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
