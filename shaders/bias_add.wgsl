// Adds a bias to every row, as x + bias in PyTorch:
//     y[r, c] = x[r, c] + bias[c]
//
// p: rows, cols.
// Threads: one an element, or one for four neighbours of a row (elements_of_one.wgsl or elements_of_four.wgsl, which
// follows), in a loop over the grid.
// Twin: src/cpu/bias_add.rs.

@group(0) @binding(0) var<storage, read> x: array<Elements>; // [rows, cols]
@group(0) @binding(1) var<storage, read> bias: array<Elements>; // [cols]
@group(0) @binding(2) var<storage, read_write> y: array<Elements>; // [rows, cols]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let columns = p.cols / WIDE;
    for (var i = id.x; i < p.rows * columns; i += groups.x * GROUP) {
        store_y(i, load_x(i) + load_bias(i % columns));
    }
}
