// The products of a recurrent kernel, for GPUs: sums[row, unit] = Σ_k source(row, k) · w_hh[k, columns of the unit].
// A workgroup has THREADS = SLICES · UNITS threads. It takes ROWS = ROUNDS · ROUND rows of the batch and, block after block, UNITS units:
// a thread adds up, for one unit and all rows, every SLICES-th k, and the sums of the slices are added in workgroup memory,
// ROUND rows in each of ROUNDS rounds. Neighbouring threads read neighbouring weights.
// With one workgroup in x it may make several steps: it then owns its rows through all of them, and a barrier makes
// the new states visible to its threads. With more workgroups in x a launch makes one step.

alias Weights = f32;

// The next step reads what it multiplies from memory.
fn hand_on(k: u32, x: f32) {
}

var<workgroup> partial: array<f32, SLICES * UNITS * ROUND * COLUMNS>;

@compute @workgroup_size(SLICES * UNITS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let slice = index / UNITS;
    let pitch = COLUMNS * p.hidden;
    // ANCHOR: loops
    for (var row = group.y * ROWS; row < p.batch; row += groups.y * ROWS) {
        for (var s = 0u; s < p.steps; s++) {
            let step = step_of(s);
            for (var block = group.x * UNITS; block < p.hidden; block += groups.x * UNITS) {
                let unit = min(block + index % UNITS, p.hidden - 1u);
                var sums = array<f32, ROWS * COLUMNS>();
                if multiplies(step) {
                    var rows: array<u32, ROWS>;
                    for (var r = 0u; r < ROWS; r++) { // unroll
                        rows[r] = row_of(min(row + r, p.batch - 1u), step);
                    }
                    for (var k = slice; k < inner(); k += SLICES) {
                        var w: Sums;
                        for (var c = 0u; c < COLUMNS; c++) { // unroll
                            w[c] = load_w_hh(k * pitch + c * p.hidden + unit);
                        }
                        for (var r = 0u; r < ROWS; r++) { // unroll
                            let x = source(rows[r] + k);
                            for (var c = 0u; c < COLUMNS; c++) { // unroll
                                sums[r * COLUMNS + c] += x * w[c];
                            }
                        }
                    }
                }
                for (var round = 0u; round < ROUNDS; round++) { // unroll
                    const start = round * ROUND;
                    for (var r = 0u; r < ROUND; r++) { // unroll
                        for (var c = 0u; c < COLUMNS; c++) { // unroll
                            let at = (r * COLUMNS + c) * SLICES * UNITS;
                            partial[at + index] = sums[(start + r) * COLUMNS + c];
                        }
                    }
                    workgroupBarrier();
                    for (var i = index; i < ROUND * UNITS; i += SLICES * UNITS) {
                        let r = i / UNITS;
                        let lane = i % UNITS;
                        var total: Sums;
                        for (var c = 0u; c < COLUMNS; c++) {
                            let at = (r * COLUMNS + c) * SLICES * UNITS + lane;
                            var sum = 0.0;
                            for (var k = 0u; k < SLICES; k++) {
                                sum += partial[at + k * UNITS];
                            }
                            total[c] = sum;
                        }
                        if row + start + r < p.batch && block + lane < p.hidden {
                            finish(row + start + r, block + lane, step, total);
                        }
                    }
                    workgroupBarrier();
                }
            }
            storageBarrier();
        }
    }
    // ANCHOR_END: loops
}
