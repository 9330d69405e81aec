// Matrix product, as torch.matmul of two matrices; of a layer x·Wᵀ + b it is the whole:
//     c[s, i, j] = Σ_k a(i, k)·b(k, j),   k from s·depth to (s + 1)·depth, or to K
// for a [M, K], b [K, N] and c [parts, M, N]. Element (i, k) of a is a[a_offset + i·a_row + k·a_col], of b likewise: so
// transposed operands, and rows of larger tensors, need no copy. To part 0 is added bias[j] where p.biases is 1,
// bias[j] + bias_2[j] where it is 2; to each part the old c where p.accumulate is 1. Mostly there is one part, with depth
// K. A product with few elements and long sums is split into parts, so that there is work for many workgroups;
// column_sum.wgsl then adds up the parts.
//
// p: m, n, k (M, N, K), depth (a multiple of 4 where there are parts), a_offset, a_row, a_col, b_offset, b_row, b_col,
// biases, accumulate.
// Threads: a workgroup has THREADS x THREADS of them and computes tiles of TILE x TILE elements of c: a thread BLOCKS x
// BLOCKS blocks of 4 x 4. It does so from strips of a and b, DEPTH of k at a time, in workgroup memory, where each number
// serves TILE products. DEPTH is such that each thread loads just one block of 4 x 4 of the next strip, while the
// products of this one are made. Buffers, loads and stores are in matmul_ones.wgsl or matmul_fours.wgsl, which follows.
// matmul_few.wgsl, matmul_subgroup.wgsl and matmul_cooperative.wgsl compute the same in other ways;
// src/cpu/matmul_ways.rs chooses.
// Twin: src/cpu/matmul.rs.

const DEPTH = 8u * THREADS * THREADS / TILE;
// Blocks along a side of a tile; a thread owns every THREADS-th of them.
const SIDE = TILE / 4u;
// A strip of a, then one of b: of each k the SIDE vectors along the strip.
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
    // The first half of the threads loads blocks of a, the second half blocks of b. Eight successive threads take blocks that
    // are neighbours along the strip, so that they write to different banks of workgroup memory; the next eight go deeper in k.
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
