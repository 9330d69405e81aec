// Steps of the backward pass of a plain recurrent layer, in the opposite order of the forward pass:
//     da_t = (dy_t + dh + da·W_hh) ⊙ act'(a_t),
// where a_t is what act was applied to, da that of the step before (none at the first of all), and dh what else arrives at
// the state: the gradient of the final state. act' from its result: (1 − h)(1 + h) for tanh, [h > 0] for relu. A sequence
// that has ended hands dh on; elsewhere dh is used up.
// da is what the gradients of the weights, the biases, the input and the initial state are products of. This file says what
// becomes of the sums da·W_hh; recurrent_tiles.wgsl or recurrent_lanes.wgsl, which follows, computes them for p.steps steps
// from p.start on, downwards or in reverse upwards.
// p: batch B, hidden H, time T, start, steps, reverse, fresh (whether nothing arrives at the first step of all), base (of the slots of h as in rnn_forward.wgsl), relu, ragged
// (whether there are lengths). Twin: src/cpu/rnn_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<Weights>; // [H, H]
@group(0) @binding(2) var<storage, read> h: array<f32>; // base, then [T+1, B, H]
@group(0) @binding(3) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(4) var<storage, read_write> dh: array<f32>; // [B, H]
@group(0) @binding(5) var<storage, read_write> da: array<f32>; // [T, B, H]

fn inner() -> u32 {
    return p.hidden;
}

fn multiplies(step: Step) -> bool {
    return !step.first;
}

fn source(i: u32) -> f32 {
    return load_da(i);
}

// ANCHOR: finish
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let size = p.batch * p.hidden;
    let i = row * p.hidden + unit;
    let arriving = select(dh[i], 0.0, step.fresh) + sums[0];
    var da = 0.0;
    if p.ragged == 1u && i32(step.time) >= lengths[row] {
        dh[i] = arriving;
    } else {
        let y = load_h(p.base + step.after * size + i);
        let slope = select((1.0 - y) * (1.0 + y), select(0.0, 1.0, y > 0.0), p.relu == 1u);
        dh[i] = 0.0;
        da = (load_dy(step.time * size + i) + arriving) * slope;
    }
    hand_on(unit, store_da(step.time * size + i, da));
}
// ANCHOR_END: finish
