// For kernels whose workgroups add up numbers: the sum over the THREADS threads of a workgroup, by a tree in workgroup
// memory. The order of the additions depends on THREADS only.

var<workgroup> sums: array<f32, THREADS>;

// Σ x over the threads; every thread gets it.
fn sum_of_threads(index: u32, x: f32) -> f32 {
    // ANCHOR: tree
    sums[index] = x;
    for (var threads = THREADS / 2u; threads > 0u; threads /= 2u) {
        workgroupBarrier();
        if index < threads {
            sums[index] += sums[index + threads];
        }
    }
    workgroupBarrier();
    let sum = sums[0];
    workgroupBarrier(); // before the next sum overwrites it
    // ANCHOR_END: tree
    return sum;
}
