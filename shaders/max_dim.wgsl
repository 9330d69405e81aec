// The largest elements of lines, and where they are: y[o, i] = max_k x[o, k, i] and the first such k in index[o, i], over k
// in start..start + n, and over what y and index hold already where p.accumulate is 1. NaN counts as larger than any number.
// p: outer, pitch, inner, start, n, accumulate. A thread takes a line. Twin: src/cpu/max_dim.rs.

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
