// Matrix product as in matmul.wgsl, which has the equations and parameters, by cooperative matrices (the tensor cores of
// a GPU):
//     c[s, i, j] = Σ_k a(i, k)·b(k, j),   k from s·depth to (s + 1)·depth, or to K
// a and b are stored as `f16`, the others as f32. Loads are not checked against the ends of buffers: so m and n must be
// multiples of 16·SIDE; k, depth, the offsets and those strides that are not 1 multiples of 16.
//
// Threads: a workgroup is one subgroup of 32. Together they hold SIDE x SIDE matrices of 16 x 16 sums, and multiply
// matrices of a and b that they load straight from the buffers: `coopLoad` reads column by column, `coopLoadT` row by
// row. There is neither workgroup memory nor a barrier, because naga 30 gives such modules Vulkan's memory model but not
// the flags by which its barriers would order anything (gfx-rs/wgpu#8805). None is needed: nobody reads here what another
// workgroup writes.
// Twin: src/cpu/matmul.rs.

@group(0) @binding(0) var<storage, read> a: array<f32>; // [m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<f32>; // [k, n] by strides
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [n]; absent where p.biases is 0
@group(0) @binding(3) var<storage, read> bias_2: array<f32>; // [n]; absent unless p.biases is 2
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [parts, m, n]

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let side = 16u * SIDE;
    let first = group.z * p.depth;
    let end = min(p.k, first + p.depth);
    for (var row = group.y * side; row < p.m; row += groups.y * side) {
        for (var col = group.x * side; col < p.n; col += groups.x * side) {
            var sum = array<coop_mat16x16<f32, C>, SIDE * SIDE>();
            var left: array<coop_mat16x16<f16, A>, SIDE>;
            var right: array<coop_mat16x16<f16, B>, SIDE>;
            for (var k = first; k < end; k += 16u) {
                if p.a_col == 1u {
                    for (var i = 0u; i < SIDE; i++) { // unroll
                        left[i] = coopLoadT<coop_mat16x16<f16, A>>(&a[p.a_offset + (row + 16u * i) * p.a_row + k], p.a_row);
                    }
                } else {
                    for (var i = 0u; i < SIDE; i++) { // unroll
                        left[i] = coopLoad<coop_mat16x16<f16, A>>(&a[p.a_offset + row + 16u * i + k * p.a_col], p.a_col);
                    }
                }
                if p.b_col == 1u {
                    for (var j = 0u; j < SIDE; j++) { // unroll
                        right[j] = coopLoadT<coop_mat16x16<f16, B>>(&b[p.b_offset + k * p.b_row + col + 16u * j], p.b_row);
                    }
                } else {
                    for (var j = 0u; j < SIDE; j++) { // unroll
                        right[j] = coopLoad<coop_mat16x16<f16, B>>(&b[p.b_offset + k + (col + 16u * j) * p.b_col], p.b_col);
                    }
                }
                for (var i = 0u; i < SIDE; i++) { // unroll
                    for (var j = 0u; j < SIDE; j++) { // unroll
                        sum[SIDE * i + j] = coopMultiplyAdd(left[i], right[j], sum[SIDE * i + j]);
                    }
                }
            }
            if group.z == 0u {
                // One `if` in the other: naga takes `&&` for control flow that is not uniform.
                if p.biases > 0u {
                    for (var j = 0u; j < SIDE; j++) { // unroll
                        // All rows begin at the same number.
                        var added = coopLoadT<coop_mat16x16<f32, C>>(&bias[col + 16u * j], 0u);
                        if p.biases == 2u {
                            added = added + coopLoadT<coop_mat16x16<f32, C>>(&bias_2[col + 16u * j], 0u);
                        }
                        for (var i = 0u; i < SIDE; i++) { // unroll
                            sum[SIDE * i + j] = sum[SIDE * i + j] + added;
                        }
                    }
                }
            }
            for (var i = 0u; i < SIDE; i++) { // unroll
                for (var j = 0u; j < SIDE; j++) { // unroll
                    // By names: naga 30 does not evaluate what stands in the call itself.
                    let at = (group.z * p.m + row + 16u * i) * p.n + col + 16u * j;
                    let pitch = p.n;
                    if p.accumulate == 1u {
                        sum[SIDE * i + j] = sum[SIDE * i + j] + coopLoadT<coop_mat16x16<f32, C>>(&c[at], pitch);
                    }
                    let total = sum[SIDE * i + j];
                    coopStoreT(total, &c[at], pitch);
                }
            }
        }
    }
}
