// Steps of a plain recurrent layer (Elman 1990; torch.nn.RNN):
//     h_t = act(x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ),   act = tanh, or relu where p.relu is 1
// for x_t [B, I], W_ih [H, I], W_hh [H, H] and biases [H]. h [B, H] is the state before step t: h_{t-1}, or in reverse
// h_{t+1}. A sequence that has ended (t >= its length) keeps its state.
//
// xw = x·W_ihᵀ + b_ih + b_hh of all steps comes from one matmul. This file has what is a plain RNN's own: `finish`
// makes the new state of one unit (a column of h) in one row of the batch from the sums h·W_hhᵀ. Those are computed by
// recurrent_tiles.wgsl, recurrent_lanes.wgsl or recurrent_held.wgsl, and recurrent_forward.wgsl says for which steps:
// p.steps of them, upwards, or in reverse downwards. Both follow this file.
//
// All states lie in one buffer, in T + 1 slots of [B, H]: slot s begins at element p.base + s·B·H. Step t takes the state
// from slot t to slot t + 1, in reverse from slot t + 1 to slot t. rnn_backward.wgsl needs nothing else. Where
// several chains run at once, everything but lengths is there for each of them: recurrent_steps.wgsl says where.
//
// p: batch B, hidden H, time T, start (how many steps of the pass come before these), steps, reverse (of two
// directions, of the first), chains D, lowest and stagger (recurrent_steps.wgsl: directions or layers side by side),
// fresh (1: the state before the first of all steps is 0, and is written to its slot with that step), base, relu,
// ragged (1: there are lengths).
// Twin: src/cpu/rnn_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<Wide>; // [D, T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<Wide>; // W_hhᵀ [D, H, H]
@group(0) @binding(2) var<storage, read> lengths: array<i32>; // [B]; absent unless p.ragged is 1
@group(0) @binding(3) var<storage, read_write> h: array<Wide>; // from base on [D, T+1, B, H]

// How many products a sum has.
fn inner() -> u32 {
    return p.hidden;
}

// ANCHOR: finish
// Takes the `unit`-th unit, or four, of row `row` of the batch through a step, given the sums.
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let hidden = wide(p.hidden);
    let before = wide(p.base) + row_of_slot(step, step.before, row) * hidden + unit;
    let after = wide(p.base) + row_of_slot(step, step.after, row) * hidden + unit;
    let a = load_xw(row_of_step(step, row) * hidden + unit) + sums[0];
    if step.fresh {
        store_h(before, Wide(0.0));
    }
    var next = select(tanh_of_each(a), relu_of_each(a), p.relu == 1u);
    if has_ended(step, row) {
        next = load_h(before);
    }
    hand_on(unit, store_h(after, next));
}
// ANCHOR_END: finish
