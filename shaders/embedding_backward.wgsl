// Gradient of a look-up of rows, as torch.nn.Embedding's weight gets it: of each token v, with dy = ∂loss/∂y,
//     dweight[v, :] = Σ_i dy[order[i], :],   i from starts[v] to starts[v + 1]; plus the old dweight where p.accumulate is 1
// Row p.padding (padding_idx) gets nothing. order holds the positions of the tokens, sorted by token and, of one token,
// ascending: so no two threads write the same element, and a sum has one order, which floating-point atomics could not
// promise.
//
// p: rows (of weight), width (of a row), padding (no row has the number where there is none), accumulate.
// Threads: one an element of dweight, or one for four neighbours of a row (elements_of_one.wgsl or
// elements_of_four.wgsl, which follows), in a loop over the grid.
// Twin: src/cpu/embedding_backward.rs.

@group(0) @binding(0) var<storage, read> starts: array<i32>; // [rows + 1]
@group(0) @binding(1) var<storage, read> order: array<i32>; // [count]
@group(0) @binding(2) var<storage, read> dy: array<Elements>; // [count, width]
@group(0) @binding(3) var<storage, read_write> dweight: array<Elements>; // [rows, width]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let columns = p.width / WIDE;
    for (var at = id.x; at < p.rows * columns; at += groups.x * GROUP) {
        let v = at / columns;
        var sum = Elements(0.0);
        let end = select(starts[v + 1u], 0, v == p.padding);
        for (var i = starts[v]; i < end; i++) {
            sum += load_dy(u32(order[i]) * columns + at % columns);
        }
        if p.accumulate == 1u {
            sum += load_dweight(at);
        }
        store_dweight(at, sum);
    }
}
