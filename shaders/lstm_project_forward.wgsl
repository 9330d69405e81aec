// The projection in one step of an LSTM layer with proj_size (Sak, Senior and Beaufays, arXiv 1402.1128; torch.nn.LSTM):
//     h_t = m_t·W_hrᵀ,   m_t = o ⊙ tanh(c_t)
// for m_t [B, H] and W_hr [S, H]: h_t is [B, S]. A sequence that has ended (step >= its length) keeps its h.
// lstm_forward.wgsl has put m_t behind the slots of h, from element p.source on; the slots are described there.
//
// p: batch B, hidden H, width S, step t, before and after (the slots of h before and after the step), base (where the
// slots begin), source, ragged (1: there are lengths).
// Threads: one an element of h_t, in a loop over the grid; each adds up its H products.
// Twin: src/cpu/lstm_project_forward.rs.

@group(0) @binding(0) var<storage, read> w_hr: array<f32>; // [S, H]
@group(0) @binding(1) var<storage, read> lengths: array<i32>; // [B]; absent unless p.ragged is 1
@group(0) @binding(2) var<storage, read_write> h: array<f32>; // from base on [T+1, B, S], then [T, B, H]

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
