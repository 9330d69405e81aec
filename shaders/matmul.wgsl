// Matrix product: c[i, j] = Σ_k a(i, k) · b(k, j), plus the old c[i, j] where p.accumulate is 1.
// p: m, n, k; element (i, k) of a is a[a_offset + i·a_row + k·a_col], of b likewise, so that transposed operands and
// rows of larger tensors need no copy. A workgroup computes TILE x TILE tiles of c, a thread SIDE x SIDE elements of
// it, from strips of a and b that are DEPTH deep. Twin: src/cpu/matmul.rs.

@group(0) @binding(0) var<storage, read> a: array<f32>; // [m, k] by strides
@group(0) @binding(1) var<storage, read> b: array<f32>; // [k, n] by strides
@group(0) @binding(2) var<storage, read_write> c: array<f32>; // [m, n]

const SIDE = TILE / THREADS;
// Strips of a and b, stored by k. One more column than needed: threads that store along k then meet other banks.
const PITCH = TILE + 1u;
var<workgroup> strip_a: array<f32, DEPTH * PITCH>;
var<workgroup> strip_b: array<f32, DEPTH * PITCH>;

@compute @workgroup_size(THREADS, THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    for (var row = group.y * TILE; row < p.m; row += groups.y * TILE) {
        for (var col = group.x * TILE; col < p.n; col += groups.x * TILE) {
            var sum = array<f32, SIDE * SIDE>();
            for (var start = 0u; start < p.k; start += DEPTH) {
                for (var e = index; e < TILE * DEPTH; e += THREADS * THREADS) {
                    // Neighbouring threads read neighbouring elements: along k where that is the dense direction, else across it.
                    let a_at = select(vec2(e % TILE, e / TILE), vec2(e / DEPTH, e % DEPTH), p.a_col == 1u);
                    let i = row + a_at.x;
                    let ka = start + a_at.y;
                    var value = 0.0;
                    if i < p.m && ka < p.k {
                        value = a[p.a_offset + i * p.a_row + ka * p.a_col];
                    }
                    strip_a[a_at.y * PITCH + a_at.x] = value;
                    let b_at = select(vec2(e % TILE, e / TILE), vec2(e / DEPTH, e % DEPTH), p.b_row == 1u);
                    let j = col + b_at.x;
                    let kb = start + b_at.y;
                    value = 0.0;
                    if j < p.n && kb < p.k {
                        value = b[p.b_offset + kb * p.b_row + j * p.b_col];
                    }
                    strip_b[b_at.y * PITCH + b_at.x] = value;
                }
                workgroupBarrier();
                for (var k = 0u; k < DEPTH; k++) {
                    var left: array<f32, SIDE>;
                    var right: array<f32, SIDE>;
                    for (var s = 0u; s < SIDE; s++) {
                        left[s] = strip_a[k * PITCH + thread.y + s * THREADS];
                        right[s] = strip_b[k * PITCH + thread.x + s * THREADS];
                    }
                    for (var i = 0u; i < SIDE; i++) {
                        for (var j = 0u; j < SIDE; j++) {
                            sum[i * SIDE + j] += left[i] * right[j];
                        }
                    }
                }
                workgroupBarrier();
            }
            for (var i = 0u; i < SIDE; i++) {
                for (var j = 0u; j < SIDE; j++) {
                    let r = row + thread.y + i * THREADS;
                    let s = col + thread.x + j * THREADS;
                    if r < p.m && s < p.n {
                        let at = r * p.n + s;
                        var old = 0.0;
                        if p.accumulate == 1u {
                            old = c[at];
                        }
                        c[at] = old + sum[i * SIDE + j];
                    }
                }
            }
        }
    }
}
