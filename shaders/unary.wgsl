// A function of every element, as torch.exp, log and sqrt:
//     y[i] = f(x[i]),   f being e^x for op 0, the natural logarithm for 1, the square root for 2
// The backward passes are products and quotients of tensors: see src/ops/unary.rs.
//
// p: op, count.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/unary.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        switch p.op {
            case 0u: { store_y(i, keep_nan(load_x(i), exp(load_x(i)))); }
            case 1u: { store_y(i, logarithm(load_x(i))); }
            default: { store_y(i, keep_nan(load_x(i), sqrt(load_x(i)))); }
        }
    }
}
