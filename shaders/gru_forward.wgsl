// Steps of a GRU layer (Cho et al., arXiv 1406.1078v1, the reset after the product as in cuDNN; torch.nn.GRU):
//     r = σ(x_t·W_irᵀ + b_ir + h·W_hrᵀ + b_hr),   z = σ(x_t·W_izᵀ + b_iz + h·W_hzᵀ + b_hz),   q = h·W_hnᵀ + b_hn
//     n = tanh(x_t·W_inᵀ + b_in + r ⊙ q),   h_t = (1 − z) ⊙ n + z ⊙ h,
// h being the state of the step that was computed before it. A sequence that has ended (t >= its length) keeps h.
// xw = x·W_ihᵀ + b_ih of all steps is computed before, by matmul. The states lie in slots as in rnn_forward.wgsl. r, z and q, and
// behind those of all steps n, are kept in gates for backward. This file says what becomes of the sums h·W_hhᵀ;
// recurrent_tiles.wgsl or recurrent_lanes.wgsl, which follows, computes them for p.steps steps from p.start on, upwards or
// in reverse downwards.
// p: batch B, hidden H, time T, start, steps, reverse, fresh (whether the initial state is 0 and to be written), base, bias (whether there is
// b_hh), ragged (whether there are lengths). Twin: src/cpu/gru_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<f32>; // [T, B, 3H]
@group(0) @binding(1) var<storage, read> w_hh: array<Weights>; // W_hhᵀ [H, 3H]
@group(0) @binding(2) var<storage, read> b_hh: array<f32>; // [3H]
@group(0) @binding(3) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(4) var<storage, read_write> gates: array<f32>; // [T, B, 3H], then [T, B, H]
@group(0) @binding(5) var<storage, read_write> h: array<f32>; // base, then [T+1, B, H]

fn inner() -> u32 {
    return p.hidden;
}

// ANCHOR: finish
fn finish(row: u32, unit: u32, step: Step, sums: Sums) {
    let size = p.batch * p.hidden;
    let i = row * p.hidden + unit;
    let start = (step.time * p.batch + row) * 3u * p.hidden + unit;
    var ah = vec3(sums[0], sums[1], sums[2]);
    let ax = vec3(load_xw(start), load_xw(start + p.hidden), load_xw(start + 2u * p.hidden));
    if p.bias == 1u {
        ah += vec3(load_b_hh(unit), load_b_hh(p.hidden + unit), load_b_hh(2u * p.hidden + unit));
    }
    let r = sigmoid(ax.x + ah.x);
    let z = sigmoid(ax.y + ah.y);
    let n = tanh_rational(ax.z + r * ah.z);
    store_gates(start, r);
    store_gates(start + p.hidden, z);
    store_gates(start + 2u * p.hidden, ah.z);
    store_gates((3u * p.time + step.time) * size + i, n);
    if step.fresh {
        store_h(p.base + step.before * size + i, 0.0);
    }
    let old = load_h(p.base + step.before * size + i);
    var state = (1.0 - z) * n + z * old;
    if p.ragged == 1u && i32(step.time) >= lengths[row] {
        state = old;
    }
    hand_on(unit, store_h(p.base + step.after * size + i, state));
}
// ANCHOR_END: finish
