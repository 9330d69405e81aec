// Sums over the middle dimension, as torch.sum(x, dim): for x [outer, pitch, cols],
//     y[o, c] = scale·Σ_r x[o, r, c],   r from start to start + rows; plus the old y[o, c] where p.accumulate is 1
// With outer 1 this is the gradient of a bias: the sum of dy over its rows.
//
// Gradients that cancel, as those of an L1 loss do, must give 0 and not a remainder: an optimizer that divides by the
// size of the gradient (Adam) would take any remainder for a direction. So what each addition rounds away is added up as
// well.
//
// p: outer, rows, cols, start, pitch, scale, accumulate.
// Threads: a workgroup has LANES x COLUMNS of them. It sums COLUMNS columns of one o at a time, with LANES threads for
// each column: each takes every LANES-th row, and a tree adds up the lanes. Neighbouring threads read neighbouring
// elements.
// Twin: src/cpu/column_sum.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [outer, pitch, cols]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [outer, cols]

var<workgroup> sums: array<vec2<f32>, LANES * COLUMNS>;

// x, as a number that no compiler knows where it comes from: some take a + b - a for b.
fn opaque(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) ^ (p.accumulate >> 1u)); // accumulate is 0 or 1
}

// sum.x + x, what that rounds away added to sum.y (Knuth, The Art of Computer Programming 2, 4.2.2).
fn add_exactly(sum: vec2<f32>, x: f32) -> vec2<f32> {
    let s = opaque(sum.x + x);
    let added = opaque(s - sum.x);
    return vec2(s, sum.y + (sum.x - (s - added)) + (x - added));
}

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
        var sum = vec2(0.0);
        if c < p.cols {
            for (var r = thread.y; r < p.rows; r += LANES) {
                sum = add_exactly(sum, load_x((o * p.pitch + p.start + r) * p.cols + c));
            }
        }
        sums[index] = sum;
        for (var lanes = LANES / 2u; lanes > 0u; lanes /= 2u) {
            workgroupBarrier();
            if thread.y < lanes {
                let other = sums[index + lanes * COLUMNS];
                sums[index] = add_exactly(sums[index], other.x) + vec2(0.0, other.y);
            }
        }
        if thread.y == 0u && c < p.cols {
            var total = p.scale * (sums[index].x + sums[index].y);
            if p.accumulate == 1u {
                total += load_y(o * p.cols + c);
            }
            store_y(o * p.cols + c, total);
        }
        workgroupBarrier(); // before the next columns overwrite the sums
    }
}
