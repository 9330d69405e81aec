// Gradient of a softmax of rows from its output y and dy = ∂loss/∂y:
//     dx[r, c] = y[r, c]·(dy[r, c] - Σ_k dy[r, k]·y[r, k]);   where p.log is 1, dy[r, c] - e^y[r, c]·Σ_k dy[r, k]
// Where p.log is 1, y is the logarithm of a softmax.
//
// p: rows, cols, log.
// Threads: a workgroup takes a row; threads_of_workgroup.wgsl or threads_of_subgroup.wgsl, which follows, finds its
// sum.
// Twin: src/cpu/softmax_backward.rs.

@group(0) @binding(0) var<storage, read> y: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read> dy: array<f32>; // [rows, cols]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>; // [rows, cols]

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    for (var row = group.x; row < p.rows; row += groups.x) {
        let start = row * p.cols;
        var sum = 0.0;
        for (var c = index; c < p.cols; c += THREADS) {
            if p.log == 1u {
                sum += load_dy(start + c);
            } else {
                sum += load_dy(start + c) * load_y(start + c);
            }
        }
        sum = sum_of_threads(index, sum);
        for (var c = index; c < p.cols; c += THREADS) {
            let out = load_y(start + c);
            if p.log == 1u {
                store_dx(start + c, load_dy(start + c) - keep_nan(out, exp_nonpositive(out)) * sum);
            } else {
                store_dx(start + c, out * (load_dy(start + c) - sum));
            }
        }
    }
}
