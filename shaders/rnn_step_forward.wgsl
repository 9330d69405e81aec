// One time step of a plain recurrent layer (Elman 1990; torch.nn.RNN):
//     h_t = act(x_t·W_ihᵀ + b_ih + b_hh + h·W_hhᵀ),   act = tanh, or relu where p.relu is 1,
// h being the state of the step that was computed before it. A sequence that has ended (step >= its length) keeps h.
// x·W_ihᵀ of all steps is computed before, by matmul. The states lie in one buffer, in slots of batch·hidden elements
// from element p.base on; slot p.before holds h, slot p.after takes h_t. They are all that backward needs.
// p: batch B, hidden H, step t, before, after, base, relu, bias (whether there are biases), ragged (whether there are
// lengths). Twin: src/cpu/rnn_step_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<f32>; // [T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // [H, H]
@group(0) @binding(2) var<storage, read> b_ih: array<f32>; // [H]
@group(0) @binding(3) var<storage, read> b_hh: array<f32>; // [H]
@group(0) @binding(4) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(5) var<storage, read_write> h: array<f32>; // base, then [T+1, B, H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.hidden;
    let previous = p.base + p.before * size;
    for (var i = id.x; i < size; i += groups.x * GROUP) {
        let row = i / p.hidden;
        let unit = i % p.hidden;
        var sum = 0.0;
        for (var k = 0u; k < p.hidden; k++) {
            sum += h[previous + row * p.hidden + k] * w_hh[unit * p.hidden + k];
        }
        var a = xw[p.step * size + i] + sum;
        if p.bias == 1u {
            a += b_ih[unit] + b_hh[unit];
        }
        var next = select(tanh_rational(a), keep_nan(a, max(a, 0.0)), p.relu == 1u);
        if p.ragged == 1u && i32(p.step) >= lengths[row] {
            next = h[previous + i];
        }
        h[p.base + p.after * size + i] = next;
    }
}
