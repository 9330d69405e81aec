// Matrix product as in matmul.wgsl, which has the equations and parameters, for few rows or few columns of c:
//     c[s, i, j] = Σ_k a(i, k)·b(k, j),   k from s·depth to (s + 1)·depth, or to K
// The time is then that of reading the larger factor once, and there are too few tiles of c to keep a GPU busy: so the
// threads of a workgroup share the sums instead.
//
// Threads: a workgroup has LANES lanes of QUADS_DOWN x QUADS_ACROSS threads. It computes DOWN·QUADS_DOWN by
// ACROSS·QUADS_ACROSS blocks of 4 x 4 elements of c: each thread DOWN x ACROSS of these, but only from the k that are its
// lane's. Then the sums of the lanes, SUMS vectors of each thread, are added in workgroup memory, in the order of the
// lanes. Buffers, loads and stores are in matmul_ones.wgsl or matmul_fours.wgsl, which follows.
// Twin: src/cpu/matmul.rs.

const QUADS = QUADS_DOWN * QUADS_ACROSS;
var<workgroup> sums: array<vec4<f32>, SUMS * LANES * QUADS>;

@compute @workgroup_size(QUADS, LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let rows = 4u * DOWN * QUADS_DOWN;
    let cols = 4u * ACROSS * QUADS_ACROSS;
    let first = group.z * p.depth;
    let end = min(p.k, first + p.depth);
    for (var row = group.y * rows; row < p.m; row += groups.y * rows) {
        for (var col = group.x * cols; col < p.n; col += groups.x * cols) {
            let own_row = row + 4u * (thread.x % QUADS_DOWN);
            let own_col = col + 4u * (thread.x / QUADS_DOWN);
            var sum = array<vec4<f32>, SUMS>();
            for (var k = first + 4u * thread.y; k < end; k += 4u * LANES) {
                var right: array<mat4x4<f32>, ACROSS>;
                for (var j = 0u; j < ACROSS; j++) { // unroll
                    right[j] = block_of_b(k, own_col + 4u * QUADS_ACROSS * j, end);
                }
                for (var i = 0u; i < DOWN; i++) { // unroll
                    if row + 4u * QUADS_DOWN * i < p.m {
                        let left = block_of_a(own_row + 4u * QUADS_DOWN * i, k, end);
                        for (var q = 0u; q < 4u; q++) { // unroll
                            for (var r = 0u; r < 4u; r++) { // unroll
                                for (var j = 0u; j < ACROSS; j++) { // unroll
                                    sum[(4u * i + r) * ACROSS + j] += left[q][r] * right[j][q];
                                }
                            }
                        }
                    }
                }
            }
            for (var s = 0u; s < SUMS; s++) { // unroll
                sums[(s * LANES + thread.y) * QUADS + thread.x] = sum[s];
            }
            workgroupBarrier();
            for (var e = index; e < SUMS * QUADS; e += LANES * QUADS) {
                let s = e / QUADS;
                let quad = e % QUADS;
                var total = vec4(0.0);
                for (var lane = 0u; lane < LANES; lane++) {
                    total += sums[(s * LANES + lane) * QUADS + quad];
                }
                let at = row + 4u * (s / ACROSS / 4u * QUADS_DOWN + quad % QUADS_DOWN) + s / ACROSS % 4u;
                if at < p.m {
                    let across = col + 4u * (s % ACROSS * QUADS_ACROSS + quad / QUADS_DOWN);
                    store(group.z, at, across, total + added(group.z, across));
                }
            }
            workgroupBarrier();
        }
    }
}
