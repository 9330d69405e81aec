// One time step of the backward pass of an LSTM layer, the steps in the opposite order of the forward pass:
//     dh_t = dy_t + dh + da·W_hh,   dc_t = dc + dh_t ⊙ o ⊙ (1 − tanh²c_t)
//     da_i = dc_t ⊙ g ⊙ i(1 − i),  da_f = dc_t ⊙ c ⊙ f(1 − f),  da_g = dc_t ⊙ i ⊙ (1 − g²),  da_o = dh_t ⊙ tanh c_t ⊙ o(1 − o)
// where da is that of the step before (p.later; none where p.first is 1), dh and dc what else arrives at the states (the
// gradients of the final states, and dc_t ⊙ f of the step before), and c the cell state before the step. A sequence that
// has ended hands dh and dc on and has da 0.
// da is what the gradients of the weights, the biases, the input and the initial state are products of.
// p: batch B, hidden H, step t, row_of_dy (the step of dy that is dy_t), later, first, before and after (slots of c as in
// lstm_step_forward.wgsl), ragged (whether there are lengths). Twin: src/cpu/lstm_step_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [T or 1, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // [4H, H]; not read where p.first is 1
@group(0) @binding(2) var<storage, read> gates: array<f32>; // [T, B, 4H]
@group(0) @binding(3) var<storage, read> c: array<f32>; // [T+1, B, H]
@group(0) @binding(4) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(5) var<storage, read_write> dh: array<f32>; // [B, H]
@group(0) @binding(6) var<storage, read_write> dc: array<f32>; // [B, H]
@group(0) @binding(7) var<storage, read_write> da: array<f32>; // [T, B, 4H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.hidden;
    let width = 4u * p.hidden;
    for (var n = id.x; n < size; n += groups.x * GROUP) {
        let row = n / p.hidden;
        let unit = n % p.hidden;
        let start = (p.step * p.batch + row) * width + unit;
        var arriving = dh[n];
        if p.first == 0u {
            let later = (p.later * p.batch + row) * width;
            var sum = 0.0;
            for (var k = 0u; k < width; k++) {
                sum += da[later + k] * w_hh[k * p.hidden + unit];
            }
            arriving += sum;
        }
        if p.ragged == 1u && i32(p.step) >= lengths[row] {
            dh[n] = arriving;
            for (var gate = 0u; gate < 4u; gate++) {
                da[start + gate * p.hidden] = 0.0;
            }
        } else {
            let i = gates[start];
            let f = gates[start + p.hidden];
            let g = gates[start + 2u * p.hidden];
            let o = gates[start + 3u * p.hidden];
            let t = tanh_rational(c[p.after * size + n]);
            let dh_t = dy[p.row_of_dy * size + n] + arriving;
            let dc_t = dc[n] + dh_t * o * (1.0 - t) * (1.0 + t);
            dh[n] = 0.0;
            dc[n] = dc_t * f;
            da[start] = dc_t * g * i * (1.0 - i);
            da[start + p.hidden] = dc_t * c[p.before * size + n] * f * (1.0 - f);
            da[start + 2u * p.hidden] = dc_t * i * (1.0 - g) * (1.0 + g);
            da[start + 3u * p.hidden] = dh_t * t * o * (1.0 - o);
        }
    }
}
