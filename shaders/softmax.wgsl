// Softmax of rows, or its logarithm (torch.softmax, torch.log_softmax, over the last dimension):
//     z[r, c] = x[r, c] - max_k x[r, k]
//     y[r, c] = e^z[r, c] / Σ_k e^z[r, k];   where p.log is 1, z[r, c] - log Σ_k e^z[r, k]
// Subtracting the maximum does not change the result, but no power overflows.
//
// p: rows, cols, log.
// Threads: a workgroup takes a row; trees in workgroup memory find its maximum and its sum.
// Twin: src/cpu/softmax.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [rows, cols]

var<workgroup> parts: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    for (var row = group.x; row < p.rows; row += groups.x) {
        let start = row * p.cols;
        var own = load_x(start);
        for (var c = index; c < p.cols; c += GROUP) {
            own = max(own, load_x(start + c));
        }
        parts[index] = own;
        for (var threads = GROUP / 2u; threads > 0u; threads /= 2u) {
            workgroupBarrier();
            if index < threads {
                parts[index] = max(parts[index], parts[index + threads]);
            }
        }
        workgroupBarrier();
        let largest = parts[0];
        workgroupBarrier(); // before the sums overwrite it
        var sum = 0.0;
        for (var c = index; c < p.cols; c += GROUP) {
            let z = load_x(start + c) - largest;
            sum += keep_nan(z, exp_nonpositive(z));
        }
        parts[index] = sum;
        for (var threads = GROUP / 2u; threads > 0u; threads /= 2u) {
            workgroupBarrier();
            if index < threads {
                parts[index] += parts[index + threads];
            }
        }
        workgroupBarrier();
        sum = parts[0];
        for (var c = index; c < p.cols; c += GROUP) {
            let z = load_x(start + c) - largest;
            if p.log == 1u {
                store_y(start + c, z - logarithm(sum));
            } else {
                store_y(start + c, keep_nan(z, exp_nonpositive(z)) / sum);
            }
        }
        workgroupBarrier(); // before the next row overwrites the sum
    }
}
