// Buffers, loads and stores of matmul.wgsl, matmul_few.wgsl and matmul_subgroup.wgsl, where a thread moves four
// neighbours at once. For that n and the offsets are multiples of 4, and a and b are dense in one direction each: along
// it sizes, across it strides are multiples of 4 too. What lies beyond the end of a part is read as 0. What lies beyond
// the matrices is read as something inside them; sums there are not stored.

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>; // [m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>; // [k, n] by strides
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>; // [n]; absent where p.biases is 0
@group(0) @binding(3) var<storage, read> bias_2: array<vec4<f32>>; // [n]; absent unless p.biases is 2
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>; // [parts, m, n]

// The block a(row .. row + 4, k .. k + 4), by columns: [k][row].
fn block_of_a(row: u32, k: u32, end: u32) -> mat4x4<f32> {
    if p.a_col == 1u {
        let at = (p.a_offset + min(row + vec4(0u, 1u, 2u, 3u), vec4(p.m - 1u)) * p.a_row + min(k, end - 4u)) / 4u;
        return before(k, end, transpose(mat4x4(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w))));
    }
    let at = (p.a_offset + min(row, p.m - 4u) + min(k + vec4(0u, 1u, 2u, 3u), vec4(end - 1u)) * p.a_col) / 4u;
    return before(k, end, mat4x4(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w)));
}

// The block b(k .. k + 4, col .. col + 4), by rows: [k][col].
fn block_of_b(k: u32, col: u32, end: u32) -> mat4x4<f32> {
    if p.b_col == 1u {
        let at = (p.b_offset + min(col, p.n - 4u) + min(k + vec4(0u, 1u, 2u, 3u), vec4(end - 1u)) * p.b_row) / 4u;
        return before(k, end, mat4x4(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w)));
    }
    let at = (p.b_offset + min(col + vec4(0u, 1u, 2u, 3u), vec4(p.n - 1u)) * p.b_col + min(k, end - 4u)) / 4u;
    return before(k, end, transpose(mat4x4(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w))));
}

// x with 0 in place of those k, from k on, that do not lie before the end.
fn before(k: u32, end: u32, x: mat4x4<f32>) -> mat4x4<f32> {
    let zero = vec4(0.0);
    return mat4x4(
        select(zero, x[0], k < end),
        select(zero, x[1], k + 1u < end),
        select(zero, x[2], k + 2u < end),
        select(zero, x[3], k + 3u < end),
    );
}

// What is added to every row of c, in the columns col .. col + 4: biases, in part 0.
fn added(part: u32, col: u32) -> vec4<f32> {
    var sum = vec4(0.0);
    if p.biases > 0u && part == 0u {
        let at = min(col, p.n - 4u) / 4u;
        sum = load_bias(at);
        if p.biases == 2u {
            sum += load_bias_2(at);
        }
    }
    return sum;
}

// Stores a row of c in the columns col .. col + 4, as far as there are so many.
fn store(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    if col < p.n {
        let at = ((part * p.m + row) * p.n + col) / 4u;
        var total = sum;
        if p.accumulate == 1u {
            total += load_c(at);
        }
        store_c(at, total);
    }
}
