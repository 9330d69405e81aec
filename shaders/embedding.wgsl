// Looks up a row for every token, as torch.nn.functional.embedding:
//     y[i, :] = weight[tokens[i], :]
// The host has checked that tokens lie in 0..rows; here they are only kept from reading elsewhere.
//
// p: count (of tokens), width (of a row), rows (of weight).
// Threads: one an element, or one for four neighbours of a row (elements_of_one.wgsl or elements_of_four.wgsl, which
// follows), in a loop over the grid.
// Twin: src/cpu/embedding.rs.

@group(0) @binding(0) var<storage, read> tokens: array<i32>; // [count]
@group(0) @binding(1) var<storage, read> weight: array<Elements>; // [rows, width]
@group(0) @binding(2) var<storage, read_write> y: array<Elements>; // [count, width]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let columns = p.width / WIDE;
    for (var i = id.x; i < p.count * columns; i += groups.x * GROUP) {
        let token = min(u32(max(tokens[i / columns], 0)), p.rows - 1u);
        store_y(i, load_weight(token * columns + i % columns));
    }
}
