// Rung 5: as rung 4, with four neighbouring numbers in one load, store or multiplication: a vec4. K and N must be multiples
// of 4. A thread has 4 rows x 4 neighbouring columns.
// The workgroups of one z sum over a part of the k only, from z · p.depth up to (z + 1) · p.depth, and write a c of their
// own. This rung has one part, of depth K; rung 6 has more.

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>; // [M, K / 4]
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>; // [K, N / 4]
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>; // [parts, M, N / 4]

var<workgroup> strip_a: array<vec4<f32>, 256>; // [64 rows, 16 / 4 k]
var<workgroup> strip_b: array<vec4<f32>, 256>; // [16 k, 64 / 4 columns]

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group.y * 64u;
    let col = group.x * 64u;
    let first = group.z * p.depth;
    let end = min(p.k, first + p.depth);
    var sum = array<vec4<f32>, 4>();
    for (var start = first; start < end; start += 16u) {
        strip_a[index] = of_a(row + index / 4u, start + 4u * (index % 4u), end);
        strip_b[index] = of_b(start + index / 16u, col + 4u * (index % 16u), end);
        workgroupBarrier();
        for (var four = 0u; four < 4u; four++) {
            var left = array<vec4<f32>, 4>();
            for (var i = 0u; i < 4u; i++) { // unroll
                left[i] = strip_a[(thread.y + 16u * i) * 4u + four];
            }
            for (var k = 0u; k < 4u; k++) { // unroll
                let right = strip_b[(4u * four + k) * 16u + thread.x];
                for (var i = 0u; i < 4u; i++) { // unroll
                    sum[i] += left[i][k] * right;
                }
            }
        }
        workgroupBarrier();
    }
    let own_col = col + 4u * thread.x;
    for (var i = 0u; i < 4u; i++) { // unroll
        let own_row = row + thread.y + 16u * i;
        if own_row < p.m && own_col < p.n {
            c[((group.z * p.m + own_row) * p.n + own_col) / 4u] = sum[i];
        }
    }
}

// Beyond the ends are zeros, which change no sum.
fn of_a(row: u32, k: u32, end: u32) -> vec4<f32> {
    if row < p.m && k < end {
        return a[(row * p.k + k) / 4u];
    }
    return vec4(0.0);
}

fn of_b(k: u32, col: u32, end: u32) -> vec4<f32> {
    if k < end && col < p.n {
        return b[(k * p.n + col) / 4u];
    }
    return vec4(0.0);
}
