// One time step of an LSTM layer (Hochreiter and Schmidhuber 1997, with forget gates; torch.nn.LSTM):
//     a = x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ, in four parts of H columns;  i, f, o = σ(a_i), σ(a_f), σ(a_o), g = tanh(a_g)
//     c_t = f ⊙ c + i ⊙ g,   h_t = o ⊙ tanh(c_t),
// h and c being the states of the step that was computed before it. A sequence that has ended (step >= its length) keeps
// both. x·W_ihᵀ of all steps is computed before, by matmul. The states lie in slots: those of h of batch·width elements
// from element p.base on, those of c of batch·hidden; slot p.before holds h and c, slot p.after takes c_t. h_t begins at
// element p.out of h: in slot p.after, or, where p.projected is 1, in a place of its own, from where
// lstm_project_forward.wgsl takes it to the slot. i, f, g and o are kept in gates for backward.
// p: batch B, hidden H, width S of h, step t, before, after, base, out, projected, bias (whether there are biases), ragged
// (whether there are lengths). Twin: src/cpu/lstm_step_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<f32>; // [T, B, 4H]
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // [4H, S]
@group(0) @binding(2) var<storage, read> b_ih: array<f32>; // [4H]
@group(0) @binding(3) var<storage, read> b_hh: array<f32>; // [4H]
@group(0) @binding(4) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(5) var<storage, read_write> gates: array<f32>; // [T, B, 4H]
@group(0) @binding(6) var<storage, read_write> c: array<f32>; // [T+1, B, H]
@group(0) @binding(7) var<storage, read_write> h: array<f32>; // base, then [T+1, B, S], then perhaps [T, B, H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.hidden;
    let previous = p.base + p.before * p.batch * p.width;
    for (var i = id.x; i < size; i += groups.x * GROUP) {
        let row = i / p.hidden;
        let unit = i % p.hidden;
        let start = (p.step * p.batch + row) * 4u * p.hidden;
        // Of each gate, the row of W_hh and the column that belong to this unit.
        let rows = (vec4(0u, 1u, 2u, 3u) * p.hidden + unit) * p.width;
        var a = vec4(0.0);
        for (var k = 0u; k < p.width; k++) {
            let weights = vec4(w_hh[rows.x + k], w_hh[rows.y + k], w_hh[rows.z + k], w_hh[rows.w + k]);
            a += h[previous + row * p.width + k] * weights;
        }
        for (var gate = 0u; gate < 4u; gate++) {
            let column = gate * p.hidden + unit;
            a[gate] += xw[start + column];
            if p.bias == 1u {
                a[gate] += b_ih[column] + b_hh[column];
            }
        }
        let g = vec4(sigmoid(a.x), sigmoid(a.y), tanh_rational(a.z), sigmoid(a.w));
        for (var gate = 0u; gate < 4u; gate++) {
            gates[start + gate * p.hidden + unit] = g[gate];
        }
        let old = c[p.before * size + i];
        var cell = g.y * old + g.x * g.z;
        var state = g.w * tanh_rational(cell);
        if p.ragged == 1u && i32(p.step) >= lengths[row] {
            cell = old;
            state = 0.0;
            if p.projected == 0u {
                state = h[previous + i];
            }
        }
        c[p.after * size + i] = cell;
        h[p.out + i] = state;
    }
}
