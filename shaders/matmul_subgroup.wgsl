// Matrix product as in matmul.wgsl, which has the equations and parameters, by a subgroup of 8 threads, with neither
// workgroup memory nor barriers; for adapters on which loads cost more than arithmetic (software such as llvmpipe):
//     c[s, i, j] = Σ_k a(i, k)·b(k, j),   k from s·depth to (s + 1)·depth, or to K
// Everything that could stay a loop is unrolled: an index or a lane that is not a constant costs llvmpipe five to ten
// times as much.
//
// Threads: a workgroup is one subgroup. It computes ROWS rows of 32 columns of c, each thread 4 of the columns. Of 8 rows
// and 4 k of a, each thread loads an eighth, and a broadcast brings each number to all threads. Loads are in
// matmul_any.wgsl, matmul_nn.wgsl, matmul_nt.wgsl or matmul_tn.wgsl, by the arrangement of a and b; buffers and stores in
// matmul_ones.wgsl or matmul_fours.wgsl.
// Twin: src/cpu/matmul.rs.

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let first = group.z * p.depth;
    let end = min(p.k, first + p.depth);
    for (var row = group.y * ROWS; row < p.m; row += groups.y * ROWS) {
        for (var cols = group.x * 32u; cols < p.n; cols += groups.x * 32u) {
            let col = cols + 4u * lane;
            var sum = array<vec4<f32>, ROWS>();
            for (var k = first; k < end; k += 4u) {
                let right = rows_of_b(k, col); // [4, 4]
                for (var block = 0u; block < BLOCKS; block++) { // unroll
                    let left = eighth_of_a(row + 8u * block, k, lane);
                    for (var i = 0u; i < 8u; i++) { // unroll
                        for (var q = 0u; q < 4u; q++) { // unroll
                            // Number (i, q) of the block is one of a thread's four.
                            const thread = TURNED * (i / 4u * 4u + q) + (1u - TURNED) * i;
                            const number = TURNED * (i % 4u) + (1u - TURNED) * q;
                            sum[8u * block + i] += subgroupBroadcast(left[number], thread) * right[q];
                        }
                    }
                }
            }
            let more = added(group.z, col);
            for (var i = 0u; i < ROWS; i++) { // unroll
                if row + i < p.m {
                    store(group.z, row + i, col, sum[i] + more);
                }
            }
        }
    }
}
