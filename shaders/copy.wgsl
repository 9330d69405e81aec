// Copies elements of a tensor to places of another: for every index i of the shape [n5, .., n0],
// y[to + Σ_d i_d·y_d] = x[start + Σ_d i_d·x_d]. Transposition, slicing, concatenation and repetition are copies.
// p: count, start, to; for each dimension, the innermost first, its size n and its strides x and y.
// Twin: src/cpu/copy.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // what the walk reaches
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // what the walk reaches

// Where element i of the walk lies in x and y.
fn places(i: u32) -> vec2<u32> {
    var at = vec2(p.start, p.to) + i % p.n0 * vec2(p.x0, p.y0);
    var rest = i / p.n0;
    if rest > 0u {
        at += rest % p.n1 * vec2(p.x1, p.y1);
        rest /= p.n1;
    }
    if rest > 0u {
        at += rest % p.n2 * vec2(p.x2, p.y2);
        rest /= p.n2;
    }
    if rest > 0u {
        at += rest % p.n3 * vec2(p.x3, p.y3);
        rest /= p.n3;
    }
    if rest > 0u {
        at += rest % p.n4 * vec2(p.x4, p.y4);
        rest /= p.n4;
    }
    if rest > 0u {
        at += rest % p.n5 * vec2(p.x5, p.y5);
    }
    return at;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        let at = places(i);
        store_y(at.y, load_x(at.x));
    }
}
