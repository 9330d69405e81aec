// Steps of the backward pass of a GRU layer, in the opposite order of the forward pass:
//     dh_t = dy_t + dh + da_h·W_hh
//     da_n = dh_t ⊙ (1 − z) ⊙ (1 − n²),   da_r = da_n ⊙ q ⊙ r(1 − r),   da_z = dh_t ⊙ (h − n) ⊙ z(1 − z)
// where da_h is that of the step before (none at the first of all), dh what else arrives at the state (the gradient of the
// final state, and dh_t ⊙ z of the step before), and h the state before the step. The parts of x_t·W_ihᵀ have the gradients
// da_x = (da_r, da_z, da_n), those of h·W_hhᵀ have da_h = (da_r, da_z, da_n ⊙ r). A sequence that has ended hands dh on and
// has da_x and da_h 0. This file says what becomes of the sums da_h·W_hh; recurrent_tiles.wgsl or recurrent_lanes.wgsl,
// which follows, computes them for p.steps steps from p.start on, downwards or in reverse upwards.
// p: batch B, hidden H, time T, start, steps, reverse, fresh (whether nothing arrives at the first step of all), base (of the slots of h as in gru_forward.wgsl), ragged (whether there
// are lengths). Twin: src/cpu/gru_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<Weights>; // [3H, H]
@group(0) @binding(2) var<storage, read> gates: array<f32>; // [T, B, 3H], then [T, B, H]
@group(0) @binding(3) var<storage, read> h: array<f32>; // base, then [T+1, B, H]
@group(0) @binding(4) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(5) var<storage, read_write> dh: array<f32>; // [B, H]
@group(0) @binding(6) var<storage, read_write> da_x: array<f32>; // [T, B, 3H]
@group(0) @binding(7) var<storage, read_write> da_h: array<f32>; // [T, B, 3H]

fn inner() -> u32 {
    return 3u * p.hidden;
}

fn multiplies(step: Step) -> bool {
    return !step.first;
}

fn source(i: u32) -> f32 {
    return load_da_h(i);
}

// ANCHOR: finish
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let size = p.batch * p.hidden;
    let i = row * p.hidden + unit;
    let start = (step.time * p.batch + row) * 3u * p.hidden + unit;
    let arriving = select(dh[i], 0.0, step.fresh) + sums[0];
    let r = load_gates(start);
    let z = load_gates(start + p.hidden);
    let q = load_gates(start + 2u * p.hidden);
    let n = load_gates((3u * p.time + step.time) * size + i);
    let dh_t = load_dy(step.time * size + i) + arriving;
    let da_n = dh_t * (1.0 - z) * (1.0 - n) * (1.0 + n);
    var da = vec4(
        da_n * q * r * (1.0 - r),
        dh_t * (load_h(p.base + step.before * size + i) - n) * z * (1.0 - z),
        da_n,
        da_n * r,
    );
    var rest = dh_t * z;
    if p.ragged == 1u && i32(step.time) >= lengths[row] {
        da = vec4(0.0);
        rest = arriving;
    }
    dh[i] = rest;
    store_da_x(start, da.x);
    store_da_x(start + p.hidden, da.y);
    store_da_x(start + 2u * p.hidden, da.z);
    hand_on(unit, store_da_h(start, da.x));
    hand_on(p.hidden + unit, store_da_h(start + p.hidden, da.y));
    hand_on(2u * p.hidden + unit, store_da_h(start + 2u * p.hidden, da.w));
}
// ANCHOR_END: finish
