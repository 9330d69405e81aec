// Multiplications and additions and little else, for the benchmark to see how many a device makes: for each element
// y = x, then p.rounds times
//     y[i] = a·y[i] + b, rounds times over
//
// p: count (a multiple of 16), rounds, a, b.
// Threads: one for 16 elements, in four vectors that do not wait for one another, in a loop over the grid.
// Twin: src/cpu/multiply_add.rs.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>; // [count / 4]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>; // [count / 4]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = 4u * id.x; i < p.count / 4u; i += 4u * groups.x * GROUP) {
        var y0 = x[i];
        var y1 = x[i + 1u];
        var y2 = x[i + 2u];
        var y3 = x[i + 3u];
        for (var round = 0u; round < p.rounds; round++) {
            y0 = p.a * y0 + p.b;
            y1 = p.a * y1 + p.b;
            y2 = p.a * y2 + p.b;
            y3 = p.a * y3 + p.b;
        }
        y[i] = y0;
        y[i + 1u] = y1;
        y[i + 2u] = y2;
        y[i + 3u] = y3;
    }
}
