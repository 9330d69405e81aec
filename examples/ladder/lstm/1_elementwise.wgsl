// Rung 1: one operation on every element, y = op(a, b), as a framework has it: an LSTM step takes eleven of them.
// a and b may be parts of wider rows: y[r, c] = op(a[r, p.a_start + c], b[r, c]), the rows of a being p.a_pitch apart and
// those of b p.b_pitch; with pitch 0 one row of b, a bias, is for all rows.

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>; // not looked at where op takes one number
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, width]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < p.rows * p.width; i += groups.x * GROUP) {
        let row = i / p.width;
        let col = i % p.width;
        let left = a[row * p.a_pitch + p.a_start + col];
        let of_b = row * p.b_pitch + col;
        switch p.op {
            case 0u: {
                y[i] = left + b[of_b];
            }
            case 1u: {
                y[i] = left * b[of_b];
            }
            case 2u: {
                y[i] = sigmoid(left);
            }
            default: {
                y[i] = tanh_rational(left);
            }
        }
    }
}
