// Steps of the backward pass of a GRU layer (torch.nn.GRU), backpropagation through time: from the last step of the
// forward pass to its first,
//     dh_t = dy_t + dh + da_h·W_hh
//     da_n = dh_t ⊙ (1 − z) ⊙ (1 − n²),   da_r = da_n ⊙ q ⊙ r ⊙ (1 − r),   da_z = dh_t ⊙ (h − n) ⊙ z ⊙ (1 − z)
//     da_x = (da_r, da_z, da_n),   da_h = (da_r, da_z, da_n ⊙ r)
// dh_t = ∂loss/∂h_t; da_r, da_z, da_n are the gradients of what σ, σ and tanh took in step t (gru_forward.wgsl); da_x and
// da_h [B, 3H] those of the parts x_t·W_ihᵀ + b_ih and h·W_hhᵀ + b_hh in it, which differ because r multiplies q. h is
// the state before step t. What arrives at h_t: dy_t as the gradient of an output; da_h·W_hh, W_hh being [3H, H], from
// the step that was computed before this one (t + 1, or in reverse t − 1; nothing at the first); and dh, which is the
// gradient of the final state at first; each step leaves dh = dh_t ⊙ z for the next. A sequence that has ended gets da_x
// and da_h 0 and leaves dh + da_h·W_hh in dh, for the step at which it ends.
//
// Products with these of all steps at once (matmul, column_sum) then give the other gradients: dx_t = da_x·W_ih,
// dW_ih = Σ_t da_xᵀ·x_t, dW_hh = Σ_t da_hᵀ·h, db_ih = Σ da_x, db_hh = Σ da_h.
//
// This file has what is a GRU's own: `finish` makes da_x and da_h of one unit in one row of the batch from the sums
// da_h·W_hh. Those are computed by recurrent_tiles.wgsl, recurrent_lanes.wgsl or recurrent_held.wgsl, and
// recurrent_backward.wgsl says for which steps: p.steps of them, downwards, or in reverse upwards. Both follow
// this file.
//
// p: batch B, hidden H, time T, start (how many steps of the pass come before these), steps, reverse (of two
// directions, of the first), chains D, lowest and stagger (recurrent_steps.wgsl: directions or layers side by side),
// fresh (1: dh is 0 at the first step of all, and not yet in memory), base (of the slots of h, see
// rnn_forward.wgsl), ragged (1: there are lengths).
// Twin: src/cpu/gru_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<Wide>; // [T, B, D, H]; of layers [D, T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<Wide>; // [D, 3H, H]
@group(0) @binding(2) var<storage, read> gates: array<Wide>; // [D, T, B, 3H]: r, z, q; then [D, T, B, H]: n
@group(0) @binding(3) var<storage, read> h: array<Wide>; // from base on [D, T+1, B, H]
@group(0) @binding(4) var<storage, read> lengths: array<i32>; // [B]; absent unless p.ragged is 1
@group(0) @binding(5) var<storage, read_write> dh: array<Wide>; // [D, B, H]
@group(0) @binding(6) var<storage, read_write> da_x: array<Wide>; // [D, T, B, 3H]: of r, z, n
@group(0) @binding(7) var<storage, read_write> da_h: array<Wide>; // [D, T, B, 3H]: of r, z, n

// How many products a sum has.
fn inner() -> u32 {
    return 3u * p.hidden;
}

// Whether there are sums to compute.
fn multiplies(step: Step) -> bool {
    return !step.first;
}

// The i-th element of what holds the factors of the sums (recurrent_backward.wgsl).
fn source(i: u32) -> Wide {
    return load_da_h(i);
}

// ANCHOR: finish
// Takes the `unit`-th unit, or four, of row `row` of the batch back through a step, given the sums.
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let hidden = wide(p.hidden);
    let start = row_of_step(step, row) * 3u * hidden + unit;
    let carried = row_of_carried(step, row) * hidden + unit;
    let arriving = select(dh[carried], Wide(0.0), step.fresh) + sums[0];
    let r = load_gates(start);
    let z = load_gates(start + hidden);
    let q = load_gates(start + 2u * hidden);
    let n = load_gates((3u * rows_of_steps() + row_of_step(step, row)) * hidden + unit);
    let old = load_h(wide(p.base) + row_of_slot(step, step.before, row) * hidden + unit);
    let dh_t = load_dy(row_of_output(step, row) * hidden + unit) + arriving;
    var da_n = dh_t * (1.0 - z) * (1.0 - n) * (1.0 + n);
    var da_r = da_n * q * r * (1.0 - r);
    var da_z = dh_t * (old - n) * z * (1.0 - z);
    var rest = dh_t * z;
    if has_ended(step, row) {
        da_n = Wide(0.0);
        da_r = Wide(0.0);
        da_z = Wide(0.0);
        rest = arriving;
    }
    dh[carried] = rest;
    store_da_x(start, da_r);
    store_da_x(start + hidden, da_z);
    store_da_x(start + 2u * hidden, da_n);
    hand_on(unit, store_da_h(start, da_r));
    hand_on(hidden + unit, store_da_h(start + hidden, da_z));
    hand_on(2u * hidden + unit, store_da_h(start + 2u * hidden, da_n * r));
}
// ANCHOR_END: finish
