// Softmax cross-entropy of logits against class indices, and its gradient in the same pass (torch.nn.CrossEntropyLoss).
// For each row of logits x, with label y, P = softmax(x), class weights w (all 1 unless p.weighted is 1), smoothing s and
// C classes:
//     loss = scale·(-(1 - s)·w_y·log P_y - s/C·Σ_c w_c·log P_c)
//     dx_c = scale·(P_c·((1 - s)·w_y + s/C·Σ_k w_k) - s/C·w_c - [c = y]·(1 - s)·w_y)
// [c = y] is 1 where c is the label, else 0. Without weights and smoothing that is dx = scale·(P - onehot(y)). A row
// whose label is p.ignore_index gets loss 0 and dx 0. The largest logit of a row is subtracted from all of them first, so
// that no power overflows.
//
// p: rows, classes C, ignore_index, smoothing s, weighted, scale (1/rows for a mean). The host has checked the labels;
// here they are only kept from reading elsewhere.
// Threads: one a row; in cross_entropy_group.wgsl a workgroup a row.
// Twin: src/cpu/cross_entropy.rs.

@group(0) @binding(0) var<storage, read> logits: array<f32>; // [rows, classes]
@group(0) @binding(1) var<storage, read> labels: array<i32>; // [rows]
@group(0) @binding(2) var<storage, read> weight: array<f32>; // [classes]; absent unless p.weighted is 1
@group(0) @binding(3) var<storage, read_write> losses: array<f32>; // [rows]
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>; // [rows, classes]

fn weight_of(c: u32) -> f32 {
    if p.weighted == 1u {
        return weight[c];
    }
    return 1.0;
}

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let share = p.smoothing / f32(p.classes);
    // ANCHOR: row
    for (var row = id.x; row < p.rows; row += groups.x * GROUP) {
        let start = row * p.classes;
        var largest = load_logits(start);
        for (var c = 1u; c < p.classes; c++) {
            largest = max(largest, load_logits(start + c));
        }
        var sum = 0.0; // Σ e^z, where z = x - largest
        var spread = 0.0; // Σ w·z
        var weights = 0.0; // Σ w
        for (var c = 0u; c < p.classes; c++) {
            let z = load_logits(start + c) - largest;
            sum += exp_nonpositive(z);
            spread += weight_of(c) * z;
            weights += weight_of(c);
        }
        let log_sum = logarithm(sum);
        let ignored = labels[row] == p.ignore_index;
        let label = min(u32(max(labels[row], 0)), p.classes - 1u);
        let hit = (1.0 - p.smoothing) * weight_of(label);
        var loss = hit * (log_sum - (load_logits(start + label) - largest));
        if share > 0.0 { // else 0·∞ for a logit that masks its class
            loss += share * (weights * log_sum - spread);
        }
        losses[row] = select(p.scale * loss, 0.0, ignored);
        for (var c = 0u; c < p.classes; c++) {
            let softmax = exp_nonpositive(load_logits(start + c) - largest) / sum;
            let d = softmax * (hit + share * weights) - share * weight_of(c) - select(0.0, hit, c == label);
            store_dlogits(start + c, select(p.scale * d, 0.0, ignored));
        }
    }
    // ANCHOR_END: row
}
