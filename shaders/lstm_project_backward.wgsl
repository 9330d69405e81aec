// The gradient that arrives at the projected state of one time step of an LSTM layer with proj_size: dp_t = dy_t + dh, where
// dh is the gradient of the final state and da·W_hh of the step whose backward pass came before, which matmul has added.
// A sequence that has ended hands dh on and has dp 0; elsewhere dh is used up. From dp_t follow the gradient of
// o ⊙ tanh(c_t), dp_t·W_hr, and, over all steps, that of W_hr.
// p: batch B, width S, step t, ragged (whether there are lengths). Twin: src/cpu/lstm_project_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [T, B, S]
@group(0) @binding(1) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(2) var<storage, read_write> dh: array<f32>; // [B, S]
@group(0) @binding(3) var<storage, read_write> dp: array<f32>; // [T, B, S]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.width;
    for (var i = id.x; i < size; i += groups.x * GROUP) {
        let ended = p.ragged == 1u && i32(p.step) >= lengths[i / p.width];
        let arriving = dh[i];
        dh[i] = select(0.0, arriving, ended);
        store_dp(p.step * size + i, select(load_dy(p.step * size + i) + arriving, 0.0, ended));
    }
}
