// Steps of the backward pass of an LSTM layer, in the opposite order of the forward pass:
//     dh_t = dy_t + dh + da·W_hh,   dc_t = dc + dh_t ⊙ o ⊙ (1 − tanh²c_t)
//     da_i = dc_t ⊙ g ⊙ i(1 − i),  da_f = dc_t ⊙ c ⊙ f(1 − f),  da_g = dc_t ⊙ i ⊙ (1 − g²),  da_o = dh_t ⊙ tanh c_t ⊙ o(1 − o)
// where da is that of the step before (none at the first of all), dh and dc what else arrives at the states (the gradients
// of the final states, and dc_t ⊙ f of the step before), and c the cell state before the step. Where p.projected is 1, the
// product is made elsewhere and dy is that of the one step alone. A sequence that has ended hands dh and dc on and has da 0.
// da is what the gradients of the weights, the biases, the input and the initial state are products of. This file says what
// becomes of the sums da·W_hh; recurrent_tiles.wgsl or recurrent_lanes.wgsl, which follows, computes them for p.steps steps
// from p.start on, downwards or in reverse upwards.
// p: batch B, hidden H, time T, start, steps, reverse, fresh (whether nothing arrives at the first step of all) (slots of c as in lstm_forward.wgsl), projected, ragged (whether there
// are lengths). Twin: src/cpu/lstm_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [T or 1, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<Weights>; // [4H, H]; not read where p.projected is 1
@group(0) @binding(2) var<storage, read> gates: array<f32>; // [T, B, 4H]
@group(0) @binding(3) var<storage, read> c: array<f32>; // [T+1, B, H]
@group(0) @binding(4) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(5) var<storage, read_write> dh: array<f32>; // [B, H]
@group(0) @binding(6) var<storage, read_write> dc: array<f32>; // [B, H]
@group(0) @binding(7) var<storage, read_write> da: array<f32>; // [T, B, 4H]

fn inner() -> u32 {
    return 4u * p.hidden;
}

fn multiplies(step: Step) -> bool {
    return !step.first && p.projected == 0u;
}

fn source(i: u32) -> f32 {
    return load_da(i);
}

// ANCHOR: finish
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let size = p.batch * p.hidden;
    let n = row * p.hidden + unit;
    let start = (step.time * p.batch + row) * 4u * p.hidden + unit;
    let arriving = select(dh[n], 0.0, step.fresh) + sums[0];
    var da = vec4(0.0);
    if p.ragged == 1u && i32(step.time) >= lengths[row] {
        dh[n] = arriving;
        dc[n] = select(dc[n], 0.0, step.fresh);
    } else {
        let i = load_gates(start);
        let f = load_gates(start + p.hidden);
        let g = load_gates(start + 2u * p.hidden);
        let o = load_gates(start + 3u * p.hidden);
        let t = tanh_rational(load_c(step.after * size + n));
        let dh_t = load_dy(select(step.time * size, 0u, p.projected == 1u) + n) + arriving;
        let dc_t = select(dc[n], 0.0, step.fresh) + dh_t * o * (1.0 - t) * (1.0 + t);
        let da_i = dc_t * g * i * (1.0 - i);
        let da_f = dc_t * load_c(step.before * size + n) * f * (1.0 - f);
        let da_g = dc_t * i * (1.0 - g) * (1.0 + g);
        let da_o = dh_t * t * o * (1.0 - o);
        dh[n] = 0.0;
        dc[n] = dc_t * f;
        da = vec4(da_i, da_f, da_g, da_o);
    }
    for (var gate = 0u; gate < 4u; gate++) { // unroll
        hand_on(gate * p.hidden + unit, store_da(start + gate * p.hidden, da[gate]));
    }
}
// ANCHOR_END: finish
