// Steps of an LSTM layer (Hochreiter and Schmidhuber 1997, with forget gates; torch.nn.LSTM):
//     a = x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ, in four parts of H columns;  i, f, o = σ(a_i), σ(a_f), σ(a_o), g = tanh(a_g)
//     c_t = f ⊙ c + i ⊙ g,   h_t = o ⊙ tanh(c_t),
// h and c being the states of the step that was computed before it. A sequence that has ended (t >= its length) keeps
// both. xw = x·W_ihᵀ + b_ih + b_hh of all steps is computed before, by matmul. The states lie in slots as in
// rnn_forward.wgsl: those of h of
// batch·width elements from element p.base on, those of c of batch·hidden. h_t goes to its slot, or, where p.projected is
// 1, to a place of its own behind the slots, from where lstm_project_forward.wgsl takes it to the slot. i, f, g and o are
// kept in gates for backward. This file says what becomes of the sums h·W_hhᵀ; recurrent_tiles.wgsl or
// recurrent_lanes.wgsl, which follows, computes them for p.steps steps from p.start on, upwards or in reverse downwards.
// p: batch B, hidden H, width S of h, time T, start, steps, reverse, fresh (whether the initial state is 0 and to be
// written), base, projected, ragged (whether there are lengths). Twin: src/cpu/lstm_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<f32>; // [T, B, 4H]
@group(0) @binding(1) var<storage, read> w_hh: array<Weights>; // W_hhᵀ [S, 4H]
@group(0) @binding(2) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(3) var<storage, read_write> gates: array<f32>; // [T, B, 4H]
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [T+1, B, H]
@group(0) @binding(5) var<storage, read_write> h: array<f32>; // base, then [T+1, B, S], then perhaps [T, B, H]

fn inner() -> u32 {
    return p.width;
}

// ANCHOR: finish
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let size = p.batch * p.hidden;
    let n = row * p.hidden + unit;
    let start = (step.time * p.batch + row) * 4u * p.hidden + unit;
    let a = vec4(sums[0], sums[1], sums[2], sums[3])
        + vec4(load_xw(start), load_xw(start + p.hidden), load_xw(start + 2u * p.hidden), load_xw(start + 3u * p.hidden));
    let i = sigmoid(a.x);
    let f = sigmoid(a.y);
    let g = tanh_rational(a.z);
    let o = sigmoid(a.w);
    store_gates(start, i);
    store_gates(start + p.hidden, f);
    store_gates(start + 2u * p.hidden, g);
    store_gates(start + 3u * p.hidden, o);
    if step.fresh {
        store_c(step.before * size + n, 0.0);
        store_h(p.base + step.before * size + n, 0.0);
    }
    let old = load_c(step.before * size + n);
    var cell = f * old + i * g;
    var state = o * tanh_rational(cell);
    if p.ragged == 1u && i32(step.time) >= lengths[row] {
        cell = old;
        state = 0.0;
        if p.projected == 0u {
            state = load_h(p.base + step.before * size + n);
        }
    }
    store_c(step.after * size + n, cell);
    let slots = p.base + (p.time + 1u) * p.batch * p.width;
    let out = select(p.base + step.after * size, slots + step.time * size, p.projected == 1u);
    hand_on(unit, store_h(out + n, state));
}
// ANCHOR_END: finish
