// Steps of an LSTM layer (Hochreiter and Schmidhuber 1997; forget gate: Gers, Schmidhuber and Cummins 2000;
// torch.nn.LSTM):
//     a = x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ,   in four parts of H columns: a_i, a_f, a_g, a_o
//     i, f, o = σ(a_i), σ(a_f), σ(a_o),   g = tanh(a_g)
//     c_t = f ⊙ c + i ⊙ g,   h_t = o ⊙ tanh(c_t)
// for x_t [B, I], W_ih [4H, I], W_hh [4H, S], biases [4H]; i, f, g, o and c are [B, H], h is [B, S]. S is H, unless there
// is a projection (below). h and c are the states before step t: those of step t − 1, or in reverse t + 1. σ is the
// logistic function, ⊙ multiplies element by element. A sequence that has ended (t >= its length) keeps both states.
//
// xw = x·W_ihᵀ + b_ih + b_hh of all steps comes from one matmul. This file has what is an LSTM's own: `finish` makes
// the gates and the new states of one unit in one row of the batch from the four sums h·W_hhᵀ. Those are computed by
// recurrent_tiles.wgsl, recurrent_lanes.wgsl or recurrent_held.wgsl, and recurrent_forward.wgsl says for which steps:
// p.steps of them, upwards, or in reverse downwards. Both follow this file.
//
// The states lie in T + 1 slots, as in rnn_forward.wgsl: those of c [B, H] from element 0 on, those of h [B, S] from
// p.base on. The gates i, f, g and o are kept for lstm_backward.wgsl. With a projection (p.projected 1)
// m_t = o ⊙ tanh(c_t) [B, H], 0 for sequences that have ended, goes to a place of its own behind the slots of h, and
// lstm_project_forward.wgsl makes h_t of it. A launch then makes one step of one chain, and
// p.fresh is 0.
//
// p: batch B, hidden H, width S, time T, start (how many steps of the pass come before these), steps, reverse (of
// two directions, of the first), chains D, lowest and stagger (recurrent_steps.wgsl: directions or layers side by
// side), fresh (1: the states before the first of all steps are 0, and are written to their slots with that step),
// base, projected, ragged (1: there are lengths).
// Twin: src/cpu/lstm_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<Wide>; // [D, T, B, 4H]: for i, f, g, o
@group(0) @binding(1) var<storage, read> w_hh: array<Wide>; // W_hhᵀ [D, S, 4H]
@group(0) @binding(2) var<storage, read> lengths: array<i32>; // [B]; absent unless p.ragged is 1
@group(0) @binding(3) var<storage, read_write> gates: array<Wide>; // [D, T, B, 4H]: i, f, g, o
@group(0) @binding(4) var<storage, read_write> c: array<Wide>; // [D, T+1, B, H]
@group(0) @binding(5) var<storage, read_write> h: array<Wide>; // from base on [D, T+1, B, S], then with a projection [T, B, H]

// How many products a sum has.
fn inner() -> u32 {
    return p.width;
}

// ANCHOR: finish
// Takes the `unit`-th unit, or four, of row `row` of the batch through a step, given the sums.
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let hidden = wide(p.hidden);
    let start = row_of_step(step, row) * 4u * hidden + unit;
    let before = row_of_slot(step, step.before, row) * hidden + unit;
    let after = row_of_slot(step, step.after, row) * hidden + unit;
    let a_i = load_xw(start) + sums[0];
    let a_f = load_xw(start + hidden) + sums[1];
    let a_g = load_xw(start + 2u * hidden) + sums[2];
    let a_o = load_xw(start + 3u * hidden) + sums[3];
    let i = sigmoid_of_each(a_i);
    let f = sigmoid_of_each(a_f);
    let g = tanh_of_each(a_g);
    let o = sigmoid_of_each(a_o);
    store_gates(start, i);
    store_gates(start + hidden, f);
    store_gates(start + 2u * hidden, g);
    store_gates(start + 3u * hidden, o);
    if step.fresh {
        store_c(before, Wide(0.0));
        store_h(wide(p.base) + before, Wide(0.0));
    }
    let old = load_c(before);
    var cell = f * old + i * g;
    var state = o * tanh_of_each(cell);
    if has_ended(step, row) {
        cell = old;
        state = Wide(0.0);
        if p.projected == 0u {
            state = load_h(wide(p.base) + before);
        }
    }
    store_c(after, cell);
    let slots = wide(p.base + (p.time + 1u) * p.batch * p.width);
    let projected = slots + row_of_step(step, row) * hidden + unit;
    hand_on(unit, store_h(select(wide(p.base) + after, projected, p.projected == 1u), state));
}
// ANCHOR_END: finish
