// Puts zeros behind the ends of sequences of different lengths, as torch.nn.utils.rnn.pad_packed_sequence does:
//     y[t, b, :] = x[t, b, :] where t < lengths[b], else 0
// It is its own backward pass, with dy for x and dx for y.
//
// p: time T, batch B, width.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/mask_steps.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [T, B, width]
@group(0) @binding(1) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [T, B, width]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.time * p.batch * p.width; i += groups.x * GROUP) {
        let step = i / (p.batch * p.width);
        let row = i / p.width % p.batch;
        store_y(i, select(0.0, load_x(i), i32(step) < lengths[row]));
    }
}
