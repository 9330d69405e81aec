// The products of a recurrent kernel, for adapters on which barriers and workgroup memory cost more than they save
// (software such as llvmpipe): of each row of the batch and each unit
//     sums[c] = Σ_k source(row, k)·w_hh[k, c·H + unit],   k < inner(), c < COLUMNS
// as in recurrent_tiles.wgsl.
//
// Of several chains at once p.lowest + group.y is the chain, and each has weights of its own: w_hh is [D, inner(),
// COLUMNS·H].
//
// Threads: a workgroup is one subgroup of 8 lanes. It takes 16 rows of the batch and, block after block, 8·WIDE units, of
// which each lane has WIDE neighbours (units_of_one.wgsl or units_of_four.wgsl, which follows). Of WIDE neighbouring k a
// lane loads the source of two rows, and of each k the subgroup broadcasts all 16 to every lane. With one workgroup in x a launch may make
// several steps: the workgroup then owns its rows through all of them, and a barrier makes the new states visible to its
// lanes. With more workgroups in x a launch makes one step.

// Nothing: the next step loads what it multiplies.
fn hand_on(k: u32, x: Wide) {
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let pitch = COLUMNS * p.hidden;
    let chain = p.lowest + group.y;
    let weights = first_weight(chain);
    let places = places_of(chain);
    for (var row = group.z * 16u; row < p.batch; row += groups.z * 16u) {
        for (var place = places.x; place < places.y; place++) {
            let step = step_of(place, chain);
            for (var block = group.x * 8u * WIDE; block < p.hidden; block += groups.x * 8u * WIDE) {
                let first = block + lane * WIDE;
                let unit = min(first, p.hidden - WIDE);
                var low = array<Wide, 8u * COLUMNS>();
                var high = array<Wide, 8u * COLUMNS>();
                if multiplies(step) {
                    let row_low = sources_of(min(row + lane, p.batch - 1u), step);
                    let row_high = sources_of(min(row + 8u + lane, p.batch - 1u), step);
                    for (var k = 0u; k < inner(); k += WIDE) {
                        let x_low = source(wide(row_low + k));
                        let x_high = source(wide(row_high + k));
                        for (var q = 0u; q < WIDE; q++) { // unroll
                            let at = weights + (k + q) * pitch + unit;
                            var w: array<Wide, COLUMNS>;
                            for (var c = 0u; c < COLUMNS; c++) { // unroll
                                w[c] = load_w_hh(wide(at + c * p.hidden));
                            }
                            for (var r = 0u; r < 8u; r++) { // unroll
                                let x_low_k = element(x_low, q);
                                let x_high_k = element(x_high, q);
                                let x = vec2(subgroupBroadcast(x_low_k, r), subgroupBroadcast(x_high_k, r));
                                for (var c = 0u; c < COLUMNS; c++) { // unroll
                                    low[r * COLUMNS + c] += x.x * w[c];
                                    high[r * COLUMNS + c] += x.y * w[c];
                                }
                            }
                        }
                    }
                }
                // Copies, so that only they are indexed by variables: the sums themselves stay in registers.
                var sums: array<Wide, 16u * COLUMNS>;
                for (var r = 0u; r < 8u; r++) { // unroll
                    for (var c = 0u; c < COLUMNS; c++) { // unroll
                        sums[r * COLUMNS + c] = low[r * COLUMNS + c];
                        sums[(8u + r) * COLUMNS + c] = high[r * COLUMNS + c];
                    }
                }
                for (var r = 0u; r < min(16u, p.batch - row); r++) {
                    var total: Sums;
                    for (var c = 0u; c < COLUMNS; c++) { // unroll
                        total[c] = sums[r * COLUMNS + c];
                    }
                    if first < p.hidden {
                        finish(row + r, wide(unit), step, total);
                    }
                }
            }
            storageBarrier();
        }
    }
}
