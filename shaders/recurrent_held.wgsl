// The products of a recurrent kernel, for layers of few units: sums[unit] = Σ_k source(row, k) · w_hh[k, columns of the unit].
// A workgroup makes all steps of one row of the batch, then of the next. Weights are loaded once and stay in registers: each of
// the SLICES · UNITS threads holds those of one unit and of KEEP neighbouring k. The row that they are multiplied by stays in
// workgroup memory, where finish puts each element of the next one. So a step waits for two barriers, but for no weight and
// no state from further away. It needs hidden <= UNITS and inner() <= SLICES · KEEP.

alias Weights = f32;

// source(row, k) for each k, and 0 beyond.
var<workgroup> held: array<f32, SLICES * KEEP>;
var<workgroup> partial: array<f32, SLICES * UNITS * COLUMNS>;

// Element k of the row that the next step multiplies.
fn hand_on(k: u32, x: f32) {
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
    let begins = multiplies(step_of(0u));
    var w = array<f32, KEEP * COLUMNS>();
    if begins || p.steps > 1u {
        for (var n = 0u; n < KEEP; n++) { // unroll
            let k = min(first + n, inner() - 1u);
            let at = k * COLUMNS * p.hidden + min(unit, p.hidden - 1u);
            let exists = first + n < inner() && unit < p.hidden;
            for (var c = 0u; c < COLUMNS; c++) { // unroll
                w[n * COLUMNS + c] = select(0.0, load_w_hh(at + c * p.hidden), exists);
            }
        }
    }
    // ANCHOR: loops
    for (var row = group.y; row < p.batch; row += groups.y) {
        let start = row_of(row, step_of(0u));
        for (var k = index; k < SLICES * KEEP; k += SLICES * UNITS) {
            var x = 0.0;
            if begins && k < inner() {
                x = source(start + k);
            }
            held[k] = x;
        }
        workgroupBarrier();
        for (var s = 0u; s < p.steps; s++) {
            let step = step_of(s);
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
