// Softmax cross-entropy and its gradient as in cross_entropy_soft.wgsl, which has the equations, for rows of many
// classes:
//     loss = -scale·Σ_c a_c·log P_c
//
// p: rows, classes C, smoothing s, weighted, scale.
// Threads: a workgroup takes a row. Neighbouring threads read neighbouring logits; threads_of_workgroup.wgsl or
// threads_of_subgroup.wgsl, which follows, finds the maximum and the sums.
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

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    for (var row = group.x; row < p.rows; row += groups.x) {
        let start = row * p.classes;
        var own = load_logits(start);
        for (var c = index; c < p.classes; c += THREADS) {
            own = max(own, load_logits(start + c));
        }
        let largest = largest_of_threads(index, own);
        var part = vec3(0.0); // Σ e^z, Σ a·z and Σ a, where z = x - largest
        for (var c = index; c < p.classes; c += THREADS) {
            let z = load_logits(start + c) - largest;
            let a = wanted(start, c);
            part += vec3(exp_nonpositive(z), a * z, a);
        }
        part = sums_of_threads(index, part);
        let sum = part.x;
        let mass = part.z;
        if index == 0u {
            losses[row] = p.scale * (mass * logarithm(sum) - part.y);
        }
        for (var c = index; c < p.classes; c += THREADS) {
            let softmax = exp_nonpositive(load_logits(start + c) - largest) / sum;
            store_dlogits(start + c, p.scale * (softmax * mass - wanted(start, c)));
        }
    }
}
