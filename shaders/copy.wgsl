// Copies elements of one tensor to places of another, as torch.Tensor.copy_ between strided views: for every index
// i = (i_5, .., i_0) of the shape [n5, .., n0],
//     y[to + Σ_d i_d·y_d] = x[start + Σ_d i_d·x_d]
// Strides x_d and y_d say how many elements apart neighbours along dimension d lie. Transposition, slicing, concatenation
// and repetition are copies with the right strides. Other elements of y stay as they are.
//
// p: count (of copied elements), start, to; of each dimension, 0 being the innermost, its size n and its strides x and y.
// Dimensions that are not needed have size 1.
// Threads: each takes RUN elements, one after the other in the order of the shape, in a loop over the grid, so that any
// count works. Where an element lies costs divisions, which a run needs only at its begin and at the ends of rows. With
// elements_of_four.wgsl in the place of elements_of_one.wgsl, which follows, four neighbours are one element: n0, start, to
// and the strides but x0 and y0, which are 1, are multiples of four.
// Twin: src/cpu/copy.rs.

@group(0) @binding(0) var<storage, read> x: array<Elements>; // a tensor of any shape
@group(0) @binding(1) var<storage, read_write> y: array<Elements>; // a tensor of any shape

// Where the element that is i-th in the order of the shape lies in x and in y.
fn places(i: u32) -> vec2<u32> {
    let n0 = p.n0 / WIDE;
    var at = vec2(p.start, p.to) + i % n0 * WIDE * vec2(p.x0, p.y0);
    var rest = i / n0;
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
    return at / WIDE;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let count = p.count / WIDE;
    let n0 = p.n0 / WIDE;
    for (var run = id.x * RUN; run < count; run += groups.x * GROUP * RUN) {
        var at = places(run);
        var left = n0 - run % n0;
        for (var i = run; i < min(run + RUN, count); i++) {
            if left == 0u {
                at = places(i);
                left = n0;
            }
            store_y(at.y, load_x(at.x));
            at += vec2(p.x0, p.y0);
            left--;
        }
    }
}
