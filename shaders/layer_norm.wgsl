// Layer normalisation of rows (Ba, Kiros and Hinton, arXiv 1607.06450; torch.nn.LayerNorm): of each row r of C numbers,
//     μ = Σ_c x[r, c] / C,   v = Σ_c (x[r, c] - μ)² / C,   s = 1/√(v + eps)
//     y[r, c] = (x[r, c] - μ)·s·weight[c] + bias[c]
// weight is all 1 unless p.weighted is 1, bias all 0 unless p.biased is 1. stats[r] = (μ, s) is kept for
// layer_norm_backward.wgsl.
//
// p: rows, cols C, eps, weighted, biased.
// Threads: a workgroup takes a row; trees in workgroup memory find its two sums.
// Twin: src/cpu/layer_norm.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read> weight: array<f32>; // [cols]; absent unless p.weighted is 1
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [cols]; absent unless p.biased is 1
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, cols]
@group(0) @binding(4) var<storage, read_write> stats: array<f32>; // [rows, 2]

var<workgroup> sums: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let n = f32(p.cols);
    for (var row = group.x; row < p.rows; row += groups.x) {
        let start = row * p.cols;
        var sum = 0.0;
        for (var c = index; c < p.cols; c += GROUP) {
            sum += load_x(start + c);
        }
        sums[index] = sum;
        for (var threads = GROUP / 2u; threads > 0u; threads /= 2u) {
            workgroupBarrier();
            if index < threads {
                sums[index] += sums[index + threads];
            }
        }
        workgroupBarrier();
        let mean = sums[0] / n;
        workgroupBarrier(); // before the squares overwrite it
        sum = 0.0;
        for (var c = index; c < p.cols; c += GROUP) {
            let d = load_x(start + c) - mean;
            sum += d * d;
        }
        sums[index] = sum;
        for (var threads = GROUP / 2u; threads > 0u; threads /= 2u) {
            workgroupBarrier();
            if index < threads {
                sums[index] += sums[index + threads];
            }
        }
        workgroupBarrier();
        let scale = 1.0 / sqrt(sums[0] / n + p.eps);
        if index == 0u {
            stats[2u * row] = mean;
            stats[2u * row + 1u] = scale;
        }
        for (var c = index; c < p.cols; c += GROUP) {
            var out = (load_x(start + c) - mean) * scale;
            if p.weighted == 1u {
                out *= load_weight(c);
            }
            if p.biased == 1u {
                out += load_bias(c);
            }
            store_y(start + c, out);
        }
        workgroupBarrier(); // before the next row overwrites the sums
    }
}
