// Matrix product in parts: c[s, i, j] = Σ_k a(i, k) · b(k, j) over the k of part s, which are from s·depth up to
// (s + 1)·depth or to the end; in part 0 plus bias[j] where p.biases is at least 1, plus bias[j] + bias_2[j] where it is 2;
// plus the old c[s, i, j] where p.accumulate is 1. The sum over the parts, which column_sum.wgsl makes, is the product: so
// a product of few elements, each a long sum, has work for many workgroups.
// p: m, n, k; depth, a multiple of 4 where there are parts; element (i, k) of a is a[a_offset + i·a_row + k·a_col], of b
// likewise, so that transposed operands and rows of larger tensors need no copy. A workgroup computes TILE x TILE tiles of c,
// a thread BLOCKS x BLOCKS blocks of 4 x 4 elements, from strips of a and b that are DEPTH deep: just so deep that each
// thread loads one block of 4 x 4 for the next strip while the sums of this one are made. Buffers, loads and stores are in
// matmul_ones.wgsl or matmul_fours.wgsl, which follows. Twin: src/cpu/matmul.rs.

const DEPTH = 8u * THREADS * THREADS / TILE;
// Blocks along the side of a tile, of which one thread owns every THREADS-th.
const SIDE = TILE / 4u;
// A strip of a and one of b, stored by k.
var<workgroup> strips: array<vec4<f32>, 2u * DEPTH * SIDE>;

@compute @workgroup_size(THREADS, THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let first = group.z * p.depth;
    let end = min(p.k, first + p.depth);
    // The first half of the threads loads blocks of a, the other of b. Eight threads in succession take neighbours across k,
    // so that they meet other banks; the next eight go deeper.
    let of_a = index < THREADS * THREADS / 2u;
    let place = index % (THREADS * THREADS / 2u);
    let deep = place / 8u * 4u % DEPTH;
    let side = place % 8u + place / (2u * DEPTH) * 8u;
    let own = select(DEPTH * SIDE, 0u, of_a) + deep * SIDE + side;
    for (var row = group.y * TILE; row < p.m; row += groups.y * TILE) {
        for (var col = group.x * TILE; col < p.n; col += groups.x * TILE) {
            // ANCHOR: strips
            var sum = array<vec4<f32>, 4u * BLOCKS * BLOCKS>();
            var next = mat4x4<f32>();
            for (var start = first; start < end; start += DEPTH) {
                if start == first {
                    next = block(of_a, row + 4u * side, col + 4u * side, start + deep, end);
                }
                for (var q = 0u; q < 4u; q++) { // unroll
                    strips[own + q * SIDE] = next[q];
                }
                workgroupBarrier();
                if start + DEPTH < end {
                    next = block(of_a, row + 4u * side, col + 4u * side, start + DEPTH + deep, end);
                }
                for (var k = 0u; k < DEPTH; k++) {
                    var left: array<vec4<f32>, BLOCKS>;
                    var right: array<vec4<f32>, BLOCKS>;
                    for (var s = 0u; s < BLOCKS; s++) { // unroll
                        left[s] = strips[k * SIDE + s * THREADS + thread.y];
                        right[s] = strips[(DEPTH + k) * SIDE + s * THREADS + thread.x];
                    }
                    for (var i = 0u; i < BLOCKS; i++) { // unroll
                        for (var r = 0u; r < 4u; r++) { // unroll
                            for (var j = 0u; j < BLOCKS; j++) { // unroll
                                sum[(4u * i + r) * BLOCKS + j] += left[i][r] * right[j];
                            }
                        }
                    }
                }
                workgroupBarrier();
            }
            // ANCHOR_END: strips
            for (var j = 0u; j < BLOCKS; j++) { // unroll
                let at = col + 4u * (j * THREADS + thread.x);
                let more = added(group.z, at);
                for (var i = 0u; i < BLOCKS; i++) { // unroll
                    for (var r = 0u; r < 4u; r++) { // unroll
                        let own_row = row + 4u * (i * THREADS + thread.y) + r;
                        if own_row < p.m {
                            store(group.z, own_row, at, sum[(4u * i + r) * BLOCKS + j] + more);
                        }
                    }
                }
            }
        }
    }
}

// The block of a or b that a thread loads.
fn block(of_a: bool, row: u32, col: u32, k: u32, end: u32) -> mat4x4<f32> {
    if of_a {
        return block_of_a(row, k, end);
    }
    return block_of_b(k, col, end);
}
