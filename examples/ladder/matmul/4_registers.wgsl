// Rung 4: a workgroup computes a tile of 64 x 64 elements, a thread 4 x 4 of them, whose sums it keeps in registers. For
// each k it reads 4 + 4 numbers of workgroup memory for 16 multiplications, where rung 3 reads 2 for one.

@group(0) @binding(0) var<storage, read> a: array<f32>; // [M, K]
@group(0) @binding(1) var<storage, read> b: array<f32>; // [K, N]
@group(0) @binding(2) var<storage, read_write> c: array<f32>; // [M, N]

var<workgroup> strip_a: array<f32, 1024>; // [64 rows, 16 k]
var<workgroup> strip_b: array<f32, 1024>; // [16 k, 64 columns]

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group.y * 64u;
    let col = group.x * 64u;
    var sum = array<f32, 16>();
    for (var start = 0u; start < p.k; start += 16u) {
        for (var i = 0u; i < 4u; i++) { // unroll
            let at = index + 256u * i;
            strip_a[at] = of_a(row + at / 16u, start + at % 16u);
            strip_b[at] = of_b(start + at / 64u, col + at % 64u);
        }
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            // Every 16th row and column: neighbouring threads read neighbouring numbers.
            var left = array<f32, 4>();
            var right = array<f32, 4>();
            for (var i = 0u; i < 4u; i++) { // unroll
                left[i] = strip_a[(thread.y + 16u * i) * 16u + k];
                right[i] = strip_b[k * 64u + thread.x + 16u * i];
            }
            // `unroll` has these loops written out before they are compiled: what is in registers has no address, so that
            // an index has to be a constant.
            for (var i = 0u; i < 4u; i++) { // unroll
                for (var j = 0u; j < 4u; j++) { // unroll
                    sum[4u * i + j] += left[i] * right[j];
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) { // unroll
        for (var j = 0u; j < 4u; j++) { // unroll
            let own_row = row + thread.y + 16u * i;
            let own_col = col + thread.x + 16u * j;
            if own_row < p.m && own_col < p.n {
                c[own_row * p.n + own_col] = sum[4u * i + j];
            }
        }
    }
}

// Beyond the ends are zeros, which change no sum.
fn of_a(row: u32, k: u32) -> f32 {
    if row < p.m && k < p.k {
        return a[row * p.k + k];
    }
    return 0.0;
}

fn of_b(k: u32, col: u32) -> f32 {
    if k < p.k && col < p.n {
        return b[k * p.n + col];
    }
    return 0.0;
}
