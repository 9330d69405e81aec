// One time step of the backward pass of a plain recurrent layer, the steps in the opposite order of the forward pass:
//     da_t = (dy_t + dh + da·W_hh) ⊙ act'(a_t),
// where a_t is what act was applied to, da that of the step before (p.later; none at the first, where p.first is 1), and
// dh what else arrives at the state: the gradient of the final state. act' from its result: (1 − h)(1 + h) for tanh,
// [h > 0] for relu. A sequence that has ended hands dh on; elsewhere dh is used up.
// da is what the gradients of the weights, the biases, the input and the initial state are products of.
// p: batch B, hidden H, step t, later, first, after and base (the slot of h_t) and relu as in rnn_step_forward.wgsl,
// ragged (whether there are lengths). Twin: src/cpu/rnn_step_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // [H, H]
@group(0) @binding(2) var<storage, read> h: array<f32>; // base, then [T+1, B, H]
@group(0) @binding(3) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(4) var<storage, read_write> dh: array<f32>; // [B, H]
@group(0) @binding(5) var<storage, read_write> da: array<f32>; // [T, B, H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.hidden;
    for (var i = id.x; i < size; i += groups.x * GROUP) {
        let row = i / p.hidden;
        let unit = i % p.hidden;
        var arriving = dh[i];
        if p.first == 0u {
            let later = p.later * size + row * p.hidden;
            var sum = 0.0;
            for (var k = 0u; k < p.hidden; k++) {
                sum += da[later + k] * w_hh[k * p.hidden + unit];
            }
            arriving += sum;
        }
        if p.ragged == 1u && i32(p.step) >= lengths[row] {
            dh[i] = arriving;
            da[p.step * size + i] = 0.0;
        } else {
            let y = h[p.base + p.after * size + i];
            let slope = select((1.0 - y) * (1.0 + y), select(0.0, 1.0, y > 0.0), p.relu == 1u);
            dh[i] = 0.0;
            da[p.step * size + i] = (dy[p.step * size + i] + arriving) * slope;
        }
    }
}
