// Softmax of rows, or its logarithm (torch.softmax, torch.log_softmax, over the last dimension):
//     z[r, c] = x[r, c] - max_k x[r, k]
//     y[r, c] = e^z[r, c] / Σ_k e^z[r, k];   where p.log is 1, z[r, c] - log Σ_k e^z[r, k]
// Subtracting the maximum does not change the result, but no power overflows.
//
// p: rows, cols, log.
// Threads: a workgroup takes a row; threads_of_workgroup.wgsl or threads_of_subgroup.wgsl, which follows, finds its
// maximum and its sum.
// Twin: src/cpu/softmax.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [rows, cols]

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    for (var row = group.x; row < p.rows; row += groups.x) {
        let start = row * p.cols;
        var own = load_x(start);
        for (var c = index; c < p.cols; c += THREADS) {
            own = max(own, load_x(start + c));
        }
        let largest = largest_of_threads(index, own);
        var sum = 0.0;
        for (var c = index; c < p.cols; c += THREADS) {
            let z = load_x(start + c) - largest;
            sum += keep_nan(z, exp_nonpositive(z));
        }
        sum = sum_of_threads(index, sum);
        for (var c = index; c < p.cols; c += THREADS) {
            let z = load_x(start + c) - largest;
            if p.log == 1u {
                store_y(start + c, z - logarithm(sum));
            } else {
                store_y(start + c, keep_nan(z, exp_nonpositive(z)) / sum);
            }
        }
    }
}
