// The products of a recurrent kernel, for layers of few units, of which one workgroup can hold all weights:
//     sums[c] = Σ_k source(row, k)·w_hh[k, c·H + unit],   k < inner(), c < COLUMNS
// w_hh is [inner(), COLUMNS·H], as in recurrent_tiles.wgsl. finish() of the cell's file then makes of the sums what they are
// for, and hands on each number that the next step is to multiply.
//
// Of several chains at once p.lowest + group.y is the chain, and each has weights of its own: w_hh is [D, inner(),
// COLUMNS·H].
//
// Threads: a workgroup has SLICES x UNITS of them. It makes all steps of one row of the batch, then those of another. Each
// thread loads the weights of one unit and of KEEP neighbouring k once, and holds them in registers. source(row, k) is in
// workgroup memory, where finish() has left it. So nothing that a sum is made of is loaded again; what finish() needs of its
// row (xw, gates, c) is. Two barriers part the steps: one before the sums of the slices are added, one before the next
// step. It takes H <= UNITS and inner() <= SLICES·KEEP; what is left over holds zeros.

// What the next step multiplies: source(row, k) for each k, and 0 beyond.
var<workgroup> held: array<f32, SLICES * KEEP>;
var<workgroup> partial: array<f32, SLICES * UNITS * COLUMNS>;

// Leaves x where the next step takes source(row, k) from.
fn hand_on(k: u32, x: Wide) {
    held[k] = x;
}

@compute @workgroup_size(SLICES * UNITS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let unit = index % UNITS;
    let first = index / UNITS * KEEP;
    let chain = p.lowest + group.y;
    let places = places_of(chain);
    if places.x == places.y {
        return;
    }
    let begins = multiplies(step_of(places.x, chain));
    var w = array<f32, KEEP * COLUMNS>();
    if begins || places.y - places.x > 1u {
        for (var n = 0u; n < KEEP; n++) { // unroll
            let k = min(first + n, inner() - 1u);
            let at = first_weight(chain) + k * COLUMNS * p.hidden + min(unit, p.hidden - 1u);
            let exists = first + n < inner() && unit < p.hidden;
            for (var c = 0u; c < COLUMNS; c++) { // unroll
                w[n * COLUMNS + c] = select(0.0, load_w_hh(at + c * p.hidden), exists);
            }
        }
    }
    // ANCHOR: loops
    for (var row = group.z; row < p.batch; row += groups.z) {
        let start = sources_of(row, step_of(places.x, chain));
        for (var k = index; k < SLICES * KEEP; k += SLICES * UNITS) {
            var x = 0.0;
            if begins && k < inner() {
                x = source(start + k);
            }
            held[k] = x;
        }
        workgroupBarrier();
        for (var place = places.x; place < places.y; place++) {
            let step = step_of(place, chain);
            var sums = Sums();
            if multiplies(step) {
                for (var n = 0u; n < KEEP; n++) { // unroll
                    let x = held[first + n];
                    for (var c = 0u; c < COLUMNS; c++) { // unroll
                        sums[c] += x * w[n * COLUMNS + c];
                    }
                }
            }
            for (var c = 0u; c < COLUMNS; c++) { // unroll
                partial[c * SLICES * UNITS + index] = sums[c];
            }
            workgroupBarrier();
            if index < UNITS && unit < p.hidden {
                var total = Sums();
                for (var slice = 0u; slice < SLICES; slice++) { // unroll
                    for (var c = 0u; c < COLUMNS; c++) { // unroll
                        total[c] += partial[(c * SLICES + slice) * UNITS + unit];
                    }
                }
                finish(row, unit, step, total);
            }
            workgroupBarrier();
        }
    }
    // ANCHOR_END: loops
}
