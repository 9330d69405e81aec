// Losses of values and their gradients in the same pass (torch.nn.MSELoss, L1Loss, HuberLoss). For each element, with
// e = x - label:
//     losses[i] = scale·l,   dx[i] = scale·dl/de
//     kind 0, squared error: l = e²,   dl/de = 2e
//     kind 1, absolute error: l = |e|,   dl/de = sign e, which is 0 at 0
//     kind 2, Huber's: l = s·(e - s/2),   dl/de = s,   s being e clamped to ±delta
// The last is e²/2 within ±delta and delta·(|e| - delta/2) beyond. The gradient of the label is -dx.
//
// p: count, kind, delta, scale (1/count for a mean).
// Threads: one an element, or one for four neighbours (elements_of_one.wgsl or elements_of_four.wgsl, which follows), in
// a loop over the grid.
// Twin: src/cpu/regression_loss.rs.

@group(0) @binding(0) var<storage, read> x: array<Elements>; // [count]
@group(0) @binding(1) var<storage, read> labels: array<Elements>; // [count]
@group(0) @binding(2) var<storage, read_write> losses: array<Elements>; // [count]
@group(0) @binding(3) var<storage, read_write> dx: array<Elements>; // [count]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.count / WIDE; i += groups.x * GROUP) {
        let x_i = load_x(i);
        let label = load_labels(i);
        let e = x_i - label;
        var loss = e * e;
        var slope = 2.0 * e;
        if p.kind == 1u {
            loss = abs(e);
            // By comparison: of numbers that are nearly equal a GPU may make the difference 0.
            let above = select(Elements(0.0), Elements(1.0), x_i > label);
            slope = keep_nan_of_each(e, above - select(Elements(0.0), Elements(1.0), x_i < label));
        } else if p.kind == 2u {
            slope = keep_nan_of_each(e, clamp(e, Elements(-p.delta), Elements(p.delta)));
            loss = slope * (e - 0.5 * slope);
        }
        losses[i] = p.scale * loss;
        store_dx(i, p.scale * slope);
    }
}
