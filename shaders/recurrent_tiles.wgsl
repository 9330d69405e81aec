// The products of a recurrent kernel, for GPUs: of each row of the batch and each unit
//     sums[c] = Σ_k source(row, k)·w_hh[k, c·H + unit],   k < inner(), c < COLUMNS
// w_hh is [inner(), COLUMNS·H]: COLUMNS is the number of sums that a unit needs (4 in an LSTM's forward pass). finish()
// of the cell's file then makes of them what they are for.
//
// Of several chains at once p.lowest + group.y is the chain, and each has weights of its own: w_hh is [D, inner(),
// COLUMNS·H].
//
// Threads: a workgroup has SLICES x UNITS of them. It takes ROWS rows of the batch and, block after block, UNITS units.
// Each thread adds up, for one unit and all ROWS rows, every SLICES-th k; so a weight is loaded once for ROWS rows, and
// neighbouring threads load neighbouring weights. The sums of the slices are then added in workgroup memory, ROUND rows
// at a time in ROUNDS rounds (ROWS = ROUNDS·ROUND), so that little of that memory is enough. With one workgroup in x a
// launch may make several steps: the workgroup then owns its rows through all of them, and a barrier makes the new states
// visible to its threads. With more workgroups in x a launch makes one step.

// Nothing: the next step loads what it multiplies.
fn hand_on(k: u32, x: Wide) {
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
    let chain = p.lowest + group.y;
    let weights = first_weight(chain);
    let places = places_of(chain);
    // ANCHOR: loops
    for (var row = group.z * ROWS; row < p.batch; row += groups.z * ROWS) {
        for (var place = places.x; place < places.y; place++) {
            let step = step_of(place, chain);
            for (var block = group.x * UNITS; block < p.hidden; block += groups.x * UNITS) {
                let unit = min(block + index % UNITS, p.hidden - 1u);
                var sums = array<f32, ROWS * COLUMNS>();
                if multiplies(step) {
                    var rows: array<u32, ROWS>;
                    for (var r = 0u; r < ROWS; r++) { // unroll
                        rows[r] = sources_of(min(row + r, p.batch - 1u), step);
                    }
                    for (var k = slice; k < inner(); k += SLICES) {
                        var w: Sums;
                        for (var c = 0u; c < COLUMNS; c++) { // unroll
                            w[c] = load_w_hh(weights + k * pitch + c * p.hidden + unit);
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
