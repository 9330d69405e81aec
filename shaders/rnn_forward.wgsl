// Steps of a plain recurrent layer (Elman 1990; torch.nn.RNN):
//     h_t = act(x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ),   act = tanh, or relu where p.relu is 1,
// h being the state of the step that was computed before it. A sequence that has ended (t >= its length) keeps h.
// xw = x·W_ihᵀ + b_ih + b_hh of all steps is computed before, by matmul. The states lie in one buffer, in slots of batch·hidden elements
// from element p.base on, one more than steps: step t takes the state from slot t to slot t + 1, or in reverse from slot
// t + 1 to slot t. They are all that backward needs. This file says what becomes of the sums h·W_hhᵀ; recurrent_tiles.wgsl
// or recurrent_lanes.wgsl, which follows, computes them for p.steps steps from p.start on, upwards or in reverse downwards.
// p: batch B, hidden H, start, steps, reverse, fresh (whether the initial state is 0 and to be written), base, relu, ragged
// (whether there are lengths). Twin: src/cpu/rnn_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<f32>; // [T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<Weights>; // W_hhᵀ [H, H]
@group(0) @binding(2) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(3) var<storage, read_write> h: array<f32>; // base, then [T+1, B, H]

fn inner() -> u32 {
    return p.hidden;
}

// ANCHOR: finish
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let size = p.batch * p.hidden;
    let i = row * p.hidden + unit;
    let a = load_xw(step.time * size + i) + sums[0];
    if step.fresh {
        store_h(p.base + step.before * size + i, 0.0);
    }
    var next = select(tanh_rational(a), keep_nan(a, max(a, 0.0)), p.relu == 1u);
    if p.ragged == 1u && i32(step.time) >= lengths[row] {
        next = load_h(p.base + step.before * size + i);
    }
    hand_on(unit, store_h(p.base + step.after * size + i, next));
}
// ANCHOR_END: finish
