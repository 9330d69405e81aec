// Adds a bias to every row, as x + bias in PyTorch:
//     y[r, c] = x[r, c] + bias[c]
//
// p: rows, cols.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/bias_add.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read> bias: array<f32>; // [cols]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, cols]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.rows * p.cols; i += groups.x * GROUP) {
        store_y(i, load_x(i) + load_bias(i % p.cols));
    }
}
