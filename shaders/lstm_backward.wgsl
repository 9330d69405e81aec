// Steps of the backward pass of an LSTM layer (torch.nn.LSTM), backpropagation through time: from the last step of the
// forward pass to its first,
//     dh_t = dy_t + dh + da·W_hh,   dc_t = dc + dh_t ⊙ o ⊙ (1 − tanh²(c_t))
//     da_i = dc_t ⊙ g ⊙ i ⊙ (1 − i),   da_f = dc_t ⊙ c ⊙ f ⊙ (1 − f)
//     da_g = dc_t ⊙ i ⊙ (1 − g²),   da_o = dh_t ⊙ tanh(c_t) ⊙ o ⊙ (1 − o)
// dh_t, dc_t and da_t = (da_i, da_f, da_g, da_o) [B, 4H] are the gradients of the loss with respect to h_t, c_t and a of
// step t in lstm_forward.wgsl; c is the cell state before step t. What arrives at h_t: dy_t as the gradient of an output;
// dh, that of the final state, used up (set to 0) where it is added; and da·W_hh, W_hh being [4H, H], from the step that
// was computed before this one: da is da_{t+1}, or in reverse da_{t-1}, and nothing at the first. What arrives at c_t:
// dc, which is the gradient of the final cell state at first; each step leaves dc = dc_t ⊙ f for the next. A sequence
// that has ended gets da 0, and leaves dh + da·W_hh in dh and dc as it is, for the step at which it ends.
//
// Products with da_t of all steps at once (matmul, column_sum) then give the other gradients: dx_t = da_t·W_ih,
// dW_ih = Σ_t da_tᵀ·x_t, dW_hh = Σ_t da_tᵀ·h, h being the state before step t, and db_ih = db_hh = Σ da_t.
//
// This file has what is an LSTM's own: `finish` makes da_t of one unit in one row of the batch from the sums da·W_hh.
// Those are computed by recurrent_tiles.wgsl, recurrent_lanes.wgsl or recurrent_held.wgsl, and recurrent_backward.wgsl
// says for which steps: p.steps of them, downwards, or in reverse upwards. Both follow this file. With a
// projection (p.projected 1) no sums are computed: dy, of this one step, is all that arrives at m_t = o ⊙ tanh(c_t),
// and dh_t stands for its gradient (lstm_project_backward.wgsl).
//
// p: batch B, hidden H, time T, start (how many steps of the pass come before these), steps, reverse (of two
// directions, of the first), chains D, lowest and stagger (recurrent_steps.wgsl: directions or layers side by side),
// fresh (1: dh and dc are 0 at the first step of all, and not yet in memory), projected, ragged (1: there are
// lengths).
// Twin: src/cpu/lstm_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<Wide>; // [T, B, D, H]; of layers [D, T, B, H]; [1, B, H] where p.projected is 1
@group(0) @binding(1) var<storage, read> w_hh: array<Wide>; // [D, 4H, H]; not read where p.projected is 1
@group(0) @binding(2) var<storage, read> gates: array<Wide>; // [D, T, B, 4H]: i, f, g, o
@group(0) @binding(3) var<storage, read> c: array<Wide>; // [D, T+1, B, H]
@group(0) @binding(4) var<storage, read> lengths: array<i32>; // [B]; absent unless p.ragged is 1
@group(0) @binding(5) var<storage, read_write> dh: array<Wide>; // [D, B, H]
@group(0) @binding(6) var<storage, read_write> dc: array<Wide>; // [D, B, H]
@group(0) @binding(7) var<storage, read_write> da: array<Wide>; // [D, T, B, 4H]: of i, f, g, o

// How many products a sum has.
fn inner() -> u32 {
    return 4u * p.hidden;
}

// Whether there are sums to compute.
fn multiplies(step: Step) -> bool {
    return !step.first && p.projected == 0u;
}

// The i-th element of what holds the factors of the sums (recurrent_backward.wgsl).
fn source(i: u32) -> Wide {
    return load_da(i);
}

// ANCHOR: finish
// Takes the `unit`-th unit, or four, of row `row` of the batch back through a step, given the sums.
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let hidden = wide(p.hidden);
    let start = row_of_step(step, row) * 4u * hidden + unit;
    let carried = row_of_carried(step, row) * hidden + unit;
    let arriving = select(dh[carried], Wide(0.0), step.fresh) + sums[0];
    let dc_before = select(dc[carried], Wide(0.0), step.fresh);
    var da = array<Wide, 4>();
    if has_ended(step, row) {
        dh[carried] = arriving;
        dc[carried] = dc_before;
    } else {
        let i = load_gates(start);
        let f = load_gates(start + hidden);
        let g = load_gates(start + 2u * hidden);
        let o = load_gates(start + 3u * hidden);
        let old = load_c(row_of_slot(step, step.before, row) * hidden + unit);
        let t = tanh_of_each(load_c(row_of_slot(step, step.after, row) * hidden + unit));
        let output = select(row_of_output(step, row), row, p.projected == 1u);
        let dh_t = load_dy(output * hidden + unit) + arriving;
        let dc_t = dc_before + dh_t * o * (1.0 - t) * (1.0 + t);
        let da_i = dc_t * g * i * (1.0 - i);
        let da_f = dc_t * old * f * (1.0 - f);
        let da_g = dc_t * i * (1.0 - g) * (1.0 + g);
        let da_o = dh_t * t * o * (1.0 - o);
        dh[carried] = Wide(0.0);
        dc[carried] = dc_t * f;
        da = array<Wide, 4>(da_i, da_f, da_g, da_o);
    }
    for (var gate = 0u; gate < 4u; gate++) { // unroll
        hand_on(gate * hidden + unit, store_da(start + gate * hidden, da[gate]));
    }
}
// ANCHOR_END: finish
