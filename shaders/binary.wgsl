// Combines two tensors element by element, as torch.add, sub, mul and div: for every index i = (i_5, .., i_0) of y, of
// shape [n5, .., n0],
//     y[i] = a[Σ_d i_d·a_d] ∘ b[Σ_d i_d·b_d],   ∘ being + for op 0, - for 1, · for 2, / for 3
// a_d and b_d are strides: how many elements apart neighbours along dimension d lie in a and in b. A stride of 0 repeats
// an operand along that dimension (broadcasting).
//
// p: op, count (of elements of y); of each dimension, 0 being the innermost, its size n and its strides a and b.
// Dimensions that are not needed have size 1.
// Threads: one an element, in a loop over the grid, so that any count works.
// Twin: src/cpu/binary.rs.

@group(0) @binding(0) var<storage, read> a: array<f32>; // a tensor of any shape
@group(0) @binding(1) var<storage, read> b: array<f32>; // a tensor of any shape
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [n5, .., n0]

// Where the operands of element i of y lie in a and in b.
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
