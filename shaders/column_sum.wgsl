// Sums the rows: y[c] = Σ_r x[r, c], plus the old y[c] where p.accumulate is 1. The gradient of a bias.
// p: rows, cols, accumulate. A workgroup sums COLUMNS columns at a time, LANES threads to a column, of which each takes
// every LANES-th row; a tree adds up the lanes. Twin: src/cpu/column_sum.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [cols]

var<workgroup> sums: array<f32, LANES * COLUMNS>;

@compute @workgroup_size(COLUMNS, LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    for (var start = group.x * COLUMNS; start < p.cols; start += groups.x * COLUMNS) {
        let c = start + thread.x;
        var sum = 0.0;
        if c < p.cols {
            for (var r = thread.y; r < p.rows; r += LANES) {
                sum += x[r * p.cols + c];
            }
        }
        sums[index] = sum;
        for (var lanes = LANES / 2u; lanes > 0u; lanes /= 2u) {
            workgroupBarrier();
            if thread.y < lanes {
                sums[index] += sums[index + lanes * COLUMNS];
            }
        }
        if thread.y == 0u && c < p.cols {
            sum = sums[index];
            if p.accumulate == 1u {
                sum += y[c];
            }
            y[c] = sum;
        }
        workgroupBarrier(); // before the next columns overwrite the sums
    }
}
