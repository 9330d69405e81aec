// Sums rows: for each of `outer` matrices x[o] of `pitch` rows, y[o, c] = scale · Σ_r x[o, start + r, c] over `rows` rows,
// plus the old y[o, c] where p.accumulate is 1. The gradient of a bias, and the sum over any dimension.
// p: outer, rows, cols, start, pitch, scale, accumulate. A workgroup sums COLUMNS columns of a matrix at a time, LANES
// threads to a column, of which each takes every LANES-th row; a tree adds up the lanes. Twin: src/cpu/column_sum.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [outer, pitch, cols]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [outer, cols]

var<workgroup> sums: array<f32, LANES * COLUMNS>;

@compute @workgroup_size(COLUMNS, LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let blocks = (p.cols + COLUMNS - 1u) / COLUMNS;
    for (var block = group.x; block < p.outer * blocks; block += groups.x) {
        let o = block / blocks;
        let c = block % blocks * COLUMNS + thread.x;
        var sum = 0.0;
        if c < p.cols {
            for (var r = thread.y; r < p.rows; r += LANES) {
                sum += x[(o * p.pitch + p.start + r) * p.cols + c];
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
            sum = p.scale * sums[index];
            if p.accumulate == 1u {
                sum += y[o * p.cols + c];
            }
            y[o * p.cols + c] = sum;
        }
        workgroupBarrier(); // before the next columns overwrite the sums
    }
}
