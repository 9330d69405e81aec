// Puts zeros behind the ends of sequences of different lengths, as torch.nn.utils.rnn.pad_packed_sequence does:
//     y[t, b, :] = x[t, b, :] where t < lengths[b], else 0
// It is its own backward pass, with dy for x and dx for y.
//
// p: time T, batch B, width.
// Threads: one an element, or one for four neighbours of a row (elements_of_one.wgsl or elements_of_four.wgsl, which
// follows), in a loop over the grid.
// Twin: src/cpu/mask_steps.rs.

@group(0) @binding(0) var<storage, read> x: array<Elements>; // [T, B, width]
@group(0) @binding(1) var<storage, read> lengths: array<i32>; // [B]
@group(0) @binding(2) var<storage, read_write> y: array<Elements>; // [T, B, width]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let columns = p.width / WIDE;
    for (var i = id.x; i < p.time * p.batch * columns; i += groups.x * GROUP) {
        let step = i / (p.batch * columns);
        let row = i / columns % p.batch;
        store_y(i, select(Elements(0.0), load_x(i), i32(step) < lengths[row]));
    }
}
