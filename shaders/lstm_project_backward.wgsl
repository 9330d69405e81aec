// The gradient that arrives at h_t, the projected state, in one step of an LSTM layer with proj_size:
//     dp_t = dy_t + dh,   then dh = 0
// dh holds the gradient of the final state, and what matmul has added to it: da·W_hh of the step whose backward pass came
// before. A sequence that has ended gets dp_t 0 and hands dh on. matmul then makes the gradient of m_t = o ⊙ tanh(c_t),
// which is dp_t·W_hr, and over all steps that of W_hr, which is Σ_t dp_tᵀ·m_t.
//
// p: batch B, width S, step t, ragged (1: there are lengths).
// Threads: one an element of one step, in a loop over the grid, so that any count works.
// Twin: src/cpu/lstm_project_backward.rs.

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [T, B, S]
@group(0) @binding(1) var<storage, read> lengths: array<i32>; // [B]; absent unless p.ragged is 1
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
