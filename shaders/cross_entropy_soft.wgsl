// Softmax cross-entropy of logits against probabilities of the classes, and its gradient in the same pass
// (torch.nn.CrossEntropyLoss with such targets). For each row of logits x, with probabilities q (in labels),
// P = softmax(x), class weights w (all 1 unless p.weighted is 1), smoothing s, C classes and
// a_c = w_c·((1 - s)·q_c + s/C):
//     loss = -scale·Σ_c a_c·log P_c
//     dx_c = scale·(P_c·Σ_k a_k - a_c)
// The largest logit of a row is subtracted from all of them first, so that no power overflows.
//
// p: rows, classes C, smoothing s, weighted, scale (1/rows for a mean).
// Threads: one a row; in cross_entropy_soft_group.wgsl a workgroup a row.
// Twin: src/cpu/cross_entropy_soft.rs.

@group(0) @binding(0) var<storage, read> logits: array<f32>; // [rows, classes]
@group(0) @binding(1) var<storage, read> labels: array<f32>; // [rows, classes]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [classes]; absent unless p.weighted is 1
@group(0) @binding(3) var<storage, read_write> losses: array<f32>; // [rows]
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>; // [rows, classes]

// a at index `start + c`.
fn wanted(start: u32, c: u32) -> f32 {
    let mixed = (1.0 - p.smoothing) * load_labels(start + c) + p.smoothing / f32(p.classes);
    if p.weighted == 1u {
        return weight[c] * mixed;
    }
    return mixed;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var row = id.x; row < p.rows; row += groups.x * GROUP) {
        let start = row * p.classes;
        var largest = load_logits(start);
        for (var c = 1u; c < p.classes; c++) {
            largest = max(largest, load_logits(start + c));
        }
        var sum = 0.0; // Σ e^z, where z = x - largest
        var spread = 0.0; // Σ a·z
        var mass = 0.0; // Σ a
        for (var c = 0u; c < p.classes; c++) {
            let z = load_logits(start + c) - largest;
            sum += exp_nonpositive(z);
            spread += wanted(start, c) * z;
            mass += wanted(start, c);
        }
        losses[row] = p.scale * (mass * logarithm(sum) - spread);
        for (var c = 0u; c < p.classes; c++) {
            let softmax = exp_nonpositive(load_logits(start + c) - largest) / sum;
            store_dlogits(start + c, p.scale * (softmax * mass - wanted(start, c)));
        }
    }
}
