// Softmax cross-entropy and its gradient as in cross_entropy.wgsl, which has the equations, for rows of many classes:
//     loss = scale·(-(1 - s)·w_y·log P_y - s/C·Σ_c w_c·log P_c)
//
// p: rows, classes C, ignore_index, smoothing s, weighted, scale.
// Threads: a workgroup takes a row. Neighbouring threads read neighbouring logits; threads_of_workgroup.wgsl or
// threads_of_subgroup.wgsl, which follows, finds the maximum and the sums.
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

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let share = p.smoothing / f32(p.classes);
    for (var row = group.x; row < p.rows; row += groups.x) {
        let start = row * p.classes;
        var own = load_logits(start);
        for (var c = index; c < p.classes; c += THREADS) {
            own = max(own, load_logits(start + c));
        }
        let largest = largest_of_threads(index, own);
        var part = vec3(0.0); // Σ e^z, Σ w·z and Σ w, where z = x - largest
        for (var c = index; c < p.classes; c += THREADS) {
            let z = load_logits(start + c) - largest;
            part += vec3(exp_nonpositive(z), weight_of(c) * z, weight_of(c));
        }
        part = sums_of_threads(index, part);
        let sum = part.x;
        let spread = part.y;
        let weights = part.z;
        let log_sum = logarithm(sum);
        let ignored = labels[row] == p.ignore_index;
        let label = min(u32(max(labels[row], 0)), p.classes - 1u);
        let hit = (1.0 - p.smoothing) * weight_of(label);
        if index == 0u {
            var loss = hit * (log_sum - (load_logits(start + label) - largest));
            if share > 0.0 { // else 0·∞ for a logit that masks its class
                loss += share * (weights * log_sum - spread);
            }
            losses[row] = select(p.scale * loss, 0.0, ignored);
        }
        for (var c = index; c < p.classes; c += THREADS) {
            let softmax = exp_nonpositive(load_logits(start + c) - largest) / sum;
            let d = softmax * (hit + share * weights) - share * weight_of(c) - select(0.0, hit, c == label);
            store_dlogits(start + c, select(p.scale * d, 0.0, ignored));
        }
    }
}
