// For kernels whose workgroups add up numbers: the sum over the threads of a workgroup that is one subgroup, without
// workgroup memory and barriers; for adapters on which they cost more than they save (software such as llvmpipe).

// Σ x over the threads; every thread gets it.
fn sum_of_threads(index: u32, x: f32) -> f32 {
    var sum = 0.0;
    for (var thread = 0u; thread < THREADS; thread++) { // unroll
        sum += subgroupBroadcast(x, thread);
    }
    return sum;
}
