// Steps of a GRU layer (Cho et al., arXiv 1406.1078v1; torch.nn.GRU, where r multiplies after the product, as in cuDNN):
//     r = σ(x_t·W_irᵀ + b_ir + h·W_hrᵀ + b_hr),   z = σ(x_t·W_izᵀ + b_iz + h·W_hzᵀ + b_hz)
//     q = h·W_hnᵀ + b_hn,   n = tanh(x_t·W_inᵀ + b_in + r ⊙ q)
//     h_t = (1 − z) ⊙ n + z ⊙ h
// for x_t [B, I]; W_ih [3H, I] holds the rows of W_ir, W_iz, W_in in this order, W_hh [3H, H] and the biases [3H]
// likewise; all others are [B, H]. h is the state before step t: h_{t-1}, or in reverse h_{t+1}. σ is the logistic
// function, ⊙ multiplies element by element. A sequence that has ended (t >= its length) keeps its state.
//
// xw = x·W_ihᵀ + b_ih of all steps comes from one matmul; b_hh is added here, since r multiplies its part b_hn. This
// file has what is a GRU's own: `finish` makes the gates and the new state of one unit in one row of the batch from the
// three sums h·W_hhᵀ. Those are computed by recurrent_tiles.wgsl, recurrent_lanes.wgsl or recurrent_held.wgsl, and
// recurrent_forward.wgsl says for which steps: p.steps of them, upwards, or in reverse downwards. Both follow
// this file.
//
// The states lie in T + 1 slots as in rnn_forward.wgsl. gates keeps r, z and q of all steps, and behind them n of all
// steps, for gru_backward.wgsl.
//
// p: batch B, hidden H, time T, start (how many steps of the pass come before these), steps, reverse (of two
// directions, of the first), chains D, lowest and stagger (recurrent_steps.wgsl: directions or layers side by side),
// fresh (1: the state before the first of all steps is 0, and is written to its slot with that step), base, bias (1:
// there is b_hh), ragged (1: there are lengths).
// Twin: src/cpu/gru_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<Wide>; // [D, T, B, 3H]: for r, z, n
@group(0) @binding(1) var<storage, read> w_hh: array<Wide>; // W_hhᵀ [D, H, 3H]
@group(0) @binding(2) var<storage, read> b_hh: array<Wide>; // [D, 3H]; absent unless p.bias is 1
@group(0) @binding(3) var<storage, read> lengths: array<i32>; // [B]; absent unless p.ragged is 1
@group(0) @binding(4) var<storage, read_write> gates: array<Wide>; // [D, T, B, 3H]: r, z, q; then [D, T, B, H]: n
@group(0) @binding(5) var<storage, read_write> h: array<Wide>; // from base on [D, T+1, B, H]

// How many products a sum has.
fn inner() -> u32 {
    return p.hidden;
}

// ANCHOR: finish
// Takes the `unit`-th unit, or four, of row `row` of the batch through a step, given the sums.
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let hidden = wide(p.hidden);
    let start = row_of_step(step, row) * 3u * hidden + unit;
    let before = wide(p.base) + row_of_slot(step, step.before, row) * hidden + unit;
    let after = wide(p.base) + row_of_slot(step, step.after, row) * hidden + unit;
    var ah = sums;
    if p.bias == 1u {
        for (var gate = 0u; gate < 3u; gate++) { // unroll
            ah[gate] += load_b_hh((step.chain * 3u + gate) * hidden + unit);
        }
    }
    let r = sigmoid_of_each(load_xw(start) + ah[0]);
    let z = sigmoid_of_each(load_xw(start + hidden) + ah[1]);
    let q = ah[2];
    let n = tanh_of_each(load_xw(start + 2u * hidden) + r * q);
    store_gates(start, r);
    store_gates(start + hidden, z);
    store_gates(start + 2u * hidden, q);
    store_gates((3u * rows_of_steps() + row_of_step(step, row)) * hidden + unit, n);
    if step.fresh {
        store_h(before, Wide(0.0));
    }
    let old = load_h(before);
    var state = (1.0 - z) * n + z * old;
    if has_ended(step, row) {
        state = old;
    }
    hand_on(unit, store_h(after, state));
}
// ANCHOR_END: finish
