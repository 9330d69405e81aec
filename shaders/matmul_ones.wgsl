// Buffers, loads and stores of matmul.wgsl, matmul_few.wgsl and matmul_subgroup.wgsl for any sizes, offsets and strides,
// number by number. What lies beyond the end of a part is read as 0. What lies beyond the matrices is read as something
// inside them; sums there are not stored.

@group(0) @binding(0) var<storage, read> a: array<f32>; // [m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<f32>; // [k, n] by strides
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [n]; absent where p.biases is 0
@group(0) @binding(3) var<storage, read> bias_2: array<f32>; // [n]; absent unless p.biases is 2
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [parts, m, n]

// The block a(row .. row + 4, k .. k + 4), by columns: [k][row].
fn block_of_a(row: u32, k: u32, end: u32) -> mat4x4<f32> {
    let at = p.a_offset + min(row + vec4(0u, 1u, 2u, 3u), vec4(p.m - 1u)) * p.a_row;
    return mat4x4(four_of_a(at, k, end), four_of_a(at, k + 1u, end), four_of_a(at, k + 2u, end), four_of_a(at, k + 3u, end));
}

fn four_of_a(row: vec4<u32>, k: u32, end: u32) -> vec4<f32> {
    let at = row + min(k, end - 1u) * p.a_col;
    return select(vec4(0.0), vec4(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w)), k < end);
}

// The block b(k .. k + 4, col .. col + 4), by rows: [k][col].
fn block_of_b(k: u32, col: u32, end: u32) -> mat4x4<f32> {
    let at = p.b_offset + min(col + vec4(0u, 1u, 2u, 3u), vec4(p.n - 1u)) * p.b_col;
    return mat4x4(four_of_b(k, at, end), four_of_b(k + 1u, at, end), four_of_b(k + 2u, at, end), four_of_b(k + 3u, at, end));
}

fn four_of_b(k: u32, col: vec4<u32>, end: u32) -> vec4<f32> {
    let at = col + min(k, end - 1u) * p.b_row;
    return select(vec4(0.0), vec4(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w)), k < end);
}

// What is added to every row of c, in the columns col .. col + 4: biases, in part 0.
fn added(part: u32, col: u32) -> vec4<f32> {
    var sum = vec4(0.0);
    if p.biases > 0u && part == 0u {
        let at = min(col + vec4(0u, 1u, 2u, 3u), vec4(p.n - 1u));
        sum = vec4(load_bias(at.x), load_bias(at.y), load_bias(at.z), load_bias(at.w));
        if p.biases == 2u {
            sum += vec4(load_bias_2(at.x), load_bias_2(at.y), load_bias_2(at.z), load_bias_2(at.w));
        }
    }
    return sum;
}

// Stores a row of c in the columns col .. col + 4, as far as there are so many.
fn store(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) { // unroll
        if col + j < p.n {
            let at = (part * p.m + row) * p.n + col + j;
            var total = sum[j];
            if p.accumulate == 1u {
                total += load_c(at);
            }
            store_c(at, total);
        }
    }
}
