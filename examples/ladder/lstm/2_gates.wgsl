// Rung 2: all that follows the products in one launch. A thread computes one unit of one row: it adds up its four sums, and
// what rung 1 writes to memory and reads again stays in registers.
//     i, f, o = σ(..), g = tanh(..) of x_t·W_ihᵀ + h·W_hhᵀ + bias;   c' = f·c + i·g,   h' = o·tanh(c')

@group(0) @binding(0) var<storage, read> xw: array<f32>; // x·W_ihᵀ [.., 4H], of this step from row p.start on
@group(0) @binding(1) var<storage, read> hw: array<f32>; // h·W_hhᵀ [B, 4H]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [4H]
@group(0) @binding(3) var<storage, read_write> c: array<f32>; // [B, H]
@group(0) @binding(4) var<storage, read_write> h: array<f32>; // [B, H]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var n = id.x; n < p.batch * p.hidden; n += groups.x * GROUP) {
        let row = n / p.hidden;
        let unit = n % p.hidden;
        let i = sigmoid(sum(row, unit));
        let f = sigmoid(sum(row, p.hidden + unit));
        let g = tanh_rational(sum(row, 2u * p.hidden + unit));
        let o = sigmoid(sum(row, 3u * p.hidden + unit));
        let cell = f * c[n] + i * g;
        c[n] = cell;
        h[n] = o * tanh_rational(cell);
    }
}

fn sum(row: u32, col: u32) -> f32 {
    return xw[(p.start + row) * 4u * p.hidden + col] + hw[row * 4u * p.hidden + col] + bias[col];
}
