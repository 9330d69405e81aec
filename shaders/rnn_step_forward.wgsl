// One time step of a plain recurrent layer (Elman 1990; torch.nn.RNN):
//     h_t = act(x_t·W_ihᵀ + b_ih + b_hh + h_{t-1}·W_hhᵀ),   act = tanh, or relu where p.relu is 1.
// x·W_ihᵀ of all steps is computed before, by matmul. The states lie in one buffer, h_t at slot t+1, the initial state
// at slot 0; slot s begins at element p.base + s·batch·hidden. They are all that backward needs.
// p: batch B, hidden H, step t, base, relu, bias (whether there are biases). Twin: src/cpu/rnn_step_forward.rs.

@group(0) @binding(0) var<storage, read> xw: array<f32>; // [T, B, H]
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // [H, H]
@group(0) @binding(2) var<storage, read> b_ih: array<f32>; // [H]
@group(0) @binding(3) var<storage, read> b_hh: array<f32>; // [H]
@group(0) @binding(4) var<storage, read_write> h: array<f32>; // base, then [T+1, B, H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.hidden;
    let previous = p.base + p.step * size;
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
        h[previous + size + i] = select(tanh_rational(a), keep_nan(a, max(a, 0.0)), p.relu == 1u);
    }
}
