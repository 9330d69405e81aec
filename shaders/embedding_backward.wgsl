// Gradient of a look-up: dweight[v, :] = Σ_i dy[order[i], :] over i in starts[v]..starts[v + 1], plus the old dweight
// where p.accumulate is 1. Row p.padding gets nothing. order holds the positions of the tokens sorted by token, ascending within one, so that no two
// threads meet and the sum has one order.
// p: rows, width, padding, accumulate. Twin: src/cpu/embedding_backward.rs.

@group(0) @binding(0) var<storage, read> starts: array<i32>; // [rows + 1]
@group(0) @binding(1) var<storage, read> order: array<i32>; // [count]
@group(0) @binding(2) var<storage, read> dy: array<f32>; // [count, width]
@group(0) @binding(3) var<storage, read_write> dweight: array<f32>; // [rows, width]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var at = id.x; at < p.rows * p.width; at += groups.x * GROUP) {
        let v = at / p.width;
        var sum = 0.0;
        let end = select(starts[v + 1u], 0, v == p.padding);
        for (var i = starts[v]; i < end; i++) {
            sum += load_dy(u32(order[i]) * p.width + at % p.width);
        }
        if p.accumulate == 1u {
            sum += load_dweight(at);
        }
        store_dweight(at, sum);
    }
}
