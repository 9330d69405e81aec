// Steps of the backward pass of a plain recurrent layer (torch.nn.RNN), backpropagation through time: from the last step
// of the forward pass to its first,
//     da_t = (dy_t + dh + da·W_hh) ⊙ act'(a_t)
// All of these are [B, H] but W_hh [H, H]; ⊙ multiplies element by element. a_t is what act took in step t, and
// da_t = ∂loss/∂a_t. Three gradients arrive at h_t: dy_t as that of an output; dh, that of the final state, used up (set
// to 0) where it is added; and da·W_hh from the step that was computed before this one, da being da_{t+1}, or in reverse
// da_{t-1}, and nothing at the first. act' follows from h_t: (1 − h_t)(1 + h_t) for tanh; for relu 1 where h_t > 0, else
// 0. A sequence that has ended gets da_t 0 and leaves dh + da·W_hh in dh, for the step at which it ends.
//
// Products with da_t of all steps at once (matmul, column_sum) then give the other gradients: dx_t = da_t·W_ih,
// dW_ih = Σ_t da_tᵀ·x_t, dW_hh = Σ_t da_tᵀ·h, h being the state before step t, and db_ih = db_hh = Σ da_t.
//
// This file has what is a plain RNN's own: `finish` makes da_t of one unit in one row of the batch from the sums
// da·W_hh. Those are computed by recurrent_tiles.wgsl, recurrent_lanes.wgsl or recurrent_held.wgsl, and
// recurrent_backward.wgsl says for which steps: p.steps of them, downwards, or in reverse upwards. Both follow
// this file.
//
// p: batch B, hidden H, time T, start (how many steps of the pass come before these), steps, reverse (of two
// directions, of the first), chains D, lowest and stagger (recurrent_steps.wgsl: directions or layers side by side),
// fresh (1: dh is 0 at the first step of all, and not yet in memory), base (of the slots of h, see
// rnn_forward.wgsl), relu, ragged (1: there are lengths).
// Twin: src/cpu/rnn_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<Wide>; // [T, B, D, H]; of layers [D, T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<Wide>; // [D, H, H]
@group(0) @binding(2) var<storage, read> h: array<Wide>; // from base on [D, T+1, B, H]
@group(0) @binding(3) var<storage, read> lengths: array<i32>; // [B]; absent unless p.ragged is 1
@group(0) @binding(4) var<storage, read_write> dh: array<Wide>; // [D, B, H]
@group(0) @binding(5) var<storage, read_write> da: array<Wide>; // [D, T, B, H]

// How many products a sum has.
fn inner() -> u32 {
    return p.hidden;
}

// Whether there are sums to compute.
fn multiplies(step: Step) -> bool {
    return !step.first;
}

// The i-th element of what holds the factors of the sums (recurrent_backward.wgsl).
fn source(i: u32) -> Wide {
    return load_da(i);
}

// ANCHOR: finish
// Takes the `unit`-th unit, or four, of row `row` of the batch back through a step, given the sums.
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let hidden = wide(p.hidden);
    let now = row_of_step(step, row) * hidden + unit;
    let carried = row_of_carried(step, row) * hidden + unit;
    let arriving = select(dh[carried], Wide(0.0), step.fresh) + sums[0];
    var da = Wide(0.0);
    if has_ended(step, row) {
        dh[carried] = arriving;
    } else {
        let y = load_h(wide(p.base) + row_of_slot(step, step.after, row) * hidden + unit);
        let positive = select(Wide(0.0), Wide(1.0), y > Wide(0.0));
        let slope = select((1.0 - y) * (1.0 + y), positive, p.relu == 1u);
        let dh_t = load_dy(row_of_output(step, row) * hidden + unit) + arriving;
        dh[carried] = Wide(0.0);
        da = dh_t * slope;
    }
    hand_on(unit, store_da(now, da));
}
// ANCHOR_END: finish
