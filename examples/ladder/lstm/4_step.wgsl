// Rung 4: the product h·W_hhᵀ and what follows it in one launch a step. A thread has one unit of one row, makes the four
// sums of it itself (neighbouring threads read neighbouring weights), and goes on with them as rung 2 does.

@group(0) @binding(0) var<storage, read> xw: array<f32>; // x·W_ihᵀ [.., 4H], of this step from row p.start on
@group(0) @binding(1) var<storage, read> w_hh: array<f32>; // W_hhᵀ [H, 4H]
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [4H]
@group(0) @binding(3) var<storage, read> before: array<f32>; // h of the step before [B, H]
@group(0) @binding(4) var<storage, read_write> c: array<f32>; // [B, H]
@group(0) @binding(5) var<storage, read_write> h: array<f32>; // [B, H]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y;
    let unit = id.x;
    if row < p.batch && unit < p.hidden {
        var sum = vec4(0.0); // of i, f, g, o
        for (var k = 0u; k < p.hidden; k++) {
            sum += before[row * p.hidden + k] * four(k * 4u * p.hidden + unit);
        }
        let start = (p.start + row) * 4u * p.hidden + unit;
        for (var gate = 0u; gate < 4u; gate++) { // unroll
            sum[gate] += xw[start + gate * p.hidden] + bias[gate * p.hidden + unit];
        }
        let n = row * p.hidden + unit;
        let cell = sigmoid(sum.y) * c[n] + sigmoid(sum.x) * tanh_rational(sum.z);
        c[n] = cell;
        h[n] = sigmoid(sum.w) * tanh_rational(cell);
    }
}

// The weights of a unit's four gates.
fn four(at: u32) -> vec4<f32> {
    return vec4(w_hh[at], w_hh[at + p.hidden], w_hh[at + 2u * p.hidden], w_hh[at + 3u * p.hidden]);
}
