// Layer normalisation of rows (Ba, Kiros and Hinton, arXiv 1607.06450; torch.nn.LayerNorm): of each row r of C numbers,
//     μ = Σ_c x[r, c] / C,   v = Σ_c (x[r, c] - μ)² / C,   s = 1/√(v + eps)
//     y[r, c] = (x[r, c] - μ)·s·weight[c] + bias[c]
// weight is all 1 unless p.weighted is 1, bias all 0 unless p.biased is 1. stats[r] = (μ, s) is kept for
// layer_norm_backward.wgsl.
//
// p: rows, cols C, eps, weighted, biased.
// Threads: a workgroup takes a row; threads_of_workgroup.wgsl or threads_of_subgroup.wgsl, which follows, finds its
// two sums.
// Twin: src/cpu/layer_norm.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read> weight: array<f32>; // [cols]; absent unless p.weighted is 1
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [cols]; absent unless p.biased is 1
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, cols]
@group(0) @binding(4) var<storage, read_write> stats: array<f32>; // [rows, 2]

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let n = f32(p.cols);
    for (var row = group.x; row < p.rows; row += groups.x) {
        let start = row * p.cols;
        var sum = 0.0;
        for (var c = index; c < p.cols; c += THREADS) {
            sum += load_x(start + c);
        }
        let mean = sum_of_threads(index, sum) / n;
        sum = 0.0;
        for (var c = index; c < p.cols; c += THREADS) {
            let d = load_x(start + c) - mean;
            sum += d * d;
        }
        let scale = 1.0 / sqrt(sum_of_threads(index, sum) / n + p.eps);
        if index == 0u {
            stats[2u * row] = mean;
            stats[2u * row + 1u] = scale;
        }
        for (var c = index; c < p.cols; c += THREADS) {
            var out = (load_x(start + c) - mean) * scale;
            if p.weighted == 1u {
                out *= load_weight(c);
            }
            if p.biased == 1u {
                out += load_bias(c);
            }
            store_y(start + c, out);
        }
    }
}
