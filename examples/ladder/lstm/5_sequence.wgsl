// Rung 5: all steps in one launch. A workgroup owns one row of the batch from the first step to the last, and keeps h and c
// of it in workgroup memory. No row needs what another computes, so that workgroups need not wait for each other: within
// one, a barrier ends each step.

const MOST: u32 = 1024u; // units, of which a thread has every 64th

@group(0) @binding(0) var<storage, read> xw: array<f32>; // x·W_ihᵀ [T, B, 4H]
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // W_hhᵀ [H, 4H]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [4H]
@group(0) @binding(3) var<storage, read_write> h: array<f32>; // [T, B, H]

// h before a step and after it, by turns: what is read in a step is not written in it.
var<workgroup> state: array<f32, 2048>;
var<workgroup> c: array<f32, 1024>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let row = group.x;
    for (var unit = index; unit < p.hidden; unit += 64u) {
        state[unit] = 0.0;
        c[unit] = 0.0;
    }
    workgroupBarrier();
    for (var t = 0u; t < p.time; t++) {
        let before = (t % 2u) * MOST;
        let after = MOST - before;
        let first = t * p.batch + row;
        for (var unit = index; unit < p.hidden; unit += 64u) {
            var sum = vec4(0.0); // of i, f, g, o
            for (var k = 0u; k < p.hidden; k++) {
                sum += state[before + k] * four(k * 4u * p.hidden + unit);
            }
            for (var gate = 0u; gate < 4u; gate++) { // unroll
                sum[gate] += xw[first * 4u * p.hidden + gate * p.hidden + unit] + bias[gate * p.hidden + unit];
            }
            let cell = sigmoid(sum.y) * c[unit] + sigmoid(sum.x) * tanh_rational(sum.z);
            let out = sigmoid(sum.w) * tanh_rational(cell);
            c[unit] = cell;
            state[after + unit] = out;
            h[first * p.hidden + unit] = out;
        }
        workgroupBarrier();
    }
}

// The weights of a unit's four gates.
fn four(at: u32) -> vec4<f32> {
    return vec4(w_hh[at], w_hh[at + p.hidden], w_hh[at + 2u * p.hidden], w_hh[at + 3u * p.hidden]);
}
