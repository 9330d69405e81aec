// Sums over the middle dimension, as torch.sum(x, dim): for x [outer, pitch, cols],
//     y[o, c] = scale·Σ_r x[o, r, c],   r from start to start + rows; plus the old y[o, c] where p.accumulate is 1
// With outer 1 this is the gradient of a bias: the sum of dy over its rows.
//
// Gradients that cancel, as those of an L1 loss do, must give 0 and not a remainder: an optimizer that divides by the
// size of the gradient (Adam) would take any remainder for a direction. So what each addition rounds away is added up as
// well.
//
// p: outer, rows, cols, start, pitch, scale, accumulate.
// Threads: a workgroup has LANES x COLUMNS of them. It sums COLUMNS columns of one o at a time, or four times as many
// (elements_of_one.wgsl or elements_of_four.wgsl, which follows), with LANES threads for each: each takes every LANES-th
// row, and a tree adds up the lanes. Neighbouring threads read neighbouring elements.
// Twin: src/cpu/column_sum.rs.

@group(0) @binding(0) var<storage, read> x: array<Elements>; // [outer, pitch, cols]
@group(0) @binding(1) var<storage, read_write> y: array<Elements>; // [outer, cols]

// A sum, and what has been rounded away of it.
struct Sum {
    rounded: Elements,
    rest: Elements,
}

var<workgroup> sums: array<Sum, LANES * COLUMNS>;

// x times 1, a factor that no compiler knows: some would take a + b - a for b.
fn opaque(x: Elements) -> Elements {
    return x * f32(1u + (p.accumulate >> 1u)); // accumulate is 0 or 1
}

// sum + x (Knuth, The Art of Computer Programming 2, 4.2.2).
fn add_exactly(sum: Sum, x: Elements) -> Sum {
    let s = opaque(sum.rounded + x);
    let added = opaque(s - sum.rounded);
    return Sum(s, sum.rest + (sum.rounded - (s - added)) + (x - added));
}

// Waits for the other threads of the workgroup, where a column has several. (A barrier costs software much.)
fn wait() {
    if LANES > 1u {
        workgroupBarrier();
    }
}

@compute @workgroup_size(COLUMNS, LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let cols = p.cols / WIDE;
    let blocks = (cols + COLUMNS - 1u) / COLUMNS;
    for (var block = group.x; block < p.outer * blocks; block += groups.x) {
        let o = block / blocks;
        let c = block % blocks * COLUMNS + thread.x;
        var sum = Sum();
        if c < cols {
            for (var r = thread.y; r < p.rows; r += LANES) {
                sum = add_exactly(sum, load_x((o * p.pitch + p.start + r) * cols + c));
            }
        }
        sums[index] = sum;
        for (var lanes = LANES / 2u; lanes > 0u; lanes /= 2u) {
            wait();
            if thread.y < lanes {
                let other = sums[index + lanes * COLUMNS];
                sums[index] = add_exactly(sums[index], other.rounded);
                sums[index].rest += other.rest;
            }
        }
        if thread.y == 0u && c < cols {
            var total = p.scale * (sums[index].rounded + sums[index].rest);
            if p.accumulate == 1u {
                total += load_y(o * cols + c);
            }
            store_y(o * cols + c, total);
        }
        wait(); // before the next columns overwrite the sums
    }
}
