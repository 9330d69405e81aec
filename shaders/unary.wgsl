// A function of every element: y[i] = f(x[i]).
// p: op (f is 0: e^x, 1: the natural logarithm, 2: the square root), count. Twin: src/cpu/unary.rs.

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
