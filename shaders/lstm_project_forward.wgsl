// The projection of one time step of an LSTM layer with proj_size (Sak, Senior and Beaufays, arXiv 1402.1128;
// torch.nn.LSTM): h_t = m_t·W_hrᵀ, where m_t = o ⊙ tanh(c_t). A sequence that has ended (step >= its length) keeps h.
// m_t begins at element p.source of h, the slots as in lstm_step_forward.wgsl.
// p: batch B, hidden H, width S, step t, before, after, base, source, ragged (whether there are lengths).
// Twin: src/cpu/lstm_project_forward.rs.

@group(0) @binding(0) var<storage, read> w_hr: array<f32>; // [S, H]
@group(0) @binding(1) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(2) var<storage, read_write> h: array<f32>; // base, then [T+1, B, S], then [T, B, H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let size = p.batch * p.width;
    for (var i = id.x; i < size; i += groups.x * GROUP) {
        let row = i / p.width;
        let unit = i % p.width;
        var sum = 0.0;
        for (var k = 0u; k < p.hidden; k++) {
            sum += load_h(p.source + row * p.hidden + k) * load_w_hr(unit * p.hidden + k);
        }
        if p.ragged == 1u && i32(p.step) >= lengths[row] {
            sum = load_h(p.base + p.before * size + i);
        }
        store_h(p.base + p.after * size + i, sum);
    }
}
