// One time step of the backward pass of a plain recurrent layer, from the last step to the first:
//     da_t = (dy_t + da_{t+1}·W_hh) ⊙ act'(a_t),
// where a_t is what act was applied to; act' from its result: (1 − h)(1 + h) for tanh, [h > 0] for relu.
// da is what the gradients of the weights, the biases, the input and the initial state are products of.
// p: batch B, hidden H, step t, base and relu as in rnn_step_forward.wgsl, last (1 at the last step, where no da_{t+1}
// is). Twin: src/cpu/rnn_step_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // [H, H]
@group(0) @binding(2) var<storage, read> h: array<f32>; // base, then [T+1, B, H]
@group(0) @binding(3) var<storage, read_write> da: array<f32>; // [T, B, H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.hidden;
    for (var i = id.x; i < size; i += groups.x * GROUP) {
        let row = i / p.hidden;
        let unit = i % p.hidden;
        var dh = dy[p.step * size + i];
        if p.last == 0u {
            let next = (p.step + 1u) * size + row * p.hidden;
            var sum = 0.0;
            for (var k = 0u; k < p.hidden; k++) {
                sum += da[next + k] * w_hh[k * p.hidden + unit];
            }
            dh += sum;
        }
        let y = h[p.base + (p.step + 1u) * size + i];
        da[p.step * size + i] = dh * select((1.0 - y) * (1.0 + y), select(0.0, 1.0, y > 0.0), p.relu == 1u);
    }
}
