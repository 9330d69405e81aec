// Copies a part of a tensor into a part of another: y[to + i] = x[start + i].
// p: count, start, to. Twin: src/cpu/copy.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [at least start + count]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [at least to + count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        y[p.to + i] = x[p.start + i];
    }
}
