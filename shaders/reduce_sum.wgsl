// Sums of parts of a tensor, or of squares (torch.sum, and the norm for torch.nn.utils.clip_grad_norm_):
//     y[g] = scale·Σ_i x[i]^power,   i in the g-th of `groups` equal parts of neighbours in x
// The last parts may be shorter, or empty. A sum of many elements takes two launches: of parts, then of their sums.
//
// p: count (of x), groups, power (1 or 2), scale.
// Threads: a workgroup sums a part: each of its THREADS takes every THREADS-th element, then
// threads_of_workgroup.wgsl or threads_of_subgroup.wgsl, which follows, adds up the threads. The order of the additions
// depends on count, groups and THREADS only.
// Twin: src/cpu/reduce_sum.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>; // [count]
@group(0) @binding(1) var<storage, read_write> y: array<f32>; // [groups]

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let part = (p.count + p.groups - 1u) / p.groups;
    for (var g = group.x; g < p.groups; g += groups.x) {
        let end = min((g + 1u) * part, p.count);
        var sum = 0.0;
        for (var i = g * part + index; i < end; i += THREADS) {
            sum += select(load_x(i), load_x(i) * load_x(i), p.power == 2u);
        }
        sum = sum_of_threads(index, sum);
        if index == 0u {
            store_y(g, p.scale * sum);
        }
    }
}
