// Gradient of a layer normalisation of rows (layer_norm.wgsl): with stats[r] = (μ, s), h = (x - μ)·s, dy = ∂loss/∂y and
// g = dy ⊙ weight,
//     dx[r, c] = s·(g[r, c] - Σ_k g[r, k]/C - h[r, c]·Σ_k g[r, k]·h[r, k]/C)
//     dweight_rows[r, c] = dy[r, c]·h[r, c]
// The gradient of weight is the sum of dweight_rows over the rows, that of bias the sum of dy (column_sum.wgsl).
//
// p: rows, cols C, weighted (0: weight is all 1).
// Threads: a workgroup takes a row; threads_of_workgroup.wgsl or threads_of_subgroup.wgsl, which follows,
// finds both sums at once.
// Twin: src/cpu/layer_norm_backward.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read> weight: array<f32>; // [cols]; absent unless p.weighted is 1
@group(0) @binding(2) var<storage, read> stats: array<f32>; // [rows, 2]
@group(0) @binding(3) var<storage, read> dy: array<f32>; // [rows, cols]
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // [rows, cols]
@group(0) @binding(5) var<storage, read_write> dweight_rows: array<f32>; // [rows, cols]

fn weighted(c: u32, d: f32) -> f32 {
    if p.weighted == 1u {
        return d * load_weight(c);
    }
    return d;
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let n = f32(p.cols);
    for (var row = group.x; row < p.rows; row += groups.x) {
        let start = row * p.cols;
        let mean = stats[2u * row];
        let scale = stats[2u * row + 1u];
        var part = vec3(0.0); // Σ g and Σ g·h
        for (var c = index; c < p.cols; c += THREADS) {
            let h = (load_x(start + c) - mean) * scale;
            let g = weighted(c, load_dy(start + c));
            part += vec3(g, g * h, 0.0);
        }
        let means = sums_of_threads(index, part) / n;
        for (var c = index; c < p.cols; c += THREADS) {
            let h = (load_x(start + c) - mean) * scale;
            let g = weighted(c, load_dy(start + c));
            store_dx(start + c, scale * (g - means.x - h * means.y));
            dweight_rows[start + c] = load_dy(start + c) * h;
        }
    }
}
