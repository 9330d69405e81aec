// One time step of a GRU layer (Cho et al., arXiv 1406.1078v1, the reset after the product as in cuDNN; torch.nn.GRU):
//     r = σ(x_t·W_irᵀ + b_ir + h·W_hrᵀ + b_hr),   z = σ(x_t·W_izᵀ + b_iz + h·W_hzᵀ + b_hz),   q = h·W_hnᵀ + b_hn
//     n = tanh(x_t·W_inᵀ + b_in + r ⊙ q),   h_t = (1 − z) ⊙ n + z ⊙ h,
// h being the state of the step that was computed before it. A sequence that has ended (step >= its length) keeps h.
// x·W_ihᵀ of all steps is computed before, by matmul. The states lie in slots as in rnn_step_forward.wgsl. r, z and q, and
// behind those of all steps n, are kept in gates for backward.
// p: batch B, hidden H, time T, step t, before, after, base, bias (whether there are biases), ragged (whether there are
// lengths). Twin: src/cpu/gru_step_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<f32>; // [T, B, 3H]
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // [3H, H]
@group(0) @binding(2) var<storage, read> b_ih: array<f32>; // [3H]
@group(0) @binding(3) var<storage, read> b_hh: array<f32>; // [3H]
@group(0) @binding(4) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(5) var<storage, read_write> gates: array<f32>; // [T, B, 3H], then [T, B, H]
@group(0) @binding(6) var<storage, read_write> h: array<f32>; // base, then [T+1, B, H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.hidden;
    let previous = p.base + p.before * size;
    for (var i = id.x; i < size; i += groups.x * GROUP) {
        let row = i / p.hidden;
        let unit = i % p.hidden;
        let start = (p.step * p.batch + row) * 3u * p.hidden + unit;
        // Of each part, the row of W_hh that belongs to this unit.
        let rows = (vec3(0u, 1u, 2u) * p.hidden + unit) * p.hidden;
        var ah = vec3(0.0);
        for (var k = 0u; k < p.hidden; k++) {
            let weights = vec3(w_hh[rows.x + k], w_hh[rows.y + k], w_hh[rows.z + k]);
            ah += h[previous + row * p.hidden + k] * weights;
        }
        var ax = vec3(xw[start], xw[start + p.hidden], xw[start + 2u * p.hidden]);
        if p.bias == 1u {
            ax += vec3(b_ih[unit], b_ih[p.hidden + unit], b_ih[2u * p.hidden + unit]);
            ah += vec3(b_hh[unit], b_hh[p.hidden + unit], b_hh[2u * p.hidden + unit]);
        }
        let r = sigmoid(ax.x + ah.x);
        let z = sigmoid(ax.y + ah.y);
        let n = tanh_rational(ax.z + r * ah.z);
        gates[start] = r;
        gates[start + p.hidden] = z;
        gates[start + 2u * p.hidden] = ah.z;
        gates[(3u * p.time + p.step) * size + i] = n;
        let old = h[previous + i];
        var state = (1.0 - z) * n + z * old;
        if p.ragged == 1u && i32(p.step) >= lengths[row] {
            state = old;
        }
        h[p.base + p.after * size + i] = state;
    }
}
