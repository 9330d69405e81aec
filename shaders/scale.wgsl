// Multiplies with a number: y[i] = factor · x[i].
// p: count, factor. Twin: src/cpu/scale.rs.

@group(0) @binding(0) var<storage, read> x: array<Elements>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<Elements>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        store_y(i, p.factor * load_x(i));
    }
}
