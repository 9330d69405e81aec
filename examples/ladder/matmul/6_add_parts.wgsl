// Rung 6, second launch: c[i] = Σ_s parts[s, i]. The first is rung 5's shader, with more than one part.

@group(0) @binding(0) var<storage, read> parts: array<f32>; // [S, M·N]
@group(0) @binding(1) var<storage, read_write> c: array<f32>; // [M·N]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        var sum = 0.0;
        for (var s = 0u; s < p.parts; s++) {
            sum += parts[s * p.count + i];
        }
        c[i] = sum;
    }
}
