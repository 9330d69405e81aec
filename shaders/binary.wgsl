// Combines two tensors element by element: for every index i of the shape [n5, .., n0] of y,
// y[i] = a[Σ_d i_d·a_d] ∘ b[Σ_d i_d·b_d]. A stride of 0 repeats an operand along a dimension.
// p: op (∘ is 0: +, 1: -, 2: ·, 3: /), count; for each dimension, the innermost first, its size n and its strides a and b.
// Twin: src/cpu/binary.rs.

@group(0) @binding(0) var<storage, read> a: array<f32>; // what the walk reaches
@group(0) @binding(1) var<storage, read> b: array<f32>; // what the walk reaches
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [count]

// Where element i of the walk lies in a and b.
fn places(i: u32) -> vec2<u32> {
    var at = i % p.n0 * vec2(p.a0, p.b0);
    var rest = i / p.n0;
    if rest > 0u {
        at += rest % p.n1 * vec2(p.a1, p.b1);
        rest /= p.n1;
    }
    if rest > 0u {
        at += rest % p.n2 * vec2(p.a2, p.b2);
        rest /= p.n2;
    }
    if rest > 0u {
        at += rest % p.n3 * vec2(p.a3, p.b3);
        rest /= p.n3;
    }
    if rest > 0u {
        at += rest % p.n4 * vec2(p.a4, p.b4);
        rest /= p.n4;
    }
    if rest > 0u {
        at += rest % p.n5 * vec2(p.a5, p.b5);
    }
    return at;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count; i += groups.x * GROUP) {
        let at = places(i);
        let left = load_a(at.x);
        let right = load_b(at.y);
        switch p.op {
            case 0u: { store_y(i, left + right); }
            case 1u: { store_y(i, left - right); }
            case 2u: { store_y(i, left * right); }
            default: { store_y(i, left / right); }
        }
    }
}
