// Looks up a row for every token, as torch.nn.functional.embedding:
//     y[i, :] = weight[tokens[i], :]
// The host has checked that tokens lie in 0..rows; here they are only kept from reading elsewhere.
//
// p: count (of tokens), width (of a row), rows (of weight).
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/embedding.rs.

@group(0) @binding(0) var<storage, read> tokens: array<i32>; // [count]
@group(0) @binding(1) var<storage, read> weight: array<f32>; // [rows, width]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [count, width]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count * p.width; i += groups.x * GROUP) {
        let token = min(u32(max(tokens[i / p.width], 0)), p.rows - 1u);
        store_y(i, load_weight(token * p.width + i % p.width));
    }
}
