// The largest elements along a dimension and where they are, as torch.max(x, dim). x is seen as [outer, pitch, inner],
// pitch being the size of the dimension:
//     y[o, i] = max_k x[o, k, i],   index[o, i] = the first such k
// k goes from start to start + n; where p.accumulate is 1, what y and index hold already takes part as well. NaN counts
// as larger than any number.
//
// p: outer, pitch, inner, start, n, accumulate.
// Threads: one an element of y, in a loop over the grid.
// Twin: src/cpu/max_dim.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [outer, pitch, inner]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [outer, inner]
@group(0) @binding(2) var<storage, read_write> index: array<i32>; // [outer, inner]

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var at = id.x; at < p.outer * p.inner; at += groups.x * GROUP) {
        let line = at / p.inner * p.pitch * p.inner + at % p.inner;
        var best = load_x(line + p.start * p.inner);
        var found = i32(p.start);
        if p.accumulate == 1u {
            best = load_y(at);
            found = index[at];
        }
        for (var k = p.start; k < p.start + p.n; k++) {
            let element = load_x(line + k * p.inner);
            if element > best || (is_nan(element) && !is_nan(best)) {
                best = element;
                found = i32(k);
            }
        }
        store_y(at, best);
        index[at] = found;
    }
}
